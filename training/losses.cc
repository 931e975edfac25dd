#include "training/losses.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace chorale::training {
namespace {

using at::Tensor;

Tensor ToTensor(const std::vector<double>& values, const at::Device& device) {
  return at::tensor(values, at::kDouble).to(at::kFloat).to(device);
}

// Who is at risk at which event, in rows ordered by falling time.
struct RiskSets {
  std::vector<std::int64_t> order;   // Row at each place. [rows]
  std::vector<std::int64_t> events;  // Places of events. [events]
  std::vector<std::int64_t> last;    // Of each event: the last place with its time. [events]
  std::vector<std::int64_t> group;   // Of each event: which of the distinct event times. [events]
  std::vector<double> taken_share;   // Of each event: of its tied events, those before it. [events]
  std::int64_t num_groups = 0;
};

RiskSets FindRiskSets(const Tensor& targets) {
  const Tensor host = targets.to(at::kCPU, at::kFloat).contiguous();
  const auto rows = static_cast<std::size_t>(host.size(0));
  const float* values = host.data_ptr<float>();  // [rows, 2]: time, event
  RiskSets sets;
  sets.order.resize(rows);
  std::iota(sets.order.begin(), sets.order.end(), std::int64_t{0});
  std::stable_sort(sets.order.begin(), sets.order.end(), [values](std::int64_t a, std::int64_t b) {
    return values[2 * a] > values[2 * b];
  });
  for (std::size_t first = 0; first < rows;) {
    const float time = values[2 * sets.order[first]];
    std::size_t end = first;
    while (end < rows && values[2 * sets.order[end]] == time) ++end;
    const std::size_t before = sets.events.size();
    for (std::size_t place = first; place < end; ++place) {
      if (values[2 * sets.order[place] + 1] < 0.5F) continue;
      sets.events.push_back(static_cast<std::int64_t>(place));
      sets.last.push_back(static_cast<std::int64_t>(end) - 1);
      sets.group.push_back(sets.num_groups);
    }
    const std::size_t tied = sets.events.size() - before;
    for (std::size_t i = 0; i < tied; ++i) {
      sets.taken_share.push_back(static_cast<double>(i) / static_cast<double>(tied));
    }
    if (tied > 0) ++sets.num_groups;
    first = end;
  }
  return sets;
}

}  // namespace

LossFunction::LossFunction(const v1::Loss& spec, const at::Device& device) : spec_(spec) {
  const double positive = spec.binary_cross_entropy().positive_weight();
  if (spec.has_binary_cross_entropy() && positive != 1) {
    weights_ = ToTensor({positive}, device);
  }
  if (spec.cross_entropy().class_weights_size() > 0) {
    const auto& weights = spec.cross_entropy().class_weights();
    weights_ = ToTensor({weights.begin(), weights.end()}, device);
  }
  if (spec.has_discrete_survival()) {
    const auto& given = spec.discrete_survival().interval_ends();
    const std::vector<double> ends(given.begin(), given.end());
    std::vector<double> begins = {-std::numeric_limits<double>::infinity()};
    std::vector<double> middles;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      middles.push_back((ends[i] + (i == 0 ? 0 : ends[i - 1])) / 2);
      if (i > 0) begins.push_back(ends[i - 1]);
    }
    ends_ = ToTensor(ends, device);
    begins_ = ToTensor(begins, device);
    middles_ = ToTensor(middles, device);
  }
}

Tensor LossFunction::Sum(const Tensor& outputs, const Tensor& targets) const {
  constexpr auto kSum = at::Reduction::Sum;
  const auto per_row = static_cast<double>(outputs.size(1));
  switch (spec_.kind_case()) {
    case v1::Loss::kCrossEntropy:
      return CrossEntropySum(outputs, targets);
    case v1::Loss::kMeanSquaredError:
      return at::mse_loss(outputs, targets, kSum) / per_row;
    case v1::Loss::kHuber:
      return at::huber_loss(outputs, targets, kSum, spec_.huber().delta()) / per_row;
    case v1::Loss::kPoisson:
      return (at::exp(outputs) - targets * outputs).sum() / per_row;
    case v1::Loss::kCox:
      return CoxSum(outputs, targets);
    case v1::Loss::kDiscreteSurvival:
      return DiscreteSurvivalSum(outputs, targets);
    case v1::Loss::kBinaryCrossEntropy:
    case v1::Loss::KIND_NOT_SET:
      break;
  }
  const Tensor sum =
      at::binary_cross_entropy_with_logits(outputs, targets, {}, WeightsLike(outputs), kSum);
  return per_row == 1 ? sum : sum / per_row;
}

