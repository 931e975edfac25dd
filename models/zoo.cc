#include "models/zoo.h"

#include <algorithm>
#include <string>

#include "core/config/yaml.h"
#include "models/sizes.h"
#include "models/text.h"
#include "models/zoo_family.h"

namespace chorale::models {
namespace zoo {
namespace {

constexpr int kMaxLayers = 8;
constexpr std::uint32_t kMaxImageChannels = 64;
constexpr std::uint32_t kMaxImageSize = 4096;

}  // namespace

Status CheckIn(std::uint32_t value, std::uint32_t low, std::uint32_t high,
               const std::string& field) {
  if (value >= low && value <= high) return OkStatus();
  return config::FieldError(field, "must be in [" + std::to_string(low) + ", " +
                                       std::to_string(high) + "], got " + std::to_string(value));
}

Status CheckDropout(double rate, const std::string& field) {
  if (rate >= 0 && rate < 1) return OkStatus();
  return config::FieldError(field + ".dropout", "must be in [0, 1), got " + NumberText(rate));
}

Status CheckWidths(const Widths& widths, int least, std::uint32_t high, const std::string& field) {
  if (widths.size() < least || widths.size() > kMaxLayers) {
    return config::FieldError(field, "must have " + std::to_string(least) + " to 8 layers, got " +
                                         std::to_string(widths.size()));
  }
  for (int i = 0; i < widths.size(); ++i) {
    CHORALE_RETURN_IF_ERROR(CheckIn(widths[i], 1, high, field + "[" + std::to_string(i) + "]"));
  }
  return OkStatus();
}

Status CheckActivation(v1::Activation activation, const std::string& field) {
  switch (activation) {
    case v1::ACTIVATION_RELU:
    case v1::ACTIVATION_TANH:
    case v1::ACTIVATION_GELU:
    case v1::ACTIVATION_SILU:
      return OkStatus();
    default:
      return config::FieldError(field + ".activation", "must be relu, tanh, gelu or silu");
  }
}

std::uint32_t OutputsFor(const v1::Loss& loss) {
  return Or(static_cast<std::uint32_t>(NumOutputsOf(loss)), 1);
}

Status CheckImage(const v1::ImageShape& image, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(
      CheckIn(Or(image.channels(), 1), 1, kMaxImageChannels, field + ".image.channels"));
  CHORALE_RETURN_IF_ERROR(CheckIn(image.height(), 1, kMaxImageSize, field + ".image.height"));
  return CheckIn(image.width(), 1, kMaxImageSize, field + ".image.width");
}

Status CheckImageInputs(const v1::ImageShape& image, std::uint64_t inputs,
                        const std::string& field) {
  const std::uint64_t numbers = Product(Or(image.channels(), 1), image.height(), image.width());
  if (numbers == inputs) return OkStatus();
  return config::FieldError(field + ".image", "must be as many numbers as an example has (" +
                                                  std::to_string(inputs) + "), got " +
                                                  std::to_string(numbers));
}

}  // namespace zoo

namespace {

// What `visit(message, field)` makes of the kind that is set.
template <typename Visitor>
auto Visit(const v1::ModelSpec& spec, std::string_view field, const Visitor& visit)
    -> decltype(visit(spec.mlp(), std::string())) {
  const auto path = [&] {
    return std::string(field) + "." +
           v1::ModelSpec::descriptor()->FindFieldByNumber(spec.kind_case())->name();
  };
  switch (spec.kind_case()) {
    case v1::ModelSpec::kLogisticRegression:
      return visit(spec.logistic_regression(), path());
    case v1::ModelSpec::kMlp:
      return visit(spec.mlp(), path());
    case v1::ModelSpec::kLinearRegression:
      return visit(spec.linear_regression(), path());
    case v1::ModelSpec::kPoissonRegression:
      return visit(spec.poisson_regression(), path());
    case v1::ModelSpec::kCox:
      return visit(spec.cox(), path());
    case v1::ModelSpec::kDiscreteSurvival:
      return visit(spec.discrete_survival(), path());
    case v1::ModelSpec::kTabularResnet:
      return visit(spec.tabular_resnet(), path());
    case v1::ModelSpec::kFtTransformer:
      return visit(spec.ft_transformer(), path());
    case v1::ModelSpec::kGru:
      return visit(spec.gru(), path());
    case v1::ModelSpec::kCnn1D:
      return visit(spec.cnn1d(), path());
    case v1::ModelSpec::kCnn2D:
      return visit(spec.cnn2d(), path());
    case v1::ModelSpec::kResnet18Gn:
      return visit(spec.resnet18_gn(), path());
    case v1::ModelSpec::kUnet2D:
      return visit(spec.unet2d(), path());
    case v1::ModelSpec::kGraph:
    case v1::ModelSpec::KIND_NOT_SET:
      break;
  }
  return config::FieldError(std::string(field),
                            "must be one of " + ChoicesOf(*v1::ModelSpec::descriptor(), "kind"));
}

}  // namespace

Status ValidateZoo(const v1::ModelSpec& spec, std::string_view field) {
  return Visit(spec, field,
               [](const auto& kind, const std::string& path) { return zoo::Check(kind, path); });
}

StatusOr<v1::ModelGraph> ExpandZoo(const v1::ModelSpec& spec, std::uint64_t num_inputs,
                                   std::string_view field) {
  CHORALE_RETURN_IF_ERROR(ValidateZoo(spec, field));
  if (num_inputs == 0) {
    return config::FieldError(field, "must have at least 1 input, got 0");
  }
  return Visit(spec, field, [&](const auto& kind, const std::string& path) {
    return zoo::Expand(kind, num_inputs, path);
  });
}

}  // namespace chorale::models
