#include "jobs/field_checks.h"

#include <sstream>

#include "core/config/yaml.h"

namespace chorale::jobs {

std::string Text(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

Status CheckRange(std::string_view field, double value, double low, double high) {
  if (value >= low && value <= high) return OkStatus();
  return config::FieldError(
      field, "must be in [" + Text(low) + ", " + Text(high) + "], got " + Text(value));
}

Status CheckRangeOrDefault(std::string_view field, double value, double low, double high) {
  return value == 0 ? OkStatus() : CheckRange(field, value, low, high);
}

}  // namespace chorale::jobs