Tensor LossFunction::WeightsLike(const Tensor& outputs) const {
  return weights_.defined() ? weights_.to(outputs.scalar_type()) : weights_;
}

Tensor LossFunction::CrossEntropySum(const Tensor& outputs, const Tensor& targets) const {
  return at::cross_entropy_loss(outputs, targets.reshape(-1).to(at::kLong), WeightsLike(outputs),
                                at::Reduction::Sum);
}

Tensor LossFunction::CoxSum(const Tensor& outputs, const Tensor& targets) const {
  const RiskSets sets = FindRiskSets(targets);
  if (sets.events.empty()) return (outputs * 0).sum();
  const bool is_breslow = spec_.cox().ties() == v1::COX_TIES_BRESLOW;
  const auto index = [&](const std::vector<std::int64_t>& values) {
    return at::tensor(values, at::kLong).to(outputs.device());
  };
  // In double precision, and relative to the largest: sums over many rows of exponentials.
  const Tensor scores = outputs.reshape(-1).to(at::kDouble).index_select(0, index(sets.order));
  const Tensor hazards = (scores - scores.detach().max()).exp();
  const Tensor events = index(sets.events);
  Tensor at_risk = hazards.cumsum(0).index_select(0, index(sets.last));
  if (!is_breslow) {
    const Tensor group = index(sets.group);
    const Tensor tied = at::zeros({sets.num_groups}, hazards.options())
                            .index_add(0, group, hazards.index_select(0, events))
                            .index_select(0, group);
    at_risk = at_risk - tied * at::tensor(sets.taken_share, at::kDouble).to(outputs.device());
  }
  const Tensor log_hazards = (scores - scores.detach().max()).index_select(0, events);
  return (at_risk.log() - log_hazards).sum().to(outputs.scalar_type());
}

Tensor LossFunction::DiscreteSurvivalSum(const Tensor& outputs, const Tensor& targets) const {
  const Tensor time = targets.narrow(1, 0, 1);
  const Tensor has_event = targets.narrow(1, 1, 1) > 0.5;
  const Tensor has_failed = has_event & (time > begins_) & (time <= ends_);
  const Tensor has_survived = at::where(has_event, time > ends_, time >= middles_);
  const Tensor terms = at::binary_cross_entropy_with_logits(
      outputs, has_failed.to(outputs.scalar_type()), {}, {}, at::Reduction::None);
  return (terms * (has_failed | has_survived)).sum();
}

Tensor LossFunction::Link(const Tensor& outputs) const {
  switch (spec_.kind_case()) {
    case v1::Loss::kCrossEntropy:
      return at::softmax(outputs, -1);
    case v1::Loss::kMeanSquaredError:
    case v1::Loss::kHuber:
    case v1::Loss::kCox:
      return outputs;
    case v1::Loss::kPoisson:
      return at::exp(outputs);
    case v1::Loss::kDiscreteSurvival:
    case v1::Loss::kBinaryCrossEntropy:
    case v1::Loss::KIND_NOT_SET:
      break;
  }
  return at::sigmoid(outputs);
}

std::optional<Tensor> LossFunction::NumRight(const Tensor& outputs, const Tensor& targets) const {
  if (spec_.has_cross_entropy()) {
    return (outputs.argmax(1) == targets.reshape(-1).to(at::kLong)).sum().to(at::kDouble);
  }
  if (spec_.has_binary_cross_entropy() || spec_.kind_case() == v1::Loss::KIND_NOT_SET) {
    return ((outputs >= 0) == (targets >= 0.5)).sum().to(at::kDouble) /
           static_cast<double>(outputs.size(1));
  }
  return std::nullopt;
}

}  // namespace chorale::training
