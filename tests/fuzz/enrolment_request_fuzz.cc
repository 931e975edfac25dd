// What a party hands to the authority, and what the authority hands back.

#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/bytes.h"
#include "identity/enrolment_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace identity = chorale::identity;
  const google::protobuf::LogSilencer silencer;
  const std::string_view input = chorale::AsText({data, size});
  (void)identity::DecodeEnrolmentBundle(input);
  const auto request = identity::DecodeEnrolmentRequest(input);
  if (!request.ok()) return 0;
  const auto again = identity::DecodeEnrolmentRequest(request->SerializeAsString());
  if (!again.ok() || again->csr() != request->csr()) std::abort();
  (void)identity::VerifyKeyProof(*request);
  // The corpus was made with another secret; to find this one's proof is to break HMAC.
  const chorale::Bytes secret(identity::kTokenSecretBytes, 0x77);
  if (identity::VerifyTokenProof(*request, secret).ok()) std::abort();
  return 0;
}
