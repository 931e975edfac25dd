#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "core/status.h"

namespace chorale {

// A value that names one kind of thing and converts to no other.
template <typename Tag, typename Rep>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(std::move(value)) {}
  [[nodiscard]] constexpr const Rep& value() const { return value_; }
  friend auto operator<=>(const StrongId&, const StrongId&) = default;

 private:
  Rep value_{};
};

using SiteId = StrongId<struct SiteIdTag, std::string>;
using ResearcherId = StrongId<struct ResearcherIdTag, std::string>;
using JobId = StrongId<struct JobIdTag, std::string>;
using TaskId = StrongId<struct TaskIdTag, std::string>;
using DatasetId = StrongId<struct DatasetIdTag, std::string>;
// Rounds of a job count from 1; the preparation round, if any, is 0.
using RoundNumber = StrongId<struct RoundNumberTag, std::uint32_t>;

// True for 1 to 64 characters of [a-z0-9-] that begin and end with a letter or digit: safe as a
// file name.
[[nodiscard]] bool IsValidName(std::string_view text);

// INVALID_ARGUMENT names `field` and the rule when `text` is no valid name.
[[nodiscard]] Status ValidateName(std::string_view field, std::string_view text);

}  // namespace chorale

template <typename Tag, typename Rep>
struct std::hash<chorale::StrongId<Tag, Rep>> {
  std::size_t operator()(const chorale::StrongId<Tag, Rep>& id) const noexcept {
    return std::hash<Rep>{}(id.value());
  }
};
