#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;

class FederationVerbsTest : public CommandLineTest {
 protected:
  FederationVerbsTest() { MakeAuthority(); }

  // A site with a name of its own, enrolled on this machine.
  void EnrolSite(const std::string& name) {
    MustRun({"site", "enrol", "--dir", Path(name), "--token", Invite({"--site", name}),
             "--authority", Path("authority")});
  }
};

TEST_F(FederationVerbsTest, DoesNotMakeAnAuthorityTwice) {
  EXPECT_EQ(Run({"federation", "init", "--dir", Path("authority"), "--name", "other"}).code,
            ExitCode::kInvalid);
}

TEST_F(FederationVerbsTest, PrintsTheTokenAloneAndTheRestBeside) {
  const Result result =
      Run({"federation", "invite", "--dir", Path("authority"), "--site", "north"});

  EXPECT_EQ(result.code, ExitCode::kOk);
  EXPECT_THAT(result.out, testing::MatchesRegex("chorale-[A-Za-z0-9_-]+\n"));
  EXPECT_THAT(result.err, HasSubstr("site 'north'"));
}

TEST_F(FederationVerbsTest, PrintsAnInvitationAsJson) {
  const auto json = nlohmann::json::parse(
      MustRun({"federation", "invite", "--dir", Path("authority"), "--researcher", "alice",
               "--valid-days", "2", "--format", "json"}));

  EXPECT_EQ(json["role"], "researcher");
  EXPECT_EQ(json["name"], "alice");
  EXPECT_EQ(json["expires_at"], FormatTime(clock_.now + std::chrono::hours(48)));
  EXPECT_THAT(json["token"].get<std::string>(), testing::StartsWith("chorale-"));
}

TEST_F(FederationVerbsTest, RefusesACoordinatorWithoutAddressAndASiteWithOne) {
  EXPECT_EQ(Run({"federation", "invite", "--dir", Path("authority"), "--coordinator", "main"}).code,
            ExitCode::kInvalid);
  EXPECT_EQ(Run({"federation", "invite", "--dir", Path("authority"), "--site", "north", "--address",
                 "host"})
                .code,
            ExitCode::kInvalid);
}

TEST_F(FederationVerbsTest, RefusesAnAddressWithAPort) {
  const Result result = Run({"federation", "invite", "--dir", Path("authority"), "--coordinator",
                             "main", "--address", "host:8443"});

  EXPECT_EQ(result.code, ExitCode::kInvalid);
  EXPECT_THAT(result.err, HasSubstr("without port"));
}

TEST_F(FederationVerbsTest, ListsMembersWithTheirStanding) {
  EnrolSite("north");
  EnrolSite("south");
  MustRun({"federation", "revoke", "--dir", Path("authority"), "--site", "south", "--reason",
           "contract ended"});

  const std::string text = MustRun({"federation", "members", "--dir", Path("authority")});
  const auto json = nlohmann::json::parse(
      MustRun({"federation", "members", "--dir", Path("authority"), "--format", "json"}));

  EXPECT_THAT(text, HasSubstr("north"));
  EXPECT_THAT(text, HasSubstr("revoked 2027-01-15 08:00:00: contract ended"));
  EXPECT_EQ(json["federation"], "choir");
  EXPECT_EQ(json["members"].size(), 2u);
}

TEST_F(FederationVerbsTest, CannotRevokeWhoIsNoMember) {
  EXPECT_EQ(
      Run({"federation", "revoke", "--dir", Path("authority"), "--site", "north", "--reason", "x"})
          .code,
      ExitCode::kInvalid);
}

TEST_F(FederationVerbsTest, DoesNotSpendATokenWhenTheBundleCannotBeWritten) {
  const std::string token = Invite({"--site", "north"});
  MustRun({"site", "enrol", "--dir", Path("north"), "--token", token});
  const std::string request = Path("north/enrolment-request.bin");

  const Result refused = Run(
      {"federation", "sign", "--dir", Path("authority"), request, "--out", Path("absent/bundle")});

  EXPECT_EQ(refused.code, ExitCode::kInvalid);
  MustRun({"federation", "sign", "--dir", Path("authority"), request, "--out", Path("bundle")});
}

TEST_F(FederationVerbsTest, RefusesToSignWhatIsNoRequest) {
  Write("garbage", "not a request");

  EXPECT_NE(Run({"federation", "sign", "--dir", Path("authority"), Path("garbage"), "--out",
                 Path("bundle")})
                .code,
            ExitCode::kOk);
  EXPECT_FALSE(std::filesystem::exists(Path("bundle")));
}

}  // namespace
}  // namespace chorale::cli
