#include <gtest/gtest.h>

#include "tests/training/reference_models.h"
#include "tests/training/toy_data.h"
#include "training/batch_schedule.h"
#include "training/schedule.h"
#include "training/torch_trainer.h"

// Steps of the trainer against torch::optim, on the batches of the schedule.
namespace chorale::training {
namespace {

using torch::Tensor;
using torch::optim::Optimizer;

constexpr std::uint64_t kSeed = 21;

class OptimizerTest : public testing::Test {
 protected:
  void SetUp() override { LoadParameters(plan_, parameters_, *reference_); }

  Tensor Update(const v1::TrainingSpec& training, RoundPlace place = {}) {
    const ParameterVector update = trainer_
                                       ->Train({.plan = plan_,
                                                .training = training,
                                                .train = examples_,
                                                .start = parameters_,
                                                .seed = kSeed,
                                                .place = place})
                                       .value()
                                       .update;
    return torch::tensor(update);
  }
  // `before_step` is called with the number of each step, from 0, once its gradient is there.
  Tensor ReferenceUpdate(const v1::TrainingSpec& training, Optimizer& optimizer,
                         const std::function<void(std::uint64_t)>& before_step = {}) {
    const auto rows = static_cast<std::int64_t>(examples_.size());
    const Tensor inputs = torch::tensor(examples_.inputs).view({rows, -1});
    const Tensor targets = torch::tensor(examples_.targets).view({rows, 1});
    const auto itself = [](const Tensor& t) { return t; };
    const Tensor start = Flatten(plan_, *reference_, itself).clone();
    BatchSchedule schedule(training, examples_.patients, kSeed);
    std::uint64_t step = 0;
    for (std::uint64_t i = 0; i < schedule.num_batches(); ++i) {
      const BatchSchedule::Batch batch = schedule.Next();
      const auto order = schedule.order().subspan(batch.first, batch.size);
      const Tensor chosen = torch::tensor(std::vector<std::int64_t>(order.begin(), order.end()));
      if (batch.begins_step) optimizer.zero_grad();
      (torch::binary_cross_entropy_with_logits(reference_->forward(inputs.index_select(0, chosen)),
                                               targets.index_select(0, chosen)) /
       static_cast<double>(batch.step_batches))
          .backward();
      if (!batch.ends_step) continue;
      if (before_step) before_step(step);
      optimizer.step();
      ++step;
    }
    return Flatten(plan_, *reference_, itself) - start;
  }
  static double LargestDifference(const Tensor& a, const Tensor& b) {
    return (a - b).abs().max().item<double>();
  }

