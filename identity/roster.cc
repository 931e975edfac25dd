#include "identity/roster.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/bytes.h"
#include "core/config/yaml.h"
#include "core/config/yaml_writer.h"
#include "core/utf8.h"

namespace chorale::identity {
namespace {

constexpr std::string_view kSignaturePrefix = "# chorale-roster-signature: ";
constexpr std::string_view kDomain = "chorale/v1/roster";
constexpr std::string_view kFileName = "roster.yaml";
constexpr std::size_t kMostSerialCharacters = 40;
constexpr std::size_t kMostReasonBytes = 256;

bool IsSerial(std::string_view text) {
  return text.size() >= 2 && text.size() <= kMostSerialCharacters && text.size() % 2 == 0 &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string FormatTimestamp(const google::protobuf::Timestamp& timestamp) {
  return FormatTime(
      Time(std::chrono::seconds(timestamp.seconds())) +
      std::chrono::duration_cast<Duration>(std::chrono::nanoseconds(timestamp.nanos())));
}

// "site 'north'".
std::string Describe(v1::PartyRole role, std::string_view name) {
  return RoleName(role) + " '" + std::string(name) + "'";
}

Status ValidateMember(const v1::RosterEntry& member, const std::string& path) {
  if (RoleName(member.role()) == RoleName(v1::PARTY_ROLE_UNSPECIFIED)) {
    return config::FieldError(path + ".role", "must be site, coordinator or researcher");
  }
  if (!IsValidName(member.name())) {
    return config::FieldError(path + ".name",
                              "must be a valid name: 1 to 64 characters of [a-z0-9-]");
  }
  if (!IsSerial(member.serial())) {
    return config::FieldError(path + ".serial", "must be 1 to 20 bytes of lower-case hexadecimal");
  }
  if (member.has_revoked_at()) return ValidateRevocationReason(member.revocation_reason());
  if (!member.revocation_reason().empty()) {
    return config::FieldError(path + ".revocation_reason", "must come with revoked_at");
  }
  return OkStatus();
}

Status ValidateRoster(const v1::Roster& roster) {
  if (!IsValidName(roster.federation())) {
    return config::FieldError("federation",
                              "must be a valid name: 1 to 64 characters of [a-z0-9-]");
  }
  if (roster.version() == 0) return config::FieldError("version", "must be at least 1, got 0");
  std::set<std::pair<int, std::string>> names;
  std::set<std::string> serials;
  for (int i = 0; i < roster.members_size(); ++i) {
    const v1::RosterEntry& member = roster.members(i);
    const std::string path = "members[" + std::to_string(i) + "]";
    CHORALE_RETURN_IF_ERROR(ValidateMember(member, path));
    if (!names.emplace(member.role(), member.name()).second) {
      return config::FieldError(path + ".name",
                                "must be listed once per role, got '" + member.name() + "' again");
    }
    if (!serials.insert(member.serial()).second) {
      return config::FieldError(path + ".serial",
                                "must belong to one member, got '" + member.serial() + "' again");
    }
  }
  return OkStatus();
}

// Everything after the signature's line.
StatusOr<std::string_view> VerifiedBody(std::string_view file,
                                        const crypto::SigningPublicKey& key) {
  const std::size_t end = file.find('\n');
  if (!file.starts_with(kSignaturePrefix) || end == std::string_view::npos) {
    return DataLoss(
        "roster: the first line must be '# chorale-roster-signature: …'; copy the file again "
        "from the federation authority");
  }
  const StatusOr<Bytes> signature =
      FromHex(file.substr(kSignaturePrefix.size(), end - kSignaturePrefix.size()));
  if (!signature.ok() || signature->size() != crypto::kSignatureBytes) {
    return DataLoss(
        "roster: the signature in the first line is damaged: 128 hexadecimal characters are "
        "expected; copy the file again from the federation authority");
  }
  const std::string_view body = file.substr(end + 1);
  if (!crypto::VerifySignature(key, kDomain, AsBytes(body), *signature).ok()) {
    return PermissionDenied(
        "roster: not signed by the authority of this federation's root, or changed since; copy the "
        "file "
        "again from the federation authority");
  }
  return body;
}

}  // namespace

Status ValidateRevocationReason(std::string_view reason) {
  const auto refuse = [] {
    return InvalidArgument(
        "the reason of a revocation must have 1 to 256 bytes of UTF-8 without control characters");
  };
  if (reason.empty() || reason.size() > kMostReasonBytes) return refuse();
  for (std::string_view rest = reason; !rest.empty();) {
    const CodePoint c = DecodeUtf8(rest);
    if (!c.is_valid || IsUnsafeToShow(c.value)) return refuse();
    rest.remove_prefix(c.size_bytes);
  }
  return OkStatus();
}

std::string Roster::Render(const v1::Roster& roster, const crypto::SigningKey& authority) {
  const std::string body = config::ToYaml(roster);
  return std::string(kSignaturePrefix) + ToHex(authority.Sign(kDomain, AsBytes(body))) + "\n" +
         body;
}

StatusOr<Roster> Roster::Parse(std::string_view file, const crypto::Certificate& root) {
  CHORALE_ASSIGN_OR_RETURN(const Party authority, AuthorityOf(root));
  CHORALE_RETURN_IF_ERROR(VerifiedBody(file, authority.signing_key).status());
  v1::Roster content;
  // The whole file, whose first line is a comment to YAML: so the line numbers are the reader's.
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(file, kFileName, content));
  CHORALE_RETURN_IF_ERROR(config::Locate(ValidateRoster(content), file, kFileName));
  if (content.federation() != authority.federation) {
    return InvalidArgument("roster: it is of federation '" + content.federation() +
                           "', the root certificate of '" + authority.federation + "'");
  }
  Roster roster;
  roster.federation_ = content.federation();
  roster.version_ = content.version();
  roster.root_ = std::make_shared<const crypto::Certificate>(root);
  for (const v1::RosterEntry& member : content.members()) {
    if (member.role() == v1::PARTY_ROLE_SITE) roster.sites_.emplace(SiteId(member.name()), member);
    roster.members_.emplace(std::pair(static_cast<int>(member.role()), member.name()), member);
  }
  return roster;
}

StatusOr<Party> Roster::Authenticate(const crypto::Certificate& certificate, Time now) const {
  CHORALE_RETURN_IF_ERROR(certificate.VerifyIssuedBy(*root_, now));
  CHORALE_ASSIGN_OR_RETURN(Party party, PartyOf(certificate));
  const std::string who = Describe(party.role, party.name);
  if (party.federation != federation_) {
    return Unauthenticated(who + " is of federation '" + party.federation + "', this roster of '" +
                           federation_ + "'");
  }
  const std::string version = "roster version " + std::to_string(version_);
  const auto found = members_.find(std::pair(static_cast<int>(party.role), party.name));
  if (found == members_.end()) {
    return Unauthenticated("unknown " + who + ": not on " + version +
                           "; ask the federation authority for a newer roster");
  }
  const v1::RosterEntry& entry = found->second;
  if (entry.has_revoked_at()) {
    return Unauthenticated("certificate of " + who + " was revoked on " +
                           FormatTimestamp(entry.revoked_at()) + ": " + entry.revocation_reason());
  }
  if (entry.serial() != certificate.serial()) {
    return Unauthenticated(
        "certificate of " + who + " (serial " + certificate.serial() +
        ") was replaced by a newer one: " + version + " lists serial " + entry.serial() +
        "; use the newest certificate, and the newest roster at the coordinator");
  }
  return party;
}

std::uint64_t Roster::version() const { return version_; }
const std::string& Roster::federation() const { return federation_; }

}  // namespace chorale::identity
