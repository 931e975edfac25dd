#include "models/loss.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/config/yaml.h"
#include "models/sizes.h"
#include "models/text.h"

namespace chorale::models {
namespace {

constexpr double kMaxPositiveWeight = 1e6;
constexpr std::uint32_t kMaxClasses = 65536;
constexpr int kMaxIntervals = 256;

Status CheckClasses(const v1::CrossEntropy& loss, const std::string& field) {
  if (loss.num_classes() < 2 || loss.num_classes() > kMaxClasses) {
    return config::FieldError(field + ".num_classes",
                              "must be in [2, 65536], got " + std::to_string(loss.num_classes()));
  }
  const auto& weights = loss.class_weights();
  if (weights.empty()) return OkStatus();
  if (static_cast<std::uint32_t>(weights.size()) != loss.num_classes()) {
    return config::FieldError(field + ".class_weights",
                              "must be one for each of " + std::to_string(loss.num_classes()) +
                                  " classes, got " + std::to_string(weights.size()));
  }
  for (int i = 0; i < weights.size(); ++i) {
    if (std::isfinite(weights[i]) && weights[i] >= 0) continue;
    return config::FieldError(field + ".class_weights[" + std::to_string(i) + "]",
                              "must be at least 0 and finite, got " + NumberText(weights[i]));
  }
  if (std::any_of(weights.begin(), weights.end(), [](double weight) { return weight > 0; })) {
    return OkStatus();
  }
  return config::FieldError(field + ".class_weights", "must not all be 0");
}

}  // namespace

Status ValidateTies(v1::CoxTies ties, const std::string& field) {
  if (v1::CoxTies_IsValid(ties)) return OkStatus();
  return config::FieldError(field, "must be efron or breslow");
}

Status ValidateIntervals(const IntervalEnds& ends, const std::string& field) {
  if (ends.empty() || ends.size() > kMaxIntervals) {
    return config::FieldError(field, "must be 1 to 256 times, got " + std::to_string(ends.size()));
  }
  double last = 0;
  for (int i = 0; i < ends.size(); ++i) {
    if (!(std::isfinite(ends[i]) && ends[i] > last)) {
      return config::FieldError(
          field + "[" + std::to_string(i) + "]",
          "must be above " + NumberText(last) + " and finite, got " + NumberText(ends[i]));
    }
    last = ends[i];
  }
  return OkStatus();
}

Status ValidateLoss(const v1::Loss& loss, const std::string& field) {
  switch (loss.kind_case()) {
    case v1::Loss::kBinaryCrossEntropy: {
      const double weight = loss.binary_cross_entropy().positive_weight();
      // 0 is the default.
      if (weight >= 0 && weight <= kMaxPositiveWeight) return OkStatus();
      return config::FieldError(field + ".binary_cross_entropy.positive_weight",
                                "must be above 0 and at most 1e6, got " + NumberText(weight));
    }
    case v1::Loss::kCrossEntropy:
      return CheckClasses(loss.cross_entropy(), field + ".cross_entropy");
    case v1::Loss::kHuber: {
      const double delta = loss.huber().delta();
      if (std::isfinite(delta) && delta >= 0) return OkStatus();
      return config::FieldError(field + ".huber.delta",
                                "must be above 0 and finite, got " + NumberText(delta));
    }
    case v1::Loss::kCox:
      return ValidateTies(loss.cox().ties(), field + ".cox.ties");
    case v1::Loss::kDiscreteSurvival:
      return ValidateIntervals(loss.discrete_survival().interval_ends(),
                               field + ".discrete_survival.interval_ends");
    case v1::Loss::kMeanSquaredError:
    case v1::Loss::kPoisson:
      return OkStatus();
    case v1::Loss::KIND_NOT_SET:
      break;
  }
  return config::FieldError(field,
                            "must name a loss: " + ChoicesOf(*v1::Loss::descriptor(), "kind"));
}

void FillDefaults(v1::Loss& loss) {
  switch (loss.kind_case()) {
    case v1::Loss::kBinaryCrossEntropy:
      if (loss.binary_cross_entropy().positive_weight() == 0) {
        loss.mutable_binary_cross_entropy()->set_positive_weight(1);
      }
      return;
    case v1::Loss::kCrossEntropy: {
      auto& weights = *loss.mutable_cross_entropy()->mutable_class_weights();
      const auto is_one = [](double weight) { return weight == 1; };
      if (std::all_of(weights.begin(), weights.end(), is_one)) weights.Clear();
      return;
    }
    case v1::Loss::kHuber:
      if (loss.huber().delta() == 0) loss.mutable_huber()->set_delta(1);
      return;
    case v1::Loss::kCox:
      if (loss.cox().ties() == v1::COX_TIES_UNSPECIFIED) {
        loss.mutable_cox()->set_ties(v1::COX_TIES_EFRON);
      }
      return;
    case v1::Loss::kMeanSquaredError:
    case v1::Loss::kPoisson:
    case v1::Loss::kDiscreteSurvival:
    case v1::Loss::KIND_NOT_SET:
      return;
  }
}

std::uint64_t NumOutputsOf(const v1::Loss& loss) {
  switch (loss.kind_case()) {
    case v1::Loss::kCrossEntropy:
      return loss.cross_entropy().num_classes();
    case v1::Loss::kDiscreteSurvival:
      return static_cast<std::uint64_t>(loss.discrete_survival().interval_ends_size());
    case v1::Loss::kPoisson:
    case v1::Loss::kCox:
      return 1;
    case v1::Loss::kBinaryCrossEntropy:
    case v1::Loss::kMeanSquaredError:
    case v1::Loss::kHuber:
    case v1::Loss::KIND_NOT_SET:
      break;
  }
  return 0;
}

Status CheckOutput(const v1::Loss& loss, const Shape& output, const std::string& field) {
  const std::uint64_t wanted = NumOutputsOf(loss);
  const bool is_row = output.size() == 1 && (wanted == 0 || output[0] == wanted);
  const bool is_mask = loss.has_binary_cross_entropy() && output.size() == 3 && output[0] == 1;
  if (is_row || is_mask) return OkStatus();
  std::string shapes = wanted == 0 ? "[outputs]" : "[" + std::to_string(wanted) + "]";
  if (loss.has_binary_cross_entropy()) shapes += " or [1, height, width]";
  return config::FieldError(
      field, "must be a node of shape " + shapes + ", as its loss takes, got " + ShapeText(output));
}

}  // namespace chorale::models
