#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"
#include "tests/training/toy_data.h"
#include "training/batch_schedule.h"
#include "training/torch_trainer.h"

// The trainer's hand-written gradients and optimizers against PyTorch's own.
namespace chorale::training {
namespace {

struct Case {
  std::string name;
  v1::ModelSpec model;
};

std::vector<Case> Models() {
  return {{"logistic_regression", MakeLogisticRegression()},
          {"relu", MakeMlp({7}, v1::ACTIVATION_RELU)},
          {"tanh", MakeMlp({9, 4}, v1::ACTIVATION_TANH)},
          {"gelu", MakeMlp({5, 6, 7}, v1::ACTIVATION_GELU)},
          {"wide", MakeMlp({300, 270}, v1::ACTIVATION_GELU)}};
}

// The model written with autograd, over tensors cut from one flat leaf.
torch::Tensor Logits(const v1::ModelSpec& spec, const ParameterLayout& layout,
                     const torch::Tensor& flat, torch::Tensor x) {
  const auto& tensors = layout.tensors();
  for (std::size_t i = 0; i < tensors.size(); i += 2) {
    const auto cut = [&](const TensorLayout& t) {
      return flat.slice(0, static_cast<std::int64_t>(t.offset),
                        static_cast<std::int64_t>(t.offset + t.size));
    };
    const torch::Tensor weight =
        cut(tensors[i]).view({static_cast<std::int64_t>(tensors[i].shape[0]), -1});
    x = torch::nn::functional::linear(x, weight, cut(tensors[i + 1]));
    if (i + 2 == tensors.size()) break;
    switch (spec.mlp().activation()) {
      case v1::ACTIVATION_RELU:
        x = torch::relu(x);
        break;
      case v1::ACTIVATION_TANH:
        x = torch::tanh(x);
        break;
      default:
        x = torch::gelu(x);
    }
  }
  return x;
}

torch::Tensor ToTensor(const std::vector<float>& values, at::IntArrayRef shape) {
  return torch::from_blob(const_cast<float*>(values.data()), shape, torch::kFloat).clone();
}

double LargestDifference(const ParameterVector& a, const torch::Tensor& b) {
  return (ToTensor(a, {static_cast<std::int64_t>(a.size())}) - b).abs().max().item<double>();
}

class TorchGradientTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    parameters_ = models::InitialParameters(model(), 6, 5).value();
    // Logistic regression starts at zero, where too much would vanish.
    SeededRandom random(8);
    for (float& value : parameters_) value += static_cast<float>(0.2 * (random.NextDouble() - 0.5));
  }
  const v1::ModelSpec& model() const { return GetParam().model; }
  ParameterVector Update(const v1::TrainingSpec& training) {
    return trainer_
        ->Train({.model = model(),
                 .training = training,
                 .train = examples_,
                 .global_parameters = parameters_,
                 .seed = 21,
                 .on_progress = {},
                 .cancelled = nullptr})
        .value()
        .update;
  }
  // The same steps with autograd and PyTorch's optimizer, on the batches of the schedule.
  template <typename MakeOptimizer>
  torch::Tensor ReferenceUpdate(const v1::TrainingSpec& training,
                                const MakeOptimizer& make_optimizer) {
    const auto num_rows = static_cast<std::int64_t>(examples_.size());
    const torch::Tensor inputs = ToTensor(examples_.inputs, {num_rows, 6});
    const torch::Tensor targets = ToTensor(examples_.targets, {num_rows, 1});
    const torch::Tensor start =
        ToTensor(parameters_, {static_cast<std::int64_t>(parameters_.size())});
    torch::Tensor flat = start.clone().requires_grad_();
    auto optimizer = make_optimizer(std::vector<torch::Tensor>{flat});
    const ParameterLayout layout = models::LayoutOf(model(), 6).value();
    BatchSchedule schedule(training, examples_.size(), 21);
    for (std::uint64_t step = 0; step < schedule.num_steps(); ++step) {
      const BatchSchedule::Batch batch = schedule.Next();
      const auto rows = schedule.order().subspan(batch.first, batch.size);
      const torch::Tensor chosen =
          torch::tensor(std::vector<std::int64_t>(rows.begin(), rows.end()));
      optimizer.zero_grad();
      torch::binary_cross_entropy_with_logits(
          Logits(model(), layout, flat, inputs.index_select(0, chosen)),
          targets.index_select(0, chosen))
          .backward();
      optimizer.step();
    }
    return flat.detach() - start;
  }

