#include "identity/enrolment.h"

#include <algorithm>
#include <array>
#include <optional>
#include <system_error>
#include <utility>

#include "core/crypto/digest.h"
#include "core/storage/file.h"
#include "identity/enrolment_messages.h"
#include "identity/identity.h"
#include "identity/key_files.h"

namespace chorale::identity {
namespace {

constexpr std::string_view kTokenPrefix = "chorale-";
constexpr std::string_view kTokenDomain = "chorale/v1/token";
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kTokenBodyBytes = kTokenIdBytes + kTokenSecretBytes + kTokenFingerprintBytes;
constexpr char kPendingDirectory[] = "pending";

std::array<std::uint8_t, kChecksumBytes> Checksum(ByteSpan body) {
  crypto::Sha256Hasher hasher;
  hasher.Update(AsBytes(kTokenDomain));
  hasher.Update(body);
  const crypto::Digest digest = std::move(hasher).Finish();
  std::array<std::uint8_t, kChecksumBytes> checksum;
  std::copy_n(digest.begin(), checksum.size(), checksum.begin());
  return checksum;
}

std::string_view Trimmed(std::string_view text) {
  static constexpr std::string_view kWhitespace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kWhitespace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhitespace) - first + 1);
}

struct PendingKeys {
  crypto::TlsKey tls;
  crypto::SigningKey signing;
};

StatusOr<PendingKeys> LoadPendingKeys(const std::filesystem::path& pending) {
  CHORALE_ASSIGN_OR_RETURN(crypto::TlsKey tls, LoadTlsKey(pending / kTlsKeyFile));
  CHORALE_ASSIGN_OR_RETURN(crypto::SigningKey signing, LoadSigningKey(pending / kSigningKeyFile));
  return PendingKeys{.tls = std::move(tls), .signing = std::move(signing)};
}

// Keys that are there already are kept: a request that was sent earlier stays good.
StatusOr<PendingKeys> MakePendingKeys(const std::filesystem::path& pending) {
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(pending));
  if (!Exists(pending / kTlsKeyFile)) {
    CHORALE_RETURN_IF_ERROR(SaveTlsKey(pending / kTlsKeyFile, crypto::TlsKey::Generate()));
  }
  if (!Exists(pending / kSigningKeyFile)) {
    CHORALE_RETURN_IF_ERROR(
        SaveSigningKey(pending / kSigningKeyFile, crypto::SigningKey::Generate()));
  }
  return LoadPendingKeys(pending);
}

// The identity of the directory, whether or not it is still valid; nothing when there is none that
// is whole.
std::optional<Identity> FindIdentity(const std::filesystem::path& directory) {
  const StatusOr<crypto::Certificate> certificate = LoadCertificate(directory / kCertificateFile);
  if (!certificate.ok()) return std::nullopt;
  StatusOr<Identity> identity = Identity::Load(directory, certificate->fields().not_before);
  if (!identity.ok()) return std::nullopt;
  return *std::move(identity);
}

Status CheckBundle(const Bundle& bundle, const Token& token, Time now) {
  if (bundle.token_id != token.id) {
    return InvalidArgument("the bundle answers token " + bundle.token_id + ", not this token " +
                           token.id);
  }
  if (token.root_fingerprint.size() != kTokenFingerprintBytes ||
      !crypto::ConstantTimeEqual(ByteSpan(bundle.root.fingerprint()).first(kTokenFingerprintBytes),
                                 token.root_fingerprint)) {
    return Unauthenticated(
        "the bundle's root certificate is not the one that the token names: it does not come from "
        "the "
        "authority that issued the token");
  }
  CHORALE_RETURN_IF_ERROR(bundle.certificate.VerifyIssuedBy(bundle.root, now));
  CHORALE_ASSIGN_OR_RETURN(const Party authority, AuthorityOf(bundle.root));
  CHORALE_ASSIGN_OR_RETURN(const Party party, PartyOf(bundle.certificate));
  if (party.federation == authority.federation) return OkStatus();
  return Unauthenticated("the bundle's certificate is of federation '" + party.federation +
                         "', its root of '" + authority.federation + "'");
}

// The certificate goes last: until it is there, Load finds no enrolment or tells to complete it
// again, and the pending keys are still there to do so.
Status MoveIntoPlace(const std::filesystem::path& directory, const Bundle& bundle,
                     const PendingKeys& keys) {
  CHORALE_RETURN_IF_ERROR(SaveCertificate(directory / kRootFile, bundle.root));
  CHORALE_RETURN_IF_ERROR(SaveSigningKey(directory / kSigningKeyFile, keys.signing));
  CHORALE_RETURN_IF_ERROR(SaveTlsKey(directory / kTlsKeyFile, keys.tls));
  CHORALE_RETURN_IF_ERROR(SaveCertificate(directory / kCertificateFile, bundle.certificate));
  std::error_code error;
  std::filesystem::remove_all(directory / kPendingDirectory, error);
  if (!error) return OkStatus();
  return Unavailable("the enrolment is complete, but " + (directory / kPendingDirectory).string() +
                     " could not be removed: " + error.message());
}

}  // namespace

