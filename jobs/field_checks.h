#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

// Private to this folder: what checks of numbers in a specification share.
namespace chorale::jobs {

// As a person would write it: six digits.
[[nodiscard]] std::string Text(double value);
// INVALID_ARGUMENT as a config::FieldError unless low <= value <= high.
[[nodiscard]] Status CheckRange(std::string_view field, double value, double low, double high);
// The same where 0 stands for a default.
[[nodiscard]] Status CheckRangeOrDefault(std::string_view field, double value, double low,
                                         double high);

}  // namespace chorale::jobs
