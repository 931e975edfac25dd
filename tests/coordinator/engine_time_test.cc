#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/engine.h"
#include "coordinator/time_codec.h"
#include "tests/coordinator/engine_fixture.h"

// Clocks that somebody sets while jobs run.
namespace chorale::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class EngineTimeTest : public EngineTest, public testing::WithParamInterface<Duration> {
 protected:
  void StartRound() {
    Connect("east");
    Connect("north");
    id_ = Submit();  // Its rounds have 60 s.
    DoWork();
  }
  // What is left of the round, as a site reckons it: by the clock of the coordinator's hello.
  static Duration LeftAt(const FakeChannel& site) {
    Time hello;
    Time deadline;
    for (const v1::CoordinatorMessage& message : site.sent) {
      if (message.has_hello()) {
        hello = Time(seconds(message.hello().clock().seconds()) +
                     Duration(message.hello().clock().nanos() / 1000));
      }
      if (message.has_task()) {
        const auto& time = message.task().report_deadline();
        deadline = Time(seconds(time.seconds()) + Duration(time.nanos() / 1000));
      }
    }
    return deadline - hello;
  }
  std::string StateOf(const std::string& site) {
    const v1::JobSummary summary = Summary(id_);
    for (const v1::SiteProgress& progress : summary.current().sites()) {
      if (progress.site() == site) return v1::SiteState_Name(progress.state());
    }
    return "not asked";
  }
  JobId id_;
};

TEST_P(EngineTimeTest, AStepOfTheClockMovesNoDeadline) {
  StartRound();
  ASSERT_TRUE(Report("east").ok());
  const Duration before = engine_->UntilNextTimer();
  clock_.StepWall(GetParam());

  EXPECT_EQ(engine_->UntilNextTimer(), before);
  Advance(seconds(59));
  EXPECT_EQ(StateOf("north"), "SITE_STATE_PENDING");
  ASSERT_TRUE(Report("north").ok());
  DoWork();
  EXPECT_EQ(Summary(id_).published_rounds(), 1u);
}

TEST_P(EngineTimeTest, ASiteThatConnectsAfterAStepHasTheTimeThatIsLeft) {
  StartRound();
  Advance(seconds(20));
  clock_.StepWall(GetParam());

  EXPECT_EQ(LeftAt(Connect("north")), seconds(40));
}

TEST_P(EngineTimeTest, ACoordinatorThatStartsAfterAStepGoesOnWithTheRound) {
  StartRound();
  ASSERT_TRUE(Report("east").ok());
  clock_.Advance(GetParam());  // Of both clocks: a new process takes the time as it is.
  Restart();
  Connect("east");
  const FakeChannel& north = Connect("north");

  EXPECT_EQ(LeftAt(north), seconds(60));
  Advance(seconds(59));
  ASSERT_TRUE(Report("north").ok());
  DoWork();
  EXPECT_EQ(Summary(id_).published_rounds(), 1u);
}

INSTANTIATE_TEST_SUITE_P(HoursBackAndForth, EngineTimeTest,
                         testing::Values(Duration(hours(1)), Duration(-hours(1))));

}  // namespace
}  // namespace chorale::coordinator
