#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "models/model.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

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
};

// Sizes on both sides of, and off, every place where work is cut.
std::vector<Case> Cases() {
  return {
      {"tiny_batches", MakeLogisticRegression(), MakeSgd(0.1, 0.5, 100, 4), 101, 13},
      {"long_table", MakeLogisticRegression(), MakeAdam(0.01, 2, 0), 20011, 31},
      {"many_inputs", MakeLogisticRegression(), MakeSgd(0.01, 0, 20, 64), 300, 1031},
      {"wide_relu", MakeMlp({513, 300}, v1::ACTIVATION_RELU), MakeSgd(0.05, 0.9, 4, 500), 1203, 37},
      {"wide_tanh", MakeMlp({700}, v1::ACTIVATION_TANH), MakeAdam(0.001, 2, 0), 903, 260},
      {"deep_gelu", MakeMlp({290, 64, 300}, v1::ACTIVATION_GELU), MakeAdam(0.001, 4, 257), 700, 20},
  };
}

class ThreadIndependenceTest : public testing::TestWithParam<Case> {};

TEST_P(ThreadIndependenceTest, UpdatesAndPredictionsHaveTheSameBytes) {
  const Case& c = GetParam();
  const data::Examples examples = MakeToyExamples(c.num_examples, c.num_inputs, 17);
  const ParameterVector parameters = models::InitialParameters(c.model, c.num_inputs, 2).value();
  const auto run = [&](int threads) {
    auto trainer = MakeTorchTrainer({.device = "cpu", .threads = threads}).value();
    ParameterVector values;
    // Not the thread that made the trainer: an agent trains on another.
    std::thread([&] {
      values = trainer
                   ->Train({.model = c.model,
                            .training = c.training,
                            .train = examples,
                            .global_parameters = parameters,
                            .seed = 5,
                            .on_progress = {},
                            .cancelled = nullptr})
                   .value()
                   .update;
      const std::vector<float> scores = trainer->Predict(c.model, parameters, examples).value();
      values.insert(values.end(), scores.begin(), scores.end());
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
