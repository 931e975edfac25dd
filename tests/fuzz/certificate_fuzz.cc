// Certificates as peers send them: PEM as it comes, anything else as DER in a PEM block.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/bytes.h"
#include "core/crypto/certificate.h"
#include "identity/party.h"

namespace {

using chorale::ByteSpan;
using chorale::Time;
using chorale::crypto::Certificate;

std::string ToPem(ByteSpan der) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string pem = "-----BEGIN CERTIFICATE-----\n";
  for (std::size_t i = 0; i < der.size(); i += 3) {
    const auto byte = [&der, i](std::size_t k) -> unsigned {
      return i + k < der.size() ? der[i + k] : 0;
    };
    const unsigned group = byte(0) << 16 | byte(1) << 8 | byte(2);
    pem += kAlphabet[group >> 18];
    pem += kAlphabet[group >> 12 & 63];
    pem += i + 1 < der.size() ? kAlphabet[group >> 6 & 63] : '=';
    pem += i + 2 < der.size() ? kAlphabet[group & 63] : '=';
    if (i % 48 == 45) pem += '\n';
  }
  return pem + "\n-----END CERTIFICATE-----\n";
}

const Certificate& Root() {
  static const Certificate& root = []() -> const Certificate& {
    const Time now(std::chrono::sys_days(std::chrono::year(2026) / 11 / 20));
    return *new Certificate(*Certificate::MakeRoot(chorale::crypto::TlsKey::Generate(),
                                                   {.common_name = "fuzz",
                                                    .uris = {},
                                                    .dns_names = {},
                                                    .ip_addresses = {},
                                                    .not_before = now,
                                                    .not_after = now + std::chrono::hours(24)}));
  }();
  return root;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteSpan input(data, size);
  const std::string_view text = chorale::AsText(input);
  const auto certificate =
      Certificate::FromPem(text.find("-----BEGIN") != text.npos ? std::string(text) : ToPem(input));
  if (!certificate.ok()) return 0;
  // What is accepted has one spelling, and nobody but the root vouches for it.
  const auto again = Certificate::FromPem(certificate->pem());
  if (!again.ok() || again->fingerprint() != certificate->fingerprint()) std::abort();
  if (certificate->common_name().empty() || certificate->serial().empty()) std::abort();
  if (certificate->VerifyIssuedBy(Root(), certificate->fields().not_before).ok()) std::abort();
  (void)chorale::identity::PartyOf(*certificate);
  (void)chorale::identity::AuthorityOf(*certificate);
  return 0;
}
