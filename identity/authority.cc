#include "identity/authority.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/crypto/random.h"
#include "core/ids.h"
#include "core/storage/file.h"
#include "identity/authority_store.h"
#include "identity/enrolment.h"
#include "identity/enrolment_messages.h"
#include "identity/key_files.h"
#include "identity/party.h"
#include "identity/roster.h"

namespace chorale::identity {
namespace {

constexpr char kDatabaseFile[] = "authority.db";
constexpr char kRosterFile[] = "roster.yaml";
constexpr Duration kRootValidity = std::chrono::years(10);
// A party's clock may run a little behind the authority's.
constexpr Duration kBackdating = std::chrono::minutes(5);
constexpr Duration kShortestValidity = std::chrono::seconds(1);
constexpr Duration kLongestTokenValidity = std::chrono::days(365);
constexpr Duration kLongestCertificateValidity = kRootValidity;
constexpr std::size_t kMostNames = 16;

// "site 'north'".
std::string Describe(v1::PartyRole role, std::string_view name) {
  return RoleName(role) + " '" + std::string(name) + "'";
}

Status CheckValidity(std::string_view field, Duration validity, Duration longest) {
  if (validity >= kShortestValidity && validity <= longest) return OkStatus();
  return InvalidArgument("invitation." + std::string(field) + " must be in [" +
                         FormatDuration(kShortestValidity) + ", " + FormatDuration(longest) +
                         "], got " + FormatDuration(validity));
}

Status CheckRole(v1::PartyRole role) {
  if (RoleName(role) != RoleName(v1::PARTY_ROLE_UNSPECIFIED)) return OkStatus();
  return InvalidArgument("the role must be site, coordinator or researcher");
}

Status CheckServerNames(const Invitation& invitation) {
  const std::size_t num_names = invitation.dns_names.size() + invitation.ip_addresses.size();
  if (invitation.role != v1::PARTY_ROLE_COORDINATOR) {
    if (num_names == 0) return OkStatus();
    return InvalidArgument("only a coordinator has DNS names and IP addresses: " +
                           Describe(invitation.role, invitation.name) +
                           " dials out and is never dialled");
  }
  if (num_names >= 1 && num_names <= kMostNames) return OkStatus();
  return InvalidArgument(
      "a coordinator must have 1 to 16 DNS names and IP addresses, those that sites dial, got " +
      std::to_string(num_names));
}

// What the certificate for `invitation` would say if it were issued at `now` under `root`.
crypto::CertificateFields MakeFields(const StoredInvitation& invitation,
                                     std::vector<std::string> uris, const crypto::Certificate& root,
                                     Time now) {
  return {.common_name = invitation.name,
          .uris = std::move(uris),
          .dns_names = invitation.dns_names,
          .ip_addresses = invitation.ip_addresses,
          .not_before = std::max(now - kBackdating, root.fields().not_before),
          .not_after = std::min(now + invitation.certificate_validity, root.fields().not_after)};
}

Status CheckInvitation(const Invitation& invitation) {
  CHORALE_RETURN_IF_ERROR(CheckRole(invitation.role));
  CHORALE_RETURN_IF_ERROR(ValidateName("invitation.name", invitation.name));
  CHORALE_RETURN_IF_ERROR(CheckServerNames(invitation));
  CHORALE_RETURN_IF_ERROR(
      CheckValidity("token_validity", invitation.token_validity, kLongestTokenValidity));
  return CheckValidity("certificate_validity", invitation.certificate_validity,
                       kLongestCertificateValidity);
}

// PERMISSION_DENIED unless the token may be used at `now`.
Status CheckUsable(const StoredInvitation& invitation, Time now) {
  const std::string who = Describe(invitation.role, invitation.name);
  const std::string token = "token " + invitation.token_id;
  if (invitation.used_at) {
    return PermissionDenied(token + " was already used on " + FormatTime(*invitation.used_at) +
                            " by " + who + " (certificate serial " + invitation.serial +
                            "); if its bundle was lost, invite " + who + " again");
  }
  if (invitation.withdrawn_at) {
    return PermissionDenied(token + " for " + who + " was withdrawn on " +
                            FormatTime(*invitation.withdrawn_at) +
                            ", by a newer invitation or a revocation; use the newest token");
  }
  if (now > invitation.expires_at) {
    return PermissionDenied(token + " for " + who + " expired on " +
                            FormatTime(invitation.expires_at) + "; invite " + who + " again");
  }
  if (invitation.secret) return OkStatus();
  return DataLoss("authority.db holds no secret for " + token + ": restore it from a backup");
}

// The directory is free for a new authority.
Status CheckVacant(const std::filesystem::path& directory) {
  if (Exists(directory / kRootFile)) {
    return AlreadyExists(directory.string() + " already holds a federation authority");
  }
  for (const char* const file : {kRootKeyFile, kSigningKeyFile, kDatabaseFile, kRosterFile}) {
    if (!Exists(directory / file)) continue;
    return FailedPrecondition(
        directory.string() + " holds " + file + " but no " + kRootFile +
        ": an authority that was never finished, or one that lost its root; restore "
        "it, or choose another directory");
  }
  return OkStatus();
}

}  // namespace

struct Authority::State {
  std::filesystem::path directory;
  storage::DirectoryLock lock;
  std::string federation;
  crypto::Certificate root;
  crypto::TlsKey root_key;
  crypto::SigningKey signing_key;
  AuthorityStore store;

