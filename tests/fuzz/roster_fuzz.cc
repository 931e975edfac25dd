// A roster: the content below a good signature, and the whole file.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/bytes.h"
#include "core/crypto/certificate.h"
#include "core/crypto/signature.h"
#include "core/ids.h"
#include "identity/party.h"
#include "identity/roster.h"

namespace {

using chorale::Time;
using chorale::crypto::Certificate;
using chorale::crypto::SigningKey;
using chorale::crypto::TlsKey;

struct Authority {
  SigningKey signing_key = SigningKey::Generate();
  Certificate root = MakeRoot(signing_key);

  static Certificate MakeRoot(const SigningKey& key) {
    const Time now(std::chrono::sys_days(std::chrono::year(2026) / 11 / 20));
    return *Certificate::MakeRoot(TlsKey::Generate(), {.common_name = "test-federation",
                                                       .uris = chorale::identity::ToAuthorityUris(
                                                           "test-federation", key.public_key()),
                                                       .dns_names = {},
                                                       .ip_addresses = {},
                                                       .not_before = now,
                                                       .not_after = now + std::chrono::hours(24)});
  }
};

const Authority& TheAuthority() {
  static const Authority& authority = *new Authority();
  return authority;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using chorale::identity::Roster;
  const Authority& authority = TheAuthority();
  const std::string body = chorale::ToString({data, size});
  if (Roster::Parse(body, authority.root).ok()) std::abort();  // Nobody signed it.

  const auto signature = authority.signing_key.Sign("chorale/v1/roster", chorale::AsBytes(body));
  const auto roster = Roster::Parse(
      "# chorale-roster-signature: " + chorale::ToHex(signature) + "\n" + body, authority.root);
  if (!roster.ok()) return 0;
  if (roster->version() == 0 || roster->federation() != "test-federation") std::abort();
  for (const auto& [site, entry] : roster->sites()) {
    if (!chorale::IsValidName(site.value()) || entry.name() != site.value()) std::abort();
  }
  return 0;
}
