#include "site_agent/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/random.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Duration kInterval = std::chrono::seconds(10);
const TaskId kOne("job-1/1/1/north");
const TaskId kTwo("job-1/2/1/north");

// Short names of actions, so that tests read as transcripts.
struct NameOfAction {
  std::string operator()(const Dial&) const { return "dial"; }
  std::string operator()(const HangUp&) const { return "hang up"; }
  std::string operator()(const SendHello& a) const {
    return "hello " + std::to_string(a.active_tasks.size());
  }
  std::string operator()(const SendHeartbeat&) const { return "heartbeat"; }
  std::string operator()(const SendAccepted& a) const { return "accept " + a.task_id.value(); }
  std::string operator()(const SendRefused& a) const {
    return "refuse " + a.task_id.value() + " " + std::string(NameOf(a.refusal.code));
  }
  std::string operator()(const SendProgress& a) const {
    return "progress " + std::to_string(a.permille);
  }
  std::string operator()(const RecordVerdict& a) const {
    return "record " + (a.refusal ? std::string(NameOf(a.refusal->code)) : "allowed");
  }
  std::string operator()(const RecordCoordinator& a) const {
    return "follow version " + std::to_string(a.known.current->version);
  }
  std::string operator()(const TakeReceipt& a) const {
    return "receipt " + std::to_string(a.receipt.seq);
  }
  std::string operator()(const ReleaseBudget& a) const { return "release " + a.job_id.value(); }
  std::string operator()(const StartWork& a) const { return "start " + a.task->task_id(); }
  std::string operator()(const CancelWork& a) const { return "cancel " + a.task_id.value(); }
  std::string operator()(const SendReport& a) const { return "report " + a.task_id.value(); }
  std::string operator()(const SettleReport& a) const { return "settle " + a.outcome; }
  std::string operator()(const AnnounceConnected&) const { return "connected"; }
  std::string operator()(const AnnounceSteady&) const { return "steady"; }
  std::string operator()(const AnnounceLost& a) const { return "lost " + a.reason; }
  std::string operator()(const Stop&) const { return "stop"; }
};

class SessionTest : public testing::Test {
 protected:
  std::vector<std::string> Step(const Event& event) {
    const StatusOr<std::vector<Action>> actions = session_.Step(event, now_);
    if (!actions.ok()) return {"error " + MessageOf(actions.status())};
    std::vector<std::string> names;
    for (const Action& action : *actions) names.push_back(std::visit(NameOfAction{}, action));
    return names;
  }
  std::vector<std::string> Pass(Duration duration) {
    now_ += duration;
    return Step(TimePassed{});
  }
  void Connect() {
    EXPECT_THAT(Step(TimePassed{}), ElementsAre("dial"));
    Step(LinkOpened{});
    Step(CoordinatorGreeted{.heartbeat_interval = kInterval, .clock = now_});
    ASSERT_TRUE(std::holds_alternative<Connected>(session_.state().link));
  }
  TaskArrived Arrival(const TaskId& task_id, Duration deadline = std::chrono::minutes(5)) {
    auto task = std::make_shared<v1::Task>();
    task->set_task_id(task_id.value());
    task->set_job_id(task_id.value().substr(0, task_id.value().find('/')));
    return {.task = task, .report_deadline = now_ + deadline};
  }
  Refusal Refused() { return {.code = ReasonCode::kCohortMin, .limit = 10}; }

  Time now_ = kStart;
  Session session_{SessionOptions{}, {}, kStart};
};

TEST_F(SessionTest, DialsGreetsAndIsConnected) {
  EXPECT_EQ(session_.NextDeadline(), kStart);
  EXPECT_THAT(Step(TimePassed{}), ElementsAre("dial"));
  EXPECT_THAT(Step(LinkOpened{}), ElementsAre("hello 0"));
  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_}), ElementsAre("connected"));
  EXPECT_EQ(session_.NextDeadline(), now_ + kInterval);
}

TEST_F(SessionTest, ReconnectsForEverWithTheReasonVisible) {
  for (int i = 0; i < 50; ++i) {
    ASSERT_THAT(Step(TimePassed{}), ElementsAre("dial"));
    ASSERT_THAT(Step(LinkClosed{"refused", std::chrono::seconds(7)}), ElementsAre("lost refused"));
    EXPECT_THAT(session_.Describe(now_), HasSubstr("disconnected (refused), next attempt in 7 s"));
    ASSERT_THAT(Pass(std::chrono::seconds(6)), IsEmpty());
    now_ += std::chrono::seconds(1);
  }
}