  [[nodiscard]] std::filesystem::path roster_path() const { return directory / kRosterFile; }

  // The roster as the database has it, signed. Read back first, so that what is published can be
  // read.
  [[nodiscard]] StatusOr<std::string> RenderRoster() {
    CHORALE_ASSIGN_OR_RETURN(const v1::Roster roster, store.LoadRoster(federation));
    std::string file = Roster::Render(roster, signing_key);
    CHORALE_RETURN_IF_ERROR(Roster::Parse(file, root).status());
    return file;
  }

  // Gives the roster its next version and ends the transaction, then writes the file. A crash in
  // between is mended when the authority is opened next.
  [[nodiscard]] Status CommitWithRoster(storage::Transaction transaction, Time now) {
    CHORALE_RETURN_IF_ERROR(store.AdvanceRoster(now));
    CHORALE_ASSIGN_OR_RETURN(const std::string file, RenderRoster());
    CHORALE_RETURN_IF_ERROR(transaction.Commit());
    CHORALE_RETURN_IF_ERROR(store.EraseRemains());
    return WriteRoster(file);
  }

  [[nodiscard]] Status WriteRoster(const std::string& file) const {
    return storage::WriteFileAtomically(roster_path(), AsBytes(file), storage::FileMode::kPublic);
  }

  // Writes the roster's file unless it is there and current.
  [[nodiscard]] Status RefreshRoster() {
    CHORALE_ASSIGN_OR_RETURN(const std::string file, RenderRoster());
    const StatusOr<std::string> present = storage::ReadFile(roster_path(), file.size());
    if (present.ok() && *present == file) return OkStatus();
    return WriteRoster(file);
  }

  [[nodiscard]] StatusOr<crypto::Certificate> Issue(const StoredInvitation& invitation,
                                                    const v1::EnrolmentRequest& request,
                                                    Time now) const {
    if (now > root.fields().not_after) {
      return FailedPrecondition("the root certificate of federation '" + federation +
                                "' expired on " + FormatTime(root.fields().not_after) +
                                ": it can issue no more certificates");
    }
    const Party party{.federation = federation,
                      .role = invitation.role,
                      .name = invitation.name,
                      .signing_key = SigningKeyOf(request)};
    StatusOr<crypto::Certificate> certificate = crypto::Certificate::Issue(
        root, root_key, AsBytes(request.csr()), MakeFields(invitation, ToUris(party), root, now),
        invitation.role == v1::PARTY_ROLE_COORDINATOR);
    if (certificate.ok()) return certificate;
    return PermissionDenied("keys not proved: " + MessageOf(certificate.status()));
  }
};

Authority::Authority(std::unique_ptr<State> state) : state_(std::move(state)) {}
Authority::Authority(Authority&&) noexcept = default;
Authority& Authority::operator=(Authority&&) noexcept = default;
Authority::~Authority() = default;

Status Authority::Create(const std::filesystem::path& directory, std::string_view federation,
                         Time now) {
  CHORALE_RETURN_IF_ERROR(ValidateName("federation", federation));
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(directory));
  CHORALE_ASSIGN_OR_RETURN(const storage::DirectoryLock lock,
                           storage::DirectoryLock::Acquire(directory));
  CHORALE_RETURN_IF_ERROR(CheckVacant(directory));