StatusOr<Token> ParseToken(std::string_view text) {
  text = Trimmed(text);
  // Never quotes the text: it holds a secret.
  if (!text.starts_with(kTokenPrefix)) {
    return InvalidArgument("not an enrolment token: it must begin with \"chorale-\"");
  }
  StatusOr<Bytes> decoded = FromBase64Url(text.substr(kTokenPrefix.size()));
  if (!decoded.ok()) {
    return InvalidArgument(
        "the token is mistyped: it has a wrong character or length; copy it again in full");
  }
  const crypto::SecretBytes bytes{ByteSpan(*decoded)};
  crypto::Wipe(*decoded);
  const ByteSpan all = bytes.Reveal();
  if (all.size() != kTokenBodyBytes + kChecksumBytes ||
      !std::ranges::equal(Checksum(all.first(kTokenBodyBytes)), all.subspan(kTokenBodyBytes))) {
    return InvalidArgument(
        "the token is mistyped: its checksum does not fit; copy it again in full");
  }
  const ByteSpan fingerprint =
      all.subspan(kTokenIdBytes + kTokenSecretBytes, kTokenFingerprintBytes);
  return Token{.id = ToHex(all.first(kTokenIdBytes)),
               .secret = crypto::SecretBytes(all.subspan(kTokenIdBytes, kTokenSecretBytes)),
               .root_fingerprint = Bytes(fingerprint.begin(), fingerprint.end())};
}

std::string RenderToken(const Token& token) {
  const StatusOr<Bytes> id = FromHex(token.id);
  crypto::SecretBytes bytes(kTokenBodyBytes + kChecksumBytes);
  const std::span<std::uint8_t> all = bytes.MutableReveal();
  const ByteSpan secret = token.secret.Reveal();
  if (id.ok() && id->size() == kTokenIdBytes && secret.size() == kTokenSecretBytes &&
      token.root_fingerprint.size() == kTokenFingerprintBytes) {
    std::ranges::copy(*id, all.begin());
    std::ranges::copy(secret, all.begin() + kTokenIdBytes);
    std::ranges::copy(token.root_fingerprint, all.begin() + kTokenIdBytes + kTokenSecretBytes);
  }
  std::ranges::copy(Checksum(all.first(kTokenBodyBytes)), all.begin() + kTokenBodyBytes);
  return std::string(kTokenPrefix) + ToBase64Url(all);
}

StatusOr<std::string> RequestEnrolment(const std::filesystem::path& directory, const Token& token,
                                       bool renew) {
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(directory));
  if (const std::optional<Identity> identity = FindIdentity(directory); identity && !renew) {
    return FailedPrecondition(directory.string() + " already holds the identity of " +
                              RoleName(identity->party().role) + " '" + identity->party().name +
                              "', valid until " +
                              FormatTime(identity->certificate().fields().not_after) +
                              "; renew it with --renew, or choose another directory");
  }
  CHORALE_ASSIGN_OR_RETURN(const PendingKeys keys, MakePendingKeys(directory / kPendingDirectory));
  CHORALE_ASSIGN_OR_RETURN(const v1::EnrolmentRequest request,
                           MakeEnrolmentRequest(token, keys.tls, keys.signing));
  return request.SerializeAsString();
}

Status CompleteEnrolment(const std::filesystem::path& directory, const Token& token,
                         std::string_view bundle_bytes, Time now) {
  CHORALE_ASSIGN_OR_RETURN(const Bundle bundle, DecodeEnrolmentBundle(bundle_bytes));
  CHORALE_RETURN_IF_ERROR(CheckBundle(bundle, token, now));
  const std::filesystem::path pending = directory / kPendingDirectory;
  if (!Exists(pending / kTlsKeyFile) || !Exists(pending / kSigningKeyFile)) {
    const std::optional<Identity> identity = FindIdentity(directory);
    // Completed before, and the answer was lost: nothing is left to do.
    if (identity && identity->certificate().fingerprint() == bundle.certificate.fingerprint()) {
      return OkStatus();
    }
    return FailedPrecondition("no enrolment is pending in " + directory.string() +
                              ": make a request there first, with the same token");
  }
  CHORALE_ASSIGN_OR_RETURN(const PendingKeys keys, LoadPendingKeys(pending));
  if (const Status status = bundle.certificate.VerifyKey(keys.tls); !status.ok()) {
    return InvalidArgument("the bundle was not made for the request of " + directory.string() +
                           ": " + MessageOf(status));
  }
  CHORALE_ASSIGN_OR_RETURN(const Party party, PartyOf(bundle.certificate));
  if (party.signing_key != keys.signing.public_key()) {
    return InvalidArgument("the bundle was not made for the request of " + directory.string() +
                           ": its certificate names another signing key");
  }
  return MoveIntoPlace(directory, bundle, keys);
}

}  // namespace chorale::identity
