#include "secagg/members.h"

#include <algorithm>
#include <set>
#include <string>

#include "secagg/refusal.h"

namespace chorale::secagg {

Status CheckDistinct(const std::vector<Member>& members) {
  std::set<crypto::SigningPublicKey> keys;
  std::set<crypto::Digest> certificates;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Member& member = members[i];
    if (i > 0 && member.site == members[i - 1].site) {
      return Refused(RefusalCode::kUnknownCertificate,
                     "site " + member.site.value() + " is twice among the members");
    }
    if (i > 0 && member.site < members[i - 1].site) {
      return Refused(RefusalCode::kRosterInvalid, "members must be in ascending order of site, " +
                                                      member.site.value() + " follows " +
                                                      members[i - 1].site.value());
    }
    if (!keys.insert(member.key).second || !certificates.insert(member.certificate).second) {
      return Refused(RefusalCode::kUnknownCertificate,
                     "site " + member.site.value() + " has the key of another member");
    }
  }
  return OkStatus();
}

std::optional<MemberIndex> FindMember(const std::vector<Member>& members, const SiteId& site) {
  const auto found = std::ranges::find(members, site, &Member::site);
  if (found == members.end()) return std::nullopt;
  return static_cast<MemberIndex>(found - members.begin());
}

}  // namespace chorale::secagg
