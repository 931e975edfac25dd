#pragma once

#include <string>

#include "privacy/accountant.h"
#include "privacy/event.h"

namespace chorale::privacy {

// A guarantee with everything that it means nothing without.
struct Statement {
  Guarantee guarantee;
  PrivacyUnit unit = PrivacyUnit::kPatient;
  NeighboringRelation relation = NeighboringRelation::kAddOrRemoveOne;
  std::string sampling;  // "poisson"; several, or none, in words.
  AccountantKind accountant = AccountantKind::kPld;
  std::string holds_for;  // "1000 steps over one site's dataset".
};

// "epsilon 1.82825 at delta 1e-05 per patient, neighbours by add-remove, sampling poisson,
// accountant pld, for 1000 steps over one site's dataset". Epsilon and delta are rounded up.
[[nodiscard]] std::string ToText(const Statement& statement);

// The least number with so many significant digits that is not below `value`. REQUIRES: finite.
[[nodiscard]] double RoundUp(double value, int digits);

}  // namespace chorale::privacy
