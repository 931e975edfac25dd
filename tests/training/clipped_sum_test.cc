#include "training/clipped_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>

#include "tests/training/private_cases.h"
#include "training/torch_trainer.h"

namespace chorale::training {
namespace {

using testing::Each;
using testing::HasSubstr;

double NormOf(std::span<const float> values) {
  double square = 0;
  for (const float value : values) square += double{value} * double{value};
  return std::sqrt(square);
}

double DistanceOf(const ParameterVector& a, const ParameterVector& b) {
  EXPECT_EQ(a.size(), b.size());
  ParameterVector difference = a;
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] -= b[i];
  return NormOf(difference);
}

// A request that works, over patients of 1 to 5 rows; each test changes one thing.
class ClippedSumTest : public testing::TestWithParam<GradSampleMode> {
 protected:
  ClippedSumTest() { Use(PlanFor(MakeMlp({16, 8}, v1::ACTIVATION_TANH), 5), 300); }

  void Use(models::GraphPlan plan, std::size_t num_rows) {
    plan_ = std::move(plan);
    examples_ = MakeExamplesFor(plan_, num_rows, 7);
    for (std::size_t row = 0; row < num_rows; ++row) {
      examples_.patients[row] = static_cast<std::uint32_t>(row % 100 % 60);
    }
    parameters_ = MakeParameters(plan_, 4);
    drawn_.resize(30);
    std::iota(drawn_.begin(), drawn_.end(), 10u);
  }
  ClippedSumRequest Request() const {
    return {.plan = plan_,
            .train = examples_,
            .parameters = parameters_,
            .patients = drawn_,
            .max_grad_norm = max_grad_norm_,
            .clipping = clipping_,
            .mode = GetParam(),
            .max_physical_batch_size = max_physical_batch_size_,
            .seed = 11,
            .on_patient = on_patient_,
            .cancelled = cancelled_};
  }
  StatusOr<ClippedSum> TrySum(int threads = 2) const {
    return MakeTorchTrainer({.device = "cpu", .threads = threads})
        .value()
        ->SumClippedGradients(Request());
  }
  ClippedSum Sum(int threads = 2) const { return TrySum(threads).value(); }

