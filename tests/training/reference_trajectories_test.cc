// FedProx, SCAFFOLD, FedBN and personalization over three rounds of two sites, beside the numbers
// that tests/golden/local_algorithms.py calculated by hand-made gradients.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/config/yaml.h"
#include "tests/support/source_directory.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

namespace chorale::training {
namespace {

using nlohmann::json;

constexpr const char* kModel = R"(
graph:
  inputs: [{name: x, shape: [2]}]
  nodes:
    - {name: norm, inputs: [x], batch_norm: {}}
    - {name: head, inputs: [norm], linear: {units: 1}}
  output: head
  loss: {mean_squared_error: {}}
)";

class ReferenceTrajectoriesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file(support::SourceDirectory() / "tests" / "golden" / "local_algorithms.json");
    golden_ = json::parse(file);
    v1::ModelSpec model;
    ASSERT_TRUE(config::ParseYaml(kModel, "model.yaml", model).ok());
    plan_.emplace(PlanFor(model, 2));
    for (const json& site : golden_["sites"]) {
      data::Examples& examples = sites_.emplace_back();
      examples.num_inputs = 2;
      for (const json& row : site["inputs"]) {
        for (const float value : row) examples.inputs.push_back(value);
      }
      examples.targets = site["targets"].get<std::vector<float>>();
      NumberPatients(examples);
    }
    model_ = golden_["start"].get<ParameterVector>();
    training_ = MakeSgd(golden_["rate"], 0, golden_["local_steps"], 0);
    trainer_ = MakeTorchTrainer({.device = "cpu", .threads = 1}).value();
  }

  const json& Case(const std::string& name) const {
    for (const json& trajectory : golden_["cases"]) {
      if (trajectory["name"] == name) return trajectory;
    }
    ADD_FAILURE() << "no case " << name;
    return golden_;
  }

  TrainResult Train(std::size_t site, const ParameterVector& start,
                    const ControlVariates& control = {}) {
    return trainer_
        ->Train({.plan = *plan_,
                 .training = training_,
                 .train = sites_[site],
                 .start = start,
                 .control = control})
        .value();
  }

  static void ExpectNear(const ParameterVector& values, const json& expected,
                         const std::string& what) {
    ASSERT_EQ(values.size(), expected.size()) << what;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double number = expected[i];
      EXPECT_NEAR(values[i], number, 2e-6 * (1 + std::abs(number))) << what << " " << i;
    }
  }

  // The mean of the updates joins the model.
  static void Add(const std::vector<ParameterVector>& updates, ParameterVector& values) {
    for (const ParameterVector& update : updates) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] += update[i] / static_cast<float>(updates.size());
      }
    }
  }

  // Three rounds in which every site does `train(site, round)`, which gives its update.
  template <typename TrainSite>
  void Run(const json& trajectory, TrainSite train) {
    ASSERT_EQ(trajectory["rounds"].size(), 3u);
    for (const json& round : trajectory["rounds"]) {
      std::vector<ParameterVector> updates;
      for (std::size_t k = 0; k < sites_.size(); ++k) {
        updates.push_back(train(k, round));
        ExpectNear(updates.back(), round["updates"][k], "update of site " + std::to_string(k));
      }
      Add(updates, model_);
      ExpectNear(model_, round["model"], "model");
    }
  }

  json golden_;
  std::optional<models::GraphPlan> plan_;
  std::vector<data::Examples> sites_;
  ParameterVector model_;
  v1::TrainingSpec training_;
  std::unique_ptr<LocalTrainer> trainer_;
};

TEST_F(ReferenceTrajectoriesTest, FedProx) {
  const json& trajectory = Case("fedprox");
  training_.mutable_fedprox()->set_mu(trajectory["mu"]);

  Run(trajectory, [&](std::size_t k, const json&) { return Train(k, model_).update; });
}

TEST_F(ReferenceTrajectoriesTest, Scaffold) {
  training_.mutable_scaffold();
  ParameterVector server(model_.size());
  std::vector<ParameterVector> own(sites_.size(), server);
  std::vector<ParameterVector> changes;

  Run(Case("scaffold"), [&](std::size_t k, const json& round) {
    TrainResult result = Train(k, model_, {.server = server, .site = own[k]});
    ExpectNear(result.control_change, round["changes"][k], "change of site " + std::to_string(k));
    Add({result.control_change}, own[k]);
    changes.push_back(std::move(result.control_change));
    if (changes.size() == sites_.size()) Add(std::exchange(changes, {}), server);
    return result.update;
  });
}

TEST_F(ReferenceTrajectoriesTest, FedBn) {
  training_.set_local_normalization(true);
  const auto norm = golden_["norm"].get<std::vector<std::size_t>>();
  std::vector<ParameterVector> norms(sites_.size());
  for (ParameterVector& own : norms) {
    for (const std::size_t i : norm) own.push_back(model_[i]);
  }

  Run(Case("fedbn"), [&](std::size_t k, const json& round) {
    ParameterVector start = model_;
    for (std::size_t i = 0; i < norm.size(); ++i) start[norm[i]] = norms[k][i];
    ParameterVector update = Train(k, start).update;
    for (std::size_t i = 0; i < norm.size(); ++i) {
      norms[k][i] += std::exchange(update[norm[i]], 0.0F);
    }
    ExpectNear(norms[k], round["norms"][k], "norm layers of site " + std::to_string(k));
    return update;
  });
}

TEST_F(ReferenceTrajectoriesTest, Personalization) {
  const json& trajectory = Case("personalization");
  Run(trajectory, [&](std::size_t k, const json&) { return Train(k, model_).update; });

  training_.set_local_steps(trajectory["personal_steps"]);
  for (std::size_t k = 0; k < sites_.size(); ++k) {
    ParameterVector personal = model_;
    Add({Train(k, model_).update}, personal);
    ExpectNear(personal, trajectory["personal"][k], "personal model of " + std::to_string(k));
  }
}

}  // namespace
}  // namespace chorale::training
