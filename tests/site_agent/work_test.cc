#include "site_agent/work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/crypto/blob_digest.h"
#include "core/rpc/chunks.h"
#include "jobs/signed_job.h"
#include "tests/site_agent/fixtures.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class MemorySource final : public BlobSource {
 public:
  Status Fetch(const TaskId&, const crypto::BlobId&, std::uint64_t,
               const std::function<Status(const v1::Chunk&)>& accept, Cancellation&) override {
    ++num_fetches;
    Status refused;
    (void)rpc::SendBytes(content, [&](v1::Chunk&& chunk) {
      refused = accept(chunk);
      return refused.ok();
    });
    return refused;
  }
  Bytes content;
  int num_fetches = 0;
};

class WorkTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    pki_ = new support::TestPki();
    ada_ = new identity::Identity(pki_->Load(v1::PARTY_ROLE_RESEARCHER, "ada"));
  }
  static void TearDownTestSuite() {
    delete ada_;
    delete pki_;
  }

  WorkTest() {
    WriteFile(directory_.path() / "heart.csv", MakeCsv(40, 20));
    SetModel({1, 2, 3});
  }
  void SetModel(const ParameterVector& values) {
    const ByteSpan bytes = AsBytes(std::span<const float>(values));
    source_.content.assign(bytes.begin(), bytes.end());
  }
  v1::Task TrainingTask() {
    v1::Task task;
    task.set_task_id("job-1/1/1/north");
    task.set_job_id("job-1");
    task.set_round(1);
    *task.mutable_job() = jobs::SignJob(spec_, *ada_);
    *task.mutable_training()->mutable_global_model() =
        rpc::ToProto(crypto::IdentifyBlob(source_.content));
    v1::FeatureMoments& moments = *task.mutable_training()->add_moments();
    moments.set_mean(60);
    moments.set_standard_deviation(10);
    return task;
  }
  v1::Task PreparationTask() {
    v1::Task task = TrainingTask();
    task.set_round(0);
    task.mutable_preparation();
    return task;
  }
  WorkOutcome Run(const v1::Task& task) {
    Work work({.config = config_,
               .config_directory = directory_.path(),
               .root = ada_->root(),
               .site = "north",
               .trainer = trainer_pointer_,
               .blobs = source_,
               .clock = clock_,
               .random = random_});
    return work.Run(task, cancellation_,
                    {.on_admitted = [this] { ++num_admitted_; }, .on_progress = [](double) {}});
  }
  std::string CodeOf(const v1::Task& task) {
    const WorkOutcome outcome = Run(task);
    const auto* refusal = std::get_if<Refusal>(&outcome);
    return refusal == nullptr ? "no refusal" : std::string(NameOf(refusal->code));
  }

  static support::TestPki* pki_;
  static identity::Identity* ada_;

  support::TemporaryDirectory directory_;
  v1::SiteConfig config_ = MakeSiteConfig(directory_.path());
  v1::JobSpec spec_ = MakeJobSpec();
  FakeTrainer trainer_;
  training::LocalTrainer* trainer_pointer_ = &trainer_;
  MemorySource source_;
  SystemClock clock_;  // Certificates are of today.
  SeededRandom random_{1};
  Cancellation cancellation_;
  int num_admitted_ = 0;
};

support::TestPki* WorkTest::pki_ = nullptr;
identity::Identity* WorkTest::ada_ = nullptr;

TEST_F(WorkTest, TrainsFromTheGlobalModel) {
  const WorkOutcome outcome = Run(TrainingTask());

  const auto* done = std::get_if<WorkDone>(&outcome);
  ASSERT_NE(done, nullptr);
  EXPECT_THAT(trainer_.last_global, ElementsAre(1, 2, 3));
  EXPECT_EQ(trainer_.last_seed, training::SeedFor(7, 1, "north"));
  EXPECT_EQ(std::get<std::vector<float>>(done->report.payload), std::vector<float>(3, 0.5f));
  EXPECT_EQ(done->report.num_examples, 40u);
  ASSERT_THAT(done->report.metrics, SizeIs(2));
  EXPECT_EQ(done->report.metrics[1].num_examples(), 20u);
  EXPECT_EQ(done->terms.task_id(), TaskId("job-1/1/1/north"));
  EXPECT_EQ(num_admitted_, 1);
}

TEST_F(WorkTest, SumsMomentsOfTheTrainingRows) {
  const WorkOutcome outcome = Run(PreparationTask());

  const auto* done = std::get_if<WorkDone>(&outcome);
  ASSERT_NE(done, nullptr);
  double sum = 0, squares = 0;
  for (int age = 40; age < 80; ++age) sum += age, squares += age * age;
  EXPECT_THAT(std::get<std::vector<double>>(done->report.payload), ElementsAre(40, sum, squares));
  EXPECT_EQ(trainer_.num_trainings, 0);
}

