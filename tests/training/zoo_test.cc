#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/training/reference_models.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// Every model of the zoo against the same model written plainly with torch::nn.
namespace chorale::training {
namespace {

using torch::Tensor;

struct Case {
  std::string name;
  v1::ModelSpec model;
  std::uint64_t num_inputs = 6;
};

void SetImage(v1::ImageShape& image, std::uint32_t channels, std::uint32_t height,
              std::uint32_t width) {
  image.set_channels(channels);
  image.set_height(height);
  image.set_width(width);
}

std::vector<Case> TableModels() {
  std::vector<Case> cases(10);
  cases[0].name = "logistic_regression";
  cases[0].model.mutable_logistic_regression();
  cases[1].name = "linear_regression";
  cases[1].model.mutable_linear_regression();
  cases[2].name = "poisson_regression";
  cases[2].model.mutable_poisson_regression();
  cases[3].name = "cox_efron";
  cases[3].model.mutable_cox();
  cases[4].name = "cox_breslow";
  cases[4].model.mutable_cox()->set_ties(v1::COX_TIES_BRESLOW);
  cases[5].name = "discrete_survival";
  for (const double end : {2.0, 4.5, 7.0}) {
    cases[5].model.mutable_discrete_survival()->add_interval_ends(end);
  }
  cases[5].model.mutable_discrete_survival()->add_hidden_units(5);
  cases[6].name = "mlp_gelu";
  cases[6].model = MakeMlp({7, 9}, v1::ACTIVATION_GELU);
  cases[7].name = "mlp_silu_classes";
  cases[7].model = MakeMlp({8}, v1::ACTIVATION_SILU);
  v1::CrossEntropy& classes =
      *cases[7].model.mutable_mlp()->mutable_loss()->mutable_cross_entropy();
  classes.set_num_classes(3);
  for (const double weight : {1.0, 0.5, 4.0}) classes.add_class_weights(weight);
  cases[8].name = "tabular_resnet";
  cases[8].model.mutable_tabular_resnet()->set_width(8);
  cases[9].name = "ft_transformer";
  cases[9].model.mutable_ft_transformer()->set_width(16);
  return cases;
}

std::vector<Case> OtherModels() {
  std::vector<Case> cases(6);
  cases[0] = {.name = "gru", .model = {}, .num_inputs = 20};
  cases[0].model.mutable_gru()->set_steps(5);
  cases[0].model.mutable_gru()->set_layers(2);
  cases[1] = {.name = "cnn1d", .model = {}, .num_inputs = 48};
  cases[1].model.mutable_cnn1d()->set_channels(2);
  cases[2] = {.name = "cnn2d", .model = {}, .num_inputs = 2 * 12 * 10};
  SetImage(*cases[2].model.mutable_cnn2d()->mutable_image(), 2, 12, 10);
  cases[3] = {.name = "resnet18_gn", .model = {}, .num_inputs = 12 * 12};
  SetImage(*cases[3].model.mutable_resnet18_gn()->mutable_image(), 1, 12, 12);
  cases[3].model.mutable_resnet18_gn()->set_width(16);
  cases[3].model.mutable_resnet18_gn()->set_groups(4);
  cases[4] = {.name = "resnet18_gn_of_large_images", .model = {}, .num_inputs = 2 * 66 * 66};
  SetImage(*cases[4].model.mutable_resnet18_gn()->mutable_image(), 2, 66, 66);
  cases[4].model.mutable_resnet18_gn()->set_width(8);
  cases[4].model.mutable_resnet18_gn()->set_groups(2);
  cases[5] = {.name = "unet2d", .model = {}, .num_inputs = 16 * 8};
  SetImage(*cases[5].model.mutable_unet2d()->mutable_image(), 1, 16, 8);
  cases[5].model.mutable_unet2d()->set_depth(2);
  cases[5].model.mutable_unet2d()->set_width(8);
  return cases;
}

std::vector<Case> Zoo() {
  std::vector<Case> cases = TableModels();
  for (Case& c : OtherModels()) cases.push_back(std::move(c));
  return cases;
}

Tensor ToTensor(const std::vector<float>& values, std::int64_t columns) {
  return torch::from_blob(const_cast<float*>(values.data()),
                          {static_cast<std::int64_t>(values.size()) / columns, columns})
      .clone();
}

// Of these rows, as a double loop. Efron 1977; Breslow 1974.
Tensor CoxLoss(const Tensor& scores, const Tensor& targets, bool is_efron) {
  Tensor loss = torch::zeros({}, torch::kDouble);
  const Tensor hazards = scores.view(-1).to(torch::kDouble).exp();
  const auto time = targets.accessor<float, 2>();
  for (std::int64_t i = 0; i < scores.size(0); ++i) {
    if (time[i][1] == 0) continue;
    Tensor at_risk = torch::zeros({}, torch::kDouble);
    Tensor tied = torch::zeros({}, torch::kDouble);
    int num_tied = 0, num_before = 0;
    for (std::int64_t j = 0; j < scores.size(0); ++j) {
      if (time[j][0] >= time[i][0]) at_risk = at_risk + hazards[j];
      if (time[j][0] != time[i][0] || time[j][1] == 0) continue;
      tied = tied + hazards[j];
      ++num_tied;
      if (j < i) ++num_before;
    }
    if (is_efron) at_risk = at_risk - tied * (static_cast<double>(num_before) / num_tied);
    loss = loss + at_risk.log() - hazards[i].log();
  }
  return loss;
}

// Interval by interval, row by row. Gensheimer and Narasimhan 2019.
Tensor DiscreteLoss(const Tensor& logits, const Tensor& targets, const std::vector<double>& ends) {
  Tensor loss = torch::zeros({});
  const auto target = targets.accessor<float, 2>();
  for (std::int64_t i = 0; i < logits.size(0); ++i) {
    const double time = target[i][0];
    for (std::size_t j = 0; j < ends.size(); ++j) {
      const double begin = j == 0 ? 0 : ends[j - 1];
      const Tensor hazard = torch::sigmoid(logits[i][static_cast<std::int64_t>(j)]);
      if (target[i][1] == 1 && time <= ends[j]) {
        loss = loss - hazard.log();
        break;
      }
      const double survived_at = target[i][1] == 1 ? ends[j] : (begin + ends[j]) / 2;
      if (time < survived_at) break;
      loss = loss - (1 - hazard).log();
    }
  }
  return loss;
}

// The mean over rows.
Tensor ReferenceLoss(const v1::Loss& loss, const Tensor& outputs, const Tensor& targets) {
  const auto rows = static_cast<double>(outputs.size(0));
  switch (loss.kind_case()) {
    case v1::Loss::kCrossEntropy: {
      Tensor sum = torch::zeros({});
      const Tensor chances = torch::softmax(outputs, 1);
      for (std::int64_t i = 0; i < outputs.size(0); ++i) {
        const auto target = static_cast<int>(targets[i][0].item<float>());
        const double weight = loss.cross_entropy().class_weights(target);
        sum = sum - chances[i][target].log() * weight;
      }
      return sum / rows;
    }
    case v1::Loss::kMeanSquaredError:
      return (outputs - targets).pow(2).mean();
    case v1::Loss::kPoisson:
      return (outputs.exp() - targets * outputs).mean();
    case v1::Loss::kCox:
      return CoxLoss(outputs, targets, loss.cox().ties() == v1::COX_TIES_EFRON) / rows;
    case v1::Loss::kDiscreteSurvival: {
      const auto& ends = loss.discrete_survival().interval_ends();
      return DiscreteLoss(outputs, targets, {ends.begin(), ends.end()}) / rows;
    }
    default:
      return torch::binary_cross_entropy_with_logits(outputs, targets);
  }
}

Tensor ReferenceLink(const v1::Loss& loss, const Tensor& outputs) {
  switch (loss.kind_case()) {
    case v1::Loss::kCrossEntropy:
      return torch::softmax(outputs, 1);
    case v1::Loss::kPoisson:
      return outputs.exp();
    case v1::Loss::kMeanSquaredError:
    case v1::Loss::kCox:
      return outputs;
    default:
      return torch::sigmoid(outputs);
  }
}

class ZooTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    reference_ = MakeReference(GetParam().model, static_cast<std::int64_t>(GetParam().num_inputs));
    LoadParameters(plan_, parameters_, *reference_);
    inputs_ = ToTensor(examples_.inputs, static_cast<std::int64_t>(examples_.num_inputs));
    targets_ = ToTensor(examples_.targets, static_cast<std::int64_t>(examples_.num_targets));
  }
  const v1::Loss& loss() const { return plan_.graph().loss(); }

