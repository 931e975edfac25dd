#include "coordinator/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/engine_fixture.h"

namespace chorale::coordinator {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;

// ---------------------------------------------------------------------------- a job's life

TEST_F(EngineTest, RunsAJobFromSubmissionToItsModel) {
  Connect("north");
  Connect("south");
  const JobId id = Submit();
  DoWork();
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(Report("north", 1).ok());
    EXPECT_TRUE(Report("south", 3).ok());
    DoWork();
  }

  const v1::JobSummary summary = Summary(id);
  EXPECT_EQ(summary.state(), v1::JOB_STATE_COMPLETED) << summary.reason();
  EXPECT_EQ(summary.published_rounds(), 2u);
  const auto model = engine_->FindModel(id);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<float> values(4);
  ASSERT_TRUE(model->reader.ReadAt(0, {reinterpret_cast<std::uint8_t*>(values.data()), 16}).ok());
  EXPECT_THAT(values, testing::Each(4.0f));  // Zero, plus the mean of 1 and 3, twice.
}

TEST_F(EngineTest, GivesTheSameModelWhateverTheOrderOfReports) {
  Connect("north");
  Connect("south");
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_count(1);
  std::vector<crypto::BlobId> models;
  for (const bool north_first : {true, false}) {
    const JobId id = Submit(spec);
    DoWork();
    EXPECT_TRUE(Report(north_first ? "north" : "south", north_first ? 0.1f : 0.7f).ok());
    EXPECT_TRUE(Report(north_first ? "south" : "north", north_first ? 0.7f : 0.1f).ok());
    DoWork();
    models.push_back(engine_->FindModel(id)->id);
  }

  EXPECT_EQ(models[0], models[1]);
}

