#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// Training that is interrupted at any step ends with the bytes of training that is not.
namespace chorale::training {
namespace {

// 3 epochs of 7 batches, the last of which is smaller.
v1::TrainingSpec Epochs(double momentum) {
  v1::TrainingSpec training = MakeSgd(0.1, momentum, 1, 16);
  training.set_local_epochs(3);
  return training;
}

struct Case {
  std::string name;
  v1::TrainingSpec training;
  v1::ModelSpec model = MakeLogisticRegression();
};

v1::TrainingSpec Adaptive(bool decays) {
  v1::TrainingSpec training = Epochs(0);
  training.clear_optimizer();
  if (decays) {
    training.mutable_optimizer()->mutable_adamw()->set_learning_rate(0.05);
  } else {
    training.mutable_optimizer()->mutable_adam()->set_learning_rate(0.05);
  }
  return training;
}

// Every rule that a step leaves something of.
std::vector<Case> Cases() {
  std::vector<Case> cases = {{"plain", Epochs(0)},
                             {"momentum", Epochs(0.9)},
                             {"adam", Adaptive(false)},
                             {"adamw", Adaptive(true)}};
  v1::TrainingSpec accumulates = Epochs(0.9);
  accumulates.set_accumulate_batches(3);
  cases.push_back({"accumulates", accumulates});
  v1::TrainingSpec scaffold = Epochs(0);
  scaffold.mutable_scaffold();
  scaffold.mutable_schedule()->mutable_cosine()->set_floor(0.1);
  cases.push_back({"scaffold", scaffold});
  v1::TrainingSpec prox = Epochs(0);
  prox.mutable_fedprox()->set_mu(0.5);
  cases.push_back({"prox", prox});
  v1::ModelSpec drops = MakeMlp({8}, v1::ACTIVATION_RELU);
  drops.mutable_mlp()->set_dropout(0.5);
  cases.push_back({"dropout", Epochs(0.9), drops});
  return cases;
}

class CheckpointTest : public testing::Test {
 protected:
  void Use(const v1::ModelSpec& model) {
    plan_ = PlanFor(model, 5);
    start_ = MakeParameters(plan_, 1);
    server_ = ParameterVector(start_.size(), 0.01f);
    site_ = ParameterVector(start_.size(), -0.02f);
  }
  CheckpointTest() { Use(MakeLogisticRegression()); }

  TrainRequest Request(const v1::TrainingSpec& training) const {
    return {.plan = plan_,
            .training = training,
            .train = examples_,
            .start = start_,
            .seed = 3,
            .place = {.round = 2, .num_rounds = 5},
            .control = {.server = server_, .site = site_}};
  }
  // One after each step but the last.
  std::vector<TrainCheckpoint> CheckpointsOf(const v1::TrainingSpec& training) {
    std::vector<TrainCheckpoint> checkpoints;
    TrainRequest request = Request(training);
    request.wants_checkpoint = [] { return true; };
    request.on_checkpoint = [&](const TrainCheckpoint& checkpoint) {
      checkpoints.push_back(checkpoint);
    };
    EXPECT_TRUE(trainer_->Train(request).ok());
    return checkpoints;
  }

  std::unique_ptr<LocalTrainer> trainer_ =
      MakeTorchTrainer({.device = "cpu", .threads = 1}).value();
  models::GraphPlan plan_ = PlanFor(MakeLogisticRegression(), 5);
  data::Examples examples_ = MakeToyExamples(100, 5, 1);
  ParameterVector start_, server_, site_;
};

TEST_F(CheckpointTest, GoesOnFromAnyStepToTheSameBytes) {
  for (const Case& c : Cases()) {
    Use(c.model);
    const TrainResult whole = trainer_->Train(Request(c.training)).value();
    const std::vector<TrainCheckpoint> checkpoints = CheckpointsOf(c.training);
    ASSERT_GE(checkpoints.size(), 6u) << c.name;
    for (const TrainCheckpoint& checkpoint : checkpoints) {
      TrainRequest request = Request(c.training);
      request.resume = &checkpoint;

      const TrainResult resumed = trainer_->Train(request).value();

      EXPECT_EQ(resumed.update, whole.update) << c.name << ", " << checkpoint.num_batches;
      EXPECT_EQ(resumed.control_change, whole.control_change) << c.name;
      EXPECT_EQ(resumed.num_examples, whole.num_examples);
    }
  }
}

TEST_F(CheckpointTest, TellsNothingThatNobodyAskedFor) {
  const v1::TrainingSpec training = Epochs(0);
  TrainRequest request = Request(training);
  request.wants_checkpoint = [] { return false; };
  request.on_checkpoint = [](const TrainCheckpoint&) { FAIL(); };
  EXPECT_TRUE(trainer_->Train(request).ok());
}

TEST_F(CheckpointTest, StandsOnlyBetweenSteps) {
  v1::TrainingSpec training = Epochs(0.9);
  training.set_accumulate_batches(3);
  for (const TrainCheckpoint& checkpoint : CheckpointsOf(training)) {
    EXPECT_EQ(checkpoint.num_batches, 3 * checkpoint.num_steps);
  }
}

TEST_F(CheckpointTest, RefusesACheckpointOfAnotherTraining) {
  const v1::TrainingSpec training = Epochs(0.9);
  const TrainCheckpoint sound = CheckpointsOf(training).at(2);
  const auto refused = [&](TrainCheckpoint checkpoint) {
    TrainRequest request = Request(training);
    request.resume = &checkpoint;
    return trainer_->Train(request).status().code() == StatusCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused(sound));
  TrainCheckpoint other = sound;
  other.parameters.pop_back();
  EXPECT_TRUE(refused(other));
  other = sound;
  other.mean.clear();
  EXPECT_TRUE(refused(other));
  other = sound;
  other.variance = other.mean;
  EXPECT_TRUE(refused(other));
  other = sound;
  other.num_batches = 1000;
  EXPECT_TRUE(refused(other));
  other = sound;
  ++other.num_steps;
  EXPECT_TRUE(refused(other));
}

}  // namespace
}  // namespace chorale::training