  data::Examples examples_ = MakeToyExamples(300, 6, 9);
  ParameterVector parameters_;
  // Made before the reference runs, so that both leave threads alone.
  std::unique_ptr<LocalTrainer> trainer_ =
      MakeTorchTrainer({.device = "cpu", .threads = 2}).value();
};

TEST_P(TorchGradientTest, AFullBatchStepIsTheGradientOfAutograd) {
  const v1::TrainingSpec training = MakeSgd(1, 0, 1, 0);
  const torch::Tensor expected = ReferenceUpdate(training, [](auto parameters) {
    return torch::optim::SGD(parameters, torch::optim::SGDOptions(1));
  });

  EXPECT_LT(LargestDifference(Update(training), expected), 1e-6);
}

TEST_P(TorchGradientTest, SgdWithMomentumAndPenaltyStepsAsPyTorch) {
  v1::TrainingSpec training = MakeSgd(0.05, 0.9, 40, 32);
  training.set_l2_penalty(0.01);
  const torch::Tensor expected = ReferenceUpdate(training, [](auto parameters) {
    return torch::optim::SGD(parameters,
                             torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(0.01));
  });

  EXPECT_LT(LargestDifference(Update(training), expected), 2e-5);
}

TEST_P(TorchGradientTest, AdamWithPenaltyStepsAsPyTorch) {
  v1::TrainingSpec training = MakeAdam(0.003, 40, 32);
  training.set_l2_penalty(0.01);
  const torch::Tensor expected = ReferenceUpdate(training, [](auto parameters) {
    return torch::optim::Adam(parameters, torch::optim::AdamOptions(0.003).weight_decay(0.01));
  });

  // Where a gradient is near zero Adam divides rounding by rounding: 40 steps may differ by a small
  // part of one.
  EXPECT_LT(LargestDifference(Update(training), expected), 2e-4);
}

INSTANTIATE_TEST_SUITE_P(Zoo, TorchGradientTest, testing::ValuesIn(Models()),
                         [](const auto& test) { return test.param.name; });

TEST(TorchGradientTest, ABatchOfMoreRowsThanAreInFlightGivesTheSameGradient) {
  const data::Examples examples = MakeToyExamples(20000, 6, 9);
  const v1::ModelSpec model = MakeMlp({5}, v1::ACTIVATION_TANH);
  const ParameterVector parameters = models::InitialParameters(model, 6, 5).value();
  const v1::TrainingSpec training = MakeSgd(1, 0, 1, 0);
  const ParameterVector update = MakeTorchTrainer({.device = "cpu", .threads = 2})
                                     .value()
                                     ->Train({.model = model,
                                              .training = training,
                                              .train = examples,
                                              .global_parameters = parameters,
                                              .seed = 1,
                                              .on_progress = {},
                                              .cancelled = nullptr})
                                     .value()
                                     .update;

  torch::Tensor flat =
      ToTensor(parameters, {static_cast<std::int64_t>(parameters.size())}).requires_grad_();
  torch::binary_cross_entropy_with_logits(Logits(model, models::LayoutOf(model, 6).value(), flat,
                                                 ToTensor(examples.inputs, {20000, 6})),
                                          ToTensor(examples.targets, {20000, 1}))
      .backward();
  EXPECT_LT(LargestDifference(update, -flat.grad()), 1e-6);
}

}  // namespace
}  // namespace chorale::training
