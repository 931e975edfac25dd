#include "coordinator/members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/storage/file.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

class MembersTest : public testing::Test {
 protected:
  MembersTest() { Install(); }
  // What an operator does: the file the authority made takes the place of the one before.
  void Install() { Write(*storage::ReadFile(pki_.roster_path(), 1 << 20)); }
  void Write(const std::string& roster) {
    ASSERT_TRUE(
        storage::WriteFileAtomically(path_, AsBytes(roster), storage::FileMode::kPublic).ok());
  }
  StatusOr<std::unique_ptr<Members>> Open(std::uint64_t least_version = 0) {
    return Members::Open(path_, north_.root(), least_version);
  }

  support::TestPki pki_;
  identity::Identity north_ = pki_.Load(v1::PARTY_ROLE_SITE, "north");
  Time now_ = SystemClock().WallNow();
  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::filesystem::path path_ = directory_.path() / "roster.yaml";
};

TEST_F(MembersTest, KnowsItsMembers) {
  const auto members = Open();
  ASSERT_TRUE(members.ok()) << members.status();

  const auto first = (*members)->Authenticate(north_.certificate(), now_);
  const auto again = (*members)->Authenticate(north_.certificate(), now_);

  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->name, "north");
  EXPECT_EQ(*first, *again);
}

TEST_F(MembersTest, LooksAtTheValidityOfACertificateItKnows) {
  const auto members = Open();
  ASSERT_TRUE((*members)->Authenticate(north_.certificate(), now_).ok());

  const auto later =
      (*members)->Authenticate(north_.certificate(), now_ + std::chrono::hours(24 * 400));

  EXPECT_EQ(later.status().code(), StatusCode::kUnauthenticated);
}

TEST_F(MembersTest, SeesARevocationAsSoonAsTheFileChanges) {
  const auto members = Open();
  ASSERT_TRUE((*members)->Authenticate(north_.certificate(), now_).ok());
  pki_.Revoke(v1::PARTY_ROLE_SITE, "north", "left the federation");
  Install();

  const auto party = (*members)->Authenticate(north_.certificate(), now_);

  EXPECT_EQ(party.status().code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(party.status()), HasSubstr("left the federation"));
}

TEST_F(MembersTest, KeepsTheRosterThatHoldsWhenANewOneIsBroken) {
  const auto members = Open();
  Write("not a roster");
  (*members)->Refresh();

  EXPECT_TRUE((*members)->Authenticate(north_.certificate(), now_).ok());
}

TEST_F(MembersTest, KeepsTheRosterThatHoldsWhenTheFileIsGone) {
  const auto members = Open();
  std::filesystem::remove(path_);
  (*members)->Refresh();
  (*members)->Refresh();
  EXPECT_TRUE((*members)->Authenticate(north_.certificate(), now_).ok());

  pki_.Revoke(v1::PARTY_ROLE_SITE, "north", "left");
  Install();
  EXPECT_FALSE((*members)->Authenticate(north_.certificate(), now_).ok());
}

TEST_F(MembersTest, TakesNoOlderRosterWhileItRuns) {
  const std::string older = *storage::ReadFile(path_, 1 << 20);
  pki_.Revoke(v1::PARTY_ROLE_SITE, "north", "left");
  Install();
  const auto members = Open();
  const std::uint64_t version = (*members)->roster()->version();
  Write(older);
  (*members)->Refresh();

  EXPECT_EQ((*members)->roster()->version(), version);
  EXPECT_FALSE((*members)->Authenticate(north_.certificate(), now_).ok());
}

TEST_F(MembersTest, RefusesToStartWithAnOlderRosterThanItHasSeen) {
  const auto members = Open(1'000'000);

  EXPECT_EQ(members.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(members.status()), HasSubstr("version 1000000"));
}

TEST_F(MembersTest, TellsThatThereIsNoRoster) {
  std::filesystem::remove(path_);

  EXPECT_EQ(Open().status().code(), StatusCode::kNotFound);
}

TEST_F(MembersTest, DoesNotKnowASiteThatEnrolledLaterUntilTheRosterSaysSo) {
  const auto members = Open();
  const identity::Identity south = pki_.Load(v1::PARTY_ROLE_SITE, "south");
  EXPECT_EQ((*members)->Authenticate(south.certificate(), now_).status().code(),
            StatusCode::kUnauthenticated);

  Install();

  EXPECT_TRUE((*members)->Authenticate(south.certificate(), now_).ok());
}

}  // namespace
}  // namespace chorale::coordinator
