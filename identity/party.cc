#include "identity/party.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "core/bytes.h"
#include "core/ids.h"

namespace chorale::identity {
namespace {

constexpr std::string_view kNamePrefix = "chorale://";
constexpr std::string_view kSigningKeyPrefix = "chorale-signing-key:";
constexpr std::string_view kAuthority = "authority";
constexpr std::array kRoles = {v1::PARTY_ROLE_SITE, v1::PARTY_ROLE_COORDINATOR,
                               v1::PARTY_ROLE_RESEARCHER};

std::string SigningKeyUri(const crypto::SigningPublicKey& key) {
  return std::string(kSigningKeyPrefix) + ToBase64Url(key);
}

Status Refuse(const crypto::Certificate& certificate, std::string_view problem) {
  return Unauthenticated("certificate '" + certificate.common_name() +
                         "' is not of a chorale federation: " + std::string(problem));
}

// The two names of a certificate: "federation/…" and the signing key.
struct Names {
  std::string path;
  crypto::SigningPublicKey signing_key{};
};

StatusOr<Names> NamesOf(const crypto::Certificate& certificate) {
  std::optional<std::string> path;
  std::optional<std::string> key_text;
  for (const std::string& uri : certificate.fields().uris) {
    std::optional<std::string>* const target = uri.starts_with(kNamePrefix)         ? &path
                                               : uri.starts_with(kSigningKeyPrefix) ? &key_text
                                                                                    : nullptr;
    if (target == nullptr) return Refuse(certificate, "it has a URI of another kind");
    if (target->has_value()) return Refuse(certificate, "it has two names or two signing keys");
    *target = uri.substr(target == &path ? kNamePrefix.size() : kSigningKeyPrefix.size());
  }
  if (!path || !key_text) return Refuse(certificate, "it lacks a name or a signing key");
  const StatusOr<Bytes> key = FromBase64Url(*key_text);
  Names names{.path = *std::move(path)};
  if (!key.ok() || key->size() != names.signing_key.size()) {
    return Refuse(certificate, "its signing key is not 32 bytes of base64url");
  }
  std::copy(key->begin(), key->end(), names.signing_key.begin());
  return names;
}

// "a/b/c" without its first part, which goes to `first`.
std::string_view SplitFirst(std::string_view path, std::string& first) {
  const std::size_t slash = path.find('/');
  first = std::string(path.substr(0, slash));
  return slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
}

}  // namespace

std::string RoleName(v1::PartyRole role) {
  switch (role) {
    case v1::PARTY_ROLE_SITE:
      return "site";
    case v1::PARTY_ROLE_COORDINATOR:
      return "coordinator";
    case v1::PARTY_ROLE_RESEARCHER:
      return "researcher";
    default:  // Protobuf's enums are open: any number may come.
      return "unspecified";
  }
}

std::vector<std::string> ToUris(const Party& party) {
  return {
      std::string(kNamePrefix) + party.federation + "/" + RoleName(party.role) + "/" + party.name,
      SigningKeyUri(party.signing_key)};
}

std::vector<std::string> ToAuthorityUris(std::string_view federation,
                                         const crypto::SigningPublicKey& signing_key) {
  return {std::string(kNamePrefix) + std::string(federation) + "/" + std::string(kAuthority),
          SigningKeyUri(signing_key)};
}

StatusOr<Party> PartyOf(const crypto::Certificate& certificate) {
  CHORALE_ASSIGN_OR_RETURN(const Names names, NamesOf(certificate));
  Party party;
  party.signing_key = names.signing_key;
  std::string role;
  party.name = SplitFirst(SplitFirst(names.path, party.federation), role);
  const auto* const known = std::find_if(kRoles.begin(), kRoles.end(),
                                         [&role](v1::PartyRole r) { return RoleName(r) == role; });
  if (known == kRoles.end() || !IsValidName(party.federation) || !IsValidName(party.name)) {
    return Refuse(certificate, "its name is not chorale://<federation>/<role>/<name>");
  }
  party.role = *known;
  return party;
}

StatusOr<Party> AuthorityOf(const crypto::Certificate& root) {
  CHORALE_ASSIGN_OR_RETURN(const Names names, NamesOf(root));
  Party authority;
  authority.name = std::string(kAuthority);
  authority.signing_key = names.signing_key;
  const std::string_view rest = SplitFirst(names.path, authority.federation);
  if (rest != kAuthority || !IsValidName(authority.federation)) {
    return Refuse(root, "it is no root, whose name would be chorale://<federation>/authority");
  }
  return authority;
}

}  // namespace chorale::identity