TEST_F(WorkTest, PreparesWithoutATrainerButDoesNotTrain) {
  trainer_pointer_ = nullptr;

  EXPECT_TRUE(std::holds_alternative<WorkDone>(Run(PreparationTask())));
  EXPECT_EQ(CodeOf(TrainingTask()), "TRAINER_UNAVAILABLE");
}

TEST_F(WorkTest, AForgedOrAlteredJobIsRefused) {
  v1::Task task = TrainingTask();
  (*task.mutable_job()->mutable_signature())[3] ^= 1;
  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");

  task = TrainingTask();
  spec_.set_seed(8);
  task.mutable_job()->set_spec(spec_.SerializeAsString());
  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AJobOfAnotherFederationIsRefused) {
  support::TestPki other("choir");
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, other.Load(v1::PARTY_ROLE_RESEARCHER, "ada"));

  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AJobSignedByASiteIsRefused) {
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, pki_->Load(v1::PARTY_ROLE_SITE, "north"));

  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AnExpiredResearcherIsRefused) {
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, pki_->LoadExpired(v1::PARTY_ROLE_RESEARCHER, "eve"));

  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AnInvalidSpecificationIsRefused) {
  spec_.mutable_rounds()->set_count(0);

  EXPECT_EQ(CodeOf(TrainingTask()), "JOB_INVALID");
}

TEST_F(WorkTest, AnotherResearcherIsRefusedBeforeTheTableIsRead) {
  std::filesystem::remove(directory_.path() / "heart.csv");
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, pki_->Load(v1::PARTY_ROLE_RESEARCHER, "bob"));

  EXPECT_EQ(CodeOf(task), "RESEARCHER_NOT_ALLOWED");
  EXPECT_EQ(source_.num_fetches, 0);
  EXPECT_EQ(num_admitted_, 0);
}

TEST_F(WorkTest, AnUnknownDatasetIsRefused) {
  spec_.set_dataset("stroke");

  EXPECT_EQ(CodeOf(TrainingTask()), "DATASET_UNKNOWN");
}

TEST_F(WorkTest, TooFewRowsAreRefusedBeforeTheModelIsFetched) {
  WriteFile(directory_.path() / "heart.csv", MakeCsv(9, 3));

  EXPECT_EQ(CodeOf(TrainingTask()), "COHORT_MIN");
  EXPECT_EQ(source_.num_fetches, 0);
}

TEST_F(WorkTest, AModelOfAnotherSizeIsNeverFetched) {
  v1::Task task = TrainingTask();
  task.mutable_training()->mutable_global_model()->set_size_bytes(1ull << 50);

  EXPECT_EQ(CodeOf(task), "TASK_INVALID");
  EXPECT_EQ(source_.num_fetches, 0);
}

TEST_F(WorkTest, AModelOfOtherBytesIsRefused) {
  const v1::Task task = TrainingTask();
  SetModel({1, 2, 4});

  EXPECT_EQ(CodeOf(task), "TASK_INVALID");
}

TEST_F(WorkTest, AModelThatIsNotFiniteIsRefused) {
  SetModel({1, std::numeric_limits<float>::infinity(), 3});

  EXPECT_EQ(CodeOf(TrainingTask()), "TASK_INVALID");
  EXPECT_EQ(trainer_.num_trainings, 0);
}

TEST_F(WorkTest, EachFailureOfTrainingHasItsCode) {
  const std::pair<Status, const char*> cases[] = {
      {FailedPrecondition("the loss is NaN"), "TRAINING_DIVERGED"},
      {ResourceExhausted("memory"), "RESOURCE_LIMIT"},
      {InvalidArgument("sizes"), "JOB_INVALID"},
      {Internal("bug"), "INTERNAL_ERROR"}};
  for (const auto& [failure, code] : cases) {
    trainer_.failure = failure;

    EXPECT_EQ(CodeOf(TrainingTask()), code);
  }
}

TEST_F(WorkTest, AnUpdateThatIsNotFiniteIsADivergence) {
  trainer_.value = std::numeric_limits<float>::quiet_NaN();

  EXPECT_EQ(CodeOf(TrainingTask()), "TRAINING_DIVERGED");
}

TEST_F(WorkTest, AMachineOutOfMemoryRefuses) {
  trainer_.during_training = [] { throw std::bad_alloc(); };

  EXPECT_EQ(CodeOf(TrainingTask()), "RESOURCE_LIMIT");
}

TEST_F(WorkTest, StopsWhenCancelled) {
  trainer_.during_training = [this] { cancellation_.Cancel(); };

  EXPECT_TRUE(std::holds_alternative<WorkWasCancelled>(Run(TrainingTask())));
}

TEST_F(WorkTest, AnEmptyTaskIsRefused) { EXPECT_NE(CodeOf(v1::Task()), "no refusal"); }

}  // namespace
}  // namespace chorale::site_agent
