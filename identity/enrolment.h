#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/identity.pb.h"
#include "core/bytes.h"
#include "core/crypto/secret_bytes.h"
#include "core/status.h"
#include "core/time.h"

// The party's half of enrolment. Keys are made in the party's own directory; a request and a bundle
// travel as files.
//   authority: invite → token   party: RequestEnrolment(token) → request   authority: sign(request)
//   → bundle party: CompleteEnrolment(bundle)
namespace chorale::identity {

// "chorale-" then base64url of: token id (8 bytes), secret (16), root fingerprint's first 16 bytes,
// checksum (4).
struct Token {
  std::string id;              // Hexadecimal of the 8 bytes.
  crypto::SecretBytes secret;  // 16 bytes.
  Bytes root_fingerprint;      // First 16 bytes of the root certificate's SHA-256.
};
// INVALID_ARGUMENT for a mistyped token (the checksum tells).
[[nodiscard]] StatusOr<Token> ParseToken(std::string_view text);
[[nodiscard]] std::string RenderToken(const Token& token);

// Makes both keys under <directory>/pending (mode 0600) unless they are there already, and returns
// the request's bytes. FAILED_PRECONDITION when the directory already holds a valid identity,
// unless `renew`.
[[nodiscard]] StatusOr<std::string> RequestEnrolment(const std::filesystem::path& directory,
                                                     const Token& token, bool renew);

// Checks the bundle against the pending keys and the token's root fingerprint and moves the
// identity into place. Safe to repeat with the same bundle, after a crash too. INVALID_ARGUMENT:
// not a bundle, or one for another token or request. UNAUTHENTICATED: of another root than the
// token's, or outside its validity. FAILED_PRECONDITION: nothing is pending.
[[nodiscard]] Status CompleteEnrolment(const std::filesystem::path& directory, const Token& token,
                                       std::string_view bundle, Time now);

}  // namespace chorale::identity