  const crypto::TlsKey root_key = crypto::TlsKey::Generate();
  const crypto::SigningKey signing_key = crypto::SigningKey::Generate();
  CHORALE_ASSIGN_OR_RETURN(
      const crypto::Certificate root,
      crypto::Certificate::MakeRoot(root_key,
                                    {.common_name = std::string(federation),
                                     .uris = ToAuthorityUris(federation, signing_key.public_key()),
                                     .dns_names = {},
                                     .ip_addresses = {},
                                     .not_before = now - kBackdating,
                                     .not_after = now + kRootValidity}));
  CHORALE_RETURN_IF_ERROR(SaveTlsKey(directory / kRootKeyFile, root_key));
  CHORALE_RETURN_IF_ERROR(SaveSigningKey(directory / kSigningKeyFile, signing_key));
  CHORALE_ASSIGN_OR_RETURN(AuthorityStore store, AuthorityStore::Open(directory / kDatabaseFile));
  CHORALE_RETURN_IF_ERROR(store.AdvanceRoster(now));
  CHORALE_ASSIGN_OR_RETURN(const v1::Roster roster, store.LoadRoster(federation));
  CHORALE_RETURN_IF_ERROR(storage::WriteFileAtomically(directory / kRosterFile,
                                                       AsBytes(Roster::Render(roster, signing_key)),
                                                       storage::FileMode::kPublic));
  // Last: it says that the authority is whole.
  return SaveCertificate(directory / kRootFile, root);
}

StatusOr<Authority> Authority::Open(const std::filesystem::path& directory) {
  if (!Exists(directory / kRootFile)) {
    return NotFound("no federation authority in " + directory.string() +
                    ": run `chorale federation init`");
  }
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(directory));
  CHORALE_ASSIGN_OR_RETURN(storage::DirectoryLock lock, storage::DirectoryLock::Acquire(directory));
  CHORALE_ASSIGN_OR_RETURN(crypto::Certificate root, LoadCertificate(directory / kRootFile));
  CHORALE_ASSIGN_OR_RETURN(crypto::TlsKey root_key, LoadTlsKey(directory / kRootKeyFile));
  CHORALE_ASSIGN_OR_RETURN(crypto::SigningKey signing_key,
                           LoadSigningKey(directory / kSigningKeyFile));
  if (const Status status = root.VerifyKey(root_key); !status.ok()) {
    return Annotate(status, (directory / kRootKeyFile).string());
  }
  CHORALE_ASSIGN_OR_RETURN(const Party authority, AuthorityOf(root));
  if (authority.signing_key != signing_key.public_key()) {
    return InvalidArgument((directory / kSigningKeyFile).string() +
                           ": not the signing key that the root certificate names");
  }
  CHORALE_ASSIGN_OR_RETURN(AuthorityStore store, AuthorityStore::Open(directory / kDatabaseFile));
  auto state = std::make_unique<State>(State{.directory = directory,
                                             .lock = std::move(lock),
                                             .federation = authority.federation,
                                             .root = std::move(root),
                                             .root_key = std::move(root_key),
                                             .signing_key = std::move(signing_key),
                                             .store = std::move(store)});
  CHORALE_RETURN_IF_ERROR(state->RefreshRoster());
  return Authority(std::move(state));
}

