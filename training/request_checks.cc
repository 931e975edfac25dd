#include "training/request_checks.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace chorale::training {
namespace {

Status CheckPatients(const std::vector<std::uint32_t>& patients, std::size_t num_examples) {
  if (patients.size() != num_examples) {
    return InvalidArgument("the examples name the patients of " + std::to_string(patients.size()) +
                           " rows, there are " + std::to_string(num_examples));
  }
  std::vector<bool> is_seen(num_examples);
  for (const std::uint32_t patient : patients) {
    if (patient >= num_examples) return InvalidArgument("patients must be numbered from 0");
    is_seen[patient] = true;
  }
  const auto gap = std::find(is_seen.begin(), is_seen.end(), false);
  if (std::find(gap, is_seen.end(), true) != is_seen.end()) {
    return InvalidArgument("patients must be numbered from 0 without gaps");
  }
  return OkStatus();
}

// Called for each number of a target; `place` counts within the example.
bool IsTarget(const v1::Loss& loss, models::TargetKind kind, float value, std::size_t place) {
  if (!std::isfinite(value)) return false;
  switch (kind) {
    case models::TargetKind::kBinary:
    case models::TargetKind::kMask:
      return value >= 0 && value <= 1;
    case models::TargetKind::kClass:
      return value >= 0 && value < static_cast<float>(loss.cross_entropy().num_classes()) &&
             value == std::floor(value);
    case models::TargetKind::kSurvival:
      return place == 0 ? value >= 0 : value == 0 || value == 1;
    case models::TargetKind::kNumber:
      return !loss.has_poisson() || value >= 0;
  }
  return false;
}

std::string Wanted(const v1::Loss& loss, models::TargetKind kind) {
  switch (kind) {
    case models::TargetKind::kBinary:
    case models::TargetKind::kMask:
      return "in [0, 1]";
    case models::TargetKind::kClass:
      return "the number of one of " + std::to_string(loss.cross_entropy().num_classes()) +
             " classes, from 0";
    case models::TargetKind::kSurvival:
      return "a time of at least 0 and an event of 0 or 1";
    case models::TargetKind::kNumber:
      return loss.has_poisson() ? "a count of at least 0" : "finite";
  }
  return "";
}

}  // namespace

Status CheckExamples(const models::GraphPlan& plan, const data::Examples& examples) {
  if (examples.num_inputs != plan.num_inputs() || examples.num_targets != plan.num_targets()) {
    return InvalidArgument("the model takes examples of " + std::to_string(plan.num_inputs()) +
                           " inputs and " + std::to_string(plan.num_targets()) + " targets, got " +
                           std::to_string(examples.num_inputs) + " and " +
                           std::to_string(examples.num_targets));
  }
  if (examples.inputs.size() != examples.size() * examples.num_inputs ||
      examples.targets.size() != examples.size() * examples.num_targets) {
    return InvalidArgument("the examples have " + std::to_string(examples.inputs.size()) +
                           " input values, " + std::to_string(examples.size()) + " rows of " +
                           std::to_string(examples.num_inputs) + " were expected");
  }
  CHORALE_RETURN_IF_ERROR(CheckPatients(examples.patients, examples.size()));
  const v1::Loss& loss = plan.graph().loss();
  for (std::size_t i = 0; i < examples.targets.size(); ++i) {
    if (IsTarget(loss, plan.target_kind(), examples.targets[i], i % examples.num_targets)) continue;
    return InvalidArgument("the target of row " + std::to_string(i / examples.num_targets + 1) +
                           " must be " + Wanted(loss, plan.target_kind()));
  }
  return OkStatus();
}

Status CheckParameters(const models::GraphPlan& plan, std::span<const float> parameters) {
  if (parameters.size() != plan.layout().num_parameters()) {
    return InvalidArgument("the model has " + std::to_string(plan.layout().num_parameters()) +
                           " parameters, got " + std::to_string(parameters.size()));
  }
  if (!AllFinite(parameters)) {
    return InvalidArgument("the parameters to start from hold a value that is NaN or infinite");
  }
  return OkStatus();
}

Status CheckRequest(const TrainRequest& request) {
  CHORALE_RETURN_IF_ERROR(Validate(request.training, "training"));
  CHORALE_RETURN_IF_ERROR(ValidateTogether(request.training, request.plan, "training"));
  if (request.train.size() == 0) return InvalidArgument("there is no example to train on");
  CHORALE_RETURN_IF_ERROR(CheckExamples(request.plan, request.train));
  CHORALE_RETURN_IF_ERROR(CheckParameters(request.plan, request.start));
  if (request.place.round == 0) return InvalidArgument("rounds are counted from 1, got 0");
  for (const std::span<const float> variate : {request.control.server, request.control.site}) {
    if (variate.empty()) continue;
    CHORALE_RETURN_IF_ERROR(
        Annotate(CheckParameters(request.plan, variate), "the control variate"));
  }
  return OkStatus();
}

Status CheckRequest(const ClippedSumRequest& request) {
  CHORALE_RETURN_IF_ERROR(ValidatePrivate(request.plan));
  if (!(request.max_grad_norm > 0 && std::isfinite(request.max_grad_norm))) {
    return InvalidArgument("max_grad_norm must be above 0 and finite");
  }
  CHORALE_RETURN_IF_ERROR(CheckExamples(request.plan, request.train));
  CHORALE_RETURN_IF_ERROR(CheckParameters(request.plan, request.parameters));
  std::vector<bool> is_patient(request.train.size()), is_drawn(request.train.size());
  for (const std::uint32_t patient : request.train.patients) is_patient[patient] = true;
  for (const std::uint32_t patient : request.patients) {
    if (patient >= is_patient.size() || !is_patient[patient]) {
      return InvalidArgument("a drawn patient is none of the examples'");
    }
    if (is_drawn[patient]) return InvalidArgument("a patient was drawn twice");
    is_drawn[patient] = true;
  }
  return OkStatus();
}

}  // namespace chorale::training
