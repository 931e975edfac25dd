#include <gmock/gmock.h>

#include "identity/identity.h"
#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;

class EnrolmentVerbsTest : public CommandLineTest {
 protected:
  EnrolmentVerbsTest() { MakeAuthority(); }
};

TEST_F(EnrolmentVerbsTest, EnrolsInOneStepWhereTheAuthorityIsOnThisMachine) {
  const std::string out = MustRun({"site", "enrol", "--dir", Path("north"), "--token",
                                   Invite({"--site", "north"}), "--authority", Path("authority")});

  EXPECT_THAT(out, HasSubstr("site 'north' of federation 'choir'"));
  const auto identity = identity::Identity::Load(Path("north/identity"), clock_.now);
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->party().name, "north");
}

TEST_F(EnrolmentVerbsTest, EnrolsInThreeStepsBetweenTwoMachines) {
  const std::string token = Invite({"--site", "north"});
  const std::string out = MustRun({"site", "enrol", "--dir", Path("north"), "--token", token});
  EXPECT_THAT(out, HasSubstr("federation sign"));

  MustRun({"federation", "sign", "--dir", Path("authority"), Path("north/enrolment-request.bin"),
           "--out", Path("bundle")});
  MustRun({"site", "enrol", "--dir", Path("north"), "--token", token, "--bundle", Path("bundle")});

  EXPECT_TRUE(identity::Identity::Load(Path("north/identity"), clock_.now).ok());
  EXPECT_FALSE(std::filesystem::exists(Path("north/enrolment-request.bin")));
}

TEST_F(EnrolmentVerbsTest, PutsNoPrivateKeyIntoWhatTravels) {
  const std::string token = Invite({"--site", "north"});
  MustRun({"site", "enrol", "--dir", Path("north"), "--token", token});
  MustRun({"federation", "sign", "--dir", Path("authority"), Path("north/enrolment-request.bin"),
           "--out", Path("bundle")});
  const std::string request = Read("north/enrolment-request.bin");

  for (const std::string& travels : {request, Read("bundle")}) {
    EXPECT_FALSE(travels.empty());
    EXPECT_EQ(travels.find("PRIVATE KEY"), std::string::npos);
    EXPECT_EQ(travels.find(token), std::string::npos);
  }
}

TEST_F(EnrolmentVerbsTest, ReadsTheTokenFromStandardInput) {
  const std::string token = Invite({"--site", "north"});

  MustRun(
      {"site", "enrol", "--dir", Path("north"), "--token", "-", "--authority", Path("authority")},
      token + "\n");

  EXPECT_TRUE(std::filesystem::exists(Path("north/identity/certificate.pem")));
}

TEST_F(EnrolmentVerbsTest, RefusesAMistypedToken) {
  std::string token = Invite({"--site", "north"});
  token[12] = token[12] == 'A' ? 'B' : 'A';

  EXPECT_EQ(Run({"site", "enrol", "--dir", Path("north"), "--token", token, "--authority",
                 Path("authority")})
                .code,
            ExitCode::kInvalid);
}

TEST_F(EnrolmentVerbsTest, RefusesATokenTheSecondTime) {
  const std::string token = Invite({"--site", "north"});
  MustRun({"site", "enrol", "--dir", Path("north"), "--token", token, "--authority",
           Path("authority")});

  const Result again = Run({"site", "enrol", "--dir", Path("twice"), "--token", token,
                            "--authority", Path("authority")});

  EXPECT_EQ(again.code, ExitCode::kRefused);
  EXPECT_THAT(again.err, HasSubstr("already used"));
}

TEST_F(EnrolmentVerbsTest, RefusesAnExpiredToken) {
  const std::string token = Invite({"--site", "north"});
  clock_.now += std::chrono::hours(24 * 8);

  EXPECT_EQ(Run({"site", "enrol", "--dir", Path("north"), "--token", token, "--authority",
                 Path("authority")})
                .code,
            ExitCode::kRefused);
}

TEST_F(EnrolmentVerbsTest, RefusesATokenMadeForAnotherRole) {
  const std::string token = Invite({"--researcher", "alice"});

  const Result result = Run({"site", "enrol", "--dir", Path("north"), "--token", token,
                             "--authority", Path("authority")});

  EXPECT_EQ(result.code, ExitCode::kInvalid);
  EXPECT_THAT(result.err, HasSubstr("made for a researcher"));
  EXPECT_FALSE(std::filesystem::exists(Path("north/identity/certificate.pem")));
}

TEST_F(EnrolmentVerbsTest, ReplacesAnIdentityOnlyWhenAskedTo) {
  const std::vector<std::string> enrol = {"site",        "enrol",           "--dir",  Path("north"),
                                          "--authority", Path("authority"), "--token"};
  std::vector<std::string> first = enrol;
  first.push_back(Invite({"--site", "north"}));
  MustRun(first);
  const std::string certificate = Read("north/identity/certificate.pem");
  std::vector<std::string> second = enrol;
  second.push_back(Invite({"--site", "north", "--renew"}));

  EXPECT_EQ(Run(second).code, ExitCode::kInvalid);
  EXPECT_EQ(Read("north/identity/certificate.pem"), certificate);
  second.push_back("--renew");
  MustRun(second);

  EXPECT_NE(Read("north/identity/certificate.pem"), certificate);
}

TEST_F(EnrolmentVerbsTest, FollowsTheIdentityDirectoryOfTheConfiguration) {
  MustRun({"coordinator", "init", "--dir", Path("main"), "--listen", "127.0.0.1:0", "--roster",
           Path("authority/roster.yaml")});
  std::string config = Read("main/coordinator.yaml");
  const std::string key = "identity_directory: ";
  config.replace(config.find(key + "identity"), key.size() + 8, key + "secrets");
  Write("main/coordinator.yaml", config);

  MustRun({"coordinator", "enrol", "--dir", Path("main"), "--authority", Path("authority"),
           "--token", Invite({"--coordinator", "main", "--address", "localhost,127.0.0.1"})});

  EXPECT_TRUE(std::filesystem::exists(Path("main/secrets/certificate.pem")));
}

TEST_F(EnrolmentVerbsTest, WritesWhereAResearchersCommandsGo) {
  MustRun({"researcher", "enrol", "--dir", Path("alice"), "--coordinator", "localhost:8443",
           "--authority", Path("authority"), "--token", Invite({"--researcher", "alice"})});

  EXPECT_THAT(Read("alice/researcher.yaml"), HasSubstr("localhost:8443"));
  EXPECT_TRUE(std::filesystem::exists(Path("alice/identity/certificate.pem")));
}

TEST_F(EnrolmentVerbsTest, RefusesAMalformedCoordinatorBeforeTheTokenIsSpent) {
  const std::string token = Invite({"--researcher", "alice"});
  const std::vector<std::string> enrol = {"researcher",  "enrol",       "--dir",
                                          Path("alice"), "--authority", Path("authority"),
                                          "--token",     token,         "--coordinator"};
  std::vector<std::string> wrong = enrol;
  wrong.push_back("localhost");
  std::vector<std::string> right = enrol;
  right.push_back("localhost:8443");

  EXPECT_EQ(Run(wrong).code, ExitCode::kInvalid);

  MustRun(right);
}

}  // namespace
}  // namespace chorale::cli