TEST_F(SessionTest, GivesUpOnACoordinatorThatDoesNotGreet) {
  Step(TimePassed{});
  Step(LinkOpened{});

  EXPECT_THAT(Pass(std::chrono::seconds(30)), ElementsAre("hang up"));
  EXPECT_THAT(Step(LinkClosed{"cancelled", kInterval}),
              ElementsAre("lost the coordinator did not greet within 30 s"));
}

TEST_F(SessionTest, RefusesAHeartbeatIntervalOutOfBounds) {
  for (const Duration interval :
       {Duration(0), Duration(-1), Duration(999'999), Duration(std::chrono::seconds(301))}) {
    Session session{SessionOptions{}, {}, kStart};
    session_ = session;
    Step(TimePassed{});
    Step(LinkOpened{});

    EXPECT_THAT(Step(CoordinatorGreeted{interval, now_}), ElementsAre("hang up"));
  }
}

TEST_F(SessionTest, FollowsACoordinatorAndRemembersHowFarItIs) {
  Step(TimePassed{});
  Step(LinkOpened{});
  const CoordinatorState told{.lineage = "a", .epoch = 1, .instance = "i", .version = 5};

  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_, told, privacy::LedgerHead{.seq = 3}}),
              ElementsAre("follow version 5", "receipt 3", "connected"));
  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_, told}), IsEmpty());
  TaskArrived task = Arrival(kOne);
  task.state_version = 8;
  EXPECT_THAT(Step(task), ElementsAre("follow version 8", "start job-1/1/1/north"));
}

TEST_F(SessionTest, HangsUpOnACoordinatorThatKnowsLessThanOneBefore) {
  const CoordinatorState known{.lineage = "a", .epoch = 4, .instance = "i", .version = 50};
  session_ = Session(SessionOptions{}, {kTwo}, kStart, {.current = known, .retired = {}});
  CoordinatorState told = known;
  told.version = 49;
  Step(TimePassed{});
  Step(LinkOpened{});

  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_, told}), ElementsAre("hang up"));
  EXPECT_THAT(Step(LinkClosed{"cancelled", kInterval}),
              ElementsAre(HasSubstr("lost this site does not follow the coordinator")));
  // Nor one that does not tell. Reports wait for one that is followed.
  Pass(kInterval);
  Step(LinkOpened{});
  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_}), ElementsAre("hang up"));
  Step(LinkClosed{"cancelled", kInterval});
  Pass(kInterval);
  Step(LinkOpened{});
  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_, known}),
              ElementsAre("connected", "report " + kTwo.value()));
}

TEST_F(SessionTest, ATaskThatIsAskedAgainHasTheNewDeadline) {
  Connect();
  Step(Arrival(kOne, std::chrono::seconds(20)));
  Step(Arrival(kTwo, std::chrono::seconds(20)));
  now_ += std::chrono::seconds(5);
  Step(Arrival(kOne, std::chrono::seconds(60)));
  Step(Arrival(kTwo, std::chrono::seconds(60)));

  EXPECT_THAT(Pass(std::chrono::seconds(50)), testing::Not(testing::Contains(HasSubstr("refuse"))));
  EXPECT_THAT(Pass(std::chrono::seconds(10)), testing::Contains(HasSubstr("TASK_EXPIRED")));
}

TEST_F(SessionTest, SpeaksAtEveryInterval) {
  Connect();

  EXPECT_THAT(Pass(kInterval), ElementsAre("heartbeat", "steady"));
  EXPECT_THAT(Pass(kInterval / 2), IsEmpty());
  EXPECT_THAT(Pass(kInterval / 2), ElementsAre("heartbeat"));
}

TEST_F(SessionTest, ASilentCoordinatorThatUsedToAnswerIsLost) {
  Connect();
  Step(CoordinatorGreeted{kInterval, now_});  // The answer to a heartbeat.
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Pass(kInterval), testing::Contains("heartbeat"));

  EXPECT_THAT(Pass(kInterval), ElementsAre("hang up"));
  EXPECT_THAT(Step(LinkClosed{"cancelled", kInterval}),
              ElementsAre("lost nothing heard from the coordinator for 30 s"));
}

