#include <string>
#include <utility>

#include "models/graph_builder.h"
#include "models/zoo_family.h"

// Networks for rows of a table: mlp, discrete_survival, tabular_resnet.
namespace chorale::models::zoo {
namespace {

constexpr std::uint32_t kMaxUnits = 65536;

struct MlpShape {
  const Widths& hidden_units;
  v1::Activation activation;
  double dropout;
};

v1::ModelGraph Mlp(const MlpShape& shape, std::uint64_t inputs, const v1::Loss& loss) {
  GraphBuilder builder;
  GraphBuilder::Value value = builder.Input("x", {inputs});
  for (int i = 0; i < shape.hidden_units.size(); ++i) {
    const std::string number = std::to_string(i);
    value = builder.Linear("layers." + number, value, shape.hidden_units[i]);
    value = builder.Activate("activations." + number, value, shape.activation);
    value = builder.Dropout("dropouts." + number, value, shape.dropout);
  }
  value = builder.Linear("layers." + std::to_string(shape.hidden_units.size()), value,
                         OutputsFor(loss));
  return std::move(builder).Build(value, loss);
}

v1::Activation ActivationOf(const v1::DiscreteSurvival& spec) {
  return spec.activation() == v1::ACTIVATION_UNSPECIFIED ? v1::ACTIVATION_RELU : spec.activation();
}

}  // namespace

Status Check(const v1::MultilayerPerceptron& spec, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckWidths(spec.hidden_units(), 1, kMaxUnits, field + ".hidden_units"));
  CHORALE_RETURN_IF_ERROR(CheckActivation(spec.activation(), field));
  CHORALE_RETURN_IF_ERROR(CheckDropout(spec.dropout(), field));
  return CheckLoss(spec, field);
}

Graph Expand(const v1::MultilayerPerceptron& spec, std::uint64_t inputs, const std::string&) {
  return Mlp({spec.hidden_units(), spec.activation(), spec.dropout()}, inputs, LossOf(spec));
}

Status Check(const v1::DiscreteSurvival& spec, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(ValidateIntervals(spec.interval_ends(), field + ".interval_ends"));
  CHORALE_RETURN_IF_ERROR(CheckWidths(spec.hidden_units(), 0, kMaxUnits, field + ".hidden_units"));
  return CheckActivation(ActivationOf(spec), field);
}

Graph Expand(const v1::DiscreteSurvival& spec, std::uint64_t inputs, const std::string&) {
  v1::Loss loss;
  *loss.mutable_discrete_survival()->mutable_interval_ends() = spec.interval_ends();
  return Mlp({spec.hidden_units(), ActivationOf(spec), 0}, inputs, loss);
}

Status Check(const v1::TabularResnet& spec, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckIn(Or(spec.width(), 1), 1, 4096, field + ".width"));
  CHORALE_RETURN_IF_ERROR(CheckIn(Or(spec.blocks(), 1), 1, 32, field + ".blocks"));
  CHORALE_RETURN_IF_ERROR(CheckIn(Or(spec.hidden_width(), 1), 1, 16384, field + ".hidden_width"));
  CHORALE_RETURN_IF_ERROR(CheckDropout(spec.dropout(), field));
  return CheckLoss(spec, field);
}

// Equation 2 of Gorishniy et al. (2021): blocks x +
// Dropout(Linear(Dropout(ReLU(Linear(Norm(x)))))).
Graph Expand(const v1::TabularResnet& spec, std::uint64_t inputs, const std::string&) {
  const std::uint32_t width = Or(spec.width(), 64);
  const std::uint32_t hidden = Or(spec.hidden_width(), 2 * width);
  const v1::Loss loss = LossOf(spec);
  GraphBuilder builder;
  GraphBuilder::Value value = builder.Linear("embed", builder.Input("x", {inputs}), width);
  for (std::uint32_t i = 0; i < Or(spec.blocks(), 2); ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    const GraphBuilder::Value skip = value;
    value = builder.LayerNorm(block + "norm", value);
    value = builder.Linear(block + "linear1", value, hidden);
    value = builder.Activate(block + "relu", value, v1::ACTIVATION_RELU);
    value = builder.Dropout(block + "dropout1", value, spec.dropout());
    value = builder.Linear(block + "linear2", value, width);
    value = builder.Dropout(block + "dropout2", value, spec.dropout());
    value = builder.Add(block + "add", skip, value);
  }
  value = builder.LayerNorm("norm", value);
  value = builder.Activate("relu", value, v1::ACTIVATION_RELU);
  value = builder.Linear("head", value, OutputsFor(loss));
  return std::move(builder).Build(value, loss);
}

}  // namespace chorale::models::zoo
