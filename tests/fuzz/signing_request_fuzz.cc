// PKCS#10 as a party sends it.

#include <chrono>
#include <cstdint>
#include <cstdlib>

#include "core/bytes.h"
#include "core/crypto/certificate.h"

namespace {

using chorale::Time;
using chorale::crypto::Certificate;
using chorale::crypto::CertificateFields;
using chorale::crypto::TlsKey;

constexpr Time kNow(std::chrono::sys_days(std::chrono::year(2026) / 11 / 20));

CertificateFields Fields() {
  return {.common_name = "fuzz",
          .uris = {"chorale://fuzz/site/fuzz"},
          .dns_names = {},
          .ip_addresses = {},
          .not_before = kNow,
          .not_after = kNow + std::chrono::hours(24)};
}

struct Issuer {
  TlsKey key = TlsKey::Generate();
  Certificate root = *Certificate::MakeRoot(key, Fields());
};

const Issuer& TheIssuer() {
  static const Issuer& issuer = *new Issuer();
  return issuer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Issuer& issuer = TheIssuer();
  const auto issued = Certificate::Issue(issuer.root, issuer.key, {data, size}, Fields(), false);
  if (!issued.ok()) return 0;
  // The request gives the key and nothing else.
  if (!issued->VerifyIssuedBy(issuer.root, kNow).ok()) std::abort();
  if (issued->common_name() != "fuzz" || issued->fields().uris != Fields().uris) std::abort();
  return 0;
}
