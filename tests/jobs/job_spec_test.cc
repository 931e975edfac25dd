#include "jobs/job_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/storage/file.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using support::ValidJob;
using testing::HasSubstr;

constexpr std::string_view kJobYaml = R"(# A job that is valid.
name: heart
dataset: heart-disease
data:
  features:
    - {column: age, numeric: {}}
  target: {column: disease, positive: ["1"]}
  standardization: none
model:
  logistic_regression: {}
training:
  optimizer: {sgd: {learning_rate: 0.1}}
  local_epochs: 1
rounds:
  count: 3
  min_reports: 2
  deadline: 60s
aggregation:
  fedavg: {weighting: examples}
seed: 7
)";

std::string MessageFor(const v1::JobSpec& spec) {
  const Status status = Validate(spec);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

StatusOr<v1::JobSpec> LoadText(const std::string& text) {
  const support::TemporaryDirectory directory(support::Medium::kMemory);
  const auto path = directory.path() / "job.yaml";
  EXPECT_TRUE(storage::WriteFileAtomically(path, AsBytes(text), storage::FileMode::kPublic).ok());
  return LoadJobFile(path);
}

TEST(JobSpecTest, AcceptsAValidJob) {
  const Status status = Validate(ValidJob());

  EXPECT_TRUE(status.ok()) << status;
}

TEST(JobSpecTest, RefusesANameThatIsNone) {
  v1::JobSpec spec = ValidJob();
  spec.set_name("Heart Disease");

  EXPECT_THAT(MessageFor(spec), HasSubstr("name must be 1 to 64 characters of [a-z0-9-]"));
}

TEST(JobSpecTest, RefusesADatasetThatIsAPath) {
  v1::JobSpec spec = ValidJob();
  spec.set_dataset("../heart");

  EXPECT_THAT(MessageFor(spec), HasSubstr("dataset must be"));
}

TEST(JobSpecTest, RefusesNoRounds) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->set_count(0);

  EXPECT_THAT(MessageFor(spec), HasSubstr("rounds.count must be in [1, 10000], got 0"));
}

TEST(JobSpecTest, RefusesTooManyRounds) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->set_count(10001);

  EXPECT_THAT(MessageFor(spec), HasSubstr("got 10001"));
}

TEST(JobSpecTest, RefusesAQuorumOfNobody) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->set_min_reports(0);

  EXPECT_THAT(MessageFor(spec), HasSubstr("rounds.min_reports must be in [1, 1024], got 0"));
}

TEST(JobSpecTest, RefusesACohortBelowTheQuorum) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->set_cohort_size(1);

  EXPECT_THAT(MessageFor(spec), HasSubstr("rounds.cohort_size must be 0"));
}

TEST(JobSpecTest, RefusesAMissingDeadline) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->clear_deadline();

  EXPECT_THAT(MessageFor(spec), HasSubstr("rounds.deadline is required"));
}

TEST(JobSpecTest, RefusesADeadlineOutsideItsBounds) {
  for (const std::int64_t seconds : {std::int64_t{0}, std::int64_t{-5}, std::int64_t{604801}}) {
    v1::JobSpec spec = ValidJob();
    spec.mutable_rounds()->mutable_deadline()->set_seconds(seconds);

    EXPECT_THAT(MessageFor(spec), HasSubstr("rounds.deadline must be in [1 s, 7 days]"));
  }
}

TEST(JobSpecTest, AcceptsTheLongestDeadline) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->mutable_deadline()->set_seconds(604800);

  EXPECT_TRUE(Validate(spec).ok());
}

TEST(JobSpecTest, RefusesTooManyAbandonedRounds) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->set_max_abandoned(1001);

  EXPECT_THAT(MessageFor(spec), HasSubstr("rounds.max_abandoned must be in [0, 1000], got 1001"));
}

TEST(JobSpecTest, RefusesAnAggregationWithoutARule) {
  v1::JobSpec spec = ValidJob();
  spec.clear_aggregation();

  EXPECT_THAT(MessageFor(spec), HasSubstr("aggregation must name a rule"));
}

TEST(JobSpecTest, RefusesAWeightingThatIsNone) {
  for (const int value : {0, 77}) {
    v1::JobSpec spec = ValidJob();
    spec.mutable_aggregation()->mutable_fedavg()->set_weighting(static_cast<v1::Weighting>(value));

    EXPECT_THAT(MessageFor(spec), HasSubstr("aggregation.fedavg.weighting must be"));
  }
}

TEST(JobSpecTest, PassesOnWhatThePartsRefuse) {
  v1::JobSpec without_model = ValidJob();
  without_model.clear_model();
  v1::JobSpec without_features = ValidJob();
  without_features.mutable_data()->clear_features();
  v1::JobSpec without_length = ValidJob();
  without_length.mutable_training()->clear_local_epochs();

  EXPECT_THAT(MessageFor(without_model), HasSubstr("model"));
  EXPECT_THAT(MessageFor(without_features), HasSubstr("data.features"));
  EXPECT_THAT(MessageFor(without_length), HasSubstr("training"));
}

TEST(JobSpecTest, CountsInputsForTheLayout) {
  const StatusOr<ParameterLayout> layout = LayoutOf(ValidJob());

  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->num_parameters(), 4u);  // age, two of three levels, bias
}

TEST(JobSpecTest, PreparesOnlyForFederatedStandardisationOfSomething) {
  v1::JobSpec spec = ValidJob();
  EXPECT_FALSE(NeedsPreparation(spec));

  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
  EXPECT_TRUE(NeedsPreparation(spec));

  spec.mutable_data()->mutable_features()->DeleteSubrange(0, 1);  // The only numeric one.
  EXPECT_FALSE(NeedsPreparation(spec));
}

TEST(JobSpecTest, ReadsAFile) {
  const StatusOr<v1::JobSpec> spec = LoadText(std::string(kJobYaml));

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name(), "heart");
  EXPECT_EQ(spec->rounds().deadline().seconds(), 60);
}

TEST(JobSpecTest, NamesFileAndLineOfABrokenBound) {
  std::string text(kJobYaml);
  text.replace(text.find("min_reports: 2"), 14, "min_reports: 0");

  const StatusOr<v1::JobSpec> spec = LoadText(text);

  EXPECT_EQ(spec.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(spec.status()), HasSubstr("job.yaml:16"));
  EXPECT_THAT(MessageOf(spec.status()), HasSubstr("must be in [1, 1024], got 0"));
}

TEST(JobSpecTest, TellsThatThereIsNoFile) {
  EXPECT_EQ(LoadJobFile("/nonexistent/job.yaml").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::jobs