TEST_F(SessionTest, ACoordinatorThatNeverAnswersHeartbeatsIsNotLostByIt) {
  Connect();

  for (int i = 0; i < 10; ++i) EXPECT_THAT(Pass(kInterval), testing::Contains("heartbeat"));
}

TEST_F(SessionTest, ATaskIsTakenAllowedReportedAndAcknowledged) {
  Connect();

  EXPECT_THAT(Step(Arrival(kOne)), ElementsAre("start job-1/1/1/north"));
  EXPECT_THAT(Step(TaskAdmitted{kOne}), ElementsAre("record allowed", "accept job-1/1/1/north"));
  EXPECT_THAT(Step(WorkReported{kOne}), ElementsAre("report job-1/1/1/north"));
  EXPECT_THAT(Step(ReportAnswered{kOne, OkStatus(), {}}),
              ElementsAre("settle acknowledged", "steady"));
  EXPECT_TRUE(session_.state().reports.empty());
}

TEST_F(SessionTest, ACoordinatorThatTakesAReportIsDialledWithoutLongPausesFromThenOn) {
  session_ = Session(SessionOptions{}, {kOne, kTwo}, now_);
  Connect();

  EXPECT_THAT(Step(ReportAnswered{kOne, FailedPrecondition("closed"), {}}),
              ElementsAre("settle closed"));
  EXPECT_THAT(Step(ReportAnswered{kTwo, OkStatus(), {}}),
              ElementsAre("settle acknowledged", "steady"));
  EXPECT_THAT(Pass(kInterval), ElementsAre("heartbeat"));
}

TEST_F(SessionTest, TasksWaitTheirTurn) {
  Connect();
  Step(Arrival(kOne));

  EXPECT_THAT(Step(Arrival(kTwo)), IsEmpty());
  EXPECT_THAT(Step(WorkReported{kOne}),
              ElementsAre("report job-1/1/1/north", "start job-1/2/1/north"));
}

TEST_F(SessionTest, ARepeatedTaskIsNotWorkedOnTwice) {
  Connect();
  Step(Arrival(kOne));
  Step(Arrival(kTwo));

  EXPECT_THAT(Step(Arrival(kOne)), IsEmpty());
  EXPECT_THAT(Step(Arrival(kTwo)), IsEmpty());
  EXPECT_EQ(session_.state().queue.size(), 1u);
}

TEST_F(SessionTest, AReportedTaskIsAnsweredWithItsReport) {
  Connect();
  Step(Arrival(kOne));
  Step(WorkReported{kOne});
  Step(ReportAnswered{kOne, Unavailable("gone"), kInterval});

  EXPECT_THAT(Step(Arrival(kOne)), ElementsAre("report job-1/1/1/north"));
  EXPECT_THAT(Step(Arrival(kOne)), IsEmpty());  // Under way.
}

TEST_F(SessionTest, ASettledTaskIsNeverTrainedAgain) {
  Connect();
  TaskArrived again = Arrival(kOne);
  again.is_settled = true;

  EXPECT_THAT(Step(again),
              ElementsAre("record TASK_REPEATED", "refuse job-1/1/1/north TASK_REPEATED"));
}

TEST_F(SessionTest, ARefusalIsToldAndTheNextTaskBegins) {
  Connect();
  Step(Arrival(kOne));
  Step(Arrival(kTwo));

  EXPECT_THAT(Step(WorkRefused{kOne, Refused()}),
              ElementsAre("record COHORT_MIN", "refuse job-1/1/1/north COHORT_MIN",
                          "start job-1/2/1/north"));
}

TEST_F(SessionTest, AFullQueueRefuses) {
  Connect();
  const std::size_t limit = SessionOptions{}.max_queued_tasks;
  for (std::size_t i = 0; i <= limit; ++i) Step(Arrival(TaskId("t" + std::to_string(i))));

  EXPECT_THAT(Step(Arrival(kOne)), ElementsAre("record BUSY", "refuse job-1/1/1/north BUSY"));
  EXPECT_EQ(session_.state().queue.size(), limit);
}

