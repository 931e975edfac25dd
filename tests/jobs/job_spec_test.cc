#include "jobs/job_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
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
  const StatusOr<models::GraphPlan> plan = PlanOf(ValidJob());

  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->layout().num_parameters(), 4u);  // age, two of three levels, bias
}

TEST(JobSpecTest, StopsEarlyByAMetricThatTheJobCollects) {
  v1::JobSpec spec = ValidJob();
  v1::EarlyStop& stop = *spec.mutable_rounds()->mutable_early_stop();
  stop.mutable_metric()->set_kind(v1::METRIC_KIND_LOSS);
  stop.mutable_metric()->set_split(v1::SPLIT_TRAIN);
  stop.set_patience(3);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

  v1::JobSpec other_metric = spec;
  other_metric.mutable_rounds()->mutable_early_stop()->mutable_metric()->set_split(v1::SPLIT_TEST);
  v1::JobSpec no_patience = spec;
  no_patience.mutable_rounds()->mutable_early_stop()->set_patience(0);
  v1::JobSpec negative_change = spec;
  negative_change.mutable_rounds()->mutable_early_stop()->set_min_change(-0.1);
  v1::JobSpec infinite_change = spec;
  infinite_change.mutable_rounds()->mutable_early_stop()->set_min_change(
      std::numeric_limits<double>::infinity());

  EXPECT_THAT(MessageFor(other_metric),
              HasSubstr("rounds.early_stop.metric must be one of training.metrics"));
  EXPECT_THAT(MessageFor(no_patience),
              HasSubstr("rounds.early_stop.patience must be in [1, 1000], got 0"));
  EXPECT_THAT(MessageFor(negative_change), HasSubstr("rounds.early_stop.min_change"));
  EXPECT_THAT(MessageFor(infinite_change), HasSubstr("rounds.early_stop.min_change"));
}

TEST(JobSpecTest, PersonalizesForSomeEpochs) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_personalization()->set_local_epochs(1000);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

  spec.mutable_personalization()->set_local_epochs(0);
  EXPECT_THAT(MessageFor(spec),
              HasSubstr("personalization.local_epochs must be in [1, 1000], got 0"));
}

TEST(JobSpecTest, TakesTheTargetThatTheLossAsksFor) {
  v1::JobSpec number = ValidJob();
  number.mutable_data()->mutable_target()->clear_positive();
  number.mutable_data()->mutable_target()->mutable_numeric();
  v1::JobSpec survival = ValidJob();
  survival.mutable_data()->mutable_target()->mutable_survival()->set_time_column("days");
  v1::JobSpec classes = ValidJob();
  classes.mutable_data()->mutable_target()->clear_positive();
  for (const char* name : {"a", "b", "c"}) {
    classes.mutable_data()->mutable_target()->add_classes(name);
  }
  v1::MultilayerPerceptron& mlp = *classes.mutable_model()->mutable_mlp();
  mlp.add_hidden_units(4);
  mlp.set_activation(v1::ACTIVATION_RELU);
  mlp.mutable_loss()->mutable_cross_entropy()->set_num_classes(3);

  EXPECT_THAT(MessageFor(number), HasSubstr("data.target must have positive alone for the loss of "
                                            "this model, got numeric"));
  EXPECT_THAT(MessageFor(survival), HasSubstr("got positive and survival"));
  EXPECT_TRUE(Validate(classes).ok()) << Validate(classes);
  mlp.mutable_loss()->mutable_cross_entropy()->set_num_classes(4);
  EXPECT_THAT(MessageFor(classes), HasSubstr("data.target.classes must be as many as the loss of "
                                             "this model has, 4, got 3"));
}

TEST(JobSpecTest, HasOneTargetForEachOutputOfTheModel) {
  v1::JobSpec spec = ValidJob();
  v1::ModelGraph& graph = *spec.mutable_model()->mutable_graph();
  graph.add_inputs()->set_name("x");
  graph.mutable_inputs(0)->add_shape(3);
  v1::GraphNode& head = *graph.add_nodes();
  head.set_name("head");
  head.add_inputs("x");
  head.mutable_linear()->set_units(1);
  graph.set_output("head");
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

  head.mutable_linear()->set_units(2);

  EXPECT_THAT(MessageFor(spec), HasSubstr("data.target must be as many numbers as the loss of this "
                                          "model takes, 2, got 1"));
}

TEST(JobSpecTest, StartsFromWeightsOfTheModelsSize) {
  v1::JobSpec spec = ValidJob();
  v1::InitialModel& initial = *spec.mutable_initial_model();
  EXPECT_THAT(MessageFor(spec), HasSubstr("initial_model.file is required"));
  initial.set_file("start.safetensors");
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

  initial.mutable_weights()->set_size_bytes(16);
  initial.mutable_weights()->set_digest("short");
  EXPECT_THAT(MessageFor(spec),
              HasSubstr("initial_model.weights.digest must have 32 bytes, got 5"));
  initial.mutable_weights()->set_digest(std::string(32, 'x'));
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  initial.mutable_weights()->set_size_bytes(20);
  EXPECT_THAT(MessageFor(spec), HasSubstr("initial_model.weights.size_bytes must be those of the "
                                          "model, 16, got 20"));
  initial.set_file(std::string(4097, 'a'));
  EXPECT_THAT(MessageFor(spec), HasSubstr("initial_model.file must have at most 4096 characters"));
}

TEST(JobSpecTest, BoundsTheHistogramsOfAPreparationReport) {
  v1::JobSpec spec = ValidJob();
  v1::DataSpec& data = *spec.mutable_data();
  data.set_standardization(v1::STANDARDIZATION_FEDERATED_ROBUST);
  data.clear_features();
  for (int i = 0; i < 1100; ++i) {
    v1::FeatureSpec& feature = *data.add_features();
    feature.set_column("x" + std::to_string(i));
    feature.mutable_numeric();
  }

  EXPECT_THAT(MessageFor(spec), HasSubstr("data.features must give a preparation report of at most "
                                          "64 MiB, got 68 MiB"));
  data.set_standardization(v1::STANDARDIZATION_FEDERATED);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
}

TEST(JobSpecTest, PreparesOnlyForFederatedStandardisationOfSomething) {
  v1::JobSpec spec = ValidJob();
  EXPECT_FALSE(NeedsPreparation(spec));

  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
  EXPECT_TRUE(NeedsPreparation(spec));
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_ROBUST);
  EXPECT_TRUE(NeedsPreparation(spec));
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_PER_SITE);
  EXPECT_FALSE(NeedsPreparation(spec));
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);

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

TEST(JobSpecTest, LeavesTheNamingOfWeightsToSubmission) {
  std::string with_file(kJobYaml);
  with_file += "initial_model: {file: start.safetensors}\n";
  std::string with_weights(kJobYaml);
  with_weights += "initial_model: {weights: {size_bytes: 8}}\n";

  EXPECT_TRUE(LoadText(with_file).ok()) << LoadText(with_file).status();
  EXPECT_THAT(MessageOf(LoadText(with_weights).status()), HasSubstr("initial_model.weights"));
}

TEST(JobSpecTest, TellsThatThereIsNoFile) {
  EXPECT_EQ(LoadJobFile("/nonexistent/job.yaml").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::jobs
