#include "training/torch_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <future>
#include <limits>
#include <map>
#include <numeric>
#include <thread>
#include <vector>

#include "models/model.h"
#include "tests/training/toy_data.h"

namespace chorale::training {
namespace {

using testing::HasSubstr;
using testing::Pointwise;

// A training request that works; each test changes one thing.
class TorchTrainerTest : public testing::Test {
 protected:
  StatusOr<TrainResult> Train() {
    return trainer_->Train({.plan = plan_,
                            .training = training_,
                            .train = examples_,
                            .start = parameters_,
                            .seed = seed_,
                            .on_progress = on_progress_,
                            .cancelled = cancelled_});
  }
  double Loss(const ParameterVector& parameters) {
    const std::vector<float> scores = trainer_->Predict(plan_, parameters, examples_).value();
    double sum = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      sum -= std::log(examples_.targets[i] > 0 ? scores[i] : 1 - scores[i]);
    }
    return sum / static_cast<double>(scores.size());
  }

  std::unique_ptr<LocalTrainer> trainer_ =
      MakeTorchTrainer({.device = "cpu", .threads = 1}).value();
  models::GraphPlan plan_ = PlanFor(MakeLogisticRegression(), 5);
  v1::TrainingSpec training_ = MakeSgd(0.1, 0, 20, 8);
  data::Examples examples_ = MakeToyExamples(100, 5, 1);
  ParameterVector parameters_ = ParameterVector(6);
  std::uint64_t seed_ = 3;
  std::function<void(double)> on_progress_;
  std::atomic<bool>* cancelled_ = nullptr;
};

TEST_F(TorchTrainerTest, ReportsLocalMinusGlobalAndTheRowsItTrainedOn) {
  const TrainResult result = Train().value();

  EXPECT_EQ(result.num_examples, 100u);
  ASSERT_EQ(result.update.size(), 6u);
  EXPECT_LT(Loss(result.update), 0.95 * Loss(parameters_));  // From zero the update is the model.
}

TEST_F(TorchTrainerTest, OneFullBatchStepIsTheGradientOfAPlainLoop) {
  training_ = MakeSgd(0.5, 0, 1, 0);
  parameters_ = {0.3F, -0.2F, 0.1F, 0.7F, -0.5F, 0.05F};

  const ParameterVector update = Train().value().update;

  std::vector<double> gradient(6);
  for (std::size_t row = 0; row < examples_.size(); ++row) {
    const float* x = &examples_.inputs[row * 5];
    const double z = std::inner_product(x, x + 5, parameters_.begin(), double{parameters_[5]});
    const double delta = 1 / (1 + std::exp(-z)) - examples_.targets[row];
    for (std::size_t i = 0; i < 5; ++i) gradient[i] += delta * x[i] / 100;
    gradient[5] += delta / 100;
  }
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(update[i], -0.5 * gradient[i], 2e-7) << i;
}

TEST_F(TorchTrainerTest, ThePenaltyPullsEveryParameterTowardsZero) {
  training_ = MakeSgd(0.5, 0, 1, 0);
  parameters_ = {0.3F, -0.2F, 0.1F, 0.7F, -0.5F, 0.05F};
  const ParameterVector plain = Train().value().update;

  training_.set_l2_penalty(0.4);
  const ParameterVector penalised = Train().value().update;

  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(penalised[i] - plain[i], -0.5 * 0.4 * parameters_[i], 2e-7) << i;
  }
}

TEST_F(TorchTrainerTest, ModelsOfTablesLearn) {
  std::vector<v1::ModelSpec> specs = {
      MakeLogisticRegression(), MakeMlp({16, 8}, v1::ACTIVATION_TANH), {}, {}};
  specs[2].mutable_tabular_resnet()->set_dropout(0.1);
  specs[3].mutable_ft_transformer()->set_dropout(0.1);
  for (const v1::ModelSpec& spec : specs) {
    for (const v1::TrainingSpec& training : {MakeSgd(0.1, 0.9, 200, 16), MakeAdam(0.01, 200, 16)}) {
      plan_ = PlanFor(spec, 5);
      training_ = training;
      parameters_ = models::InitialParameters(plan_, 11);

      ParameterVector trained = Train().value().update;
      for (std::size_t i = 0; i < trained.size(); ++i) trained[i] += parameters_[i];

      EXPECT_LT(Loss(trained), 0.9 * Loss(parameters_))
          << spec.ShortDebugString() << training.ShortDebugString();
    }
  }
}

