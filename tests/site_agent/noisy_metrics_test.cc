#include "site_agent/noisy_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <numbers>
#include <utility>

#include "jobs/private_metrics.h"
#include "tests/site_agent/noisy_steps.h"
#include "tests/support/valid_job.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// With the trainer that agents run, as noisy_sums_test.cc. Keys are fixed: a test passes or fails
// the same way every time.
namespace chorale::site_agent {
namespace {

using privacy::Uint128;

class NoisyMetricsTest : public testing::Test {
 protected:
  NoisyMetricsTest() {
    spec_.mutable_privacy()->set_noise_multiplier(1);
    metrics().add_kinds(v1::METRIC_KIND_LOSS);
    metrics().add_kinds(v1::METRIC_KIND_ACCURACY);
    metrics().add_kinds(v1::METRIC_KIND_AUROC);
    metrics().set_split(v1::SPLIT_TEST);
    metrics().set_noise_multiplier(1);
    none_.num_inputs = kNumInputs;
  }
  v1::PrivateMetrics& metrics() { return *spec_.mutable_privacy()->mutable_metrics(); }
  Steps Sum(const data::Examples& examples, std::uint32_t key = 1) {
    return NoisyMetrics({.spec = spec_,
                         .plan = plan_,
                         .parameters = parameters_,
                         .examples = examples,
                         .honest_sites = honest_sites_,
                         .trainer = *trainer_,
                         .cancelled = cancelled_},
                        KeyOf(key))
        .value();
  }
  privacy::Grid Grid() {
    return jobs::GridOf(jobs::MetricSumOf(spec_.privacy().metrics()), spec_.privacy()).value();
  }

