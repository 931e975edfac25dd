#include "privacy/accountant.h"

#include <sstream>

#include "privacy/pld.h"

namespace chorale::privacy {
namespace {

std::optional<double> IntervalOf(const PldAnswer& answer) {
  return answer.interval > 0 ? std::optional(answer.interval) : std::nullopt;
}

}  // namespace

StatusOr<Guarantee> EpsilonFor(const Event& event, double delta, const AccountingOptions& options) {
  if (!(delta > 0 && delta < 1)) {
    std::ostringstream text;
    text << "delta must be above 0 and below 1, got " << delta;
    return InvalidArgument(text.str());
  }
  if (options.accountant == AccountantKind::kPld) {
    CHORALE_ASSIGN_OR_RETURN(
        const PldAnswer answer,
        AnswerByPld(event, options.relation,
                    {.kind = TailQuestion::Kind::kEpsilonAtDelta, .value = delta},
                    options.interval));
    return Guarantee{.epsilon = answer.value,
                     .delta = delta,
                     .order = std::nullopt,
                     .interval = IntervalOf(answer)};
  }
  CHORALE_ASSIGN_OR_RETURN(const RdpCurve curve,
                           ComputeRdpCurve(event, options.relation, options.orders));
  const EpsilonAtOrder best = EpsilonOf(curve, delta);
  return Guarantee{
      .epsilon = best.epsilon, .delta = delta, .order = best.order, .interval = std::nullopt};
}

StatusOr<Guarantee> DeltaFor(const Event& event, double epsilon, const AccountingOptions& options) {
  if (!(epsilon >= 0)) {
    std::ostringstream text;
    text << "epsilon must be at least 0, got " << epsilon;
    return InvalidArgument(text.str());
  }
  if (options.accountant == AccountantKind::kPld) {
    CHORALE_ASSIGN_OR_RETURN(
        const PldAnswer answer,
        AnswerByPld(event, options.relation,
                    {.kind = TailQuestion::Kind::kDeltaAtEpsilon, .value = epsilon},
                    options.interval));
    return Guarantee{.epsilon = epsilon,
                     .delta = answer.value,
                     .order = std::nullopt,
                     .interval = IntervalOf(answer)};
  }
  CHORALE_ASSIGN_OR_RETURN(const RdpCurve curve,
                           ComputeRdpCurve(event, options.relation, options.orders));
  return Guarantee{.epsilon = epsilon,
                   .delta = DeltaOf(curve, epsilon),
                   .order = std::nullopt,
                   .interval = std::nullopt};
}

}  // namespace chorale::privacy
