#pragma once

#include <filesystem>
#include <string>

#include "core/crypto/certificate.h"
#include "core/crypto/signature.h"
#include "core/status.h"
#include "core/time.h"
#include "identity/party.h"

namespace chorale::identity {

// What a party holds after enrolment: <directory>/{certificate.pem, tls.key, signing.key,
// root.pem}. Private keys have mode 0600 and never leave the directory.
class Identity {
 public:
  // NOT_FOUND: no enrolment yet, with the command to run. PERMISSION_DENIED: a key file open to
  // other users. UNAUTHENTICATED: the certificate is not of this root, or outside its validity,
  // with the dates. INVALID_ARGUMENT: key and certificate do not belong together.
  [[nodiscard]] static StatusOr<Identity> Load(const std::filesystem::path& directory, Time now);

  [[nodiscard]] const Party& party() const { return party_; }
  [[nodiscard]] const crypto::Certificate& certificate() const { return certificate_; }
  [[nodiscard]] const crypto::Certificate& root() const { return root_; }
  [[nodiscard]] const crypto::SigningKey& signing_key() const { return signing_key_; }
  [[nodiscard]] const crypto::SecretBytes& tls_key_pem() const { return tls_key_pem_; }

 private:
  Identity(Party party, crypto::Certificate certificate, crypto::Certificate root,
           crypto::SigningKey signing_key, crypto::SecretBytes tls_key_pem);
  Party party_;
  crypto::Certificate certificate_;
  crypto::Certificate root_;
  crypto::SigningKey signing_key_;
  crypto::SecretBytes tls_key_pem_;
};

}  // namespace chorale::identity