  v1::JobSpec spec_ = support::PrivateJob();
  models::GraphPlan plan_ =
      training::PlanFor(training::MakeMlp({8, 4}, v1::ACTIVATION_TANH), kNumInputs);
  ParameterVector parameters_ = training::MakeParameters(plan_, 3);
  std::uint32_t honest_sites_ = 3;
  data::Examples none_;
  std::unique_ptr<training::LocalTrainer> trainer_ =
      training::MakeTorchTrainer({.device = "cpu", .threads = 1}).value();
  const std::atomic<bool> cancelled_ = false;
};

TEST_F(NoisyMetricsTest, OnePatientMoreMovesTheSumByNoMoreThanTheSensitivity) {
  using Limits = std::numeric_limits<float>;
  const data::Examples without = training::MakeExamplesFor(plan_, 6, 7);
  const Steps sum = Sum(without);
  double largest = 0;
  const auto expect_bounded = [&](const std::vector<float>& rows, float target) {
    const Uint128 square = SquareOf(Minus(Sum(With(without, rows, target)), sum));
    EXPECT_TRUE(square <= Grid().max_square()) << rows[0] << " " << rows.size();
    largest = std::max(largest, std::sqrt(static_cast<double>(square)));
  };
  for (const float value :
       {0.0F, 1.0F, -1.0F, 1e4F, -1e4F, 1e19F, 1e30F, -1e30F, Limits::max(), Limits::lowest(),
        Limits::denorm_min(), Limits::infinity(), -Limits::infinity(), std::nanf("")}) {
    for (const float target : {0.0F, 1.0F}) {
      std::vector<float> one_of_many(40 * kNumInputs, 0.3F);
      one_of_many[7] = value;
      expect_bounded(std::vector<float>(kNumInputs, value), target);
      expect_bounded(one_of_many, target);
      expect_bounded(std::vector<float>(40 * kNumInputs, value), target);
    }
  }
  SeededRandom random(17);
  for (int i = 0; i < 200; ++i) {
    std::vector<float> rows(kNumInputs * (1 + random.NextBelow(6)));
    for (float& value : rows) {
      value = static_cast<float>((random.NextDouble() - 0.5) *
                                 std::pow(10.0, 76 * random.NextDouble() - 38));
    }
    expect_bounded(rows, 1);
  }
  EXPECT_GT(largest, 0.8 * Grid().norm_in_steps());  // Or the test would see nothing.
}

// A model that is as wrong as can be about one row: every part of the vector is full.
TEST_F(NoisyMetricsTest, AVectorOfTheGreatestLengthIsCountedAndNotDropped) {
  metrics().mutable_kinds()->RemoveLast();
  metrics().set_max_loss(1e-3);  // Every loss is beyond it.
  const data::Examples one = With(none_, std::vector<float>(kNumInputs, 0.5F), 1);
  Steps moved = Minus(Sum(one), Sum(none_));
  // Right or not, as the model has it; the other class is the other.
  if (moved[2] == 0) {
    moved = Minus(Sum(With(none_, std::vector<float>(kNumInputs, 0.5F), 0)), Sum(none_));
  }
  const double length = std::sqrt(static_cast<double>(SquareOf(moved)));
  EXPECT_GT(length, 0.999 * Grid().norm_in_steps());
  EXPECT_TRUE(SquareOf(moved) <= Grid().max_square());
}

TEST_F(NoisyMetricsTest, PatientsCountTheSameHoweverManyRowsTheyHave) {
  metrics().set_max_loss(50);
  metrics().set_auroc_bins(100);
  data::Examples examples = training::MakeExamplesFor(plan_, 60, 7);
  examples.patients.clear();
  for (std::uint32_t row = 0; row < 60; ++row) {
    examples.patients.push_back(row < 40 ? row / 20 : row - 38);  // Two with 20, 20 with one.
  }
  std::map<std::uint32_t, data::Examples> by_patient;
  for (std::size_t row = 0; row < 60; ++row) {
    data::Examples& of_one = by_patient[examples.patients[row]];
    of_one.num_inputs = kNumInputs;
    const auto first = examples.inputs.begin() + static_cast<std::ptrdiff_t>(row * kNumInputs);
    of_one.inputs.insert(of_one.inputs.end(), first, first + kNumInputs);
    of_one.targets.push_back(examples.targets[row]);
    of_one.patients.push_back(0);
  }
  double loss = 0;
  double accuracy = 0;
  for (const auto& [patient, of_one] : by_patient) {
    const training::EvaluationResult result =
        trainer_->Evaluate(plan_, parameters_, of_one, nullptr).value();
    loss += result.loss / 22;
    accuracy += *result.accuracy / 22;
  }

  std::vector<double> sums;
  for (const std::int64_t value : Minus(Sum(examples), Sum(none_))) {
    sums.push_back(static_cast<double>(value) * Grid().step());
  }
  const std::vector<v1::MetricValue> values = jobs::MetricsOf(metrics(), sums);
  ASSERT_EQ(values.size(), 3u);
  EXPECT_EQ(values[0].num_examples(), 22u);
  // Rounded to the grid, and cut to a length that is a little less than the bound.
  EXPECT_NEAR(values[0].value(), loss, 0.05);
  EXPECT_NEAR(values[1].value(), accuracy, 0.005);
}

TEST_F(NoisyMetricsTest, TheNoiseIsOneShareOfWhatTheSumNeeds) {
  for (const std::uint32_t honest : {1u, 4u}) {
    honest_sites_ = honest;
    double square = 0;
    double numbers = 0;
    std::size_t zeros = 0;
    constexpr std::uint32_t kRuns = 300;
    for (std::uint32_t key = 0; key < kRuns; ++key) {
      for (const std::int64_t value : Sum(none_, key)) {
        square += static_cast<double>(value) * static_cast<double>(value);
        zeros += value == 0 ? 1 : 0;
        numbers += 1;
      }
    }
    const double sigma = Grid().norm_in_steps() / std::sqrt(honest);
    // Relative to its mean the estimate has a deviation of 1.3 %; six of them once in 10^9.
    EXPECT_NEAR(square / numbers / (sigma * sigma), 1, 6 * std::sqrt(2 / numbers));
    EXPECT_LT(static_cast<double>(zeros),
              20 + 3 * numbers / (sigma * std::sqrt(2 * std::numbers::pi)));
  }
}

TEST_F(NoisyMetricsTest, AnotherKeyIsOtherNoiseAndNobodyIsEnough) {
  EXPECT_EQ(Sum(none_, 1), Sum(none_, 1));
  EXPECT_NE(Sum(none_, 1), Sum(none_, 2));
}

TEST_F(NoisyMetricsTest, RefusesAGridTooCoarseForItsNoise) {
  metrics().set_noise_multiplier(0.01);
  const auto refused = NoisyMetrics({.spec = spec_,
                                     .plan = plan_,
                                     .parameters = parameters_,
                                     .examples = none_,
                                     .honest_sites = 1000,
                                     .trainer = *trainer_,
                                     .cancelled = cancelled_},
                                    KeyOf(1));
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::site_agent
