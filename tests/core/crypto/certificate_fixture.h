#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "core/crypto/certificate.h"

// A root, and certificates that it issues.
namespace chorale::crypto {

inline constexpr Time kNow = Time(std::chrono::sys_days(std::chrono::year(2026) / 11 / 20));
inline constexpr Duration kDay = std::chrono::hours(24);

inline CertificateFields RootFields() {
  return {.common_name = "test federation root",
          .uris = {"chorale://test/authority"},
          .dns_names = {},
          .ip_addresses = {},
          .not_before = kNow - kDay,
          .not_after = kNow + 3650 * kDay};
}

inline CertificateFields MemberFields() {
  return {.common_name = "site north",
          .uris = {"chorale://test/site/north", "chorale-signing-key:abc"},
          .dns_names = {"coordinator.example.org", "localhost"},
          .ip_addresses = {"127.0.0.1", "2001:db8::1"},
          .not_before = kNow - kDay,
          .not_after = kNow + 365 * kDay};
}

class CertificateTest : public testing::Test {
 protected:
  StatusOr<Certificate> IssueWith(const CertificateFields& fields, bool is_server = false) const {
    return Certificate::Issue(root_, root_key_, *MakeSigningRequest(member_key_), fields,
                              is_server);
  }
  Certificate Issue() const { return *IssueWith(MemberFields()); }

  TlsKey root_key_ = TlsKey::Generate();
  TlsKey member_key_ = TlsKey::Generate();
  Certificate root_ = *Certificate::MakeRoot(root_key_, RootFields());
};

}  // namespace chorale::crypto