TEST_F(SessionTest, TheEndOfAJobStopsItsTasksAndFreesWhatIsSetAsideForIt) {
  Connect();
  Step(Arrival(kOne));
  Step(Arrival(kTwo));

  EXPECT_THAT(Step(JobEnded{JobId("job-1")}),
              ElementsAre("cancel job-1/1/1/north", "release job-1"));
  EXPECT_THAT(Step(WorkCancelled{kOne}), IsEmpty());
  EXPECT_THAT(Step(JobEnded{JobId("job-2")}), ElementsAre("release job-2"));
}

TEST_F(SessionTest, AWithdrawnTaskStops) {
  Connect();
  Step(Arrival(kOne));
  Step(Arrival(kTwo));

  EXPECT_THAT(Step(TaskWithdrawn{kTwo}), IsEmpty());
  EXPECT_THAT(Step(TaskWithdrawn{kOne}), ElementsAre("cancel job-1/1/1/north"));
  EXPECT_THAT(Step(TaskWithdrawn{kOne}), IsEmpty());
  EXPECT_THAT(Step(TaskAdmitted{kOne}), IsEmpty());
  EXPECT_THAT(Step(WorkCancelled{kOne}), IsEmpty());
  EXPECT_FALSE(session_.state().work.has_value());
}

TEST_F(SessionTest, ATaskPastItsDeadlineIsStoppedAndRefused) {
  Connect();
  Step(Arrival(kOne, std::chrono::seconds(5)));
  Step(Arrival(kTwo, std::chrono::seconds(4)));
  EXPECT_EQ(session_.NextDeadline(), now_ + std::chrono::seconds(4));

  EXPECT_THAT(Pass(std::chrono::seconds(4)),
              ElementsAre("record TASK_EXPIRED", "refuse job-1/2/1/north TASK_EXPIRED"));
  EXPECT_THAT(Pass(std::chrono::seconds(1)),
              ElementsAre("cancel job-1/1/1/north", "record TASK_EXPIRED",
                          "refuse job-1/1/1/north TASK_EXPIRED"));
  EXPECT_THAT(Step(WorkCancelled{kOne}), IsEmpty());
}

TEST_F(SessionTest, DeadlinesAreReadOnTheCoordinatorsClock) {
  Step(TimePassed{});
  Step(LinkOpened{});
  Step(CoordinatorGreeted{kInterval, now_ + std::chrono::hours(3)});
  TaskArrived task = Arrival(kOne);
  task.report_deadline = now_ + std::chrono::hours(3) + std::chrono::seconds(8);

  EXPECT_THAT(Step(task), ElementsAre("start job-1/1/1/north"));
  EXPECT_EQ(session_.NextDeadline(), now_ + std::chrono::seconds(8));

  task = Arrival(kTwo);
  task.report_deadline = now_ + std::chrono::hours(1);
  EXPECT_THAT(Step(task),
              ElementsAre("record TASK_EXPIRED", "refuse job-1/2/1/north TASK_EXPIRED"));
}

TEST_F(SessionTest, WorkGoesOnWhileDisconnectedAndIsReportedAfterwards) {
  Connect();
  Step(Arrival(kOne));
  Step(LinkClosed{"reset", kInterval});

  EXPECT_THAT(Step(TaskAdmitted{kOne}), ElementsAre("record allowed"));
  EXPECT_THAT(Step(WorkReported{kOne}), IsEmpty());
  EXPECT_THAT(Pass(kInterval), ElementsAre("dial"));
  EXPECT_THAT(Step(LinkOpened{}), ElementsAre("hello 1"));
  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_}),
              ElementsAre("connected", "report job-1/1/1/north"));
}

TEST_F(SessionTest, ARestartResendsWhatWasNotAcknowledged) {
  session_ = Session(SessionOptions{}, {kOne, kTwo}, kStart);
  Step(TimePassed{});

  EXPECT_THAT(Step(LinkOpened{}), ElementsAre("hello 2"));
  EXPECT_THAT(Step(CoordinatorGreeted{kInterval, now_}),
              ElementsAre("connected", "report job-1/1/1/north", "report job-1/2/1/north"));
}

TEST_F(SessionTest, AReportWithoutAnAnswerIsSentAgainAfterAPause) {
  Connect();
  Step(Arrival(kOne));
  Step(WorkReported{kOne});

  EXPECT_THAT(Step(ReportAnswered{kOne, Unavailable("x"), std::chrono::seconds(2)}), IsEmpty());
  EXPECT_THAT(Pass(std::chrono::seconds(1)), IsEmpty());
  EXPECT_THAT(Pass(std::chrono::seconds(1)), ElementsAre("report job-1/1/1/north"));
}

