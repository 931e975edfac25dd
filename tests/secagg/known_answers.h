#pragma once

#include <algorithm>
#include <string_view>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/crypto/key_agreement.h"
#include "core/crypto/secret_bytes.h"

// One session of two members, 3 and 7, in round 5, with the key pairs of RFC 7748, section 6.1. The
// values that tests expect of it come from an implementation of the protocol in another language.
namespace chorale::secagg {

inline Bytes Hex(std::string_view text) { return *FromHex(text); }

inline crypto::Digest DigestOf(std::string_view hex) { return *crypto::DigestFromBytes(Hex(hex)); }

inline crypto::Digest Filled(std::uint8_t byte) {
  crypto::Digest digest;
  digest.fill(byte);
  return digest;
}

// first, first + 1, ...
inline crypto::SecretBytes Counting(std::uint8_t first, std::size_t size) {
  crypto::SecretBytes bytes(size);
  for (std::uint8_t& byte : bytes.MutableReveal()) byte = first++;
  return bytes;
}

inline crypto::X25519PrivateKey PrivateKey(std::string_view hex) {
  return *crypto::X25519PrivateKey::FromBytes(Hex(hex));
}

inline crypto::X25519PrivateKey Alice() {
  return PrivateKey("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
}
inline crypto::X25519PrivateKey Bob() {
  return PrivateKey("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
}

inline constexpr std::uint32_t kAliceIndex = 3;
inline constexpr std::uint32_t kBobIndex = 7;
inline constexpr std::uint64_t kKnownRound = 5;
inline constexpr std::string_view kKnownSession =
    "1902639e7f8390e1709a3fc9402d96b33b3ed9c2b752478aa624934a08990cf2";
inline constexpr std::string_view kKnownContext =
    "62020e2e2d52ff3969a1f1e91200ae96ec0763628f517640696aacc8c60cc95b";
inline constexpr std::string_view kKnownPairKey =
    "b0771b54c6722a3565c9e9ca6c8b9352a266f25db48bcbf67d8823a033432e0c";
inline constexpr std::string_view kKnownPairMaskKey = "6f4bae387e2fdbb8fb016f740111c63e";
inline constexpr std::string_view kKnownSelfMaskKey = "7cb69a76fffa94f9233f9047e9d6bc5b";

}  // namespace chorale::secagg
