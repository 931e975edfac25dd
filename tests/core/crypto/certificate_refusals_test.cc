#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "core/crypto/certificate.h"
#include "core/random.h"
#include "tests/core/crypto/certificate_fixture.h"

namespace chorale::crypto {
namespace {

using ::testing::HasSubstr;

std::string ReadCorpus(const std::string& name) {
  std::ifstream file(std::filesystem::path(CHORALE_CERTIFICATE_CORPUS) / name, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(CertificateRefusalsTest, NamesWhatACertificateOfTheFederationWouldNotHave) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"rsa_cert.pem", "the key must lie on the named curve P-256"},
      {"ed_cert.pem", "the key must lie on the named curve P-256"},
      {"p384_cert.pem", "the key must lie on the named curve P-256"},
      {"explicit_cert.pem", "the key must lie on the named curve P-256"},
      {"two_names.pem", "the subject must be one common name"},
      {"organisation.pem", "the subject must be one common name"},
      {"control.pem", "the common name is empty or has control characters"},
      {"email.pem", "subject alternative names other than URI, DNS and IP are refused"},
      {"badip.pem", "an IP address has 4 or 16 bytes, got 3"},
      {"nulname.pem", "a subject alternative name is not visible ASCII"},
      {"v1.pem", "X.509 version 3 is expected"},
      {"zero.pem", "the serial must be positive"},
      {"negative.pem", "the serial must be positive"},
  };
  for (const auto& [file, message] : cases) {
    const Status status = Certificate::FromPem(ReadCorpus(file)).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(MessageOf(status), HasSubstr(message)) << file;
  }
}

TEST_F(CertificateTest, RefusesCriticalExtensionsThatNobodyUnderstands) {
  const StatusOr<Certificate> strange = Certificate::FromPem(ReadCorpus("critical.pem"));

  // Parsing may let it pass; trusting it may not.
  if (strange.ok()) {
    EXPECT_EQ(strange->VerifyIssuedBy(root_, kNow).code(), StatusCode::kUnauthenticated);
    EXPECT_EQ(strange->VerifyIssuedBy(*strange, kNow).code(), StatusCode::kUnauthenticated);
  }
}

TEST_F(CertificateTest, RefusesAnythingBesideTheOneBlock) {
  const std::string pem = Issue().pem();
  const auto message = [](const std::string& text) {
    const StatusOr<Certificate> parsed = Certificate::FromPem(text);
    EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument);
    return MessageOf(parsed.status());
  };

