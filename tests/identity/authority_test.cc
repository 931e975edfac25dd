#include "identity/authority.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "identity/key_files.h"
#include "tests/identity/federation_fixture.h"

namespace chorale::identity {
namespace {

using std::filesystem::perms;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using AuthorityTest = FederationTest;

TEST_F(AuthorityTest, HasARootOfTenYears) {
  const crypto::Certificate root = *LoadCertificate(authority_directory() / kRootFile);

  EXPECT_EQ(root.common_name(), "test-federation");
  EXPECT_EQ(FormatTime(root.fields().not_after).substr(0, 10), "2036-11-19");
  EXPECT_EQ(AuthorityOf(root)->federation, "test-federation");
}

TEST_F(AuthorityTest, KeepsPrivateFilesPrivate) {
  const auto mode = [this](const char* file) {
    return std::filesystem::status(authority_directory() / file).permissions();
  };

  EXPECT_EQ(mode(""), perms::owner_all);
  for (const char* const file : {kRootKeyFile, kSigningKeyFile, "authority.db"}) {
    EXPECT_EQ(mode(file), perms::owner_read | perms::owner_write) << file;
  }
}

TEST_F(AuthorityTest, StartsWithAnEmptyRoster) {
  const v1::Roster roster = *authority_->LoadRoster();

  EXPECT_EQ(roster.federation(), "test-federation");
  EXPECT_EQ(roster.version(), 1u);
  EXPECT_THAT(roster.members(), IsEmpty());
  EXPECT_EQ(authority_->roster_path(), authority_directory() / "roster.yaml");
}

TEST_F(AuthorityTest, EnrolsEveryRole) {
  Invitation researcher = InviteSite("alice");
  researcher.role = v1::PARTY_ROLE_RESEARCHER;

  EXPECT_EQ(Enrol(InviteSite("north")).party().role, v1::PARTY_ROLE_SITE);
  EXPECT_EQ(Enrol(InviteCoordinator("centre")).party().role, v1::PARTY_ROLE_COORDINATOR);
  EXPECT_EQ(Enrol(researcher).party().role, v1::PARTY_ROLE_RESEARCHER);

  const v1::Roster roster = *authority_->LoadRoster();
  EXPECT_EQ(roster.version(), 4u);
  EXPECT_EQ(roster.members_size(), 3);
}

TEST_F(AuthorityTest, GivesTheCoordinatorTheNamesThatSitesDial) {
  Invitation invitation = InviteCoordinator("centre");
  invitation.dns_names = {"coordinator.example.org"};
  invitation.ip_addresses = {"192.0.2.7", "2001:db8::7"};

  const Identity coordinator = Enrol(invitation);

  EXPECT_THAT(coordinator.certificate().fields().dns_names, ElementsAre("coordinator.example.org"));
  EXPECT_THAT(coordinator.certificate().fields().ip_addresses,
              ElementsAre("192.0.2.7", "2001:db8::7"));
}

TEST_F(AuthorityTest, GivesTheValidityOfTheInvitation) {
  Invitation invitation = InviteSite("north");
  invitation.certificate_validity = kHour;

  const Identity north = Enrol(invitation);

  EXPECT_EQ(north.certificate().fields().not_after, kNow + kHour);
}

TEST_F(AuthorityTest, EndsNoCertificateAfterItsRoot) {
  const crypto::Certificate root = *LoadCertificate(authority_directory() / kRootFile);
  const Time late = root.fields().not_after - kDay;

  const Identity north = Enrol(InviteSite("north"), late);

  EXPECT_EQ(north.certificate().fields().not_after, root.fields().not_after);
}

TEST_F(AuthorityTest, KeepsItsStateBetweenOpenings) {
  const Identity north = Enrol(InviteSite("north"));
  authority_.reset();

  OpenAuthority();

  EXPECT_EQ(authority_->LoadRoster()->version(), 2u);
  EXPECT_EQ(authority_->LoadRoster()->members(0).serial(), north.certificate().serial());
}

TEST_F(AuthorityTest, WritesTheRosterAgainAfterACrashBeforeItWasWritten) {
  const std::string before = ReadAll(authority_->roster_path());
  Enrol(InviteSite("north"));
  const std::string after = ReadAll(authority_->roster_path());
  ASSERT_NE(before, after);
  authority_.reset();
  std::ofstream(authority_directory() / "roster.yaml", std::ios::trunc) << before;

  OpenAuthority();

  EXPECT_EQ(ReadAll(authority_->roster_path()), after);
}

TEST_F(AuthorityTest, TellsWhenThereIsNone) {
  const Status status = Authority::Open(directory_.path() / "nowhere").status();

  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status), HasSubstr("chorale federation init"));
}

TEST_F(AuthorityTest, IsNotCreatedTwice) {
  authority_.reset();
  const std::string key = ReadAll(authority_directory() / kRootKeyFile);

  const Status status = Authority::Create(authority_directory(), "other", kNow);

  EXPECT_EQ(status.code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadAll(authority_directory() / kRootKeyFile), key);
}

TEST_F(AuthorityTest, IsNotCreatedOverTheRemainsOfAnother) {
  authority_.reset();
  const std::string key = ReadAll(authority_directory() / kRootKeyFile);
  std::filesystem::remove(authority_directory() / kRootFile);

  const Status status = Authority::Create(authority_directory(), "other", kNow);

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("holds root.key but no root.pem"));
  EXPECT_EQ(ReadAll(authority_directory() / kRootKeyFile), key);
}

TEST_F(AuthorityTest, RefusesANameThatIsNone) {
  EXPECT_EQ(Authority::Create(directory_.path() / "new", "Not A Name", kNow).code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(Exists(directory_.path() / "new"));
}

TEST_F(AuthorityTest, ServesOneHolderAtATime) {
  const Status status = Authority::Open(authority_directory()).status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("in use by another process"));
}

TEST_F(AuthorityTest, ServesOneProcessAtATime) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const StatusOr<Authority> second = Authority::Open(authority_directory());
    _exit(second.status().code() == StatusCode::kFailedPrecondition ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);

  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(AuthorityTest, RefusesAKeyThatOthersMayRead) {
  authority_.reset();
  std::filesystem::permissions(authority_directory() / kRootKeyFile, perms::others_read,
                               std::filesystem::perm_options::add);

  EXPECT_EQ(Authority::Open(authority_directory()).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(AuthorityTest, RefusesKeysThatAreNotTheRoots) {
  authority_.reset();
  const crypto::TlsKey root_key = *LoadTlsKey(authority_directory() / kRootKeyFile);

  ASSERT_TRUE(SaveTlsKey(authority_directory() / kRootKeyFile, crypto::TlsKey::Generate()).ok());
  EXPECT_EQ(Authority::Open(authority_directory()).status().code(), StatusCode::kInvalidArgument);

  ASSERT_TRUE(SaveTlsKey(authority_directory() / kRootKeyFile, root_key).ok());
  ASSERT_TRUE(
      SaveSigningKey(authority_directory() / kSigningKeyFile, crypto::SigningKey::Generate()).ok());
  EXPECT_THAT(MessageOf(Authority::Open(authority_directory()).status()),
              HasSubstr("not the signing key that the root certificate names"));
}

}  // namespace
}  // namespace chorale::identity