  models::GraphPlan plan_ = PlanFor(MakeLogisticRegression(), 1);
  data::Examples examples_;
  ParameterVector parameters_;
  std::vector<std::uint32_t> drawn_;
  double max_grad_norm_ = 0.5;
  Clipping clipping_ = Clipping::kFlat;
  std::uint32_t max_physical_batch_size_ = 0;
  std::function<void(std::span<const float>, double)> on_patient_;
  std::atomic<bool>* cancelled_ = nullptr;
};

TEST_P(ClippedSumTest, NobodyDrawnIsASumOfZeros) {
  drawn_.clear();
  const ClippedSum result = Sum();
  EXPECT_EQ(result.sum.size(), parameters_.size());
  EXPECT_THAT(result.sum, Each(0.0F));
  EXPECT_EQ(result.num_clipped, 0u);
}

TEST_P(ClippedSumTest, APatientMovesTheSumByNoMoreThanTheBound) {
  for (const Clipping clipping : {Clipping::kFlat, Clipping::kPerLayer, Clipping::kAutomatic}) {
    clipping_ = clipping;
    for (const double bound : {1e-3, 0.5, 1e3}) {
      max_grad_norm_ = bound;
      const std::vector<std::uint32_t> all = drawn_;
      const ParameterVector with = Sum().sum;
      drawn_.pop_back();
      const ParameterVector without = Sum().sum;
      drawn_ = {all.back()};
      const ParameterVector alone = Sum().sum;
      drawn_ = all;
      EXPECT_LE(NormOf(alone), bound * (1 + 1e-6));
      EXPECT_LE(DistanceOf(with, without), bound * (1 + 1e-4));
      EXPECT_GT(NormOf(alone), 0);
    }
  }
}

TEST_P(ClippedSumTest, ABoundThatNobodyReachesLeavesThePlainGradient) {
  max_grad_norm_ = 1e6;
  const ClippedSum result = Sum();
  EXPECT_EQ(result.num_clipped, 0u);

  // One step of plain training on the rows of the same patients.
  data::Examples drawn_rows{.num_inputs = 5, .inputs = {}, .targets = {}, .patients = {}};
  for (std::size_t row = 0; row < examples_.size(); ++row) {
    if (examples_.patients[row] < 10 || examples_.patients[row] >= 40) continue;
    drawn_rows.inputs.insert(drawn_rows.inputs.end(), examples_.inputs.begin() + row * 5,
                             examples_.inputs.begin() + row * 5 + 5);
    drawn_rows.targets.push_back(examples_.targets[row]);
  }
  NumberPatients(drawn_rows);
  const ParameterVector update = MakeTorchTrainer({.device = "cpu", .threads = 1})
                                     .value()
                                     ->Train({.plan = plan_,
                                              .training = MakeSgd(1, 0, 1, 0),
                                              .train = drawn_rows,
                                              .start = parameters_})
                                     .value()
                                     .update;
  ParameterVector gradient = update;
  for (float& value : gradient) value *= -static_cast<float>(drawn_rows.size());
  EXPECT_LT(DistanceOf(result.sum, gradient), 1e-4 * NormOf(gradient));
}

TEST_P(ClippedSumTest, ALossTenTimesAsLargeIsClippedToTheSameNorm) {
  const auto with_weight = [&](double weight) {
    v1::ModelSpec spec = MakeMlp({8}, v1::ACTIVATION_TANH);
    v1::CrossEntropy& loss = *spec.mutable_mlp()->mutable_loss()->mutable_cross_entropy();
    loss.set_num_classes(2);
    loss.add_class_weights(weight);
    loss.add_class_weights(weight);
    Use(PlanFor(spec, 5), 100);
    drawn_ = {17};
    max_grad_norm_ = 1e-3;
    return Sum();
  };
  const ClippedSum one = with_weight(1), ten = with_weight(10);
  EXPECT_EQ(one.num_clipped, 1u);
  EXPECT_NEAR(NormOf(one.sum), 1e-3, 2e-6);
  EXPECT_NEAR(NormOf(ten.sum), 1e-3, 2e-6);
}

TEST_P(ClippedSumTest, PhysicalBatchesAddUp) {
  const ParameterVector whole = Sum().sum;
  for (const std::uint32_t size : {1u, 4u, 7u, 1000u}) {
    max_physical_batch_size_ = size;
    EXPECT_LT(DistanceOf(Sum().sum, whole), 1e-5 * NormOf(whole)) << size;
  }
}

// Under kAuto timing chooses the mode, and with it the last bits.
class ClippedBytesTest : public ClippedSumTest {};

TEST_P(ClippedBytesTest, DoNotDependOnTheNumberOfThreads) {
  v1::ModelSpec transformer;
  transformer.mutable_ft_transformer()->set_dropout(0.2);
  for (const models::GraphPlan& plan : {plan_, PlanFor(transformer, 5)}) {
    Use(plan, 900);
    const ParameterVector alone = Sum(1).sum;
    for (const int threads : {2, 5}) {
      ParameterVector together;
      std::thread([&] { together = Sum(threads).sum; }).join();
      EXPECT_EQ(std::memcmp(together.data(), alone.data(), alone.size() * sizeof(float)), 0)
          << threads;
    }
  }
}

TEST_P(ClippedSumTest, WhatIsNotFiniteAddsNothingAndLeavesTheOthersAlone) {
  const std::vector<std::uint32_t> all = drawn_;
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    std::erase(drawn_, 22u);
    const ClippedSum others = Sum();
    drawn_ = all;
    for (std::size_t row = 0; row < examples_.size(); ++row) {
      if (examples_.patients[row] == 22) examples_.inputs[row * 5 + 2] = bad;
    }
    const ClippedSum result = Sum();
    EXPECT_EQ(result.num_not_finite, 1u);
    EXPECT_EQ(result.num_clipped, others.num_clipped);
    EXPECT_LT(DistanceOf(result.sum, others.sum), 1e-5 * NormOf(others.sum));
  }
}

TEST_P(ClippedSumTest, AnEnormousRowMovesTheSumByNoMoreThanTheBound) {
  // Through a linear model a row of 1e30 has a gradient of 1e30: finite, though its square is not.
  v1::ModelSpec linear;
  linear.mutable_linear_regression();
  for (const float enormous : {1e18F, 1e30F, -3e38F}) {
    Use(PlanFor(linear, 5), 300);
    for (std::size_t row = 0; row < examples_.size(); ++row) {
      if (examples_.patients[row] == 22) examples_.inputs[row * 5 + 2] = enormous;
    }
    const ClippedSum with = Sum();
    std::erase(drawn_, 22u);
    const ClippedSum without = Sum();
    EXPECT_EQ(with.num_clipped + with.num_not_finite, without.num_clipped + 1) << enormous;
    EXPECT_LE(DistanceOf(with.sum, without.sum), max_grad_norm_ * (1 + 1e-4)) << enormous;
  }
}

TEST_P(ClippedSumTest, WhatAPatientAddsDoesNotDependOnWhoElseIsDrawnEvenUnderDropout) {
  v1::ModelSpec spec = MakeMlp({32, 16}, v1::ACTIVATION_RELU);
  spec.mutable_mlp()->set_dropout(0.5);
  Use(PlanFor(spec, 5), 300);
  drawn_ = {3, 22, 41, 50};
  const ParameterVector four = Sum().sum;
  drawn_ = {50, 3};
  ParameterVector apart = Sum().sum;
  drawn_ = {41, 22};
  const ParameterVector others = Sum().sum;
  for (std::size_t i = 0; i < apart.size(); ++i) apart[i] += others[i];
  EXPECT_LT(DistanceOf(apart, four), 1e-5 * NormOf(four));
}

