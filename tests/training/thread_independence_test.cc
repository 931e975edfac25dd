#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "models/model.h"
#include "tests/training/toy_data.h"
#include "training/batch_schedule.h"
#include "training/torch_trainer.h"
#include "training/work_cut.h"

// The promise of training/torch_trainer.h: on the CPU, bytes do not depend on the number of
// threads.
namespace chorale::training {
namespace {

struct Case {
  std::string name;
  v1::ModelSpec model;
  v1::TrainingSpec training;
  std::size_t num_examples;
  std::size_t num_inputs;
  bool is_cut = true;  // Else there is nothing to share out but the optimizer's blocks.
};

v1::ModelSpec MakeCnn() {
  v1::ModelSpec model;
  v1::ImageShape& image = *model.mutable_cnn2d()->mutable_image();
  image.set_height(28);
  image.set_width(28);
  return model;
}

v1::ModelSpec MakeTransformer() {
  v1::ModelSpec model;
  model.mutable_ft_transformer()->set_dropout(0.2);
  return model;
}

v1::ModelSpec MakeDroppingMlp() {
  v1::ModelSpec model = MakeMlp({700}, v1::ACTIVATION_TANH);
  model.mutable_mlp()->set_dropout(0.3);
  return model;
}

// Linear, batch norm, ReLU, linear.
v1::ModelSpec MakeBatchNormModel() {
  v1::ModelSpec model;
  v1::ModelGraph& graph = *model.mutable_graph();
  graph.add_inputs()->set_name("x");
  graph.mutable_inputs(0)->add_shape(37);
  const auto add = [&](const char* name, const char* input) -> v1::GraphNode& {
    v1::GraphNode& node = *graph.add_nodes();
    node.set_name(name);
    node.add_inputs(input);
    return node;
  };
  add("first", "x").mutable_linear()->set_units(512);
  add("norm", "first").mutable_batch_norm();
  add("relu", "norm").set_activation(v1::ACTIVATION_RELU);
  add("head", "relu").mutable_linear()->set_units(1);
  graph.set_output("head");
  graph.mutable_loss()->mutable_binary_cross_entropy();
  return model;
}

v1::TrainingSpec Clipped(v1::TrainingSpec training) {
  training.set_max_gradient_norm(0.01);
  return training;
}

// Sizes on both sides of, and off, every place where work is cut.
std::vector<Case> Cases() {
  return {
      {"tiny_batches", MakeLogisticRegression(), MakeSgd(0.1, 0.5, 100, 4), 101, 13, false},
      {"long_table", MakeLogisticRegression(), MakeAdam(0.01, 2, 0), 20011, 31},
      {"many_inputs", MakeLogisticRegression(), MakeSgd(0.01, 0, 20, 64), 300, 1031, false},
      {"wide_relu", MakeMlp({513, 300}, v1::ACTIVATION_RELU), MakeSgd(0.05, 0.9, 4, 500), 1203, 37},
      {"dropping", MakeDroppingMlp(), MakeAdam(0.001, 2, 0), 903, 260},
      {"deep_gelu", MakeMlp({290, 64, 300}, v1::ACTIVATION_GELU), Clipped(MakeAdam(0.001, 4, 2001)),
       4100, 20},
      {"cnn2d", MakeCnn(), MakeSgd(0.05, 0.9, 3, 100), 150, 28 * 28},
      {"ft_transformer", MakeTransformer(), MakeAdam(0.001, 2, 1000), 1200, 13},
      {"batch_norm", MakeBatchNormModel(), MakeSgd(0.05, 0.9, 4, 500), 1203, 37, false},
  };
}

class ThreadIndependenceTest : public testing::TestWithParam<Case> {};

TEST_P(ThreadIndependenceTest, UpdatesAndPredictionsHaveTheSameBytes) {
  const Case& c = GetParam();
  const data::Examples examples = MakeToyExamples(c.num_examples, c.num_inputs, 17);
  const models::GraphPlan plan = PlanFor(c.model, c.num_inputs);
  const ParameterVector parameters = models::InitialParameters(plan, 2);
  const std::uint64_t batch = BatchPatients(c.training, c.num_examples);
  ASSERT_EQ(TrainingPieceRows(plan, batch) < batch, c.is_cut);
  const auto run = [&](int threads) {
    auto trainer = MakeTorchTrainer({.device = "cpu", .threads = threads}).value();
    ParameterVector values;
    // Not the thread that made the trainer: an agent trains on another.
    std::thread([&] {
      values = trainer
                   ->Train({.plan = plan,
                            .training = c.training,
                            .train = examples,
                            .start = parameters,
                            .seed = 5})
                   .value()
                   .update;
      const std::vector<float> scores = trainer->Predict(plan, parameters, examples).value();
      values.insert(values.end(), scores.begin(), scores.end());
      const EvaluationResult result =
          trainer->Evaluate(plan, parameters, examples, nullptr).value();
      values.push_back(static_cast<float>(result.loss));
    }).join();
    return values;
  };

  const std::vector<float> alone = run(1);
  for (const int threads : {2, 5}) {
    const std::vector<float> together = run(threads);
    ASSERT_EQ(together.size(), alone.size());
    EXPECT_EQ(std::memcmp(together.data(), alone.data(), alone.size() * sizeof(float)), 0)
        << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ThreadIndependenceTest, testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace chorale::training
