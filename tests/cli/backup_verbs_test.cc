#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/storage/file.h"
#include "core/storage/state_mark.h"
#include "privacy/ledger/ledger.h"
#include "site_agent/journal.h"
#include "site_agent/privacy_accounts.h"
#include "site_agent/promises.h"
#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

// An enrolled site whose agent has run.
class BackupVerbsTest : public CommandLineTest {
 protected:
  BackupVerbsTest() {
    clock_.now = SystemClock().WallNow();
    MakeAuthority();
    MustRun({"site", "init", "--dir", Path("north"), "--coordinator", "localhost:8443"});
    MustRun({"site", "enrol", "--dir", Path("north"), "--token", Invite({"--site", "north"}),
             "--authority", Path("authority")});
    std::filesystem::create_directory(Path("north/state"));
    std::filesystem::permissions(Path("north/state"), std::filesystem::perms::owner_all);
    EXPECT_TRUE(site_agent::Journal::Open(Path("north/state")).ok());
    EXPECT_TRUE(site_agent::Promises::Open(Path("north/state")).ok());
    EXPECT_TRUE(privacy::Ledger::Open(
                    privacy::LedgerFilesIn(Path("north/state"), Path("north/identity")), clock_)
                    .ok());
  }
  nlohmann::json Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--format", "json"});
    return nlohmann::json::parse(MustRun(arguments));
  }
};

TEST_F(BackupVerbsTest, ARestoredSiteHasTheSameStateAndNoKeysUnlessAskedFor) {
  const auto made = Json({"site", "backup", "--dir", Path("north"), "--out", Path("b")});
  EXPECT_EQ(made["role"], "site");
  EXPECT_EQ(made["party"], "north");
  EXPECT_EQ(made["has_keys"], false);
  EXPECT_EQ(Json({"site", "verify", "--from", Path("b")}), made);

  const std::string text = MustRun({"site", "restore", "--from", Path("b"), "--dir", Path("new")});

  EXPECT_THAT(text, HasSubstr("put the identity directory"));
  EXPECT_FALSE(std::filesystem::exists(Path("new/identity")));
  EXPECT_EQ(Json({"site", "verify", "--dir", Path("new")})["state_digest"], made["state_digest"]);
  EXPECT_EQ(Json({"site", "verify", "--dir", Path("north")})["state_digest"], made["state_digest"]);
}

TEST_F(BackupVerbsTest, KeysComeBackWhereTheyAreIn) {
  MustRun({"site", "backup", "--dir", Path("north"), "--out", Path("b"), "--with-keys"});
  const std::string text = MustRun({"site", "restore", "--from", Path("b"), "--dir", Path("new")});
  EXPECT_THAT(text, HasSubstr("guard it like the keys themselves"));
  EXPECT_THAT(text, Not(HasSubstr("put the identity directory")));
  EXPECT_EQ(Read("new/identity/signing.key"), Read("north/identity/signing.key"));
  EXPECT_FALSE(std::filesystem::exists(Path("new/identity/ledger_head")));
}

TEST_F(BackupVerbsTest, ARestoredConfigurationNamesTheFoldersBesideIt) {
  Write("north/site.yaml", "# By hand.\ncoordinator: localhost:8443\nstate_directory: " +
                               Path("north/state") + "\nidentity_directory: identity\n");
  MustRun({"site", "backup", "--dir", Path("north"), "--out", Path("b")});
  const std::string text = MustRun({"site", "restore", "--from", Path("b"), "--dir", Path("new")});
  EXPECT_THAT(text, HasSubstr("site.yaml.before"));
  EXPECT_THAT(Read("new/site.yaml"), HasSubstr("state_directory: state\n"));
  EXPECT_EQ(Read("new/site.yaml.before"), Read("north/site.yaml"));
}

TEST_F(BackupVerbsTest, ADamagedBackupIsRefusedByEveryVerb) {
  MustRun({"site", "backup", "--dir", Path("north"), "--out", Path("b")});
  std::string content = Read("b");
  content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
  Write("b", content);
  EXPECT_THAT(Run({"site", "verify", "--from", Path("b")}).err, HasSubstr("damaged"));
  EXPECT_THAT(Run({"site", "restore", "--from", Path("b"), "--dir", Path("new")}).err,
              HasSubstr("damaged"));
  EXPECT_FALSE(std::filesystem::exists(Path("new")));
}

TEST_F(BackupVerbsTest, NothingIsReplaced) {
  MustRun({"site", "backup", "--dir", Path("north"), "--out", Path("b")});
  EXPECT_THAT(Run({"site", "backup", "--dir", Path("north"), "--out", Path("b")}).err,
              HasSubstr("exists already"));
  EXPECT_THAT(Run({"site", "restore", "--from", Path("b"), "--dir", Path("north")}).err,
              HasSubstr("not empty"));
  EXPECT_THAT(Run({"coordinator", "restore", "--from", Path("b"), "--dir", Path("new")}).err,
              HasSubstr("that of a site"));
  EXPECT_EQ(Run({"site", "verify"}).code, ExitCode::kInvalid);
}

TEST_F(BackupVerbsTest, ACoordinatorAcceptsALossOnlyWhileItIsStopped) {
  MustRun({"coordinator", "init", "--dir", Path("main"), "--listen", "localhost:0", "--roster",
           Path("authority/roster.yaml")});
  EXPECT_THAT(MustRun({"coordinator", "accept-loss", "--dir", Path("main")}), HasSubstr("is lost"));
  const auto mark = storage::LoadStateMark(Path("main/state"));
  ASSERT_TRUE(mark.ok()) << mark.status();
  EXPECT_TRUE(mark->accepts_loss);

  const auto lock = storage::DirectoryLock::Acquire(Path("main/state"));
  EXPECT_THAT(Run({"coordinator", "accept-loss", "--dir", Path("main")}).err,
              HasSubstr("must be stopped"));
}

TEST_F(BackupVerbsTest, ASiteAcceptsOnlyALossThatThereIs) {
  EXPECT_THAT(Run({"site", "accept-loss", "--dir", Path("north")}).err, HasSubstr("no loss"));
  const privacy::LedgerHead receipt{.seq = 12, .digest = {1}};
  Write(std::string("north/state/") + site_agent::kRefusedReceiptFile,
        privacy::EncodeHead(receipt));
  const std::string text = MustRun({"site", "accept-loss", "--dir", Path("north")});
  EXPECT_THAT(text, HasSubstr("up to row 12"));
  EXPECT_THAT(text, HasSubstr("max_epsilon"));
  EXPECT_EQ(
      privacy::DecodeHead(Read(std::string("north/state/") + site_agent::kAcceptedReceiptFile)),
      receipt);
}

}  // namespace
}  // namespace chorale::cli
