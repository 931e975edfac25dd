#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/identity.pb.h"
#include "core/crypto/certificate.h"
#include "core/status.h"

// Who a certificate says its holder is. Names travel in the subject alternative name as URIs:
//   chorale://<federation>/site/<name>   (or coordinator/, researcher/)
//   chorale-signing-key:<base64url of the Ed25519 public key>
namespace chorale::identity {

struct Party {
  std::string federation;
  v1::PartyRole role = v1::PARTY_ROLE_UNSPECIFIED;
  std::string name;
  crypto::SigningPublicKey signing_key{};
  friend bool operator==(const Party&, const Party&) = default;
};

// "site", "coordinator", "researcher"; "unspecified" for anything else.
[[nodiscard]] std::string RoleName(v1::PartyRole role);
[[nodiscard]] std::vector<std::string> ToUris(const Party& party);
[[nodiscard]] std::vector<std::string> ToAuthorityUris(std::string_view federation,
                                                       const crypto::SigningPublicKey& signing_key);
// UNAUTHENTICATED unless the certificate carries exactly one name and one signing key of this form.
[[nodiscard]] StatusOr<Party> PartyOf(const crypto::Certificate& certificate);
// The federation's name and the authority's signing key, from the root certificate
// (chorale://<federation>/authority). The role stays unspecified and the name is "authority".
// UNAUTHENTICATED unless of this form.
[[nodiscard]] StatusOr<Party> AuthorityOf(const crypto::Certificate& root);

}  // namespace chorale::identity
