#include "core/crypto/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <set>
#include <string>

#include "tests/core/crypto/certificate_fixture.h"

namespace chorale::crypto {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

// What OpenSSL itself sees in a certificate.
std::string Describe(const Certificate& certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> input(
      BIO_new_mem_buf(certificate.pem().data(), static_cast<int>(certificate.pem().size())),
      BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> x509(
      PEM_read_bio_X509(input.get(), nullptr, nullptr, nullptr), X509_free);
  const std::unique_ptr<BIO, decltype(&BIO_free)> output(BIO_new(BIO_s_mem()), BIO_free);
  X509_print(output.get(), x509.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(output.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

TEST_F(CertificateTest, RootMayIssueOnlyEndEntities) {
  const std::string text = Describe(root_);

  EXPECT_THAT(text, HasSubstr("Version: 3"));
  EXPECT_THAT(text,
              HasSubstr("X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0"));
  EXPECT_THAT(text,
              HasSubstr("X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign"));
  EXPECT_THAT(text, HasSubstr("X509v3 Subject Key Identifier"));
  EXPECT_THAT(text, HasSubstr("Signature Algorithm: ecdsa-with-SHA256"));
  EXPECT_THAT(text, HasSubstr("prime256v1"));
}

TEST_F(CertificateTest, SiteMayOnlyBeAClient) {
  const std::string text = Describe(Issue());

  EXPECT_THAT(text, HasSubstr("X509v3 Basic Constraints: critical\n                CA:FALSE"));
  EXPECT_THAT(text, HasSubstr("X509v3 Key Usage: critical\n                Digital Signature\n"));
  EXPECT_THAT(
      text,
      HasSubstr("X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n"));
  EXPECT_THAT(text, Not(HasSubstr("TLS Web Server Authentication")));
  EXPECT_THAT(text, HasSubstr("X509v3 Subject Key Identifier"));
  EXPECT_THAT(text, HasSubstr("X509v3 Authority Key Identifier"));
}

TEST_F(CertificateTest, ServerMayBeBoth) {
  const StatusOr<Certificate> server = IssueWith(MemberFields(), /*is_server=*/true);

  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT(Describe(*server),
              HasSubstr("TLS Web Client Authentication, TLS Web Server Authentication"));
}

TEST_F(CertificateTest, KeepsItsFields) {
  const Certificate certificate = Issue();

  const CertificateFields expected = MemberFields();
  EXPECT_EQ(certificate.common_name(), "site north");
  EXPECT_THAT(certificate.fields().uris, ElementsAreArray(expected.uris));
  EXPECT_THAT(certificate.fields().dns_names, ElementsAreArray(expected.dns_names));
  EXPECT_THAT(certificate.fields().ip_addresses, ElementsAreArray(expected.ip_addresses));
  EXPECT_EQ(certificate.fields().not_before, expected.not_before);
  EXPECT_EQ(certificate.fields().not_after, expected.not_after);
}

TEST_F(CertificateTest, ComesBackFromItsPem) {
  const Certificate certificate = Issue();

  const StatusOr<Certificate> again = Certificate::FromPem("\n " + certificate.pem() + "\r\n");

  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->pem(), certificate.pem());
  EXPECT_EQ(again->serial(), certificate.serial());
  EXPECT_EQ(again->fingerprint(), certificate.fingerprint());
  EXPECT_EQ(again->common_name(), certificate.common_name());
}

TEST_F(CertificateTest, HasASerialOf16BytesThatNeverRepeats) {
  std::set<std::string> serials;
  for (int i = 0; i < 50; ++i) {
    const Certificate certificate = Issue();
    EXPECT_THAT(certificate.serial(), MatchesRegex("[4-7][0-9a-f]{31}"));
    serials.insert(certificate.serial());
  }

  EXPECT_EQ(serials.size(), 50u);
}

TEST_F(CertificateTest, LastsUpToTheYear9999AndIsCutToSeconds) {
  CertificateFields root_fields = RootFields();
  root_fields.not_before = Time(std::chrono::sys_days(std::chrono::year(1970) / 1 / 1));
  root_fields.not_after = Time(std::chrono::sys_days(std::chrono::year(9999) / 12 / 31)) + kDay -
                          std::chrono::seconds(1) + std::chrono::microseconds(7);

  const StatusOr<Certificate> root = Certificate::MakeRoot(root_key_, root_fields);

  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ(FormatTime(root->fields().not_before), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatTime(root->fields().not_after), "9999-12-31T23:59:59.000Z");
}

TEST_F(CertificateTest, VerifiesAgainstItsRootWithinItsValidity) {
  const Certificate certificate = Issue();

  EXPECT_TRUE(certificate.VerifyIssuedBy(root_, kNow).ok());
  EXPECT_TRUE(certificate.VerifyIssuedBy(root_, certificate.fields().not_before).ok());
  EXPECT_TRUE(certificate.VerifyIssuedBy(root_, certificate.fields().not_after).ok());
}

TEST_F(CertificateTest, SaysWhenItExpired) {
  const Certificate certificate = Issue();

  const Status status = certificate.VerifyIssuedBy(root_, kNow + 366 * kDay);

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(
      MessageOf(status),
      "certificate 'site north' expired on 2027-11-20T00:00:00.000Z; this machine's clock says "
      "2027-11-21T00:00:00.000Z");
}

TEST_F(CertificateTest, SaysFromWhenItIsValid) {
  const Status status = Issue().VerifyIssuedBy(root_, kNow - 2 * kDay);

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(MessageOf(status),
            "certificate 'site north' is not valid before 2026-11-19T00:00:00.000Z; this machine's "
            "clock says 2026-11-18T00:00:00.000Z");
}

TEST_F(CertificateTest, SaysThatAnotherRootIssuedIt) {
  // Same names, other key: what an impostor would make.
  const TlsKey other_key = TlsKey::Generate();
  const Certificate other_root = *Certificate::MakeRoot(other_key, RootFields());

  const Status status = Issue().VerifyIssuedBy(other_root, kNow);

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(
      MessageOf(status),
      HasSubstr("certificate 'site north' was not issued by the root 'test federation root'"));
}

TEST_F(CertificateTest, AsksAgainForAnotherRootOrTime) {
  const TlsKey other_key = TlsKey::Generate();
  const Certificate other_root = *Certificate::MakeRoot(other_key, RootFields());
  const Certificate certificate = Issue();
  ASSERT_TRUE(certificate.VerifyIssuedBy(root_, kNow).ok());

  EXPECT_FALSE(certificate.VerifyIssuedBy(other_root, kNow).ok());
  EXPECT_TRUE(certificate.VerifyIssuedBy(root_, kNow).ok());
  EXPECT_FALSE(certificate.VerifyIssuedBy(root_, kNow + 366 * kDay).ok());
}

TEST_F(CertificateTest, RefusesARootAsAMember) {
  const Status status = root_.VerifyIssuedBy(root_, kNow);

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(status), HasSubstr("it is an issuer's certificate, not a member's"));
}

TEST_F(CertificateTest, RefusesAMemberAsARoot) {
  const Certificate member = Issue();
  const StatusOr<Certificate> grandchild = Certificate::Issue(
      member, member_key_, *MakeSigningRequest(TlsKey::Generate()), MemberFields(), false);
  ASSERT_TRUE(grandchild.ok()) << grandchild.status();

  EXPECT_EQ(grandchild->VerifyIssuedBy(member, kNow).code(), StatusCode::kUnauthenticated);
  EXPECT_EQ(grandchild->VerifyIssuedBy(root_, kNow).code(), StatusCode::kUnauthenticated);
}

TEST_F(CertificateTest, RefusesAChangedSignature) {
  const Certificate certificate = Issue();
  std::string pem = certificate.pem();
  // The last base64 characters before the end marker are the signature's.
  const std::size_t at = pem.find("-----END") - 12;
  pem[at] = pem[at] == 'A' ? 'B' : 'A';

  const StatusOr<Certificate> changed = Certificate::FromPem(pem);

  if (changed.ok()) {  // Otherwise the change broke the encoding, which is as good.
    EXPECT_EQ(changed->VerifyIssuedBy(root_, kNow).code(), StatusCode::kUnauthenticated);
  }
}

TEST_F(CertificateTest, KnowsItsOwnKey) {
  const Certificate certificate = Issue();

  EXPECT_TRUE(certificate.VerifyKey(member_key_).ok());
  const Status status = certificate.VerifyKey(root_key_);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status),
            "the private key does not belong to certificate 'site north' (serial " +
                certificate.serial() + ")");
}

TEST_F(CertificateTest, IsIssuedByTheRootsOwnKeyOnly) {
  const StatusOr<Certificate> issued = Certificate::Issue(
      root_, member_key_, *MakeSigningRequest(member_key_), MemberFields(), false);

  EXPECT_EQ(issued.status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::crypto
