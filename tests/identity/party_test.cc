#include "identity/party.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "core/bytes.h"

namespace chorale::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kKeyUri = "chorale-signing-key:" + ToBase64Url(Bytes(32, 7));

crypto::Certificate CertificateWith(std::vector<std::string> uris) {
  const Time now(std::chrono::sys_days(std::chrono::year(2026) / 11 / 20));
  return *crypto::Certificate::MakeRoot(crypto::TlsKey::Generate(),
                                        {.common_name = "somebody",
                                         .uris = std::move(uris),
                                         .dns_names = {},
                                         .ip_addresses = {},
                                         .not_before = now,
                                         .not_after = now + std::chrono::hours(1)});
}

Party North() {
  Party party;
  party.federation = "cardio";
  party.role = v1::PARTY_ROLE_SITE;
  party.name = "north";
  party.signing_key.fill(7);
  return party;
}

TEST(PartyTest, IsWrittenAsTwoUris) {
  EXPECT_THAT(ToUris(North()), ElementsAre("chorale://cardio/site/north", kKeyUri));
}

TEST(PartyTest, ComesBackFromACertificate) {
  for (const v1::PartyRole role :
       {v1::PARTY_ROLE_SITE, v1::PARTY_ROLE_COORDINATOR, v1::PARTY_ROLE_RESEARCHER}) {
    Party party = North();
    party.role = role;

    const StatusOr<Party> read = PartyOf(CertificateWith(ToUris(party)));

    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, party);
  }
}

TEST(PartyTest, RolesHaveNames) {
  EXPECT_EQ(RoleName(v1::PARTY_ROLE_SITE), "site");
  EXPECT_EQ(RoleName(v1::PARTY_ROLE_COORDINATOR), "coordinator");
  EXPECT_EQ(RoleName(v1::PARTY_ROLE_RESEARCHER), "researcher");
  EXPECT_EQ(RoleName(v1::PARTY_ROLE_UNSPECIFIED), "unspecified");
  EXPECT_EQ(RoleName(static_cast<v1::PartyRole>(77)), "unspecified");
}

TEST(PartyTest, RefusesCertificatesThatNameNobodyOrSeveral) {
  const std::string name = "chorale://cardio/site/north";
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "lacks a name or a signing key"},
      {{name}, "lacks a name or a signing key"},
      {{kKeyUri}, "lacks a name or a signing key"},
      {{name, "chorale://cardio/site/south", kKeyUri}, "two names or two signing keys"},
      {{name, kKeyUri, kKeyUri}, "two names or two signing keys"},
      {{name, kKeyUri, "https://example.org"}, "a URI of another kind"},
      {{name, "chorale-signing-key:AAAA"}, "not 32 bytes of base64url"},
      {{name, "chorale-signing-key:=="}, "not 32 bytes of base64url"},
      {{"chorale://cardio/authority", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
      {{"chorale://cardio/unspecified/north", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
      {{"chorale://cardio/admin/north", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
      {{"chorale://cardio/site/", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
      {{"chorale://cardio/site/north/east", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
      {{"chorale://cardio/site/../x", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
      {{"chorale:///site/north", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
      {{"chorale://Cardio/site/north", kKeyUri}, "not chorale://<federation>/<role>/<name>"},
  };
  for (const auto& [uris, message] : cases) {
    const Status status = PartyOf(CertificateWith(uris)).status();

    EXPECT_EQ(status.code(), StatusCode::kUnauthenticated) << message;
    EXPECT_THAT(MessageOf(status), HasSubstr(message));
    EXPECT_THAT(MessageOf(status), HasSubstr("certificate 'somebody'"));
  }
}

TEST(AuthorityOfTest, ComesBackFromARoot) {
  const StatusOr<Party> authority =
      AuthorityOf(CertificateWith(ToAuthorityUris("cardio", North().signing_key)));

  ASSERT_TRUE(authority.ok()) << authority.status();
  EXPECT_EQ(authority->federation, "cardio");
  EXPECT_EQ(authority->name, "authority");
  EXPECT_EQ(authority->role, v1::PARTY_ROLE_UNSPECIFIED);
  EXPECT_EQ(authority->signing_key, North().signing_key);
}

TEST(AuthorityOfTest, RefusesAMembersCertificate) {
  const Status status = AuthorityOf(CertificateWith(ToUris(North()))).status();

  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(status), HasSubstr("it is no root"));
}

}  // namespace
}  // namespace chorale::identity