TEST_F(TorchTrainerTest, TheSameSeedGivesTheSameBytesAndAnotherSeedOthers) {
  const ParameterVector first = Train().value().update;
  EXPECT_EQ(first, Train().value().update);

  seed_ = 4;
  EXPECT_NE(first, Train().value().update);
}

TEST_F(TorchTrainerTest, ABatchLargerThanTheDataIsAFullBatch) {
  training_ = MakeSgd(0.1, 0, 5, 1000);
  const ParameterVector large = Train().value().update;

  training_.set_batch_size(0);
  EXPECT_EQ(large, Train().value().update);
}

TEST_F(TorchTrainerTest, PredictsTheSigmoidOfTheLogit) {
  parameters_ = {0.3F, -0.2F, 0.1F, 0.7F, -0.5F, 0.05F};

  const std::vector<float> scores = trainer_->Predict(plan_, parameters_, examples_).value();

  ASSERT_EQ(scores.size(), 100u);
  for (std::size_t row = 0; row < scores.size(); ++row) {
    const float* x = &examples_.inputs[row * 5];
    const double z = std::inner_product(x, x + 5, parameters_.begin(), double{parameters_[5]});
    EXPECT_NEAR(scores[row], 1 / (1 + std::exp(-z)), 1e-6);
  }
}

TEST_F(TorchTrainerTest, PredictsMoreRowsThanItHoldsAtOnce) {
  examples_ = MakeToyExamples(20000, 5, 2);
  parameters_ = {0.3F, -0.2F, 0.1F, 0.7F, -0.5F, 0.05F};
  const std::vector<float> scores = trainer_->Predict(plan_, parameters_, examples_).value();
  ASSERT_EQ(scores.size(), 20000u);

  data::Examples last{.num_inputs = 5,
                      .inputs = {examples_.inputs.end() - 5, examples_.inputs.end()},
                      .targets = {0},
                      .patients = {0}};
  EXPECT_NEAR(trainer_->Predict(plan_, parameters_, last).value()[0], scores.back(), 1e-6);
}

TEST_F(TorchTrainerTest, PredictsNothingForNoRows) {
  examples_ = {.num_inputs = 5, .inputs = {}, .targets = {}, .patients = {}};
  EXPECT_TRUE(trainer_->Predict(plan_, parameters_, examples_).value().empty());
}

TEST_F(TorchTrainerTest, EvaluatesLossAndAccuracyOfWhatItPredicts) {
  examples_ = MakeToyExamples(9000, 5, 2);  // More rows than one piece.
  parameters_ = {0.3F, -0.2F, 0.1F, 0.7F, -0.5F, 0.05F};
  const std::vector<float> scores = trainer_->Predict(plan_, parameters_, examples_).value();
  double right = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    right += (scores[i] >= 0.5) == (examples_.targets[i] == 1) ? 1 : 0;
  }

  const EvaluationResult result =
      trainer_->Evaluate(plan_, parameters_, examples_, nullptr).value();

  EXPECT_NEAR(result.loss, Loss(parameters_), 1e-5);
  EXPECT_NEAR(result.accuracy.value(), right / 9000, 1e-12);
}

TEST_F(TorchTrainerTest, EvaluatesCoxOverAllRowsAndWithoutAccuracy) {
  v1::ModelSpec cox;
  cox.mutable_cox();
  plan_ = PlanFor(cox, 5);
  examples_ = MakeExamplesFor(plan_, 9000, 2);
  parameters_ = ParameterVector(5);
  // Without effects every risk set says log(rows at risk); Efron takes tied events out one by one.
  std::map<float, std::pair<int, int>> rows_and_events;
  for (std::size_t i = 0; i < examples_.size(); ++i) {
    auto& [rows, events] = rows_and_events[examples_.targets[2 * i]];
    ++rows;
    events += static_cast<int>(examples_.targets[2 * i + 1]);
  }
  double expected = 0;
  int at_risk = 0;
  for (auto it = rows_and_events.rbegin(); it != rows_and_events.rend(); ++it) {
    at_risk += it->second.first;
    for (int i = 0; i < it->second.second; ++i) expected += std::log(at_risk - i);
  }

  const EvaluationResult result =
      trainer_->Evaluate(plan_, parameters_, examples_, nullptr).value();

  EXPECT_NEAR(result.loss, expected / 9000, 1e-5);
  EXPECT_FALSE(result.accuracy.has_value());
}