  EXPECT_THAT(message(""), HasSubstr("must begin with -----BEGIN CERTIFICATE-----"));
  EXPECT_THAT(message("note\n" + pem), HasSubstr("must begin with -----BEGIN CERTIFICATE-----"));
  EXPECT_THAT(message(pem + pem), HasSubstr("exactly one certificate"));
  EXPECT_THAT(message(pem + "note\n"), HasSubstr("exactly one certificate"));
  EXPECT_THAT(message(pem + std::string(1, '\0')), HasSubstr("exactly one certificate"));
  EXPECT_THAT(message(ToString(TlsKey::Generate().ToPem().Reveal())), HasSubstr("must begin with"));
  EXPECT_THAT(message(pem + std::string(20'000, '\n')), HasSubstr("at most 16384 bytes"));
}

TEST_F(CertificateTest, RefusesEveryTruncation) {
  const std::string pem = Issue().pem();
  for (std::size_t size = 0; size + 1 < pem.size(); ++size) {
    EXPECT_FALSE(Certificate::FromPem(pem.substr(0, size)).ok()) << size;
  }
}

TEST_F(CertificateTest, NeverTrustsAMutation) {
  const Certificate certificate = Issue();
  SeededRandom random(20261120);
  for (int i = 0; i < 2000; ++i) {
    std::string pem = certificate.pem();
    for (std::uint64_t k = 0; k <= random.NextBelow(3); ++k) {
      pem[random.NextBelow(pem.size())] = static_cast<char>(random.NextBelow(256));
    }
    const StatusOr<Certificate> parsed = Certificate::FromPem(pem);

    if (parsed.ok() && parsed->fingerprint() != certificate.fingerprint()) {
      EXPECT_FALSE(parsed->VerifyIssuedBy(root_, kNow).ok()) << pem;
    }
  }
}

TEST_F(CertificateTest, RefusesAMutatedSigningRequest) {
  const Bytes request = *MakeSigningRequest(member_key_);
  SeededRandom random(7);
  for (int i = 0; i < 500; ++i) {
    Bytes changed = request;
    changed[random.NextBelow(changed.size())] ^=
        static_cast<std::uint8_t>(1 + random.NextBelow(255));

    EXPECT_EQ(Certificate::Issue(root_, root_key_, changed, MemberFields(), false).status().code(),
              StatusCode::kInvalidArgument);
  }
}

TEST_F(CertificateTest, RefusesATruncatedExtendedOrEmptySigningRequest) {
  const Bytes request = *MakeSigningRequest(member_key_);
  const auto code = [this](ByteSpan bytes) {
    return Certificate::Issue(root_, root_key_, bytes, MemberFields(), false).status().code();
  };
  Bytes longer = request;
  longer.push_back(0);

  for (std::size_t size = 0; size < request.size(); ++size) {
    EXPECT_EQ(code(ByteSpan(request).first(size)), StatusCode::kInvalidArgument) << size;
  }
  EXPECT_EQ(code(longer), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Bytes(20'000, 0x30)), StatusCode::kInvalidArgument);
}

TEST_F(CertificateTest, NamesTheFieldThatNoCertificateMayCarry) {
  const auto refusal = [this](auto spoil) {
    CertificateFields fields = MemberFields();
    spoil(fields);
    const StatusOr<Certificate> issued = IssueWith(fields);
    EXPECT_EQ(issued.status().code(), StatusCode::kInvalidArgument);
    return MessageOf(issued.status());
  };
  using Fields = CertificateFields;

  EXPECT_THAT(refusal([](Fields& f) { f.common_name = ""; }), HasSubstr("common name"));
  EXPECT_THAT(refusal([](Fields& f) { f.common_name = std::string(65, 'a'); }),
              HasSubstr("65 bytes"));
  EXPECT_THAT(refusal([](Fields& f) { f.common_name = "a\nb"; }), HasSubstr("common name"));
  EXPECT_THAT(refusal([](Fields& f) { f.common_name = "\xff\xfe"; }), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal([](Fields& f) { f.uris = {"has space"}; }), HasSubstr("URI"));
  EXPECT_THAT(refusal([](Fields& f) { f.uris = {""}; }), HasSubstr("URI"));
  EXPECT_THAT(refusal([](Fields& f) { f.dns_names = {"*.example.org"}; }),
              HasSubstr("dns name '*.example.org'"));
  EXPECT_THAT(refusal([](Fields& f) { f.dns_names = {"a..b"}; }), HasSubstr("dns name 'a..b'"));
  EXPECT_THAT(refusal([](Fields& f) { f.dns_names = {""}; }), HasSubstr("1 to 253"));
  EXPECT_THAT(refusal([](Fields& f) { f.dns_names = {"10.0.0.1"}; }), HasSubstr("among the IP"));
  EXPECT_THAT(refusal([](Fields& f) { f.ip_addresses = {"10.0.0"}; }),
              HasSubstr("'10.0.0' is no IPv4 or IPv6 address"));
  EXPECT_THAT(refusal([](Fields& f) { f.not_after = f.not_before; }), HasSubstr("must lie before"));
  EXPECT_THAT(refusal([](Fields& f) { f.not_before = Time(-std::chrono::seconds(1)); }),
              HasSubstr("between the years 1970 and 9999"));
  EXPECT_THAT(refusal([](Fields& f) { f.not_after = kNow + 4000 * kDay; }),
              HasSubstr("within the root's, from 2026-11-19"));
  EXPECT_THAT(refusal([](Fields& f) { f.not_before = kNow - 2 * kDay; }),
              HasSubstr("within the root's"));
}

TEST_F(CertificateTest, RefusesARootBeyondTheYear9999) {
  CertificateFields fields = RootFields();
  fields.not_after = Time(std::chrono::sys_days(std::chrono::year(10000) / 1 / 1));

  EXPECT_THAT(MessageOf(Certificate::MakeRoot(root_key_, fields).status()),
              HasSubstr("between the years 1970 and 9999"));
}

}  // namespace
}  // namespace chorale::crypto