TEST_F(SessionTest, TheCoordinatorsLastWordSettlesAReport) {
  for (const Status& answer : {FailedPrecondition("round 1 is closed"), NotFound("no such task"),
                               InvalidArgument("size"), PermissionDenied("not yours")}) {
    session_ = Session(SessionOptions{}, {kOne}, now_);
    Connect();

    EXPECT_THAT(Step(ReportAnswered{kOne, answer, {}}), ElementsAre("settle " + MessageOf(answer)));
  }
  session_ = Session(SessionOptions{}, {kOne}, now_);
  Connect();
  EXPECT_THAT(Step(ReportAnswered{kOne, AlreadyExists("held"), {}}),
              ElementsAre("settle acknowledged", "steady"));
}

TEST_F(SessionTest, ProgressIsToldAtMostOnceASecond) {
  Connect();
  Step(Arrival(kOne));

  EXPECT_THAT(Step(WorkProgressed{kOne, 100}), ElementsAre("progress 100"));
  EXPECT_THAT(Step(WorkProgressed{kOne, 200}), IsEmpty());
  now_ += std::chrono::seconds(1);
  EXPECT_THAT(Step(WorkProgressed{kOne, 100}), IsEmpty());
  EXPECT_THAT(Step(WorkProgressed{kOne, 300}), ElementsAre("progress 300"));
}

TEST_F(SessionTest, ADrainRefusesWhatItGivesUpAndFinishesReports) {
  Connect();
  Step(Arrival(kOne));
  Step(WorkReported{kOne});
  Step(Arrival(kTwo));
  Step(Arrival(TaskId("t3")));

  EXPECT_THAT(Step(DrainRequested{}),
              ElementsAre("cancel job-1/2/1/north", "record SITE_STOPPING",
                          "refuse job-1/2/1/north SITE_STOPPING", "record SITE_STOPPING",
                          "refuse t3 SITE_STOPPING"));
  EXPECT_THAT(Step(Arrival(TaskId("t4"))),
              ElementsAre("record SITE_STOPPING", "refuse t4 SITE_STOPPING"));
  EXPECT_THAT(Step(WorkCancelled{kTwo}), IsEmpty());
  EXPECT_THAT(Step(ReportAnswered{kOne, OkStatus(), {}}),
              ElementsAre("settle acknowledged", "steady", "hang up"));
  EXPECT_THAT(Step(LinkClosed{"done", kInterval}), ElementsAre("stop"));
  EXPECT_EQ(session_.NextDeadline(), std::nullopt);
}

TEST_F(SessionTest, ADrainDoesNotWaitForEver) {
  Connect();
  Step(Arrival(kOne));
  Step(WorkReported{kOne});
  EXPECT_THAT(Step(DrainRequested{}), IsEmpty());

  EXPECT_THAT(Pass(std::chrono::seconds(20)), testing::Contains("hang up"));
  EXPECT_THAT(Step(LinkClosed{"x", kInterval}), ElementsAre("stop"));
}

TEST_F(SessionTest, ADrainWithoutConnectionEndsAtOnce) {
  EXPECT_THAT(Step(DrainRequested{}), ElementsAre("stop"));
  EXPECT_THAT(Step(DrainRequested{}), IsEmpty());
}

TEST_F(SessionTest, ADrainWhileConnectingHangsUp) {
  Step(TimePassed{});

  EXPECT_THAT(Step(DrainRequested{}), ElementsAre("hang up"));
  EXPECT_THAT(Step(LinkOpened{}), IsEmpty());
  EXPECT_THAT(Step(LinkClosed{"x", kInterval}), ElementsAre("stop"));
}

TEST_F(SessionTest, ACoordinatorThatMisbehavesIsHungUpOn) {
  Connect();

  EXPECT_THAT(Step(CoordinatorMisbehaved{"a malformed task_id"}), ElementsAre("hang up"));
  EXPECT_THAT(Step(Arrival(kOne)), IsEmpty());
  EXPECT_THAT(Step(LinkClosed{"x", kInterval}),
              ElementsAre("lost the coordinator sent what it must not: a malformed task_id"));
}

