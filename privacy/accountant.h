#pragma once

#include <optional>
#include <vector>

#include "core/status.h"
#include "privacy/event.h"
#include "privacy/rdp_curve.h"

// Events in, guarantee out: the two accountants behind one face.
namespace chorale::privacy {

struct AccountingOptions {
  AccountantKind accountant = AccountantKind::kPld;
  NeighboringRelation relation = NeighboringRelation::kAddOrRemoveOne;
  std::vector<double> orders = StandardOrders();  // Of rdp.
  std::optional<double> interval = std::nullopt;  // Of pld: privacy/pld.h.
};

// (epsilon, delta)-differential privacy. Infinite epsilon: no guarantee.
struct Guarantee {
  double epsilon = 0;
  double delta = 0;
  std::optional<double> order = std::nullopt;     // With rdp: the one that gave epsilon.
  std::optional<double> interval = std::nullopt;  // With pld: of the grid, where there was one.
};

// The least epsilon that the accountant can show. INVALID_ARGUMENT: the event is not valid, the
// accountant has no rule for it, or delta is not in (0, 1); for pld see privacy/pld.h.
[[nodiscard]] StatusOr<Guarantee> EpsilonFor(const Event& event, double delta,
                                             const AccountingOptions& options);

// The least delta that it can show. INVALID_ARGUMENT as above; epsilon below 0.
[[nodiscard]] StatusOr<Guarantee> DeltaFor(const Event& event, double epsilon,
                                           const AccountingOptions& options);

}  // namespace chorale::privacy