TEST_F(TorchTrainerTest, RefusesToEvaluateNoRows) {
  examples_ = {.num_inputs = 5, .inputs = {}, .targets = {}, .patients = {}};
  EXPECT_EQ(trainer_->Evaluate(plan_, parameters_, examples_, nullptr).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(TorchTrainerTest, TellsProgressAfterEachBatch) {
  std::vector<double> told;
  on_progress_ = [&](double share) { told.push_back(share); };
  training_.set_local_steps(2);
  training_.set_accumulate_batches(2);

  ASSERT_TRUE(Train().ok());

  EXPECT_THAT(told, testing::ElementsAre(0.25, 0.5, 0.75, 1));
}

TEST_F(TorchTrainerTest, StopsAfterTheBatchInWhichItWasCancelled) {
  std::atomic<bool> cancelled = false;
  cancelled_ = &cancelled;
  int batches = 0;
  on_progress_ = [&](double) { cancelled = ++batches == 3; };

  const auto result = Train();

  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(batches, 3);
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("after batch 3 of 20"));
}

TEST_F(TorchTrainerTest, StopsBetweenThePiecesOfABatch) {
  // One batch of minutes, were it not cancelled.
  plan_ = PlanFor(MakeMlp({4096, 4096}, v1::ACTIVATION_RELU), 5);
  parameters_ = ParameterVector(plan_.layout().num_parameters());
  examples_ = MakeToyExamples(200000, 5, 2);
  training_ = MakeSgd(0.1, 0, 1, 0);
  std::atomic<bool> cancelled = false;
  cancelled_ = &cancelled;
  std::promise<void> is_told;
  std::chrono::steady_clock::time_point told;
  std::thread user([&] {
    told = std::chrono::steady_clock::now();
    cancelled = true;
    is_told.set_value();
  });

  const auto result = Train();

  is_told.get_future().wait();
  const auto waited = std::chrono::steady_clock::now() - told;
  user.join();
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("in batch 1 of 1"));
  EXPECT_LT(waited, std::chrono::seconds(20)) << "2 s are promised on a machine that is not busy";
}

TEST_F(TorchTrainerTest, StopsBetweenThePiecesOfAnEvaluation) {
  const std::atomic<bool> cancelled = true;

  EXPECT_EQ(trainer_->Evaluate(plan_, parameters_, examples_, &cancelled).status().code(),
            StatusCode::kCancelled);
}

TEST_F(TorchTrainerTest, BatchesOfPatientsDifferFromBatchesOfRows) {
  training_ = MakeSgd(0.1, 0, 5, 4);
  const ParameterVector by_row = Train().value().update;
  for (std::uint32_t row = 0; row < 100; ++row) examples_.patients[row] = row / 4;
  const ParameterVector by_patient = Train().value().update;
  EXPECT_NE(by_row, by_patient);
}

TEST_F(TorchTrainerTest, DropoutFollowsTheSeedAndLeavesPredictionsAlone) {
  v1::ModelSpec spec = MakeMlp({16}, v1::ACTIVATION_RELU);
  const models::GraphPlan without = PlanFor(spec, 5);
  spec.mutable_mlp()->set_dropout(0.5);
  plan_ = PlanFor(spec, 5);
  parameters_ = models::InitialParameters(plan_, 11);
  training_ = MakeSgd(0.1, 0, 5, 0);  // Full batches: only dropout draws.

  const ParameterVector first = Train().value().update;
  EXPECT_EQ(first, Train().value().update);
  seed_ = 4;
  EXPECT_NE(first, Train().value().update);
  EXPECT_EQ(trainer_->Predict(plan_, parameters_, examples_).value(),
            trainer_->Predict(without, parameters_, examples_).value());
}

