#include "tests/support/test_pki.h"

#include "chorale/v1/jobs.grpc.pb.h"
#include "core/rpc/server.h"
#include "core/storage/file.h"
#include "gtest/gtest.h"
#include "identity/roster.h"

namespace chorale::support {
namespace {

TEST(TestPkiTest, EnrolsPartiesThatTheRosterKnows) {
  TestPki pki;
  const identity::Identity site = pki.Load(v1::PARTY_ROLE_SITE, "north");
  const Time now = SystemClock().WallNow();

  const StatusOr<identity::Roster> roster =
      identity::Roster::Parse(*storage::ReadFile(pki.roster_path(), 1 << 20), site.root());

  ASSERT_TRUE(roster.ok()) << roster.status();
  EXPECT_EQ(roster->federation(), "choir");
  const StatusOr<identity::Party> party = roster->Authenticate(site.certificate(), now);
  ASSERT_TRUE(party.ok()) << party.status();
  EXPECT_EQ(party->name, "north");
  EXPECT_EQ(*party, site.party());
}

TEST(TestPkiTest, WithdrawsACertificate) {
  TestPki pki;
  const identity::Identity site = pki.Load(v1::PARTY_ROLE_SITE, "north");

  pki.Revoke(v1::PARTY_ROLE_SITE, "north", "left");

  const StatusOr<identity::Roster> roster =
      identity::Roster::Parse(*storage::ReadFile(pki.roster_path(), 1 << 20), site.root());
  ASSERT_TRUE(roster.ok()) << roster.status();
  EXPECT_EQ(roster->Authenticate(site.certificate(), SystemClock().WallNow()).status().code(),
            StatusCode::kUnauthenticated);
}

TEST(TestPkiTest, MakesCertificatesThatRanOut) {
  TestPki pki;
  const std::filesystem::path directory = pki.EnrolExpired(v1::PARTY_ROLE_SITE, "late");

  EXPECT_EQ(identity::Identity::Load(directory, SystemClock().WallNow()).status().code(),
            StatusCode::kUnauthenticated);
  EXPECT_EQ(pki.LoadExpired(v1::PARTY_ROLE_SITE, "late").party().name, "late");
}

TEST(TestPkiTest, MakesAServersIdentity) {
  rpc::InitializeRpc();
  TestPki pki;
  const identity::Identity coordinator = pki.Load(v1::PARTY_ROLE_COORDINATOR, "coordinator");

  v1::Jobs::Service service;
  const auto server = rpc::Server::Start({.listen = "127.0.0.1:0", .keepalive_interval = {}},
                                         TlsOf(coordinator), {&service});

  EXPECT_TRUE(server.ok()) << server.status();
}

}  // namespace
}  // namespace chorale::support