  v1::ModelSpec model_ = MakeMlp({9, 4}, v1::ACTIVATION_TANH);
  models::GraphPlan plan_ = PlanFor(model_, 6);
  data::Examples examples_ = MakeToyExamples(101, 6, 9);
  ParameterVector parameters_ = MakeParameters(plan_, 5);
  ReferencePtr reference_ = MakeReference(model_, 6);
  std::unique_ptr<LocalTrainer> trainer_ =
      MakeTorchTrainer({.device = "cpu", .threads = 2}).value();
};

TEST_F(OptimizerTest, SgdWithMomentumAndPenaltyStepsAsPyTorch) {
  v1::TrainingSpec training = MakeSgd(0.05, 0.9, 40, 32);
  training.set_l2_penalty(0.01);
  torch::optim::SGD optimizer(reference_->parameters(),
                              torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(0.01));

  EXPECT_LT(LargestDifference(Update(training), ReferenceUpdate(training, optimizer)), 2e-5);
}

TEST_F(OptimizerTest, NesterovStepsAsPyTorch) {
  v1::TrainingSpec training = MakeSgd(0.05, 0.8, 40, 32);
  const Tensor without = Update(training);
  training.mutable_optimizer()->mutable_sgd()->set_nesterov(true);
  torch::optim::SGD optimizer(reference_->parameters(),
                              torch::optim::SGDOptions(0.05).momentum(0.8).nesterov(true));

  const Tensor update = Update(training);

  EXPECT_LT(LargestDifference(update, ReferenceUpdate(training, optimizer)), 2e-5);
  EXPECT_GT(LargestDifference(update, without), 1e-3);
}

TEST_F(OptimizerTest, AdamWithPenaltyStepsAsPyTorch) {
  v1::TrainingSpec training = MakeAdam(0.003, 40, 32);
  training.set_l2_penalty(0.01);
  torch::optim::Adam optimizer(reference_->parameters(),
                               torch::optim::AdamOptions(0.003).weight_decay(0.01));

  // Where a gradient is near zero Adam divides rounding by rounding: 40 steps may differ by a small
  // part of one.
  EXPECT_LT(LargestDifference(Update(training), ReferenceUpdate(training, optimizer)), 2e-4);
}

TEST_F(OptimizerTest, AdamWDecaysWeightsApartFromTheGradientAsPyTorch) {
  v1::TrainingSpec training = MakeAdam(0.003, 40, 32);
  const Tensor adam = Update(training);
  v1::AdamW& adamw = *training.mutable_optimizer()->mutable_adamw();
  adamw.set_learning_rate(0.003);
  adamw.set_weight_decay(0.3);
  torch::optim::AdamW optimizer(reference_->parameters(),
                                torch::optim::AdamWOptions(0.003).weight_decay(0.3));

  const Tensor update = Update(training);

  EXPECT_LT(LargestDifference(update, ReferenceUpdate(training, optimizer)), 2e-4);
  EXPECT_GT(LargestDifference(update, adam), 2e-3);
}

TEST_F(OptimizerTest, AdamWDecaysByOnePercentUnlessTold) {
  v1::TrainingSpec training = MakeAdam(0.003, 40, 32);
  v1::AdamW& adamw = *training.mutable_optimizer()->mutable_adamw();
  adamw.set_learning_rate(0.003);
  const Tensor unset = Update(training);
  adamw.set_weight_decay(0.01);
  EXPECT_TRUE(torch::equal(unset, Update(training)));
}

TEST_F(OptimizerTest, ClipsTheGradientOfEachStepAsPyTorch) {
  v1::TrainingSpec training = MakeSgd(0.5, 0, 20, 32);
  const Tensor without = Update(training);
  training.set_max_gradient_norm(0.1);
  torch::optim::SGD optimizer(reference_->parameters(), torch::optim::SGDOptions(0.5));

  const Tensor update = Update(training);

  int num_clipped = 0;
  const Tensor expected = ReferenceUpdate(training, optimizer, [&](std::uint64_t) {
    const double norm = torch::nn::utils::clip_grad_norm_(reference_->parameters(), 0.1);
    if (norm > 0.1) ++num_clipped;
  });
  EXPECT_LT(LargestDifference(update, expected), 2e-5);
  EXPECT_GT(num_clipped, 0);
  EXPECT_GT(LargestDifference(update, without), 1e-3);
}

TEST_F(OptimizerTest, ABoundThatIsNeverReachedChangesNoBit) {
  v1::TrainingSpec training = MakeSgd(0.5, 0, 20, 32);
  const Tensor without = Update(training);
  training.set_max_gradient_norm(1e6);
  EXPECT_TRUE(torch::equal(without, Update(training)));
}

TEST_F(OptimizerTest, AccumulatedBatchesMakeOneStepOfTheirMeanGradient) {
  v1::TrainingSpec training = MakeSgd(0.3, 0.5, 0, 25);
  training.set_local_epochs(2);
  training.set_accumulate_batches(3);
  torch::optim::SGD optimizer(reference_->parameters(),
                              torch::optim::SGDOptions(0.3).momentum(0.5));

  EXPECT_LT(LargestDifference(Update(training), ReferenceUpdate(training, optimizer)), 2e-5);
}

TEST_F(OptimizerTest, ALargeBatchAndItsPartsAccumulatedGiveTheSameStep) {
  examples_ = MakeToyExamples(96, 6, 9);
  v1::TrainingSpec whole = MakeSgd(0.3, 0, 1, 0);
  v1::TrainingSpec parts = MakeSgd(0.3, 0, 1, 32);
  parts.set_accumulate_batches(3);  // An epoch: every row once.

  EXPECT_LT(LargestDifference(Update(whole), Update(parts)), 1e-6);
}

TEST_F(OptimizerTest, TheScheduleSetsTheRateOfEachStep) {
  v1::TrainingSpec training = MakeSgd(0.2, 0.9, 12, 32);
  training.mutable_schedule()->mutable_cosine()->set_floor(0.1);
  training.mutable_schedule()->set_warmup_steps(20);
  const RoundPlace place{.round = 2, .num_rounds = 3};
  torch::optim::SGD optimizer(reference_->parameters(),
                              torch::optim::SGDOptions(0.2).momentum(0.9));

  const Tensor expected = ReferenceUpdate(training, optimizer, [&](std::uint64_t step) {
    for (auto& group : optimizer.param_groups()) {
      static_cast<torch::optim::SGDOptions&>(group.options())
          .lr(0.2 * RateFactor(training.schedule(), place, 12, step));
    }
  });

  EXPECT_LT(LargestDifference(Update(training, place), expected), 2e-5);
}

TEST_F(OptimizerTest, ABatchOfMoreRowsThanAreInFlightGivesTheSameGradient) {
  examples_ = MakeToyExamples(20000, 6, 9);
  const v1::TrainingSpec training = MakeSgd(1, 0, 1, 0);
  torch::optim::SGD optimizer(reference_->parameters(), torch::optim::SGDOptions(1));

  EXPECT_LT(LargestDifference(Update(training), ReferenceUpdate(training, optimizer)), 1e-6);
}

TEST_F(OptimizerTest, TheLossOfABatchIsTheMeanOverItsRowsNotItsPatients) {
  for (std::size_t row = 0; row < examples_.size(); ++row) {
    examples_.patients[row] = static_cast<std::uint32_t>(row % 10 == 0 ? 0 : row / 25 + 1);
  }
  const v1::TrainingSpec training = MakeSgd(0.3, 0, 30, 2);
  torch::optim::SGD optimizer(reference_->parameters(), torch::optim::SGDOptions(0.3));

  EXPECT_LT(LargestDifference(Update(training), ReferenceUpdate(training, optimizer)), 2e-5);
}

}  // namespace
}  // namespace chorale::training
