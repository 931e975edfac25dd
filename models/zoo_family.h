#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "chorale/v1/model.pb.h"
#include "core/status.h"
#include "models/loss.h"

// What zoo.cc and the families (zoo_*.cc) share. Every kind has two functions. Check: the bounds of
// model.proto that need no number of inputs, as config::FieldErrors below `field` ("model.gru").
// Expand: the graph; REQUIRES that Check was content; INVALID_ARGUMENT when the model cannot take
// so many inputs.
namespace chorale::models::zoo {

using Graph = StatusOr<v1::ModelGraph>;

Status Check(const v1::LogisticRegression& spec, const std::string& field);
Status Check(const v1::LinearRegression& spec, const std::string& field);
Status Check(const v1::PoissonRegression& spec, const std::string& field);
Status Check(const v1::CoxRegression& spec, const std::string& field);
Graph Expand(const v1::LogisticRegression& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::LinearRegression& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::PoissonRegression& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::CoxRegression& spec, std::uint64_t inputs, const std::string& field);

Status Check(const v1::MultilayerPerceptron& spec, const std::string& field);
Status Check(const v1::DiscreteSurvival& spec, const std::string& field);
Status Check(const v1::TabularResnet& spec, const std::string& field);
Status Check(const v1::FtTransformer& spec, const std::string& field);
Graph Expand(const v1::MultilayerPerceptron& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::DiscreteSurvival& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::TabularResnet& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::FtTransformer& spec, std::uint64_t inputs, const std::string& field);

Status Check(const v1::Gru& spec, const std::string& field);
Status Check(const v1::Cnn1d& spec, const std::string& field);
Graph Expand(const v1::Gru& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::Cnn1d& spec, std::uint64_t inputs, const std::string& field);

Status Check(const v1::Cnn2d& spec, const std::string& field);
Status Check(const v1::Resnet18Gn& spec, const std::string& field);
Status Check(const v1::Unet2d& spec, const std::string& field);
Graph Expand(const v1::Cnn2d& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::Resnet18Gn& spec, std::uint64_t inputs, const std::string& field);
Graph Expand(const v1::Unet2d& spec, std::uint64_t inputs, const std::string& field);

// ---------------------------------------------------------------- pieces, in zoo.cc

// `value`, or what 0 stands for.
[[nodiscard]] constexpr std::uint32_t Or(std::uint32_t value, std::uint32_t otherwise) {
  return value == 0 ? otherwise : value;
}
// FieldError unless value lies in [low, high].
[[nodiscard]] Status CheckIn(std::uint32_t value, std::uint32_t low, std::uint32_t high,
                             const std::string& field);
[[nodiscard]] Status CheckDropout(double rate, const std::string& field);
// `least` to 8 layers, each of a width in [1, high].
using Widths = google::protobuf::RepeatedField<std::uint32_t>;
[[nodiscard]] Status CheckWidths(const Widths& widths, int least, std::uint32_t high,
                                 const std::string& field);
// relu, tanh, gelu or silu.
[[nodiscard]] Status CheckActivation(v1::Activation activation, const std::string& field);

// The loss of a message that may leave it out.
template <typename Spec>
[[nodiscard]] v1::Loss LossOf(const Spec& spec) {
  if (spec.has_loss()) return spec.loss();
  v1::Loss loss;
  loss.mutable_binary_cross_entropy();
  return loss;
}
// Of the field `loss` below `field`.
template <typename Spec>
[[nodiscard]] Status CheckLoss(const Spec& spec, const std::string& field) {
  return ValidateLoss(LossOf(spec), field + ".loss");
}
// Outputs of a model for this loss: what it asks for, else 1.
[[nodiscard]] std::uint32_t OutputsFor(const v1::Loss& loss);

// The bounds of an image, and whether it is what the inputs make.
[[nodiscard]] Status CheckImage(const v1::ImageShape& image, const std::string& field);
[[nodiscard]] Status CheckImageInputs(const v1::ImageShape& image, std::uint64_t inputs,
                                      const std::string& field);

}  // namespace chorale::models::zoo
