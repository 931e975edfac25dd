#include "privacy/statement.h"

#include <cmath>
#include <iomanip>
#include <sstream>

namespace chorale::privacy {

double RoundUp(double value, int digits) {
  if (value == 0) return 0;
  const double exponent = std::floor(std::log10(std::abs(value))) - (digits - 1);
  // Scaling by a whole power of ten keeps a decimal as it would be written.
  const double power = std::pow(10, std::abs(exponent));
  const double scaled = exponent < 0 ? value * power : value / power;
  // A value that is such a number already, but for its last bits, is one.
  const double nearest = std::round(scaled);
  const double rounded = exponent < 0 ? nearest / power : nearest * power;
  if (rounded == value) return value;
  const double up = std::ceil(scaled);
  return exponent < 0 ? up / power : up * power;
}

std::string ToText(const Statement& statement) {
  std::ostringstream text;
  text << std::setprecision(6) << "epsilon ";
  if (std::isfinite(statement.guarantee.epsilon)) {
    text << RoundUp(statement.guarantee.epsilon, 6);
  } else {
    text << "unbounded";
  }
  text << " at delta " << RoundUp(statement.guarantee.delta, 6) << " per " << NameOf(statement.unit)
       << ", neighbours by " << NameOf(statement.relation) << ", sampling " << statement.sampling
       << ", accountant " << NameOf(statement.accountant) << ", for " << statement.holds_for;
  return text.str();
}

}  // namespace chorale::privacy
