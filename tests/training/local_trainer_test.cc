#include "training/local_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>

#include "tests/training/toy_data.h"

namespace chorale::training {
namespace {

using testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(SeedForTest, MatchesTheDocumentedDigest) {
  // From SHA-256 computed elsewhere.
  EXPECT_EQ(SeedFor(0, 0, ""), 0xa07922b66e21f2c9u);
  EXPECT_EQ(SeedFor(42, 1, "cleveland"), 0x27139a8f65c600f6u);
  EXPECT_EQ(SeedFor(~std::uint64_t{0}, 10000, "hungary"), 0x5832168feaf4b65au);
}

TEST(SeedForTest, DiffersByJobRoundAndSite) {
  std::set<std::uint64_t> seeds;
  for (const std::uint64_t job : {0u, 1u, 42u}) {
    for (const std::uint32_t round : {1u, 2u, 256u}) {
      for (const std::string_view site : {"a", "b", "ab", ""})
        seeds.insert(SeedFor(job, round, site));
    }
  }
  EXPECT_EQ(seeds.size(), 36u);
}

// A valid specification; each test spoils one thing.
v1::TrainingSpec Valid() {
  v1::TrainingSpec training = MakeSgd(0.1, 0.9, 100, 4);
  v1::MetricSpec* metric = training.add_metrics();
  metric->set_kind(v1::METRIC_KIND_LOSS);
  metric->set_split(v1::SPLIT_TRAIN);
  return training;
}

std::string MessageWhen(const std::function<void(v1::TrainingSpec&)>& spoil) {
  v1::TrainingSpec training = Valid();
  spoil(training);
  const Status status = Validate(training, "training");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

TEST(ValidateTrainingTest, AcceptsEveryBound) {
  EXPECT_TRUE(Validate(Valid(), "training").ok());
  EXPECT_TRUE(Validate(MakeSgd(100, 0, 1000000, 1u << 20), "training").ok());
  EXPECT_TRUE(Validate(MakeAdam(1e-9, 1, 0), "training").ok());
  v1::TrainingSpec epochs = Valid();
  epochs.set_local_epochs(1000);
  EXPECT_TRUE(Validate(epochs, "training").ok());
}

TEST(ValidateTrainingTest, RefusesAMissingOptimizerOrLength) {
  EXPECT_THAT(MessageWhen([](auto& t) { t.clear_optimizer(); }), HasSubstr("training.optimizer"));
  EXPECT_THAT(MessageWhen([](auto& t) { t.clear_length(); }),
              HasSubstr("local_epochs or local_steps"));
}

TEST(ValidateTrainingTest, RefusesLearningRatesAndMomentaOutOfBounds) {
  for (const double rate : {0.0, -1.0, 100.5, kNaN, kInfinity}) {
    EXPECT_THAT(MessageWhen([&](auto& t) {
                  t.mutable_optimizer()->mutable_sgd()->set_learning_rate(rate);
                }),
                HasSubstr("training.optimizer.sgd.learning_rate"));
    EXPECT_THAT(MessageWhen([&](auto& t) {
                  t.mutable_optimizer()->mutable_adam()->set_learning_rate(rate);
                }),
                HasSubstr("training.optimizer.adam.learning_rate"));
  }
  for (const double momentum : {-0.1, 1.0, kNaN}) {
    EXPECT_THAT(
        MessageWhen([&](auto& t) { t.mutable_optimizer()->mutable_sgd()->set_momentum(momentum); }),
        HasSubstr("training.optimizer.sgd.momentum"));
  }
}

TEST(ValidateTrainingTest, RefusesCountsOutOfBoundsWithTheValue) {
  EXPECT_THAT(MessageWhen([](auto& t) { t.set_local_steps(0); }),
              HasSubstr("in [1, 1000000], got 0"));
  EXPECT_THAT(MessageWhen([](auto& t) { t.set_local_steps(1000001); }), HasSubstr("got 1000001"));
  EXPECT_THAT(MessageWhen([](auto& t) { t.set_local_epochs(0); }),
              HasSubstr("in [1, 1000], got 0"));
  EXPECT_THAT(MessageWhen([](auto& t) { t.set_local_epochs(1001); }), HasSubstr("got 1001"));
  EXPECT_THAT(MessageWhen([](auto& t) { t.set_batch_size((1u << 20) + 1); }),
              HasSubstr("training.batch_size"));
}

TEST(ValidateTrainingTest, RefusesPenaltiesThatAreNegativeOrNotFinite) {
  for (const double penalty : {-1e-9, kNaN, kInfinity}) {
    EXPECT_THAT(MessageWhen([&](auto& t) { t.set_l2_penalty(penalty); }),
                HasSubstr("training.l2_penalty"));
  }
}

TEST(ValidateTrainingTest, RefusesMetricsThatAreUnknownRepeatedOrTooMany) {
  EXPECT_THAT(
      MessageWhen([](auto& t) { t.mutable_metrics(0)->set_kind(v1::METRIC_KIND_UNSPECIFIED); }),
      HasSubstr("training.metrics[0].kind"));
  EXPECT_THAT(
      MessageWhen([](auto& t) { t.mutable_metrics(0)->set_kind(static_cast<v1::MetricKind>(77)); }),
      HasSubstr("training.metrics[0].kind"));
  EXPECT_THAT(MessageWhen([](auto& t) { t.mutable_metrics(0)->clear_split(); }),
              HasSubstr("training.metrics[0].split"));
  EXPECT_THAT(MessageWhen([](auto& t) { *t.add_metrics() = t.metrics(0); }),
              HasSubstr("training.metrics[1]"));
  EXPECT_THAT(MessageWhen([](auto& t) {
                for (int i = 0; i < 16; ++i) t.add_metrics();
              }),
              HasSubstr("at most 16"));
}

TEST(ValidateTrainingTest, AcceptsEveryOptimizerScheduleAndDriftControl) {
  v1::TrainingSpec training = Valid();
  training.mutable_optimizer()->mutable_sgd()->set_nesterov(true);
  training.mutable_schedule()->mutable_step_decay()->set_every_rounds(1);
  training.mutable_schedule()->mutable_step_decay()->set_factor(1);
  training.set_accumulate_batches(1024);
  training.set_max_gradient_norm(5);
  training.mutable_fedprox()->set_mu(0.01);
  EXPECT_TRUE(Validate(training, "training").ok());
  training.mutable_optimizer()->mutable_adamw()->set_learning_rate(0.001);
  training.mutable_schedule()->mutable_cosine()->set_floor(0);
  EXPECT_TRUE(Validate(training, "training").ok());
  training.mutable_schedule()->mutable_exponential()->set_factor(0.9);
  EXPECT_TRUE(Validate(training, "training").ok());
}

TEST(ValidateTrainingTest, RefusesWhatTheNewFieldsCannotHold) {
  struct Bad {
    std::function<void(v1::TrainingSpec&)> spoil;
    const char* field;
  };
  const std::vector<Bad> bads = {
      {[](auto& t) {
         t = MakeSgd(0.1, 0, 1, 0), t.mutable_optimizer()->mutable_sgd()->set_nesterov(true);
       },
       "training.optimizer.sgd.nesterov"},
      {[](auto& t) { t.mutable_optimizer()->mutable_adamw(); },
       "training.optimizer.adamw.learning_rate"},
      {[](auto& t) {
         t.mutable_optimizer()->mutable_adamw()->set_learning_rate(0.1);
         t.mutable_optimizer()->mutable_adamw()->set_weight_decay(-1);
       },
       "training.optimizer.adamw.weight_decay"},
      {[](auto& t) { t.mutable_schedule()->mutable_step_decay()->set_factor(0.5); },
       "training.schedule.step_decay.every_rounds"},
      {[](auto& t) { t.mutable_schedule()->mutable_step_decay()->set_every_rounds(2); },
       "training.schedule.step_decay.factor"},
      {[](auto& t) { t.mutable_schedule()->mutable_cosine()->set_floor(1.1); },
       "training.schedule.cosine.floor"},
      {[](auto& t) { t.mutable_schedule()->mutable_exponential()->set_factor(kNaN); },
       "training.schedule.exponential.factor"},
      {[](auto& t) { t.set_accumulate_batches(1025); }, "training.accumulate_batches"},
      {[](auto& t) { t.set_max_gradient_norm(-1); }, "training.max_gradient_norm"},
      {[](auto& t) { t.set_max_gradient_norm(kNaN); }, "training.max_gradient_norm"},
      {[](auto& t) { t.mutable_fedprox()->set_mu(kInfinity); }, "training.fedprox.mu"},
  };
  for (const Bad& bad : bads) EXPECT_THAT(MessageWhen(bad.spoil), HasSubstr(bad.field));
}

TEST(ValidateTogetherTest, RefusesScaffoldWithAnotherOptimizerThanPlainSgd) {
  const models::GraphPlan plan = PlanFor(MakeLogisticRegression(), 3);
  v1::TrainingSpec training = MakeSgd(0.1, 0, 1, 0);
  training.mutable_scaffold();
  EXPECT_TRUE(ValidateTogether(training, plan, "training").ok());

  training.mutable_optimizer()->mutable_sgd()->set_momentum(0.5);
  EXPECT_THAT(MessageOf(ValidateTogether(training, plan, "training")),
              HasSubstr("training.scaffold"));
  training.mutable_optimizer()->mutable_adam()->set_learning_rate(0.1);
  EXPECT_THAT(MessageOf(ValidateTogether(training, plan, "training")),
              HasSubstr("training.scaffold"));
}

TEST(ValidateTogetherTest, RefusesLocalNormalizationWithoutANormLayer) {
  v1::TrainingSpec training = MakeSgd(0.1, 0, 1, 0);
  training.set_local_normalization(true);
  EXPECT_THAT(
      MessageOf(ValidateTogether(training, PlanFor(MakeLogisticRegression(), 3), "training")),
      HasSubstr("training.local_normalization"));

  v1::ModelSpec resnet;
  resnet.mutable_tabular_resnet();
  EXPECT_TRUE(ValidateTogether(training, PlanFor(resnet, 3), "training").ok());
}

TEST(ValidateTogetherTest, RefusesAccuracyWhereNothingIsClassified) {
  v1::TrainingSpec training = Valid();
  training.add_metrics()->set_kind(v1::METRIC_KIND_ACCURACY);
  EXPECT_TRUE(ValidateTogether(training, PlanFor(MakeLogisticRegression(), 3), "training").ok());

  v1::ModelSpec cox;
  cox.mutable_cox();
  EXPECT_THAT(MessageOf(ValidateTogether(training, PlanFor(cox, 3), "training")),
              HasSubstr("training.metrics[1].kind"));
}

TEST(EstimateMemoryTest, GrowsWithModelOptimizerThreadsAndRowsInFlight) {
  const models::GraphPlan small = PlanFor(MakeMlp({64}, v1::ACTIVATION_RELU), 100);
  const models::GraphPlan large = PlanFor(MakeMlp({4096, 4096}, v1::ACTIVATION_RELU), 100);
  const v1::TrainingSpec sgd = MakeSgd(0.1, 0, 1, 512);
  const v1::TrainingSpec adam = MakeAdam(0.1, 1, 512);
  const auto parameters = large.layout().size_bytes();

  EXPECT_GE(EstimateMemory(large, sgd, 1000, 1), 4 * parameters);
  EXPECT_GE(EstimateMemory(large, adam, 1000, 1),
            EstimateMemory(large, sgd, 1000, 1) + 2 * parameters);
  const v1::TrainingSpec shared = MakeSgd(0.1, 0, 1, 4096);  // Worth a second thread.
  EXPECT_GE(EstimateMemory(large, shared, 10000, 2),
            EstimateMemory(large, shared, 10000, 1) + parameters);
  EXPECT_LT(EstimateMemory(small, sgd, 1000, 1), EstimateMemory(large, sgd, 1000, 1));
  EXPECT_LT(EstimateMemory(small, sgd, 1000, 1), EstimateMemory(small, sgd, 1000000, 1));
}

TEST(EstimateMemoryTest, EvaluationIsBoundedByRowsThreadsAndPieces) {
  const models::GraphPlan plan = PlanFor(MakeMlp({4096, 4096}, v1::ACTIVATION_RELU), 100);
  const std::uint64_t fixed = EstimateEvaluationMemory(plan, 1, 1);

  // Two of the wide values at once, of several hundred rows; of few rows less.
  EXPECT_GE(EstimateEvaluationMemory(plan, 1000000000, 1), fixed + 500 * 2 * 4096 * 4);
  EXPECT_LT(EstimateEvaluationMemory(plan, 100, 1), EstimateEvaluationMemory(plan, 1000000000, 1));
  // Twice 64 MiB and the weights for each thread, whatever the rows.
  EXPECT_LE(EstimateEvaluationMemory(plan, 1000000000, 1), fixed + (1u << 27));
  EXPECT_LE(EstimateEvaluationMemory(plan, 1000000000, 4), 4 * (fixed + (1u << 27)));
  EXPECT_GE(EstimateEvaluationMemory(plan, 1000000000, 4),
            EstimateEvaluationMemory(plan, 1000000000, 1) + 3 * plan.layout().size_bytes());
  // The outputs and targets of all rows at once.
  v1::ModelSpec cox;
  cox.mutable_cox();
  EXPECT_GE(EstimateEvaluationMemory(PlanFor(cox, 5), 1000000000, 1), 1000000000ull * 3 * 4);
}

TEST(EstimateMemoryTest, AModelThatCouplesExamplesCountsTheWholeBatch) {
  v1::ModelSpec spec = MakeMlp({4096}, v1::ACTIVATION_RELU);
  spec.mutable_mlp()->mutable_loss()->mutable_cox();
  const models::GraphPlan plan = PlanFor(spec, 10);
  const v1::TrainingSpec training = MakeSgd(0.1, 0, 1, 1000);

  EXPECT_GE(EstimateMemory(plan, training, 1000000, 1), 1000 * plan.num_activations() * 4);
  EXPECT_GE(EstimateMemory(plan, training, 1000000, 1, /*max_patient_rows=*/50),
            50 * 1000 * plan.num_activations() * 4);
  EXPECT_GE(EstimateMemory(plan, MakeSgd(0.1, 0, 1, 0), 1000000, 1),
            1000000 * plan.num_activations() * 4);
}

}  // namespace
}  // namespace chorale::training