StatusOr<std::string> Authority::Invite(const Invitation& invitation, bool renew, Time now) {
  CHORALE_RETURN_IF_ERROR(CheckInvitation(invitation));
  const std::string who = Describe(invitation.role, invitation.name);
  Token token{.id = {}, .secret = crypto::SecretBytes(kTokenSecretBytes), .root_fingerprint = {}};
  std::array<std::uint8_t, kTokenIdBytes> id;
  crypto::SecureRandom().Fill(id);
  crypto::SecureRandom().Fill(token.secret.MutableReveal());
  token.id = ToHex(id);
  const crypto::Digest& fingerprint = state_->root.fingerprint();
  token.root_fingerprint.assign(fingerprint.begin(), fingerprint.begin() + kTokenFingerprintBytes);

  StoredInvitation stored{.token_id = token.id,
                          .role = invitation.role,
                          .name = invitation.name,
                          .dns_names = invitation.dns_names,
                          .ip_addresses = invitation.ip_addresses,
                          .certificate_validity = invitation.certificate_validity,
                          .created_at = now,
                          .expires_at = now + invitation.token_validity,
                          .secret = crypto::SecretBytes(token.secret.Reveal()),
                          .used_at = std::nullopt,
                          .serial = {},
                          .withdrawn_at = std::nullopt};
  // Bad names are told here, to the one who can mend them, not when the request comes back.
  CHORALE_RETURN_IF_ERROR(crypto::ValidateFields(MakeFields(stored, {}, state_->root, now)));

  AuthorityStore& store = state_->store;
  CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction, store.Begin());
  CHORALE_ASSIGN_OR_RETURN(const std::optional<StoredMember> member,
                           store.FindMember(invitation.role, invitation.name));
  if (member && !member->revoked_at && now <= member->not_after && !renew) {
    return AlreadyExists(who + " is a member in good standing until " +
                         FormatTime(member->not_after) +
                         "; invite with --renew to replace its certificate");
  }
  // Two open tokens for one name would let two parties take turns as that member.
  CHORALE_RETURN_IF_ERROR(store.WithdrawInvitations(invitation.role, invitation.name, now));
  CHORALE_RETURN_IF_ERROR(store.AddInvitation(stored));
  CHORALE_RETURN_IF_ERROR(transaction.Commit());
  CHORALE_RETURN_IF_ERROR(store.EraseRemains());
  return RenderToken(token);
}

StatusOr<std::string> Authority::Sign(std::string_view request_bytes, Time now) {
  CHORALE_ASSIGN_OR_RETURN(const v1::EnrolmentRequest request,
                           DecodeEnrolmentRequest(request_bytes));
  AuthorityStore& store = state_->store;
  CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction, store.Begin());
  CHORALE_ASSIGN_OR_RETURN(const std::optional<StoredInvitation> invitation,
                           store.FindInvitation(request.token_id()));
  if (!invitation) {
    return PermissionDenied("unknown token " + request.token_id() +
                            ": the authority of federation '" + state_->federation +
                            "' did not issue it");
  }
  CHORALE_RETURN_IF_ERROR(CheckUsable(*invitation, now));
  CHORALE_RETURN_IF_ERROR(VerifyTokenProof(request, invitation->secret->Reveal()));
  CHORALE_RETURN_IF_ERROR(VerifyKeyProof(request));
  CHORALE_ASSIGN_OR_RETURN(const crypto::Certificate certificate,
                           state_->Issue(*invitation, request, now));
  CHORALE_RETURN_IF_ERROR(store.RecordCertificate(*invitation, certificate, now));
  CHORALE_RETURN_IF_ERROR(store.MarkUsed(invitation->token_id, certificate.serial(), now));
  CHORALE_RETURN_IF_ERROR(state_->CommitWithRoster(std::move(transaction), now));

  v1::EnrolmentBundle bundle;
  bundle.set_token_id(invitation->token_id);
  bundle.set_certificate(certificate.pem());
  bundle.set_root_certificate(state_->root.pem());
  return bundle.SerializeAsString();
}

Status Authority::Revoke(v1::PartyRole role, std::string_view name, std::string_view reason,
                         Time now) {
  CHORALE_RETURN_IF_ERROR(CheckRole(role));
  CHORALE_RETURN_IF_ERROR(ValidateRevocationReason(reason));
  AuthorityStore& store = state_->store;
  CHORALE_ASSIGN_OR_RETURN(storage::Transaction transaction, store.Begin());
  CHORALE_ASSIGN_OR_RETURN(const std::optional<StoredMember> member, store.FindMember(role, name));
  if (!member) {
    return NotFound(Describe(role, name) + " is no member of federation '" + state_->federation +
                    "'");
  }
  if (member->revoked_at) {
    return AlreadyExists(Describe(role, name) + " was revoked already, on " +
                         FormatTime(*member->revoked_at));
  }
  CHORALE_RETURN_IF_ERROR(store.MarkRevoked(role, name, reason, now));
  // Or a token in the wrong hands would undo the revocation.
  CHORALE_RETURN_IF_ERROR(store.WithdrawInvitations(role, name, now));
  return state_->CommitWithRoster(std::move(transaction), now);
}

StatusOr<v1::Roster> Authority::LoadRoster() const {
  return state_->store.LoadRoster(state_->federation);
}

std::filesystem::path Authority::roster_path() const { return state_->roster_path(); }

}  // namespace chorale::identity
