#include "privacy/ledger/budget.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string_view>
#include <utility>

#include "privacy/accountant.h"
#include "privacy/calibration.h"
#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr double kMinEpsilon = 0.05;
constexpr double kMaxEpsilon = 100;
constexpr double kMinDelta = 1e-10;
constexpr double kMaxDelta = 0.01;

Status CheckRange(std::string_view name, double low, double high, double value) {
  if (value >= low && value <= high) return OkStatus();
  std::ostringstream text;
  text << name << " must be in [" << low << ", " << high << "], got " << value;
  return InvalidArgument(text.str());
}

struct NoiseSetter {
  double noise_multiplier;

  template <typename Leaf>
  void operator()(Leaf& e) const {
    e.noise_multiplier = noise_multiplier;
  }
  void operator()(Composed&) const {}
  void operator()(RepeatAndSelect&) const {}
};

}  // namespace

Status Validate(const Limits& limits) {
  CHORALE_RETURN_IF_ERROR(CheckRange("max_epsilon", kMinEpsilon, kMaxEpsilon, limits.max_epsilon));
  CHORALE_RETURN_IF_ERROR(CheckRange("delta", kMinDelta, kMaxDelta, limits.delta));
  CHORALE_RETURN_IF_ERROR(CheckRange("max_epsilon_per_job", kMinEpsilon, limits.max_epsilon,
                                     limits.max_epsilon_per_job));
  return CheckRange("max_epsilon_per_project", kMinEpsilon, limits.max_epsilon,
                    limits.max_epsilon_per_researcher);
}

StatusOr<Limits> LimitsOf(const v1::PrivacyLimits& config) {
  const auto or_whole = [&config](double epsilon) {
    return epsilon == 0 ? config.max_epsilon() : epsilon;
  };
  Limits limits{.max_epsilon = config.max_epsilon(),
                .max_epsilon_per_job = or_whole(config.max_epsilon_per_job()),
                .max_epsilon_per_researcher = or_whole(config.max_epsilon_per_project()),
                .delta = config.delta()};
  if (config.relation() == NameOf(NeighboringRelation::kReplaceOne)) {
    limits.relation = NeighboringRelation::kReplaceOne;
  } else if (!config.relation().empty() &&
             config.relation() != NameOf(NeighboringRelation::kAddOrRemoveOne)) {
    return InvalidArgument("relation must be add-remove or replace, got \"" + config.relation() +
                           "\"");
  }
  CHORALE_RETURN_IF_ERROR(Validate(limits));
  return limits;
}

double RhoBudget(double order, double epsilon, double delta) {
  return epsilon - std::log1p(-1 / order) + std::log(delta * order) / (order - 1);
}

std::optional<double> ChooseOrder(const RdpCurve& job, double epsilon, double delta) {
  std::optional<double> best;
  double most = 0;
  for (std::size_t i = 0; i < job.orders.size(); ++i) {
    const double budget = RhoBudget(job.orders[i], epsilon, delta);
    if (!(budget > 0) || !std::isfinite(job.values[i])) continue;
    // A job that costs nothing leaves the choice to sums with much noise, whose rho is linear.
    const double cost = IsNoCost(job) ? job.orders[i] : job.values[i];
    const double jobs = cost > 0 ? budget / cost : kInfinity;
    if (best && jobs <= most) continue;
    best = job.orders[i];
    most = jobs;
  }
  return best;
}

bool HasNoise(const Event& step) {
  return !std::holds_alternative<Composed>(step.kind) &&
         !std::holds_alternative<RepeatAndSelect>(step.kind);
}

std::optional<double> NoiseThatFits(const Part& part, const std::vector<NoiseTarget>& targets,
                                    const Limits& limits) {
  Event step = part.step;
  const auto event_with = [&step, &part](double noise_multiplier) {
    std::visit(NoiseSetter{noise_multiplier}, step.kind);
    return EventOf(step, part.steps);
  };
  double noise = 0;
  for (const NoiseTarget& target : targets) {
    const StatusOr<CalibratedNoise> calibrated = CalibrateNoise(
        event_with, {.epsilon = target.epsilon, .delta = limits.delta},
        {.accountant = AccountantKind::kRdp, .relation = limits.relation, .orders = target.orders});
    if (!calibrated.ok()) return std::nullopt;
    noise = std::max(noise, calibrated->noise_multiplier);
  }
  return noise;
}

void AddScaled(const RdpCurve& step, std::uint64_t steps, RdpCurve& sum) {
  if (steps == 0) return;
  for (std::size_t i = 0; i < sum.values.size(); ++i) {
    if (step.values[i] > 0) sum.values[i] += static_cast<double>(steps) * step.values[i];
  }
}

RdpCurve NoCost() {
  RdpCurve curve{.orders = ExtendedOrders(), .values = {}};
  curve.values.resize(curve.orders.size());
  return curve;
}

bool IsNoCost(const RdpCurve& curve) {
  return std::ranges::all_of(curve.values, [](double rho) { return rho == 0; });
}

double RhoAt(const RdpCurve& curve, double order) {
  const auto found = std::ranges::find(curve.orders, order);
  return curve.values[static_cast<std::size_t>(found - curve.orders.begin())];
}

}  // namespace chorale::privacy
