#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// FedProx and SCAFFOLD against the formulas of their papers, worked out by hand: a line w x + b
// through two points, squared error, full batches, two steps.
namespace chorale::training {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

struct Line {
  double w, b;
};

constexpr double kX[] = {1, 3};
constexpr double kY[] = {2, -1};

// Of the mean of (w x + b - y)^2.
Line GradientAt(const Line& at) {
  Line gradient{0, 0};
  for (int i = 0; i < 2; ++i) {
    const double error = at.w * kX[i] + at.b - kY[i];
    gradient.w += error * kX[i];
    gradient.b += error;
  }
  return gradient;
}

class DriftControlTest : public testing::Test {
 protected:
  void SetUp() override { model_.mutable_linear_regression(); }
  TrainResult Train(const v1::TrainingSpec& training, const ControlVariates& control = {}) {
    data::Examples examples;
    examples.num_inputs = 1;
    examples.inputs = {1, 3};
    examples.targets = {2, -1};
    NumberPatients(examples);
    const models::GraphPlan plan = PlanFor(model_, 1);
    return MakeTorchTrainer({.device = "cpu", .threads = 1})
        .value()
        ->Train({.plan = plan,
                 .training = training,
                 .train = examples,
                 .start = start_,
                 .place = {.round = 1, .num_rounds = 1},
                 .control = control})
        .value();
  }

  v1::ModelSpec model_;
  const ParameterVector start_ = {0.5F, -0.25F};
};

TEST_F(DriftControlTest, FedProxPullsTowardsTheGlobalModel) {
  v1::TrainingSpec training = MakeSgd(0.1, 0, 2, 0);
  training.mutable_fedprox()->set_mu(2);

  Line at{0.5, -0.25};
  for (int step = 0; step < 2; ++step) {
    const Line gradient = GradientAt(at);
    at = {at.w - 0.1 * (gradient.w + 2 * (at.w - 0.5)),
          at.b - 0.1 * (gradient.b + 2 * (at.b + 0.25))};
  }
  EXPECT_THAT(Train(training).update,
              ElementsAre(FloatNear(static_cast<float>(at.w - 0.5), 1e-6F),
                          FloatNear(static_cast<float>(at.b + 0.25), 1e-6F)));
}

TEST_F(DriftControlTest, FedProxOfZeroIsPlainDescent) {
  v1::TrainingSpec training = MakeSgd(0.1, 0, 2, 0);
  const ParameterVector plain = Train(training).update;
  training.mutable_fedprox()->set_mu(0);
  EXPECT_EQ(Train(training).update, plain);
}

TEST_F(DriftControlTest, ScaffoldCorrectsEveryStepAndReportsTheChangeOfItsVariate) {
  v1::TrainingSpec training = MakeSgd(0.1, 0, 2, 0);
  training.mutable_scaffold();
  const ParameterVector server = {0.3F, -0.2F};
  const ParameterVector site = {-0.1F, 0.4F};

  Line at{0.5, -0.25};
  for (int step = 0; step < 2; ++step) {
    const Line gradient = GradientAt(at);
    at = {at.w - 0.1 * (gradient.w + 0.3 - -0.1), at.b - 0.1 * (gradient.b + -0.2 - 0.4)};
  }
  const TrainResult result = Train(training, {.server = server, .site = site});

  EXPECT_THAT(result.update, ElementsAre(FloatNear(static_cast<float>(at.w - 0.5), 1e-6F),
                                         FloatNear(static_cast<float>(at.b + 0.25), 1e-6F)));
  // c_i+ - c_i = -c + (start - local) / (2 steps * 0.1).
  EXPECT_THAT(result.control_change,
              ElementsAre(FloatNear(static_cast<float>(-0.3 + (0.5 - at.w) / 0.2), 1e-5F),
                          FloatNear(static_cast<float>(0.2 + (-0.25 - at.b) / 0.2), 1e-5F)));
}

TEST_F(DriftControlTest, TheFirstVariateIsTheMeanGradientOfTheSteps) {
  v1::TrainingSpec training = MakeSgd(0.1, 0, 2, 0);
  training.mutable_scaffold();
  // Rates of 0.05 and 0.1: their sum divides.
  training.mutable_schedule()->set_warmup_steps(2);

  const Line first = GradientAt({0.5, -0.25});
  const Line second = GradientAt({0.5 - 0.05 * first.w, -0.25 - 0.05 * first.b});
  EXPECT_THAT(
      Train(training).control_change,
      ElementsAre(FloatNear(static_cast<float>((0.05 * first.w + 0.1 * second.w) / 0.15), 2e-5F),
                  FloatNear(static_cast<float>((0.05 * first.b + 0.1 * second.b) / 0.15), 2e-5F)));
}

TEST_F(DriftControlTest, WithoutScaffoldThereIsNoChangeOfAVariate) {
  EXPECT_TRUE(Train(MakeSgd(0.1, 0, 2, 0)).control_change.empty());
}

}  // namespace
}  // namespace chorale::training
