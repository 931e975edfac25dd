#include "training/torch_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
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
    return trainer_->Train({.model = model_,
                            .training = training_,
                            .train = examples_,
                            .global_parameters = parameters_,
                            .seed = seed_,
                            .on_progress = on_progress_,
                            .cancelled = cancelled_});
  }
  ParameterVector Start() const {
    return models::InitialParameters(model_, examples_.num_inputs, 11).value();
  }
  double Loss(const ParameterVector& parameters) {
    const std::vector<float> scores = trainer_->Predict(model_, parameters, examples_).value();
    double sum = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      sum -= std::log(examples_.targets[i] > 0 ? scores[i] : 1 - scores[i]);
    }
    return sum / static_cast<double>(scores.size());
  }

  std::unique_ptr<LocalTrainer> trainer_ =
      MakeTorchTrainer({.device = "cpu", .threads = 1}).value();
  v1::ModelSpec model_ = MakeLogisticRegression();
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

TEST_F(TorchTrainerTest, EveryModelOfTheZooLearns) {
  const std::vector<v1::ModelSpec> specs = {
      MakeLogisticRegression(), MakeMlp({16}, v1::ACTIVATION_RELU),
      MakeMlp({16, 8}, v1::ACTIVATION_TANH), MakeMlp({8, 8, 8}, v1::ACTIVATION_GELU)};
  for (const v1::ModelSpec& spec : specs) {
    for (const v1::TrainingSpec& training : {MakeSgd(0.1, 0.9, 200, 16), MakeAdam(0.01, 200, 16)}) {
      model_ = spec;
      training_ = training;
      parameters_ = Start();

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

  const std::vector<float> scores = trainer_->Predict(model_, parameters_, examples_).value();

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
  const std::vector<float> scores = trainer_->Predict(model_, parameters_, examples_).value();
  ASSERT_EQ(scores.size(), 20000u);

  data::Examples last{.num_inputs = 5,
                      .inputs = {examples_.inputs.end() - 5, examples_.inputs.end()},
                      .targets = {0},
                      .patients = {0}};
  EXPECT_NEAR(trainer_->Predict(model_, parameters_, last).value()[0], scores.back(), 1e-6);
}

TEST_F(TorchTrainerTest, PredictsNothingForNoRows) {
  examples_ = {.num_inputs = 5, .inputs = {}, .targets = {}, .patients = {}};
  EXPECT_TRUE(trainer_->Predict(model_, parameters_, examples_).value().empty());
}

TEST_F(TorchTrainerTest, TellsProgressAfterEachStep) {
  std::vector<double> told;
  on_progress_ = [&](double share) { told.push_back(share); };
  training_.set_local_steps(4);

  ASSERT_TRUE(Train().ok());

  EXPECT_THAT(told, testing::ElementsAre(0.25, 0.5, 0.75, 1));
}

TEST_F(TorchTrainerTest, StopsAfterTheStepInWhichItWasCancelled) {
  std::atomic<bool> cancelled = false;
  cancelled_ = &cancelled;
  int steps = 0;
  on_progress_ = [&](double) { cancelled = ++steps == 3; };

  const auto result = Train();

  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(steps, 3);
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("step 3 of 20"));
}

TEST_F(TorchTrainerTest, SaysThatTrainingDivergedAndWhatToChange) {
  training_ = MakeSgd(100, 0.9, 500, 0);
  for (float& value : examples_.inputs) value *= 1e30F;

  const auto result = Train();

  EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("learning rate"));
}

TEST_F(TorchTrainerTest, RefusesSizesThatDoNotFit) {
  parameters_.push_back(0);
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(Train().status()), HasSubstr("has 6 parameters, got 7"));
  EXPECT_EQ(trainer_->Predict(model_, parameters_, examples_).status().code(),
            StatusCode::kInvalidArgument);

  parameters_.resize(6);
  examples_.inputs.pop_back();
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(trainer_->Predict(model_, parameters_, examples_).status().code(),
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

  model_.Clear();
  EXPECT_EQ(Train().status().code(), StatusCode::kInvalidArgument);
  model_ = MakeLogisticRegression();
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
