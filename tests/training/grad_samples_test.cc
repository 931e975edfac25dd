#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>
#include <memory>

#include "tests/training/private_cases.h"
#include "training/book_keeping.h"
#include "training/graph_network.h"
#include "training/losses.h"
#include "training/micro_batch.h"
#include "training/row_source.h"

// What computes gradients of single patients, against a plain loop over rows.
namespace chorale::training {
namespace {

using torch::Tensor;

constexpr std::uint64_t kSeed = 77;

std::vector<std::uint32_t> Drawn() { return {5, 1, 8, 3, 0, 2, 7, 6}; }  // All but one.

class Workbench {
 public:
  Workbench(const models::GraphPlan& plan, at::ScalarType type)
      : plan_(plan), type_(type), examples_(MakePatientsFor(plan, 5)), network_(plan) {
    parameters_ = torch::tensor(MakeParameters(plan, 3)).to(type);
  }

  data::Examples& examples() { return examples_; }
  const Tensor& parameters() const { return parameters_; }

  GradSampleSetup Setup(Clipping clipping, double max_grad_norm, int threads = 1) const {
    return {.plan = plan_,
            .examples = examples_,
            .parameters = parameters_,
            .rule = ClippingRule(clipping, max_grad_norm, NumLayers(plan_)),
            .seed = kSeed,
            .threads = threads};
  }

  // One flat gradient of one patient, row by row. Dropout: a patient of one row.
  Tensor GradientOf(std::uint32_t patient) const {
    std::vector<Tensor> views = network_.Views(parameters_);
    const RowSource source(examples_, at::kCPU);
    const LossFunction loss(plan_.graph().loss(), at::kCPU);
    Tensor sum = torch::zeros_like(parameters_);
    for (std::size_t row = 0; row < examples_.size(); ++row) {
      if (examples_.patients[row] != patient) continue;
      const auto taken = source.Range(static_cast<std::int64_t>(row), 1);
      const Tensor outputs =
          network_.Forward(views, taken.inputs.to(type_),
                           {.is_training = true, .seed = SeedOfPatient(kSeed, patient)});
      const auto gradients =
          torch::autograd::grad({loss.Sum(outputs, taken.targets.to(type_))}, views);
      std::vector<Tensor> flat;
      for (const Tensor& gradient : gradients) flat.push_back(gradient.flatten());
      sum += torch::cat(flat);
    }
    return sum;
  }

  // The squared norm of each layer of a flat gradient.
  std::vector<double> Squares(const Tensor& gradient) const {
    std::vector<double> squares(NumLayers(plan_));
    const std::vector<std::size_t> layers = LayersOfParameters(plan_);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      squares[layers[i]] += PartOf(gradient, i).to(torch::kDouble).square().sum().item<double>();
    }
    return squares;
  }
  Tensor PartOf(const Tensor& flat, std::size_t parameter) const {
    const TensorLayout& tensor = plan_.layout().tensors()[parameter];
    return flat.narrow(0, static_cast<std::int64_t>(tensor.offset),
                       static_cast<std::int64_t>(tensor.size));
  }

  ClippedTotals PlainSum(Clipping clipping, double max_grad_norm) const {
    const ClippingRule rule(clipping, max_grad_norm, NumLayers(plan_));
    const std::vector<std::size_t> layers = LayersOfParameters(plan_);
    ClippedTotals totals{.sum = torch::zeros_like(parameters_)};
    for (const std::uint32_t patient : Drawn()) {
      const Tensor gradient = GradientOf(patient);
      std::vector<double> factors(NumLayers(plan_));
      totals.Count(rule.Decide(Squares(gradient), factors));
      for (std::size_t i = 0; i < layers.size(); ++i) {
        if (factors[layers[i]] != 0) {
          PartOf(totals.sum, i) += PartOf(gradient, i) * factors[layers[i]];
        }
      }
    }
    return totals;
  }

  // A bound that some patients exceed and others do not.
  double SomeNorm() const {
    std::vector<double> norms;
    for (const std::uint32_t patient : Drawn()) {
      norms.push_back(GradientOf(patient).norm().item<double>());
    }
    std::nth_element(norms.begin(), norms.begin() + 3, norms.end());
    return norms[3] * 1.001;
  }

  PatientRows Rows() const { return {examples_.patients, drawn_}; }