  models::GraphPlan plan_ = PlanFor(GetParam().model, GetParam().num_inputs);
  data::Examples examples_ = MakeExamplesFor(plan_, 14, 3);
  ParameterVector parameters_ = MakeParameters(plan_, 7);
  std::unique_ptr<LocalTrainer> trainer_ =
      MakeTorchTrainer({.device = "cpu", .threads = 2}).value();
  ReferencePtr reference_;
  Tensor inputs_, targets_;
};

TEST_P(ZooTest, PredictsWhatThePlainModelSays) {
  const std::vector<float> predictions = trainer_->Predict(plan_, parameters_, examples_).value();

  const Tensor expected = ReferenceLink(loss(), reference_->forward(inputs_)).detach();
  ASSERT_EQ(static_cast<std::int64_t>(predictions.size()), expected.numel());
  EXPECT_LT((ToTensor(predictions, expected.size(1)) - expected).abs().max().item<double>(),
            1e-5 * (1 + expected.abs().max().item<double>()));
}

TEST_P(ZooTest, TheLossIsThatOfThePlainModel) {
  const EvaluationResult result =
      trainer_->Evaluate(plan_, parameters_, examples_, nullptr).value();

  const double expected =
      ReferenceLoss(loss(), reference_->forward(inputs_), targets_).item<double>();
  EXPECT_NEAR(result.loss, expected, 1e-5 * (1 + std::abs(expected)));
}

