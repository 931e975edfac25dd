#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/storage/file.h"
#include "privacy/ledger/ledger.h"
#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class SiteBudgetTest : public CommandLineTest {
 protected:
  SiteBudgetTest() {
    std::filesystem::create_directories(Path("north/state"));
    std::filesystem::create_directories(Path("north/identity"));
    Write("north/site.yaml",
          "coordinator: localhost:8443\n"
          "state_directory: state\n"
          "identity_directory: identity\n"
          "datasets:\n"
          "  - id: heart\n"
          "    csv: {path: heart.csv}\n"
          "    privacy: {max_epsilon: 8, delta: 1e-5}\n"
          "  - id: lung\n"
          "    csv: {path: lung.csv}\n"
          "    privacy: {max_epsilon: 2, delta: 1e-6, relation: replace}\n"
          "  - id: open\n"
          "    csv: {path: open.csv}\n");
  }
  [[nodiscard]] privacy::LedgerFiles files() const {
    return privacy::LedgerFilesIn(Path("north/state"), Path("north/identity"));
  }
  // As the agent has it open.
  std::unique_ptr<privacy::Ledger> OpenLedger() {
    auto ledger = privacy::Ledger::Open(files(), clock_);
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return *std::move(ledger);
  }
  static void Train(privacy::Ledger& ledger) {
    const privacy::ReserveRequest request{
        .job = {.dataset = DatasetId("heart"),
                .researcher = ResearcherId("ada"),
                .job_id = JobId("job-7"),
                .job_digest = crypto::Sha256(AsBytes("job-7")),
                .parts = {{.step = privacy::NoisySteps(privacy::Sampling::kPoisson, 0.05, 1.1, 1),
                           .steps = 300}}},
        .limits = {.max_epsilon = 8,
                   .max_epsilon_per_job = 8,
                   .max_epsilon_per_researcher = 8,
                   .delta = 1e-5}};
    const auto reservation = ledger.Reserve(request);
    ASSERT_TRUE(reservation.ok()) << reservation.status();
    const Status started = ledger.Start(
        {.reservation = *reservation, .step_key = "task-1", .content = {}, .steps = {100}});
    ASSERT_TRUE(started.ok()) << started;
  }
  std::vector<std::string> Budget(const std::vector<std::string>& further = {}) {
    std::vector<std::string> arguments = {"site", "budget", "--dir", Path("north")};
    arguments.insert(arguments.end(), further.begin(), further.end());
    return arguments;
  }
};

TEST_F(SiteBudgetTest, GivesBackWhatAJobThatEndedDidNotUse) {
  Train(*OpenLedger());

  const auto heart = nlohmann::json::parse(
      MustRun(Budget({"--release", "job-7", "--format", "json"})))["datasets"][0];

  EXPECT_EQ(heart["jobs"][0]["state"], "over");
  EXPECT_EQ(heart["epsilon_reserved"], heart["epsilon_spent"]);
  EXPECT_GT(heart["epsilon_spent"], 0);
  MustRun(Budget({"--release", "job-7"}));  // Once more changes nothing.
  EXPECT_EQ(OpenLedger()->Head().seq, 3u);

  const Result unknown = Run(Budget({"--release", "job-8"}));
  EXPECT_EQ(unknown.code, ExitCode::kInvalid);
  EXPECT_THAT(unknown.err, HasSubstr("no job 'job-8'"));
}

TEST_F(SiteBudgetTest, GivesNothingBackBesideARunningAgent) {
  Train(*OpenLedger());
  const auto agent = storage::DirectoryLock::Acquire(Path("north/state"));
  ASSERT_TRUE(agent.ok());

  const Result result = Run(Budget({"--release", "job-7"}));

  EXPECT_EQ(result.code, ExitCode::kInvalid);
  EXPECT_THAT(result.err, HasSubstr("stop it, release"));
  EXPECT_EQ(OpenLedger()->Head().seq, 2u);
}

TEST_F(SiteBudgetTest, ShowsAWholeBudgetBeforeAnyJob) {
  const std::string text = MustRun(Budget());

  EXPECT_THAT(text, HasSubstr("dataset heart: at delta 1e-05 per patient, neighbours by "
                              "add-remove, accountant rdp\n  [....................] 0 % of the "
                              "budget spent, 0 % spent or reserved"));
  EXPECT_THAT(text, HasSubstr("dataset lung: at delta 1e-06 per patient, neighbours by replace"));
  EXPECT_THAT(text, Not(HasSubstr("dataset open")));
  EXPECT_FALSE(std::filesystem::exists(files().database));
}

TEST_F(SiteBudgetTest, ShowsWhatJobsSpentAndReservedWhileTheAgentRuns) {
  const std::unique_ptr<privacy::Ledger> ledger = OpenLedger();
  Train(*ledger);

  const std::string text = MustRun(Budget({"--dataset", "heart"}));

  EXPECT_THAT(text, HasSubstr("#="));
  EXPECT_THAT(text, HasSubstr("JOB    RESEARCHER  STEPS  STARTED  STATE"));
  EXPECT_THAT(text, HasSubstr("job-7  ada         300    100      open"));
  EXPECT_THAT(text, Not(HasSubstr("lung")));
}

TEST_F(SiteBudgetTest, GivesJson) {
  const std::unique_ptr<privacy::Ledger> ledger = OpenLedger();
  Train(*ledger);

  const auto json = nlohmann::json::parse(MustRun(Budget({"--format", "json"})));

  EXPECT_EQ(json["ledger"]["rows"], 2);
  EXPECT_EQ(json["ledger"]["digest"], ToHex(ledger->Head().digest));
  ASSERT_EQ(json["datasets"].size(), 2u);
  const auto& heart = json["datasets"][0];
  EXPECT_EQ(heart["dataset"], "heart");
  EXPECT_EQ(heart["delta"], 1e-5);
  EXPECT_EQ(heart["privacy_unit"], "patient");
  EXPECT_EQ(heart["neighboring_relation"], "add-remove");
  EXPECT_EQ(heart["accountant"], "rdp");
  EXPECT_EQ(heart["max_epsilon"], 8.0);
  EXPECT_EQ(heart["epsilon_spent"], ledger->Spent(DatasetId("heart"), 1e-5).epsilon);
  EXPECT_EQ(heart["jobs"][0]["steps_started"], 100);
  EXPECT_EQ(heart["jobs"][0]["rounds_committed"], 0);
}

TEST_F(SiteBudgetTest, AnUnknownDatasetIsTold) {
  EXPECT_THAT(Run(Budget({"--dataset", "hart"})).err, HasSubstr("no dataset 'hart'"));
}

TEST_F(SiteBudgetTest, ALostLedgerIsRefused) {
  Train(*OpenLedger());
  std::filesystem::remove(files().database);

  EXPECT_NE(Run(Budget()).code, ExitCode::kOk);
}

}  // namespace
}  // namespace chorale::cli
