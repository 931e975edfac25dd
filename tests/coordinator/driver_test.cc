#include "coordinator/driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "tests/coordinator/engine_fixture.h"

namespace chorale::coordinator {
namespace {

// The engine's parts with the driver's thread around an engine of its own.
class DriverTest : public EngineTest {
 protected:
  DriverTest() {
    engine_.reset();
    auto started = Driver::Start({.store = store_,
                                  .payloads = *payloads_,
                                  .members = *members_,
                                  .tasks = *tasks_,
                                  .uploads = *uploads_,
                                  .work = work_,
                                  .clock = clock_,
                                  .random = random_,
                                  .metrics = metrics_,
                                  .identity = Coordinator(),
                                  .limits = limits_},
                                 mailbox_, [this](const Status& why) { lost_.set_value(why); });
    driver_ = *std::move(started);
  }
  ~DriverTest() override { driver_.reset(); }

  static Submission MakeSubmission(const std::string& key) {
    const identity::Identity ada = Pki().Load(v1::PARTY_ROLE_RESEARCHER, "ada");
    return {.researcher = ResearcherId("ada"),
            .idempotency_key = key,
            .envelope = jobs::SignJob(Spec(), ada),
            .spec = Spec()};
  }

  Mailbox mailbox_;
  std::promise<Status> lost_;
  std::unique_ptr<Driver> driver_;
};

TEST_F(DriverTest, AnswersWhenTheSubmissionIsDurable) {
  const StatusOr<JobId> id = driver_->Submit(MakeSubmission("a-key"));

  ASSERT_TRUE(id.ok()) << id.status();
  driver_->Stop();
  EXPECT_EQ(store_.LoadJob(*id)->submission.id, *id);
}

TEST_F(DriverTest, AnswersManyThreads) {
  std::vector<std::future<StatusOr<JobId>>> answers;
  for (int i = 0; i < 8; ++i) {
    answers.push_back(std::async(std::launch::async,
                                 [this, submission = MakeSubmission("key-" + std::to_string(i))] {
                                   return driver_->Submit(submission);
                                 }));
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());

  EXPECT_EQ(
      driver_->Ask<std::vector<v1::JobSummary>>([](Engine& e) { return e.List(100); })->size(), 8u);
}

TEST_F(DriverTest, CommitsTogetherWhatWaitsTogether) {
  std::promise<void> go;
  std::promise<void> is_busy;
  driver_->Post([&](Engine&) {
    is_busy.set_value();
    go.get_future().wait();
  });
  is_busy.get_future().wait();
  for (int i = 0; i < 5; ++i) {
    driver_->Post([i](Engine& engine) {
      engine.Submit(MakeSubmission("key-" + std::to_string(i)), [](StatusOr<JobId>) {});
    });
  }
  const int before = store_.num_appends;
  go.set_value();
  const auto jobs =
      driver_->Ask<std::vector<v1::JobSummary>>([](Engine& e) { return e.List(100); });

  EXPECT_EQ(jobs->size(), 5u);
  EXPECT_EQ(store_.num_appends, before + 2);  // The roster's version, then all five.
}

TEST_F(DriverTest, DoesWhatIsInTheMailboxBeforeItStops) {
  std::promise<void> go;
  driver_->Post([&](Engine&) { go.get_future().wait(); });
  auto answer = std::async(std::launch::async, [&] {
    return driver_->Ask<int>([](Engine&) -> StatusOr<int> { return 7; });
  });
  go.set_value();
  const StatusOr<int> told = answer.get();
  driver_->Stop();

  EXPECT_EQ(*told, 7);
}

TEST_F(DriverTest, RefusesCallsOnceItHasStopped) {
  driver_->Stop();

  EXPECT_EQ(driver_->Submit(MakeSubmission("a-key")).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(driver_->Cancel(JobId("j1"), ResearcherId("ada")).status().code(),
            StatusCode::kUnavailable);
  EXPECT_EQ(driver_->Ask<int>([](Engine&) -> StatusOr<int> { return 7; }).status().code(),
            StatusCode::kUnavailable);
}

TEST_F(DriverTest, TellsThatTheStoreIsLostAndStops) {
  const StatusOr<JobId> id = driver_->Submit(MakeSubmission("a-key"));
  driver_->Post([this](Engine&) {
    store_.append_failure = DataLoss("gone");
    store_.load_failure = DataLoss("gone");
  });

  EXPECT_EQ(driver_->Cancel(*id, ResearcherId("ada")).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(lost_.get_future().get().code(), StatusCode::kInternal);
}

TEST(WorkerTest, DoesWorkAndTellsOfIt) {
  const support::TemporaryDirectory directory(support::Medium::kMemory);
  auto payloads = *PayloadStore::Open(directory.path() / "payloads");
  std::promise<WorkDone> done;
  Worker worker(*payloads, 1, [&](WorkDone result) { done.set_value(std::move(result)); });
  v1::ModelSpec model;
  model.mutable_logistic_regression();

  worker.Start(
      {.job = JobId("j1"), .task = MakeModelWork{.model = model, .num_inputs = 3, .seed = 7}});
  WorkDone result = done.get_future().get();

  EXPECT_EQ(result.job, JobId("j1"));
  ASSERT_TRUE(result.product.ok()) << result.product.status();
  EXPECT_EQ(std::get<NextModel>(*result.product).model.id().size_bytes, 16u);
}

TEST(WorkerTest, TellsWhatWentWrong) {
  const support::TemporaryDirectory directory(support::Medium::kMemory);
  auto payloads = *PayloadStore::Open(directory.path() / "payloads");
  const std::atomic<bool> never = false;

  const Work work{.job = JobId("j1"),
                  .task = MakeModelWork{.uploaded = crypto::BlobId{.size_bytes = 4}}};
  const auto product = DoWork(*payloads, work, 1, never);

  EXPECT_EQ(product.status().code(), StatusCode::kNotFound);
}

TEST(WorkerTest, ForgetsWhatWaitsWhenItStops) {
  const support::TemporaryDirectory directory(support::Medium::kMemory);
  auto payloads = *PayloadStore::Open(directory.path() / "payloads");
  Worker worker(*payloads, 1, [](WorkDone) {});
  worker.Stop();

  worker.Start({.job = JobId("j1"), .task = MetricsWork{}});  // Nobody does it; nothing waits.
}

}  // namespace
}  // namespace chorale::coordinator