TEST_F(EngineTest, WaitsForSitesWithAVisibleReason) {
  Connect("north");
  const JobId id = Submit();
  DoWork();

  EXPECT_EQ(Summary(id).state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(Summary(id).reason(), "waiting for sites: 1 of 2 connected");
  Connect("south");
  EXPECT_EQ(Summary(id).reason(), "round 1 waits for north, south");
}

TEST_F(EngineTest, FailsAJobThatFindsNoCohortByTheDeadline) {
  const JobId id = Submit();
  DoWork();
  Advance(seconds(61));

  EXPECT_EQ(Summary(id).state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(Summary(id).reason(), HasSubstr("waiting for sites: 0 of 2 connected"));
}

TEST_F(EngineTest, RunsOnlySoManyJobsAtOnce) {
  limits_.max_running_jobs = 1;
  Restart();
  Connect("north");
  Connect("south");
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_count(1);
  const JobId first = Submit(spec);
  const JobId second = Submit(spec);
  DoWork();
  EXPECT_EQ(Summary(second).state(), v1::JOB_STATE_QUEUED);
  EXPECT_THAT(Summary(second).reason(), HasSubstr("waits for a running job"));

  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  DoWork();

  EXPECT_EQ(Summary(first).state(), v1::JOB_STATE_COMPLETED);
  EXPECT_EQ(Summary(second).state(), v1::JOB_STATE_RUNNING);
}

TEST_F(EngineTest, BoundsTheQueue) {
  limits_.max_running_jobs = 1;
  limits_.max_queued_jobs = 1;
  Restart();
  Submit();
  Submit();

  EXPECT_EQ(TrySubmit(Spec()).status().code(), StatusCode::kResourceExhausted);
}

TEST_F(EngineTest, RefusesAModelThatIsTooLarge) {
  limits_.max_model_bytes = 15;
  Restart();

  const auto id = TrySubmit(Spec());

  EXPECT_EQ(id.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(id.status()), HasSubstr("max_model_bytes"));
}

TEST_F(EngineTest, AnswersARepeatedSubmissionWithTheSameJob) {
  const auto first = TrySubmit(Spec(), "the-same-key");
  const auto again = TrySubmit(Spec(), "the-same-key");
  v1::JobSpec other = Spec();
  other.set_seed(99);

  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(TrySubmit(other, "the-same-key").status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(engine_->List(10)->size(), 1u);
}

TEST_F(EngineTest, CancelsAJobForItsResearcherOnly) {
  Connect("north");
  Connect("south");
  const JobId id = Submit();
  DoWork();
  StatusOr<v1::JobSummary> answer = Internal("no answer");
  const auto keep = [&answer](StatusOr<v1::JobSummary> result) { answer = std::move(result); };

  engine_->Cancel(id, ResearcherId("eve"), keep);
  EXPECT_EQ(answer.status().code(), StatusCode::kPermissionDenied);
  engine_->Cancel(JobId("unknown"), ResearcherId("ada"), keep);
  EXPECT_EQ(answer.status().code(), StatusCode::kNotFound);
  engine_->Cancel(id, ResearcherId("ada"), keep);
  MustCommit();

  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(Channel("north").NumCancelled(), 1);
  engine_->Cancel(id, ResearcherId("ada"), keep);
  EXPECT_EQ(answer.status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(EngineTest, KeepsNoUpdateOfAnEndedJobAndTwoModelsAtMost) {
  Connect("north");
  Connect("south");
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_count(5);
  Submit(spec);
  DoWork();
  for (int round = 0; round < 5; ++round) {
    EXPECT_TRUE(Report("north", 1).ok());
    EXPECT_TRUE(Report("south", 3).ok());
    DoWork();
    EXPECT_LE(store_.ListBlobs()->size(), 2u);
  }
}

// Updates of zero leave every model as it was: all jobs share one payload by its content.
TEST_F(EngineTest, AJobThatEndsLeavesEqualModelsOfOthersAlone) {
  Connect("north");
  Connect("south");
  v1::JobSpec short_job = Spec();
  short_job.mutable_rounds()->set_count(1);
  const JobId first = Submit(short_job);
  DoWork();
  const std::string north = Channel("north").LastTask();
  const std::string south = Channel("south").LastTask();
  const JobId second = Submit();
  DoWork();
  ReportFor("north", north, 0);
  ReportFor("south", south, 0);
  DoWork();
  ASSERT_EQ(Summary(first).state(), v1::JOB_STATE_COMPLETED);

  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(Report("north", 0).ok());
    EXPECT_TRUE(Report("south", 0).ok());
    DoWork();
  }

  EXPECT_EQ(Summary(second).state(), v1::JOB_STATE_COMPLETED) << Summary(second).reason();
  EXPECT_TRUE(engine_->FindModel(first).ok());
  EXPECT_TRUE(engine_->FindModel(second).ok());
}

TEST_F(EngineTest, OffersTheModelOnlyAfterAPublishedRound) {
  const JobId id = Submit();
  DoWork();

  EXPECT_EQ(engine_->FindModel(id).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(engine_->FindModel(JobId("unknown")).status().code(), StatusCode::kNotFound);
}

// ---------------------------------------------------------------------------- group commit

TEST_F(EngineTest, WritesReportsThatComeTogetherInOneTransaction) {
  Connect("north");
  Connect("south");
  Submit();
  DoWork();
  const int before = store_.num_appends;
  std::optional<Status> north;
  std::optional<Status> south;
  StageReport("north", north);
  StageReport("south", south);
  EXPECT_FALSE(north.has_value());  // Answered only when durable.
  MustCommit();

  EXPECT_EQ(store_.num_appends, before + 1);
  EXPECT_TRUE(north->ok()) << *north;
  EXPECT_TRUE(south->ok()) << *south;
}

TEST_F(EngineTest, BeginsTheNextRoundInTheTransactionThatPublishesTheOneBefore) {
  Connect("north");
  Connect("south");
  Submit();
  DoWork();
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  const int before = store_.num_appends;
  DoWork();

  EXPECT_EQ(store_.num_appends, before + 1);
  EXPECT_EQ(Channel("north").NumTasks(), 2);
}

TEST_F(EngineTest, TellsNobodyOfWhatCouldNotBeStored) {
  Connect("north");
  Connect("south");
  const JobId id = Submit();
  DoWork();
  store_.append_failure = ResourceExhausted("disk full");

  EXPECT_EQ(Report("north").code(), StatusCode::kUnavailable);
  EXPECT_EQ(Summary(id).current().sites(0).state(), v1::SITE_STATE_PENDING);

  store_.append_failure = OkStatus();
  clock_.Advance(seconds(1));
  EXPECT_TRUE(Report("north").ok());
  EXPECT_EQ(Summary(id).current().sites(0).state(), v1::SITE_STATE_REPORTED);
}

TEST_F(EngineTest, SumsAgainWhenTheSumCouldNotBeStored) {
  Connect("north");
  Connect("south");
  const JobId id = Submit();
  DoWork();
  EXPECT_TRUE(Report("north").ok());
  EXPECT_TRUE(Report("south").ok());
  store_.append_failure = ResourceExhausted("disk full");
  const Work work = std::move(work_.queue.front());
  work_.queue.clear();
  engine_->WorkIsDone({work.job, coordinator::DoWork(*payloads_, work, 1, never_)});
  EXPECT_FALSE(Commit().ok());
  EXPECT_THAT(work_.queue, IsEmpty());  // Not at once: the disk is still full.

  store_.append_failure = OkStatus();
  Advance(seconds(1));
  DoWork();

  EXPECT_EQ(Summary(id).published_rounds(), 1u);
}

TEST_F(EngineTest, ForgetsASubmissionThatCouldNotBeStored) {
  store_.append_failure = ResourceExhausted("disk full");

  EXPECT_EQ(TrySubmit(Spec()).status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(*engine_->List(10), IsEmpty());
}

TEST_F(EngineTest, SaysThatItMustStopWhenTheStoreIsLost) {
  Connect("north");
  Connect("south");
  Submit();
  DoWork();
  store_.append_failure = DataLoss("gone");
  store_.load_failure = DataLoss("gone");
  std::optional<Status> answer;
  StageReport("north", answer);

  EXPECT_EQ(Commit().code(), StatusCode::kInternal);
  EXPECT_EQ(answer->code(), StatusCode::kUnavailable);
}

// ---------------------------------------------------------------------------- recovery

TEST_F(EngineTest, GoesOnInTheMiddleOfARoundAfterARestart) {
  Connect("north");
  Connect("south");
  const JobId id = Submit();
  DoWork();
  EXPECT_TRUE(Report("north").ok());

  Restart();
  FakeChannel& south = Connect("south");
  Connect("north");

  EXPECT_EQ(south.NumTasks(), 1);
  EXPECT_EQ(Channel("north").NumTasks(), 0);
  EXPECT_TRUE(Report("south").ok());
  DoWork();
  EXPECT_EQ(Summary(id).published_rounds(), 1u);
}

TEST_F(EngineTest, MakesTheSameModelWhenAnInterruptedSumIsDoneAgain) {
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_count(1);
  std::vector<crypto::BlobId> models;
  for (const bool is_interrupted : {false, true}) {
    Restart();
    Connect("north");
    Connect("south");
    const JobId id = Submit(spec);
    DoWork();
    EXPECT_TRUE(Report("north", 0.3f).ok());
    EXPECT_TRUE(Report("south", 0.9f).ok());
    if (is_interrupted) Restart();
    DoWork();
    models.push_back(engine_->FindModel(id)->id);
  }

  EXPECT_EQ(models[0], models[1]);
}

TEST_F(EngineTest, MakesTheInitialModelAgainAfterARestart) {
  const JobId id = Submit();
  Restart();
  DoWork();

  EXPECT_THAT(Summary(id).reason(), HasSubstr("waiting for sites"));
}

TEST_F(EngineTest, AnswersARepeatedReportAfterARestart) {
  Connect("north");
  Connect("south");
  Submit();
  DoWork();
  const std::string task = Channel("north").LastTask();
  EXPECT_TRUE(Report("north").ok());
  Restart();

  EXPECT_TRUE(tasks_->Find(TaskId(task), SiteId("north"))->report.has_value());
}

TEST_F(EngineTest, ShowsFinishedJobsAfterARestart) {
  const JobId id = Submit();
  DoWork();
  Advance(seconds(61));
  Restart();

  EXPECT_EQ(Summary(id).state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(engine_->List(10)->at(0).state(), v1::JOB_STATE_FAILED);
  EXPECT_EQ(engine_->Show(id)->rounds_size(), 1);
}

TEST_F(EngineTest, NeverGoesBackInTimeWhenTheClockDid) {
  Connect("north");
  Connect("south");
  const JobId id = Submit();
  DoWork();
  clock_.Advance(-std::chrono::hours(1));
  Restart();
  Advance(seconds(61));

  EXPECT_EQ(Summary(id).state(), v1::JOB_STATE_FAILED);
}

TEST_F(EngineTest, WakesInTimeForTheNextDeadline) {
  limits_.heartbeat_interval = std::chrono::minutes(5);
  Restart();
  EXPECT_EQ(engine_->UntilNextTimer(), Duration(std::chrono::minutes(5)));
  Submit();
  DoWork();

  EXPECT_EQ(engine_->UntilNextTimer(), Duration(seconds(60)));
}

}  // namespace
}  // namespace chorale::coordinator
