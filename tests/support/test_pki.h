#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "chorale/v1/identity.pb.h"
#include "core/rpc/tls.h"
#include "core/time.h"
#include "identity/authority.h"
#include "identity/identity.h"
#include "tests/support/temporary_directory.h"

namespace chorale::support {

// A throw-away federation: an authority in a temporary directory, and parties enrolled the way real
// ones are, with keys of their own. Every certificate is real and fits the machine's clock, since
// TLS handshakes look at it. Coordinators are named localhost and 127.0.0.1. A step that fails ends
// the test program with its message.
class TestPki {
 public:
  // The authority is two months old, so that it can have issued certificates that ran out since.
  explicit TestPki(std::string_view federation = "choir");

  // Enrols a party, valid for a year from an hour ago, and returns its identity directory, which
  // identity::Identity::Load accepts. Enrolling a name again renews its certificate.
  std::filesystem::path Enrol(v1::PartyRole role, std::string_view name);
  // The same for a certificate that ran out a month ago. Identity::Load refuses it unless told that
  // time: see LoadAt.
  std::filesystem::path EnrolExpired(v1::PartyRole role, std::string_view name);
  // Withdraws the party's certificate: the roster says so.
  void Revoke(v1::PartyRole role, std::string_view name, std::string_view reason);

  // Where Enrol put, or will put, a party.
  [[nodiscard]] std::filesystem::path DirectoryOf(v1::PartyRole role, std::string_view name) const;
  // Enrols unless done, then loads.
  [[nodiscard]] identity::Identity Load(v1::PartyRole role, std::string_view name);
  // EnrolExpired, then loads as of a time when it was valid.
  [[nodiscard]] identity::Identity LoadExpired(v1::PartyRole role, std::string_view name);

  [[nodiscard]] identity::Authority& authority() { return authority_; }
  [[nodiscard]] std::filesystem::path authority_directory() const;
  [[nodiscard]] std::filesystem::path roster_path() const { return authority_.roster_path(); }

 private:
  void EnrolAt(v1::PartyRole role, std::string_view name, Duration validity, Time when);

  TemporaryDirectory directory_{Medium::kMemory};
  Time now_;
  identity::Authority authority_;
};

// What core/rpc takes. `identity` must outlive the result.
[[nodiscard]] rpc::TlsIdentity TlsOf(const identity::Identity& identity);

}  // namespace chorale::support