TEST_P(ClippedSumTest, TellsEachPatientsClippedGradientInOrder) {
  const ClippedSum summed = Sum();
  ParameterVector sum(parameters_.size());
  std::vector<double> norms;
  on_patient_ = [&](std::span<const float> clipped, double) {
    ASSERT_EQ(clipped.size(), sum.size());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += clipped[i];
    norms.push_back(NormOf(clipped));
  };
  const ClippedSum told = Sum();
  EXPECT_TRUE(told.sum.empty());
  EXPECT_EQ(told.num_clipped, summed.num_clipped);
  EXPECT_EQ(told.mode, GradSampleMode::kMicro);
  EXPECT_LT(DistanceOf(sum, summed.sum), 1e-5 * NormOf(sum));

  const std::vector<double> in_order = std::move(norms);
  norms = {};
  std::reverse(drawn_.begin(), drawn_.end());
  static_cast<void>(Sum(1));
  std::reverse(norms.begin(), norms.end());
  EXPECT_EQ(norms, in_order);

  for (std::size_t row = 0; row < examples_.size(); ++row) {
    if (examples_.patients[row] == 22) examples_.inputs[row * 5] = std::nanf("");
  }
  norms = {};
  EXPECT_EQ(Sum().num_not_finite, 1u);
  EXPECT_EQ(norms.size(), drawn_.size() - 1);
}

TEST_P(ClippedSumTest, VotesAreThoseOfThePatientsNorms) {
  std::vector<double> norms;
  double told = 0;
  on_patient_ = [&](std::span<const float> gradient, double vote) {
    norms.push_back(NormOf(gradient));
    told += vote;
  };
  max_grad_norm_ = 1e6;
  EXPECT_EQ(Sum().votes, static_cast<double>(drawn_.size()));
  EXPECT_EQ(told, static_cast<double>(drawn_.size()));
  const std::vector<double> lengths = std::move(norms);
  std::vector<double> sorted = lengths;
  std::ranges::sort(sorted);
  max_grad_norm_ = sorted[10];
  double expected = 0;
  for (const double length : lengths) {
    expected += std::clamp(8 * (1 - length / max_grad_norm_), -1.0, 1.0);
  }
  told = 0;
  EXPECT_NEAR(Sum().votes, expected, 1e-3);
  EXPECT_NEAR(told, expected, 1e-3);
  on_patient_ = {};
  EXPECT_NEAR(Sum().votes, expected, 1e-3);
  EXPECT_LT(std::abs(expected), 25);  // They are not all of one mind.

  for (std::size_t row = 0; row < examples_.size(); ++row) {
    if (examples_.patients[row] == 22) examples_.inputs[row * 5] = std::nanf("");
  }
  // Patient 22, the thirteenth that is drawn, has none now.
  const double vote = std::clamp(8 * (1 - lengths[12] / max_grad_norm_), -1.0, 1.0);
  EXPECT_NEAR(Sum().votes, expected - vote, 1e-3);
}

TEST_P(ClippedSumTest, RefusesWhatDoesNotFit) {
  const auto expect_refusal = [&](std::string_view what) {
    const Status status = TrySum().status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(MessageOf(status), HasSubstr(what));
  };
  const std::vector<std::uint32_t> drawn = drawn_;
  drawn_.push_back(60);
  expect_refusal("none of the examples'");
  drawn_.back() = 4000000000u;
  expect_refusal("none of the examples'");
  drawn_.back() = 10;
  expect_refusal("drawn twice");
  drawn_ = drawn;
  for (const double bound : {0.0, -1.0, std::nan(""), 1e308 * 10}) {
    max_grad_norm_ = bound;
    expect_refusal("max_grad_norm");
  }
  max_grad_norm_ = 1;
  parameters_.pop_back();
  expect_refusal("parameters");
  v1::ModelSpec cox;
  cox.mutable_cox();
  Use(PlanFor(cox, 5), 100);
  expect_refusal("discrete_survival");
}

TEST_P(ClippedSumTest, ObeysWhenItIsCancelled) {
  std::atomic<bool> cancelled = true;
  cancelled_ = &cancelled;
  EXPECT_EQ(TrySum().status().code(), StatusCode::kCancelled);
}

std::string NameOf(const testing::TestParamInfo<GradSampleMode>& mode) {
  switch (mode.param) {
    case GradSampleMode::kAuto:
      return "auto";
    case GradSampleMode::kBookKeeping:
      return "book_keeping";
    case GradSampleMode::kMicro:
      break;
  }
  return "micro";
}

INSTANTIATE_TEST_SUITE_P(Modes, ClippedSumTest,
                         testing::Values(GradSampleMode::kAuto, GradSampleMode::kBookKeeping,
                                         GradSampleMode::kMicro),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Modes, ClippedBytesTest,
                         testing::Values(GradSampleMode::kBookKeeping, GradSampleMode::kMicro),
                         NameOf);

}  // namespace
}  // namespace chorale::training