 private:
  const models::GraphPlan& plan_;
  at::ScalarType type_;
  data::Examples examples_;
  GraphNetwork network_;
  Tensor parameters_;
  std::vector<std::uint32_t> drawn_ = Drawn();
};

double RelativeError(const Tensor& got, const Tensor& expected) {
  const Tensor wide = expected.to(torch::kDouble);
  return ((got.to(torch::kDouble) - wide).norm() / wide.norm()).item<double>();
}

class GradSamplesTest : public testing::TestWithParam<PrivateCase> {
 protected:
  void ExpectAgreement(at::ScalarType type, double tolerance) {
    Workbench bench(GetParam().plan, type);
    if (GetParam().plan.has_dropout()) NumberPatients(bench.examples());
    for (const Clipping clipping : {Clipping::kFlat, Clipping::kPerLayer, Clipping::kAutomatic}) {
      const double bound = bench.SomeNorm();
      const ClippedTotals expected = bench.PlainSum(clipping, bound);
      EXPECT_GT(expected.num_clipped, 0u);
      const auto expect_agreement = [&](auto engine, const char* name) {
        ClippedTotals got{.sum = torch::zeros_like(bench.parameters())};
        ASSERT_TRUE(engine.Add(bench.Rows(), got));
        EXPECT_LT(RelativeError(got.sum, expected.sum), tolerance) << name;
        EXPECT_EQ(got.num_clipped, expected.num_clipped) << name;
        EXPECT_EQ(got.num_not_finite, 0u) << name;
        EXPECT_NEAR(got.votes, expected.votes, 1e3 * tolerance) << name;
      };
      const GradSampleSetup setup = bench.Setup(clipping, bound);
      expect_agreement(MicroBatch(setup), "one by one");
      expect_agreement(BookKeeping(setup, 0), "together");
      expect_agreement(BookKeeping(setup, 3), "by threes");
    }
  }
};

TEST_P(GradSamplesTest, AgreeWithAPlainLoopInDoublePrecision) {
  ExpectAgreement(torch::kDouble, 1e-12);
}

TEST_P(GradSamplesTest, AgreeWithAPlainLoopInSinglePrecision) {
  ExpectAgreement(torch::kFloat, 1e-6);
}

// No operation mixes rows: what a row tells the tape is its own (batch norm would be seen here).
TEST_P(GradSamplesTest, ARowsGradientsStayWhenAnotherRowIsAltered) {
  const models::GraphPlan& plan = GetParam().plan;
  Workbench bench(plan, torch::kDouble);
  const GraphNetwork network(plan);
  const LossFunction loss(plan.graph().loss(), at::kCPU);
  std::vector<Tensor> views = network.Views(bench.parameters());
  for (Tensor& view : views) view = view.detach();
  const std::vector<GraphNetwork::Part> parts = {{1, 1}, {1, 2}, {1, 3}};
  const auto run = [&] {
    const RowSource source(bench.examples(), at::kCPU);
    const RowSource::Rows rows = source.Range(0, 3);
    std::map<std::size_t, Tensor> by_output;
    LayerTape tape([&](const LayerRecord& record, const Tensor& gradient) {
      by_output[record.output] = record.is_steps_first ? gradient.transpose(0, 1) : gradient;
    });
    const Tensor outputs = network.Forward(views, rows.inputs.to(torch::kDouble),
                                           {.is_training = true, .parts = parts, .tape = &tape});
    tape.Backward(loss.Sum(outputs, rows.targets.to(torch::kDouble)));
    std::vector<Tensor> gradients;
    for (const auto& [output, gradient] : by_output) gradients.push_back(gradient);
    return gradients;
  };
  const std::vector<Tensor> before = run();
  for (std::uint64_t i = 0; i < plan.num_inputs(); ++i) {
    bench.examples().inputs[plan.num_inputs() + i] += 1.5F;
  }
  const std::vector<Tensor> after = run();
  ASSERT_FALSE(before.empty());
  for (std::size_t i = 0; i < before.size(); ++i) {
    for (const std::int64_t row : {0, 2}) {
      EXPECT_LT((before[i][row] - after[i][row]).abs().max().item<double>(),
                1e-14 * (1 + before[i][row].abs().max().item<double>()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, GradSamplesTest, testing::ValuesIn(LayerCases()),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Zoo, GradSamplesTest, testing::ValuesIn(ZooCases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace chorale::training
