#include "evaluation/arms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "training/batch_schedule.h"

namespace chorale::evaluation {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;

// Records what it is asked. Training adds 1 to every parameter; the score of a row is the logistic
// function of its sum.
class RecordingTrainer final : public training::LocalTrainer {
 public:
  struct Call {
    std::uint32_t steps;
    std::uint64_t seed;
    ParameterVector start;
    data::Examples train;
    v1::TrainingSpec training = {};
    training::RoundPlace place = {};
  };

  StatusOr<training::TrainResult> Train(const training::TrainRequest& request) override {
    if (!failure.ok()) return failure;
    calls.push_back({request.training.local_steps(),
                     request.seed,
                     {request.start.begin(), request.start.end()},
                     request.train,
                     request.training,
                     request.place});
    return training::TrainResult{.update = ParameterVector(request.start.size(), 1.0F),
                                 .control_change = {},
                                 .num_examples = request.train.size()};
  }
  StatusOr<std::vector<float>> Predict(const models::GraphPlan&, std::span<const float> parameters,
                                       const data::Examples& examples) override {
    predicted.push_back({parameters.front(), examples.inputs});
    std::vector<float> scores;
    for (std::size_t row = 0; row < examples.size(); ++row) {
      float sum = 0;
      for (std::size_t i = 0; i < examples.num_inputs; ++i)
        sum += examples.inputs[row * examples.num_inputs + i];
      scores.push_back(1 / (1 + std::exp(-sum)));
    }
    return scores;
  }
  StatusOr<training::EvaluationResult> Evaluate(const models::GraphPlan&, std::span<const float>,
                                                const data::Examples&,
                                                const std::atomic<bool>*) override {
    return Internal("arms are judged by their predictions");
  }
  std::string device() const override { return "paper"; }

  Status failure;
  std::vector<Call> calls;
  std::vector<std::pair<float, std::vector<float>>> predicted;
};

data::Dataset MakeDataset(const v1::DataSpec& spec, const std::string& rows) {
  v1::DatasetConfig config;
  config.set_id("toy");
  config.set_split_column("split");
  config.mutable_csv()->set_path("toy.csv");
  const data::CsvTable table =
      data::ParseCsv("x,y,split\n" + rows, config.csv(), "toy.csv").value();
  return data::Dataset::Create(table, config, ".", spec).value();
}

// Two sites with one numeric feature. North: training 0, 2, 4 (mean 2, deviation 2). South:
// training 10, 14 (mean 12, deviation sqrt 8) and one class. Pooled: mean 6, deviation sqrt 34.
class ArmsTest : public testing::Test {
 protected:
  ArmsTest() {
    job_.set_dataset("toy");
    job_.mutable_data()->add_features()->set_column("x");
    job_.mutable_data()->mutable_features(0)->mutable_numeric();
    job_.mutable_data()->mutable_target()->set_column("y");
    job_.mutable_data()->mutable_target()->add_positive("1");
    job_.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
    job_.mutable_model()->mutable_logistic_regression();
    job_.mutable_training()->mutable_optimizer()->mutable_sgd()->set_learning_rate(0.1);
    job_.mutable_training()->set_local_epochs(2);
    job_.mutable_training()->set_batch_size(2);
    job_.mutable_rounds()->set_count(3);
    job_.set_seed(42);
  }

  StatusOr<Comparison> Compare() {
    datasets_.clear();
    datasets_.push_back(
        MakeDataset(job_.data(), "0,0,train\n2,1,train\n4,1,train\n2,0,test\n6,1,test\n"));
    datasets_.push_back(MakeDataset(job_.data(), "10,1,train\n14,0,train\n12,1,test\n"));
    const std::vector<Site> sites = {{.name = "north", .dataset = &datasets_[0]},
                                     {.name = second_name_, .dataset = &datasets_[1]}};
    return CompareArms({.job = job_,
                        .sites = sites,
                        .federated_parameters = federated_,
                        .trainer = trainer_,
                        .published_rounds = published_rounds_,
                        .initial_parameters = initial_,
                        .on_arm = [this](std::string_view arm) { told_.emplace_back(arm); },
                        .cancelled = nullptr});
  }

