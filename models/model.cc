#include "models/model.h"

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "core/config/yaml.h"
#include "core/random.h"

namespace chorale::models {
namespace {

constexpr int kMaxHiddenLayers = 8;
constexpr std::uint32_t kMaxUnits = 65536;

Status ValidateMlp(const v1::MultilayerPerceptron& mlp, const std::string& field) {
  if (mlp.hidden_units_size() < 1 || mlp.hidden_units_size() > kMaxHiddenLayers) {
    return config::FieldError(field + ".hidden_units", "must have 1 to 8 layers, got " +
                                                           std::to_string(mlp.hidden_units_size()));
  }
  for (int i = 0; i < mlp.hidden_units_size(); ++i) {
    const std::uint32_t units = mlp.hidden_units(i);
    if (units >= 1 && units <= kMaxUnits) continue;
    return config::FieldError(field + ".hidden_units[" + std::to_string(i) + "]",
                              "must be in [1, 65536], got " + std::to_string(units));
  }
  if (mlp.activation() == v1::ACTIVATION_UNSPECIFIED || !v1::Activation_IsValid(mlp.activation())) {
    return config::FieldError(field + ".activation", "must be relu, tanh or gelu");
  }
  return OkStatus();
}

std::vector<ParameterLayout::Tensor> MlpTensors(const v1::MultilayerPerceptron& mlp,
                                                std::uint64_t num_inputs) {
  std::vector<ParameterLayout::Tensor> tensors;
  std::uint64_t in = num_inputs;
  for (int i = 0; i <= mlp.hidden_units_size(); ++i) {
    const std::uint64_t out = i < mlp.hidden_units_size() ? mlp.hidden_units(i) : 1;
    const std::string name = "layers." + std::to_string(i);
    tensors.push_back({name + ".weight", {out, in}});
    tensors.push_back({name + ".bias", {out}});
    in = out;
  }
  return tensors;
}

}  // namespace

std::string KindName(const v1::ModelSpec& spec) {
  switch (spec.kind_case()) {
    case v1::ModelSpec::kLogisticRegression:
      return "logistic_regression";
    case v1::ModelSpec::kMlp:
      return "mlp";
    case v1::ModelSpec::KIND_NOT_SET:
      break;
  }
  return "";
}

Status Validate(const v1::ModelSpec& spec, std::string_view field) {
  const std::string path(field);
  switch (spec.kind_case()) {
    case v1::ModelSpec::kLogisticRegression:
      return OkStatus();
    case v1::ModelSpec::kMlp:
      return ValidateMlp(spec.mlp(), path + ".mlp");
    case v1::ModelSpec::KIND_NOT_SET:
      break;
  }
  return config::FieldError(path, "must be logistic_regression or mlp, got neither");
}

StatusOr<ParameterLayout> LayoutOf(const v1::ModelSpec& spec, std::uint64_t num_inputs) {
  CHORALE_RETURN_IF_ERROR(Validate(spec, "model"));
  if (num_inputs == 0) return InvalidArgument("model: must have at least 1 input, got 0");
  if (spec.has_mlp()) return ParameterLayout::Create(MlpTensors(spec.mlp(), num_inputs));
  return ParameterLayout::Create({{"linear.weight", {1, num_inputs}}, {"linear.bias", {1}}});
}

StatusOr<ParameterVector> InitialParameters(const v1::ModelSpec& spec, std::uint64_t num_inputs,
                                            std::uint64_t seed) {
  CHORALE_ASSIGN_OR_RETURN(const ParameterLayout layout, LayoutOf(spec, num_inputs));
  ParameterVector values(layout.num_parameters(), 0.0F);
  if (spec.has_logistic_regression()) return values;
  SeededRandom random(seed);
  double bound = 0;
  for (const TensorLayout& tensor : layout.tensors()) {
    // A bias follows its weight and shares the weight's bound.
    if (tensor.shape.size() == 2) bound = 1 / std::sqrt(static_cast<double>(tensor.shape[1]));
    for (std::uint64_t i = 0; i < tensor.size; ++i) {
      values[tensor.offset + i] = static_cast<float>(bound * (2 * random.NextDouble() - 1));
    }
  }
  return values;
}

v1::ParameterLayout ToProto(const ParameterLayout& layout) {
  v1::ParameterLayout proto;
  for (const TensorLayout& tensor : layout.tensors()) {
    v1::TensorLayout& out = *proto.add_tensors();
    out.set_name(tensor.name);
    for (const std::uint64_t dimension : tensor.shape) out.add_shape(dimension);
  }
  return proto;
}

StatusOr<ParameterLayout> FromProto(const v1::ParameterLayout& layout) {
  if (layout.tensors_size() == 0) return InvalidArgument("layout: must have at least 1 tensor");
  std::vector<ParameterLayout::Tensor> tensors;
  tensors.reserve(static_cast<std::size_t>(layout.tensors_size()));
  for (const v1::TensorLayout& tensor : layout.tensors()) {
    tensors.push_back({tensor.name(), {tensor.shape().begin(), tensor.shape().end()}});
  }
  return ParameterLayout::Create(std::move(tensors));
}

}  // namespace chorale::models
