#include "privacy/ledger/state.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <sstream>

#include "privacy/ledger/step_curves.h"
#include "privacy/log_math.h"
#include "privacy/statement.h"

namespace chorale::privacy {
namespace {

// An equal request has equal content: its time and the orders that it got are not part of it.
Bytes ContentOf(Reserved job) {
  job.dataset_order = 0;
  job.researcher_order = 0;
  return EncodeEntry({.time = Time(), .kind = std::move(job)});
}

RdpCurve Plus(RdpCurve sum, const RdpCurve& other) {
  AddScaled(other, 1, sum);
  return sum;
}

std::uint64_t Total(const std::vector<std::uint64_t>& steps) {
  return std::accumulate(steps.begin(), steps.end(), std::uint64_t{0});
}

// The conversion charges a price for delta even where nothing happened.
double EpsilonAt(const RdpCurve& curve, double delta) {
  return IsNoCost(curve) ? 0 : EpsilonOf(curve, delta).epsilon;
}

std::string Number(double value) {
  std::ostringstream text;
  text << (std::isfinite(value) ? RoundUp(value, 4) : value);
  return text.str();
}

std::string NameOf(const ReservationId& reservation) {
  return "reservation " + std::to_string(reservation.value());
}

}  // namespace

StatusOr<RdpCurve> LedgerState::CostOf(const Reserved& job) const {
  RdpCurve cost = NoCost();
  for (const Part& part : job.parts) {
    CHORALE_ASSIGN_OR_RETURN(const SharedCurve curve, CurveOfStep(part.step, job.relation));
    AddScaled(*curve, part.steps, cost);
  }
  return cost;
}

const LedgerState::Reservation* LedgerState::Find(ReservationId reservation) const {
  const auto found = reservations_.find(reservation.value());
  return found == reservations_.end() ? nullptr : &found->second;
}

RdpCurve LedgerState::Sum(const Scope& scope, bool with_reserved) const {
  RdpCurve sum = NoCost();
  for (const auto& [seq, reservation] : reservations_) {
    if (reservation.job.dataset != scope.dataset ||
        (scope.researcher && reservation.job.researcher != *scope.researcher)) {
      continue;
    }
    const bool is_held = with_reserved && !reservation.is_released;
    for (std::size_t i = 0; i < reservation.curves.size(); ++i) {
      AddScaled(*reservation.curves[i],
                is_held ? reservation.job.parts[i].steps : reservation.started[i], sum);
    }
  }
  return sum;
}

Status LedgerState::CheckSameKind(const Reserved& job) const {
  for (const auto& [seq, reservation] : reservations_) {
    // A job that is over and started nothing has cost nothing under any relation.
    const bool is_void = reservation.is_released && Total(reservation.started) == 0;
    if (reservation.job.dataset != job.dataset || is_void) continue;
    if (reservation.job.relation == job.relation && reservation.job.unit == job.unit) continue;
    return FailedPrecondition(
        "dataset " + job.dataset.value() + " is counted per " +
        std::string(privacy::NameOf(reservation.job.unit)) + " with neighbours by " +
        std::string(privacy::NameOf(reservation.job.relation)) + ", and the job asks per " +
        std::string(privacy::NameOf(job.unit)) + " with neighbours by " +
        std::string(privacy::NameOf(job.relation)) + ": the two do not add up");
  }
  return OkStatus();
}

std::optional<double> LedgerState::NoiseFor(const ReserveRequest& request,
                                            const std::vector<Budget>& budgets) const {
  const double delta = request.limits.delta;
  std::vector<NoiseTarget> targets = {
      {.epsilon = request.limits.max_epsilon_per_job, .orders = ExtendedOrders()}};
  for (const Budget& budget : budgets) {
    const RdpCurve held = Sum(*budget.scope, true);
    if (IsNoCost(held)) {  // The order is free, and the job's best one will do.
      targets.push_back({.epsilon = budget.epsilon, .orders = ExtendedOrders()});
      continue;
    }
    const double order = orders_.at(*budget.scope);
    const double whole = RhoBudget(order, budget.epsilon, delta);
    const double left = whole - RhoAt(held, order);
    if (!(left > 0)) return std::nullopt;
    // The inequality of the filter, once more, with what is left for a job alone.
    targets.push_back({.epsilon = budget.epsilon - whole + left, .orders = {order}});
  }
  return NoiseThatFits(request.job.parts.front(), targets, request.limits);
}

Status LedgerState::Refuse(const Budget& budget, const ReserveRequest& request,
                           const RdpCurve& cost, const std::vector<Budget>& budgets) const {
  const double delta = request.limits.delta;
  std::string text = "dataset " + request.job.dataset.value() + ": " + budget.name +
                     " is epsilon " + Number(budget.epsilon) + " at delta " + Number(delta) +
                     " per " + std::string(privacy::NameOf(request.job.unit)) + " (neighbours by " +
                     std::string(privacy::NameOf(request.job.relation)) + ", accountant rdp)";
  if (budget.scope) {
    const RdpCurve held = Sum(*budget.scope, true);
    text += ", of which jobs hold " + Number(EpsilonAt(held, delta)) +
            "; with this one they would hold " + Number(EpsilonAt(Plus(held, cost), delta));
  }
  text += "; this one alone needs " + Number(EpsilonAt(cost, delta));
  if (request.job.parts.size() > 1 || !HasNoise(request.job.parts.front().step)) {
    return ResourceExhausted(text);
  }
  const std::optional<double> noise = NoiseFor(request, budgets);
  return ResourceExhausted(text + (noise ? "; it fits with noise_multiplier " + Number(*noise)
                                         : "; no noise makes it fit"));
}

std::optional<double> LedgerState::Admit(const Budget& budget, const RdpCurve& cost,
                                         double delta) const {
  const RdpCurve held = Sum(*budget.scope, true);
  // As long as nothing is held the order is free: no outcome has been seen.
  const std::optional<double> order =
      IsNoCost(held) ? ChooseOrder(cost, budget.epsilon, delta) : orders_.at(*budget.scope);
  if (!order) return std::nullopt;
  const double total = RhoAt(held, *order) + RhoAt(cost, *order);
  return total <= RhoBudget(*order, budget.epsilon, delta) ? order : std::nullopt;
}

StatusOr<std::variant<ReservationId, Reserved>> LedgerState::PlanReserve(
    const ReserveRequest& request) const {
  const Limits& limits = request.limits;
  CHORALE_RETURN_IF_ERROR(Validate(request.job));
  CHORALE_RETURN_IF_ERROR(Validate(limits));
  if (request.job.relation != limits.relation) {
    return FailedPrecondition("dataset " + request.job.dataset.value() + " counts neighbours by " +
                              std::string(privacy::NameOf(limits.relation)) +
                              ", and the job asks for " +
                              std::string(privacy::NameOf(request.job.relation)));
  }
  const auto known = by_job_.find({request.job.dataset, request.job.job_digest});
  if (known != by_job_.end()) {
    const Reservation& reservation = reservations_.at(known->second);
    if (reservation.content != ContentOf(request.job)) {
      return FailedPrecondition("job " + request.job.job_id.value() +
                                " was reserved with other steps, noise or names");
    }
    if (reservation.is_released) {
      return FailedPrecondition("job " + request.job.job_id.value() +
                                " is over at this site: submit it anew to train on");
    }
    return ReservationId(known->second);
  }
  CHORALE_RETURN_IF_ERROR(CheckSameKind(request.job));
  CHORALE_ASSIGN_OR_RETURN(const RdpCurve cost, CostOf(request.job));
  const std::vector<Budget> budgets = {
      {.name = "the budget of all jobs",
       .epsilon = limits.max_epsilon,
       .scope = Scope{request.job.dataset, std::nullopt}},
      {.name = "the budget of researcher " + request.job.researcher.value(),
       .epsilon = limits.max_epsilon_per_researcher,
       .scope = Scope{request.job.dataset, request.job.researcher}}};
  if (!(EpsilonAt(cost, limits.delta) <= limits.max_epsilon_per_job)) {
    return Refuse({.name = "the limit of one job",
                   .epsilon = limits.max_epsilon_per_job,
                   .scope = std::nullopt},
                  request, cost, budgets);
  }
  Reserved reserved = request.job;
  for (const Budget& budget : budgets) {
    const std::optional<double> order = Admit(budget, cost, limits.delta);
    if (!order) return Refuse(budget, request, cost, budgets);
    (budget.scope->researcher ? reserved.researcher_order : reserved.dataset_order) = *order;
  }
  return reserved;
}

Status LedgerState::CheckStart(const Started& started) const {
  CHORALE_RETURN_IF_ERROR(ValidateStepKey(started.step_key));
  if (const auto known = steps_.find(started.step_key); known != steps_.end()) {
    const bool is_same = known->second.reservation == started.reservation.value() &&
                         known->second.content == started.content &&
                         known->second.steps == started.steps;
    if (is_same) return AlreadyExists("step " + started.step_key + " was started before");
    return FailedPrecondition("step " + started.step_key + " was started with other content");
  }
  const Reservation* reservation = Find(started.reservation);
  if (reservation == nullptr) {
    return NotFound("there is no " + NameOf(started.reservation));
  }
  if (reservation->is_released) {
    return FailedPrecondition("job " + reservation->job.job_id.value() + " is over at this site");
  }
  if (started.steps.size() != reservation->job.parts.size()) {
    return InvalidArgument("steps must be as many as the reservation's parts, " +
                           std::to_string(reservation->job.parts.size()) + ", got " +
                           std::to_string(started.steps.size()));
  }
  if (Total(started.steps) == 0) return InvalidArgument("a round must count at least one step");
  for (std::size_t i = 0; i < started.steps.size(); ++i) {
    const std::uint64_t reserved = reservation->job.parts[i].steps;
    if (started.steps[i] <= reserved - reservation->started[i]) continue;
    return ResourceExhausted("job " + reservation->job.job_id.value() + " has started " +
                             std::to_string(reservation->started[i]) + " of the " +
                             std::to_string(reserved) + " steps that it reserved, and asks for " +
                             std::to_string(started.steps[i]) + " more");
  }
  return OkStatus();
}

StatusOr<bool> LedgerState::IsUncommitted(std::string_view step_key) const {
  const auto found = steps_.find(step_key);
  if (found == steps_.end()) return NotFound("no such step was started");
  return !found->second.is_committed;
}

StatusOr<bool> LedgerState::IsOpen(ReservationId reservation) const {
  const Reservation* found = Find(reservation);
  if (found == nullptr) return NotFound("there is no " + NameOf(reservation));
  return !found->is_released;
}

Status LedgerState::Apply(std::uint64_t seq, const Entry& entry) {
  const Status applied =
      std::visit([this, seq, &entry](const auto& kind) { return ApplyKind(seq, entry.time, kind); },
                 entry.kind);
  if (applied.ok()) return applied;
  return DataLoss("row " + std::to_string(seq) +
                  " does not follow from those before: " + MessageOf(applied));
}

Status LedgerState::ApplyKind(std::uint64_t seq, Time time, const Reserved& reserved) {
  const auto job = std::make_pair(reserved.dataset, reserved.job_digest);
  if (by_job_.contains(job)) return AlreadyExists("the job has a reservation");
  CHORALE_RETURN_IF_ERROR(CheckSameKind(reserved));
  const std::vector<double> orders = ExtendedOrders();
  for (const double order : {reserved.dataset_order, reserved.researcher_order}) {
    if (std::ranges::find(orders, order) == orders.end()) {
      return InvalidArgument("Rényi order " + std::to_string(order) + " is not counted");
    }
  }
  Reservation reservation{.job = reserved,
                          .content = ContentOf(reserved),
                          .time = time,
                          .curves = {},
                          .started = std::vector<std::uint64_t>(reserved.parts.size())};
  for (const Part& part : reserved.parts) {
    CHORALE_ASSIGN_OR_RETURN(reservation.curves.emplace_back(),
                             CurveOfStep(part.step, reserved.relation));
  }
  orders_[{reserved.dataset, std::nullopt}] = reserved.dataset_order;
  orders_[{reserved.dataset, reserved.researcher}] = reserved.researcher_order;
  by_job_.emplace(job, seq);
  reservations_.emplace(seq, std::move(reservation));
  return OkStatus();
}

Status LedgerState::ApplyKind(std::uint64_t /*seq*/, Time /*time*/, const Started& started) {
  CHORALE_RETURN_IF_ERROR(CheckStart(started));
  Reservation& reservation = reservations_.at(started.reservation.value());
  for (std::size_t i = 0; i < started.steps.size(); ++i) {
    reservation.started[i] += started.steps[i];
  }
  ++reservation.rounds_started;
  steps_.emplace(started.step_key, Step{.reservation = started.reservation.value(),
                                        .content = started.content,
                                        .steps = started.steps});
  return OkStatus();
}

Status LedgerState::ApplyKind(std::uint64_t /*seq*/, Time /*time*/, const Committed& committed) {
  CHORALE_ASSIGN_OR_RETURN(const bool is_uncommitted, IsUncommitted(committed.step_key));
  if (!is_uncommitted) return AlreadyExists("the step was committed");
  Step& step = steps_.find(committed.step_key)->second;
  step.is_committed = true;
  ++reservations_.at(step.reservation).rounds_committed;
  return OkStatus();
}

Status LedgerState::ApplyKind(std::uint64_t /*seq*/, Time /*time*/, const Released& released) {
  CHORALE_ASSIGN_OR_RETURN(const bool is_open, IsOpen(released.reservation));
  if (!is_open) return AlreadyExists("the reservation was released");
  reservations_.at(released.reservation.value()).is_released = true;
  return OkStatus();
}

Guarantee LedgerState::Spent(const DatasetId& dataset, double delta) const {
  const RdpCurve spent = Sum({dataset, std::nullopt}, false);
  if (IsNoCost(spent)) return {.epsilon = 0, .delta = delta};
  const EpsilonAtOrder best = EpsilonOf(spent, delta);
  return {.epsilon = best.epsilon, .delta = delta, .order = best.order};
}

JobSpending LedgerState::SpendingOf(std::uint64_t seq, const Reservation& reservation,
                                    double delta) const {
  RdpCurve reserved = NoCost();
  RdpCurve started = NoCost();
  JobSpending spending{.reservation = ReservationId(seq),
                       .job_id = reservation.job.job_id,
                       .researcher = reservation.job.researcher,
                       .reserved_at = reservation.time,
                       .steps_started = Total(reservation.started),
                       .rounds_started = reservation.rounds_started,
                       .rounds_committed = reservation.rounds_committed,
                       .is_released = reservation.is_released};
  for (std::size_t i = 0; i < reservation.curves.size(); ++i) {
    AddScaled(*reservation.curves[i], reservation.job.parts[i].steps, reserved);
    AddScaled(*reservation.curves[i], reservation.started[i], started);
    spending.steps_reserved += reservation.job.parts[i].steps;
  }
  spending.epsilon_reserved = EpsilonAt(reserved, delta);
  spending.epsilon_started = EpsilonAt(started, delta);
  return spending;
}

BurnDown LedgerState::BurnDownOf(const DatasetId& dataset, const Limits& limits) const {
  const Scope scope{dataset, std::nullopt};
  const RdpCurve held = Sum(scope, true);
  const RdpCurve spent = Sum(scope, false);
  BurnDown burn{.dataset = dataset,
                .relation = limits.relation,
                .delta = limits.delta,
                .max_epsilon = limits.max_epsilon,
                .epsilon_spent = EpsilonAt(spent, limits.delta),
                .epsilon_held = EpsilonAt(held, limits.delta),
                .jobs = {}};
  burn.epsilon_left = std::max(0.0, limits.max_epsilon - burn.epsilon_held);
  if (const auto order = orders_.find(scope); order != orders_.end()) {
    const double whole = RhoBudget(order->second, limits.max_epsilon, limits.delta);
    const auto share = [whole](double rho) {
      return rho == 0 ? 0 : whole > 0 ? rho / whole : kInfinity;
    };
    burn.share_spent = share(RhoAt(spent, order->second));
    burn.share_held = share(RhoAt(held, order->second));
  }
  for (const auto& [seq, reservation] : reservations_) {
    if (reservation.job.dataset != dataset) continue;
    burn.unit = reservation.job.unit;
    burn.relation = reservation.job.relation;
    burn.jobs.push_back(SpendingOf(seq, reservation, limits.delta));
  }
  return burn;
}

std::vector<OpenReservation> LedgerState::OpenReservations() const {
  std::vector<OpenReservation> open;
  for (const auto& [seq, reservation] : reservations_) {
    if (!reservation.is_released) open.push_back({ReservationId(seq), reservation.job.job_id});
  }
  return open;
}

std::vector<DatasetId> LedgerState::Datasets() const {
  std::set<DatasetId> datasets;
  for (const auto& [seq, reservation] : reservations_) datasets.insert(reservation.job.dataset);
  return {datasets.begin(), datasets.end()};
}

}  // namespace chorale::privacy