TEST_F(TorchTrainerTest, StepsAlongGradientsThatComeFromElsewhere) {
  training_ = MakeSgd(0.5, 0, 3, 0);
  training_.set_l2_penalty(0.1);
  parameters_ = {1, 2, 3, 4, 5, 6};
  std::vector<ParameterVector> seen;
  const auto source = [&](std::uint64_t step, std::span<const float> at) {
    EXPECT_EQ(step, seen.size());
    seen.emplace_back(at.begin(), at.end());
    return StatusOr<ParameterVector>(ParameterVector{1, -1, 0, 0, 0, 2});
  };

  const StatusOr<TrainResult> result = trainer_->TrainOnGradients({.plan = plan_,
                                                                   .training = training_,
                                                                   .train = examples_,
                                                                   .start = parameters_,
                                                                   .cancelled = cancelled_},
                                                                  source);

  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->num_examples, 0u);
  ASSERT_EQ(seen.size(), 3u);
  double first = 1;  // w - 0.5 (1 + 0.1 w), three times.
  for (const ParameterVector& parameters : seen) {
    EXPECT_NEAR(parameters[0], first, 1e-6);
    first -= 0.5 * (1 + 0.1 * first);
  }
  EXPECT_NEAR(result->update[0], first - 1, 1e-6);
}

TEST_F(TorchTrainerTest, StopsBetweenStepsAndPassesOnWhatASourceOfGradientsSays) {
  training_ = MakeSgd(0.5, 0, 5, 0);
  std::atomic<bool> cancelled = false;
  const TrainRequest request{.plan = plan_,
                             .training = training_,
                             .train = examples_,
                             .start = parameters_,
                             .cancelled = &cancelled};
  int steps = 0;
  const auto cancel = [&](std::uint64_t, std::span<const float>) {
    cancelled = ++steps == 2;
    return StatusOr<ParameterVector>(ParameterVector(6));
  };
  EXPECT_EQ(trainer_->TrainOnGradients(request, cancel).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(steps, 2);

  cancelled = false;
  const auto fail = [](std::uint64_t, std::span<const float>) -> StatusOr<ParameterVector> {
    return ResourceExhausted("no noise left");
  };
  EXPECT_EQ(trainer_->TrainOnGradients(request, fail).status().code(),
            StatusCode::kResourceExhausted);
}

TEST_F(TorchTrainerTest, SaysThatTrainingDivergedAndWhatToChange) {
  training_ = MakeSgd(100, 0.9, 500, 0);
  for (float& value : examples_.inputs) value *= 1e30F;

  const auto result = Train();

  EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("lower the learning rate"));
}

TEST_F(TorchTrainerTest, RefusesSizesThatDoNotFit) {
  parameters_.push_back(0);
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(Train().status()), HasSubstr("has 6 parameters, got 7"));
  EXPECT_EQ(trainer_->Predict(plan_, parameters_, examples_).status().code(),
            StatusCode::kInvalidArgument);

  parameters_.resize(6);
  examples_.inputs.pop_back();
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(trainer_->Predict(plan_, parameters_, examples_).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(TorchTrainerTest, RefusesNoExamplesAndUnsoundSpecifications) {
  const data::Examples rows = examples_;
  examples_ = {.num_inputs = 5, .inputs = {}, .targets = {}, .patients = {}};
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  examples_ = rows;
  examples_.num_inputs = 0;
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  examples_ = rows;

  training_.clear_length();
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
}

TEST_F(TorchTrainerTest, RefusesParametersThatAreNotFinite) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    parameters_[2] = value;
    EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(MakeTorchTrainerTest, RefusesUnknownDevicesAndThreadCounts) {
  for (const char* device :
       {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cpu:0", "cuda:99999999999"}) {
    EXPECT_EQ(MakeTorchTrainer({.device = device, .threads = 1}).status().code(),
              StatusCode::kInvalidArgument)
        << device;
  }
  for (const int threads : {-1, 0, 1025}) {
    EXPECT_EQ(MakeTorchTrainer({.device = "cpu", .threads = threads}).status().code(),
              StatusCode::kInvalidArgument);
  }
}

TEST(MakeTorchTrainerTest, SaysThatACudaDeviceIsNotThere) {
  const auto trainer = MakeTorchTrainer({.device = "cuda:127", .threads = 1});
  EXPECT_EQ(trainer.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(trainer.status()), HasSubstr("device: auto or cpu"));
}

TEST(MakeTorchTrainerTest, AutoTakesADeviceThatIsThere) {
  const std::string device = MakeTorchTrainer({.device = "auto", .threads = 1}).value()->device();
  EXPECT_TRUE(device == "cpu" || device == "cuda:0") << device;
}

}  // namespace
}  // namespace chorale::training