TEST_P(ZooTest, RowsByThemselvesAreTheWholeInParts) {
  const StatusOr<RowEvaluation> rows =
      trainer_->EvaluateRows(plan_, parameters_, examples_, nullptr);
  if (loss().has_cox()) {
    EXPECT_EQ(rows.status().code(), StatusCode::kInvalidArgument);
    return;
  }
  ASSERT_TRUE(rows.ok()) << rows.status();
  const EvaluationResult whole = trainer_->Evaluate(plan_, parameters_, examples_, nullptr).value();
  const auto mean = [&](const std::vector<float>& values) {
    EXPECT_EQ(values.size(), examples_.size());
    return std::accumulate(values.begin(), values.end(), 0.0) /
           static_cast<double>(examples_.size());
  };
  EXPECT_NEAR(mean(rows->losses), whole.loss, 1e-5 * (1 + std::abs(whole.loss)));
  EXPECT_EQ(rows->right.empty(), !whole.accuracy.has_value());
  if (whole.accuracy) {
    EXPECT_NEAR(mean(rows->right), *whole.accuracy, 1e-6);
  }
  EXPECT_EQ(rows->told, trainer_->Predict(plan_, parameters_, examples_).value());
}

TEST_P(ZooTest, AStepOfDescentIsThatOfThePlainModel) {
  const v1::TrainingSpec training = MakeSgd(0.1, 0, 1, 0);
  const TrainResult result =
      trainer_
          ->Train({.plan = plan_, .training = training, .train = examples_, .start = parameters_})
          .value();

  ReferenceLoss(loss(), reference_->forward(inputs_), targets_).backward();
  const Tensor expected =
      -0.1 * Flatten(plan_, *reference_, [](const Tensor& t) { return t.grad(); });
  const double norm = expected.norm().item<double>();
  ASSERT_GT(norm, 1e-4);
  EXPECT_LT((ToTensor(result.update, 1).view(-1) - expected).norm().item<double>(), 2e-4 * norm);
}

// `auto` is CUDA where there is a GPU, and the CPU itself elsewhere.
TEST_P(ZooTest, TheDeviceThatAutoFindsComputesWhatTheCpuDoes) {
  const auto found = MakeTorchTrainer({.device = "auto", .threads = 2}).value();
  v1::TrainingSpec training = MakeSgd(0.1, 0, 1, 0);
  const TrainRequest request{
      .plan = plan_, .training = training, .train = examples_, .start = parameters_};
  const Tensor expected = ToTensor(trainer_->Train(request).value().update, 1);
  const Tensor update = ToTensor(found->Train(request).value().update, 1);
  EXPECT_LT((update - expected).norm().item<double>(), 1e-3 * expected.norm().item<double>())
      << found->device();

  // bfloat16 has eight bits: the direction stays.
  training.set_mixed_precision(true);
  const Tensor mixed = ToTensor(found->Train(request).value().update, 1);
  EXPECT_GT((mixed * expected).sum().item<double>(),
            0.95 * (mixed.norm() * expected.norm()).item<double>())
      << found->device();

  const Tensor told = ToTensor(trainer_->Predict(plan_, parameters_, examples_).value(), 1);
  const Tensor predicted = ToTensor(found->Predict(plan_, parameters_, examples_).value(), 1);
  EXPECT_LT((predicted - told).abs().max().item<double>(),
            1e-4 * (1 + told.abs().max().item<double>()))
      << found->device();
}

INSTANTIATE_TEST_SUITE_P(Models, ZooTest, testing::ValuesIn(Zoo()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace chorale::training
