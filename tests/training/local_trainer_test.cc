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

}  // namespace
}  // namespace chorale::training
