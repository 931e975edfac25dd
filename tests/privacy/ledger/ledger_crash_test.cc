#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <thread>

#include "privacy/ledger/ledger.h"
#include "tests/privacy/ledger/fixtures.h"

namespace chorale::privacy {
namespace {

constexpr std::uint64_t kStepsOfARound = 7;
constexpr int kNumPoints = 20;

struct Child {
  pid_t pid = 0;
  int report = 0;
};

Child Spawn(const LedgerFiles& files, const std::string& job, int point) {
  const std::string state = files.database.parent_path();
  const std::string identity = files.head.parent_path();
  const std::string at = std::to_string(point);
  int report[2];
  EXPECT_EQ(::pipe(report), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(report[1], STDOUT_FILENO);
    ::close(report[0]);
    ::close(report[1]);
    ::execl(LEDGER_CRASH_CHILD, LEDGER_CRASH_CHILD, state.c_str(), identity.c_str(), job.c_str(),
            at.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(report[1]);
  return {.pid = pid, .report = report[0]};
}

// The rounds of which the child said that it touches the data now; waits for its end.
std::uint64_t WaitFor(const Child& child) {
  std::uint64_t num_touched = 0;
  char buffer[256];
  for (ssize_t n = ::read(child.report, buffer, sizeof buffer); n > 0;
       n = ::read(child.report, buffer, sizeof buffer)) {
    num_touched += static_cast<std::uint64_t>(n);
  }
  ::close(child.report);
  int status = 0;
  EXPECT_EQ(::waitpid(child.pid, &status, 0), child.pid);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  return num_touched;
}

std::uint64_t RecordedSteps(const Ledger& ledger) {
  std::uint64_t steps = 0;
  for (const JobSpending& job : ledger.BurnDownOf(DatasetId("heart"), ValidRequest().limits).jobs) {
    steps += job.steps_started;
  }
  return steps;
}

TEST(LedgerCrashTest, AKillAtAnyPointNeverLosesWhatWasSpent) {
  // The ctest privacy_ledger.kills repeats this: 51 kills at each point.
  for (int repetition = 0; repetition < 3; ++repetition) {
    const LedgerHome home;
    std::uint64_t true_steps = 0;
    std::uint64_t recorded_before = 0;
    for (int point = 1; point <= kNumPoints; ++point) {
      const std::string job = "job-" + std::to_string(point);
      true_steps += kStepsOfARound * WaitFor(Spawn(home.files(), job, point));

      const StatusOr<std::unique_ptr<Ledger>> ledger = home.TryOpen();

      ASSERT_TRUE(ledger.ok()) << ledger.status() << " after point " << point;
      const std::uint64_t recorded = RecordedSteps(**ledger);
      EXPECT_GE(recorded, true_steps) << "after point " << point;
      EXPECT_GE(recorded, recorded_before);
      // At most the round under way in each run counts without having touched anything.
      EXPECT_LE(recorded, true_steps + kStepsOfARound * static_cast<std::uint64_t>(point));
      recorded_before = recorded;
    }
  }
}

TEST(LedgerCrashTest, AKillAtAnyTimeNeverLosesWhatWasSpent) {
  const LedgerHome home;
  std::mt19937_64 random(7);
  std::uint64_t true_steps = 0;
  for (int run = 0; run < 100; ++run) {
    const Child child = Spawn(home.files(), "job-" + std::to_string(run / 10), 0);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    ASSERT_EQ(::kill(child.pid, SIGKILL), 0);
    true_steps += kStepsOfARound * WaitFor(child);

    const StatusOr<std::unique_ptr<Ledger>> ledger = home.TryOpen();

    ASSERT_TRUE(ledger.ok()) << ledger.status() << " in run " << run;
    EXPECT_GE(RecordedSteps(**ledger), true_steps) << "in run " << run;
  }
  EXPECT_GT(true_steps, 0u);
}

}  // namespace
}  // namespace chorale::privacy