TEST_F(SessionTest, ATaskBeforeTheHelloEndsTheSession) {
  Step(TimePassed{});
  Step(LinkOpened{});

  EXPECT_THAT(Step(Arrival(kOne)), ElementsAre("hang up"));
}

TEST_F(SessionTest, ACoordinatorThatStopsIsNamedAsTheReason) {
  Connect();

  EXPECT_THAT(Step(CoordinatorDraining{}), IsEmpty());
  EXPECT_THAT(Step(LinkClosed{"x", kInterval}), ElementsAre("lost the coordinator is stopping"));
}

TEST_F(SessionTest, EventsWithoutMeaningChangeNothing) {
  const Event events[] = {LinkOpened{},
                          LinkClosed{"x", kInterval},
                          CoordinatorGreeted{kInterval, std::nullopt},
                          Arrival(kOne),
                          TaskWithdrawn{kOne},
                          CoordinatorDraining{},
                          CoordinatorMisbehaved{"x"},
                          TaskAdmitted{kOne},
                          WorkProgressed{kOne, 1},
                          WorkReported{kOne},
                          WorkRefused{kOne, Refused()},
                          WorkCancelled{kOne},
                          ReportAnswered{kOne, OkStatus(), {}}};
  for (const Event& event : events) {
    EXPECT_EQ(session_.Step(event, now_).status().code(), StatusCode::kFailedPrecondition)
        << event.index();
    EXPECT_TRUE(std::holds_alternative<Disconnected>(session_.state().link));
  }
}

// Any order of events: the machine keeps its bounds, never works on two tasks, and can always be
// stopped.
TEST(SessionPropertyTest, AnyEventsKeepItsInvariants) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SeededRandom random(seed);
    Session session(SessionOptions{.max_queued_tasks = 4}, {}, kStart);
    Time now = kStart;
    int working = 0;
    bool is_dialled = false;
    const auto apply = [&](const Event& event) {
      const auto actions = session.Step(event, now);
      if (!actions.ok()) return;
      for (const Action& action : *actions) {
        if (std::holds_alternative<StartWork>(action)) ++working;
        if (std::holds_alternative<Dial>(action)) {
          ASSERT_FALSE(is_dialled) << "seed " << seed;
          is_dialled = true;
        }
      }
      if (std::holds_alternative<LinkClosed>(event)) is_dialled = false;
      if (std::holds_alternative<WorkReported>(event) ||
          std::holds_alternative<WorkRefused>(event) ||
          std::holds_alternative<WorkCancelled>(event)) {
        --working;
      }
      ASSERT_LE(working, 1) << "seed " << seed;
      ASSERT_GE(working, 0) << "seed " << seed;
      ASSERT_EQ(working == 1, session.state().work.has_value()) << "seed " << seed;
      ASSERT_LE(session.state().queue.size(), 4u) << "seed " << seed;
    };
    for (int step = 0; step < 300; ++step) {
      now += Duration(static_cast<std::int64_t>(random.NextBelow(4'000'000)));
      const TaskId task("t" + std::to_string(random.NextBelow(8)));
      auto message = std::make_shared<v1::Task>();
      message->set_task_id(task.value());
      const Duration pause(static_cast<std::int64_t>(random.NextBelow(10'000'000)));
      const Event events[] = {
          LinkOpened{},
          LinkClosed{"x", pause},
          CoordinatorGreeted{Duration(random.NextBelow(12'000'000)), now + pause},
          TaskArrived{message, now + pause * 3, random.NextBelow(8) == 0},
          TaskArrived{message, now + pause * 3, false},
          TaskWithdrawn{task},
          CoordinatorDraining{},
          TaskAdmitted{task},
          WorkProgressed{task, static_cast<std::uint32_t>(random.NextBelow(1001))},
          WorkReported{task},
          WorkRefused{task, {.code = ReasonCode::kBusy}},
          WorkCancelled{task},
          ReportAnswered{task, random.NextBelow(2) == 0 ? OkStatus() : Unavailable("x"), pause},
          TimePassed{},
          TimePassed{}};
      ASSERT_NO_FATAL_FAILURE(apply(events[random.NextBelow(std::size(events))]));
    }
    apply(DrainRequested{});
    now += std::chrono::minutes(1);
    apply(TimePassed{});
    apply(LinkClosed{"x", Duration(1)});
    EXPECT_TRUE(std::holds_alternative<Stopped>(session.state().link)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace chorale::site_agent
