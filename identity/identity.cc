#include "identity/identity.h"

#include <utility>

#include "identity/key_files.h"

namespace chorale::identity {
namespace {

// Every file, or NOT_FOUND with what to do about it.
Status CheckComplete(const std::filesystem::path& directory) {
  for (const char* const file : {kCertificateFile, kTlsKeyFile, kSigningKeyFile, kRootFile}) {
    if (Exists(directory / file)) continue;
    return NotFound(
        "no enrolment in " + directory.string() + " (" + file +
        " is missing): run `chorale site enrol` (or coordinator, or researcher) with a token "
        "from the federation authority");
  }
  return OkStatus();
}

}  // namespace

Identity::Identity(Party party, crypto::Certificate certificate, crypto::Certificate root,
                   crypto::SigningKey signing_key, crypto::SecretBytes tls_key_pem)
    : party_(std::move(party)),
      certificate_(std::move(certificate)),
      root_(std::move(root)),
      signing_key_(std::move(signing_key)),
      tls_key_pem_(std::move(tls_key_pem)) {}

StatusOr<Identity> Identity::Load(const std::filesystem::path& directory, Time now) {
  CHORALE_RETURN_IF_ERROR(CheckComplete(directory));
  CHORALE_ASSIGN_OR_RETURN(crypto::Certificate root, LoadCertificate(directory / kRootFile));
  CHORALE_ASSIGN_OR_RETURN(crypto::Certificate certificate,
                           LoadCertificate(directory / kCertificateFile));
  CHORALE_ASSIGN_OR_RETURN(const crypto::TlsKey tls_key, LoadTlsKey(directory / kTlsKeyFile));
  CHORALE_ASSIGN_OR_RETURN(crypto::SigningKey signing_key,
                           LoadSigningKey(directory / kSigningKeyFile));

  CHORALE_RETURN_IF_ERROR(certificate.VerifyIssuedBy(root, now));
  CHORALE_ASSIGN_OR_RETURN(const Party authority, AuthorityOf(root));
  CHORALE_ASSIGN_OR_RETURN(Party party, PartyOf(certificate));
  if (party.federation != authority.federation) {
    return Unauthenticated("certificate of federation '" + party.federation +
                           "' with the root of federation '" + authority.federation + "'");
  }
  static constexpr std::string_view kAdvice =
      "; if an enrolment was interrupted, complete it again with the same bundle";
  if (const Status status = certificate.VerifyKey(tls_key); !status.ok()) {
    return InvalidArgument((directory / kTlsKeyFile).string() + ": " + MessageOf(status) +
                           std::string(kAdvice));
  }
  if (party.signing_key != signing_key.public_key()) {
    return InvalidArgument((directory / kSigningKeyFile).string() +
                           ": not the signing key that the certificate names" +
                           std::string(kAdvice));
  }
  return Identity(std::move(party), std::move(certificate), std::move(root), std::move(signing_key),
                  tls_key.ToPem());
}

}  // namespace chorale::identity