  v1::JobSpec job_;
  std::vector<data::Dataset> datasets_;
  std::string second_name_ = "south";
  ParameterVector federated_ = {7, 7};
  std::optional<std::uint32_t> published_rounds_;
  ParameterVector initial_;
  RecordingTrainer trainer_;
  std::vector<std::string> told_;
};

TEST_F(ArmsTest, RunsEveryLocalArmThenFederatedThenCentralized) {
  const Comparison comparison = Compare().value();

  EXPECT_THAT(told_, ElementsAre("local north", "local south", "federated", "centralized"));
  ASSERT_EQ(comparison.arms.size(), 4u);
  EXPECT_EQ(comparison.arms[0].kind, ArmKind::kLocal);
  EXPECT_EQ(comparison.arms[1].site, "south");
  EXPECT_EQ(comparison.arms[2].kind, ArmKind::kFederated);
  EXPECT_EQ(comparison.arms[3].kind, ArmKind::kCentralized);
  for (const Arm& arm : comparison.arms) {
    EXPECT_EQ(arm.pooled.num_rows, 3u);
    ASSERT_EQ(arm.by_site.size(), 2u);
    EXPECT_EQ(arm.by_site[0].num_rows, 2u);
  }
}

TEST_F(ArmsTest, CountsRowsAndPositives) {
  const Comparison comparison = Compare().value();

  const SiteRows& north = comparison.sites[0];
  EXPECT_EQ(north.site, "north");
  EXPECT_EQ(north.train_rows, 3u);
  EXPECT_EQ(north.train_positives, 2u);
  EXPECT_EQ(north.test_rows, 2u);
  EXPECT_EQ(north.test_positives, 1u);
}

TEST_F(ArmsTest, EveryRoundOfALocalArmContinuesWithANewSeed) {
  ASSERT_TRUE(Compare().ok());

  for (std::uint32_t round = 1; round <= 3; ++round) {
    const RecordingTrainer::Call& call = trainer_.calls[round - 1];
    EXPECT_EQ(call.seed, training::SeedFor(42, round, "north"));
    EXPECT_THAT(call.start,
                ElementsAre(static_cast<float>(round - 1), static_cast<float>(round - 1)));
  }
}

TEST_F(ArmsTest, EveryArmMeetsAsManyExamplesAsTheJobGivesIt) {
  const Comparison comparison = Compare().value();

  // North: 2 epochs of 3 rows in batches of 2, 4 steps a round. South: 2 steps. Pool: 5 rows, 2
  // epochs, 6 steps.
  ASSERT_EQ(trainer_.calls.size(), 9u);
  EXPECT_EQ(trainer_.calls[0].steps, 4u);
  EXPECT_EQ(trainer_.calls[3].steps, 2u);
  EXPECT_EQ(trainer_.calls[6].steps, 6u);
  EXPECT_EQ(trainer_.calls[6].train.size(), 5u);
  EXPECT_EQ(comparison.arms[0].examples_processed, 18u);
  EXPECT_EQ(comparison.arms[1].examples_processed, 12u);
  EXPECT_EQ(comparison.arms[2].examples_processed, 30u);
  EXPECT_EQ(comparison.arms[3].examples_processed, 30u);
  EXPECT_EQ(comparison.arms[2].optimizer_steps, 18u);
  EXPECT_EQ(comparison.arms[3].optimizer_steps, 18u);
}

TEST_F(ArmsTest, AFullBatchStepOfEverySiteIsOneFullBatchStepOfThePool) {
  job_.mutable_training()->set_batch_size(0);
  job_.mutable_training()->set_local_steps(1);

  ASSERT_TRUE(Compare().ok());

  EXPECT_EQ(trainer_.calls[6].steps, 1u);
}

TEST_F(ArmsTest, MoreStepsThanOneSpecificationMayAskForAreSplit) {
  job_.mutable_training()->set_local_steps(1000000);
  job_.mutable_rounds()->set_count(1);

  const Comparison comparison = Compare().value();

  std::uint64_t steps = 0;
  for (std::size_t i = 2; i < trainer_.calls.size(); ++i) {
    EXPECT_LE(trainer_.calls[i].steps, 1000000u);
    steps += trainer_.calls[i].steps;
  }
  EXPECT_EQ(steps, comparison.arms[3].optimizer_steps);
  EXPECT_GT(steps, 1000000u);
}

// Inputs of the test rows that each arm's model saw: [arm * 2 + site].
TEST_F(ArmsTest, FederatedStandardisationGivesFederatedAndCentralizedThePooledMoments) {
  ASSERT_TRUE(Compare().ok());

  ASSERT_EQ(trainer_.predicted.size(), 8u);
  const float pooled = std::sqrt(34.0F);
  EXPECT_THAT(trainer_.predicted[0].second, ElementsAre(0, 2));  // North by its own moments.
  EXPECT_THAT(trainer_.predicted[1].second, ElementsAre(5));     // South's row by north's moments.
  EXPECT_THAT(trainer_.predicted[4].second,
              ElementsAre(FloatNear(-4 / pooled, 1e-6F), FloatNear(0, 1e-6F)));
  EXPECT_THAT(trainer_.predicted[5].second, ElementsAre(FloatNear(6 / pooled, 1e-6F)));
  EXPECT_EQ(trainer_.predicted[7].second, trainer_.predicted[5].second);
  EXPECT_EQ(trainer_.predicted[4].first, 7);  // The parameters that were given.
  EXPECT_EQ(trainer_.predicted[6].first, 3);  // Three rounds from zero.
}

TEST_F(ArmsTest, PerSiteStandardisationGivesTheFederatedModelEachSitesOwnMoments) {
  job_.mutable_data()->set_standardization(v1::STANDARDIZATION_PER_SITE);

  ASSERT_TRUE(Compare().ok());

  EXPECT_THAT(trainer_.predicted[4].second, ElementsAre(0, 2));
  EXPECT_THAT(trainer_.predicted[5].second, ElementsAre(0));
  EXPECT_THAT(trainer_.predicted[7].second, ElementsAre(FloatNear(6 / std::sqrt(34.0F), 1e-6F)));
}

TEST_F(ArmsTest, WithoutStandardisationEveryArmSeesTheValues) {
  job_.mutable_data()->set_standardization(v1::STANDARDIZATION_NONE);

  ASSERT_TRUE(Compare().ok());

  for (const std::size_t arm : {0u, 1u, 2u, 3u}) {
    EXPECT_THAT(trainer_.predicted[2 * arm].second, ElementsAre(2, 6));
    EXPECT_THAT(trainer_.predicted[2 * arm + 1].second, ElementsAre(12));
  }
}

TEST_F(ArmsTest, ASiteWithOneClassOfTestRowsHasNoAurocThere) {
  const Comparison comparison = Compare().value();

  EXPECT_EQ(comparison.target, models::TargetKind::kBinary);
  EXPECT_TRUE(comparison.arms[2].by_site[1].metrics[0].estimate.has_value());
  EXPECT_EQ(comparison.arms[2].by_site[1].metrics[1].not_estimable, "one class");
  EXPECT_TRUE(comparison.arms[2].pooled.metrics[1].estimate.has_value());
}

TEST_F(ArmsTest, AFederationThatStoppedEarlyShortensEveryArm) {
  published_rounds_ = 2;

  const Comparison comparison = Compare().value();

  EXPECT_EQ(trainer_.calls.size(), 6u);
  EXPECT_EQ(trainer_.calls[1].place.round, 2u);
  EXPECT_EQ(trainer_.calls[1].place.num_rounds, 2u);
  EXPECT_EQ(comparison.arms[2].optimizer_steps, 12u);
  EXPECT_EQ(comparison.arms[3].optimizer_steps, 12u);
}

TEST_F(ArmsTest, ArmsStartWhereTheJobStarted) {
  initial_ = {5, -5};

  ASSERT_TRUE(Compare().ok());

  EXPECT_THAT(trainer_.calls[0].start, ElementsAre(5, -5));
  EXPECT_THAT(trainer_.calls[6].start, ElementsAre(5, -5));
  initial_ = {5};
  EXPECT_THAT(MessageOf(Compare().status()), HasSubstr("the initial model has 1 parameters"));
}

TEST_F(ArmsTest, WhatHoldsSitesTogetherIsLeftOutWhereNobodyDrifts) {
  job_.mutable_training()->mutable_fedprox()->set_mu(0.1);

  ASSERT_TRUE(Compare().ok());

  for (const RecordingTrainer::Call& call : trainer_.calls) {
    EXPECT_FALSE(call.training.has_fedprox());
  }
}

TEST_F(ArmsTest, ACyclicJobGivesTheCentralizedArmTheBudgetOfOneSiteARound) {
  job_.mutable_aggregation()->mutable_cyclic();

  const Comparison comparison = Compare().value();

  // Half of the 30 examples that both sites together would have met.
  EXPECT_EQ(comparison.arms[2].examples_processed, 15u);
  EXPECT_EQ(comparison.arms[3].examples_processed, 15u);
}

TEST_F(ArmsTest, ThePersonalisedArmTrainsOnAtEverySiteAndIsJudgedThere) {
  job_.mutable_personalization()->set_local_epochs(1);

  const Comparison comparison = Compare().value();

  ASSERT_EQ(comparison.arms.size(), 5u);
  EXPECT_EQ(comparison.arms[3].kind, ArmKind::kPersonalised);
  EXPECT_THAT(
      told_, ElementsAre("local north", "local south", "federated", "personalised", "centralized"));
  // From the federated parameters, one epoch of each site's rows, in the federation's scale.
  const RecordingTrainer::Call& north = trainer_.calls[6];
  EXPECT_THAT(north.start, ElementsAre(7, 7));
  EXPECT_EQ(north.steps, 2u);
  EXPECT_EQ(north.seed, training::SeedFor(42, 4, "north"));
  EXPECT_EQ(north.train.size(), 3u);
  EXPECT_THAT(north.train.inputs[2], FloatNear(-2 / std::sqrt(34.0F), 1e-6F));
  EXPECT_THAT(trainer_.calls[7].start, ElementsAre(7, 7));
  EXPECT_EQ(trainer_.calls[7].train.size(), 2u);
  EXPECT_EQ(comparison.arms[3].optimizer_steps, 3u);
  EXPECT_EQ(comparison.arms[3].examples_processed, 5u);
  // Two sites, each by its own model: 7 and one update.
  EXPECT_EQ(trainer_.predicted[6].first, 8);
  EXPECT_EQ(trainer_.predicted[7].first, 8);
  EXPECT_EQ(trainer_.predicted[8].first, 3);
}

TEST_F(ArmsTest, APrivateModelIsJudgedAsItsOwnJobPreparesRowsBesideTheOthers) {
  Comparison comparison = Compare().value();
  v1::JobSpec private_job = job_;
  private_job.mutable_data()->set_standardization(v1::STANDARDIZATION_RANGE);
  v1::NumericFeature& x = *private_job.mutable_data()->mutable_features(0)->mutable_numeric();
  x.mutable_range()->set_high(8);
  private_job.mutable_training()->set_local_steps(1);
  std::vector<data::Dataset> datasets;
  datasets.push_back(MakeDataset(private_job.data(), "0,0,train\n2,0,test\n6,1,test\n"));
  datasets.push_back(MakeDataset(private_job.data(), "10,1,train\n12,1,test\n"));
  const std::vector<Site> sites = {{.name = "north", .dataset = &datasets[0]},
                                   {.name = "south", .dataset = &datasets[1]}};
  const ParameterVector parameters = {9, 9};
  const std::size_t trained = trainer_.calls.size();

  StatusOr<Arm> arm = JudgePrivate({.job = private_job,
                                    .sites = sites,
                                    .federated_parameters = parameters,
                                    .trainer = trainer_,
                                    .published_rounds = 40});

  ASSERT_TRUE(arm.ok()) << arm.status();
  EXPECT_EQ(trainer_.calls.size(), trained);
  EXPECT_EQ(trainer_.predicted[8].first, 9);
  EXPECT_THAT(trainer_.predicted[8].second, ElementsAre(-0.5, 0.5));
  EXPECT_THAT(trainer_.predicted[9].second, ElementsAre(1));  // 12 is beyond the range.
  EXPECT_EQ(arm->optimizer_steps, 40u);
  ASSERT_TRUE(AddPrivate(*arm, comparison).ok());
  ASSERT_EQ(comparison.arms.size(), 5u);
  EXPECT_EQ(LabelOf(comparison.arms[3]), "private");
  EXPECT_EQ(comparison.arms[4].kind, ArmKind::kCentralized);

  arm->pooled.num_rows = 2;
  EXPECT_THAT(MessageOf(AddPrivate(*arm, comparison)), HasSubstr("other test rows"));
}

TEST_F(ArmsTest, AFederationThatWasToldNoisyMomentsIsJudgedByThem) {
  job_.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  job_.mutable_data()->mutable_features(0)->mutable_numeric()->mutable_range()->set_high(8);
  job_.mutable_privacy()->mutable_distributed();
  job_.mutable_training()->set_local_steps(1);
  const std::vector<data::Moments> noisy = {{.mean = 4, .standard_deviation = 2}};
  const data::Dataset dataset = MakeDataset(job_.data(), "0,0,train\n2,0,test\n9,1,test\n");
  const std::vector<Site> sites = {{.name = "north", .dataset = &dataset}};
  ArmsRequest request{.job = job_,
                      .sites = sites,
                      .federated_parameters = federated_,
                      .trainer = trainer_,
                      .noisy_moments = noisy};

  ASSERT_TRUE(JudgePrivate(request).ok()) << JudgePrivate(request).status();
  EXPECT_THAT(trainer_.predicted[0].second, ElementsAre(-1, 2));  // 9 is beyond the range.

  request.noisy_moments = {};
  EXPECT_THAT(MessageOf(JudgePrivate(request).status()), HasSubstr("run record"));
  EXPECT_THAT(MessageOf(CompareArms(request).status()), HasSubstr("run record"));
}

TEST_F(ArmsTest, ANewtonJobIsSolvedInEveryArmAndTrainedInNone) {
  job_.clear_training();
  job_.mutable_newton()->set_l2_penalty(1);
  job_.mutable_newton()->set_tolerance(1e-14);

  const Comparison comparison = Compare().value();

  EXPECT_TRUE(trainer_.calls.empty());
  ASSERT_EQ(comparison.arms.size(), 4u);
  EXPECT_GT(comparison.arms[0].optimizer_steps, 1u);
  EXPECT_GT(comparison.arms[3].optimizer_steps, 1u);
  EXPECT_EQ(comparison.arms[3].examples_processed, 5 * comparison.arms[3].optimizer_steps);
  // Pooled rows at (-6, -4, -2, 4, 8) / sqrt 34 with targets 0, 1, 1, 1, 0: an independent minimum
  // (Newton's method in NumPy) of the loss and half the squared weight.
  EXPECT_NEAR(trainer_.predicted[6].first, -0.174743100F, 1e-6F);
}

TEST_F(ArmsTest, RefusesParametersThatDoNotFitAndNamesThatRepeat) {
  federated_.push_back(0);
  EXPECT_EQ(Compare().status().code(), StatusCode::kInvalidArgument);
  federated_.pop_back();
  second_name_ = "north";
  EXPECT_THAT(MessageOf(Compare().status()), HasSubstr("named twice"));
  EXPECT_TRUE(trainer_.calls.empty());
}

TEST_F(ArmsTest, RefusesNoSites) {
  const auto result = CompareArms({.job = job_,
                                   .sites = {},
                                   .federated_parameters = federated_,
                                   .trainer = trainer_,
                                   .on_arm = {},
                                   .cancelled = nullptr});
  EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
}

TEST_F(ArmsTest, ATrainingErrorNamesItsArm) {
  trainer_.failure = FailedPrecondition("diverged");

  const Status status = Compare().status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(MessageOf(status), "local north arm: diverged");
}

}  // namespace
}  // namespace chorale::evaluation
