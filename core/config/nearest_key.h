#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace chorale::config {

// The one of `known` that `key` was most likely meant to be: fewest letters added, dropped, changed
// or swapped with their neighbour, if that is at most a third of the key. The first of equals.
[[nodiscard]] std::optional<std::string> NearestKey(std::string_view key,
                                                    std::span<const std::string> known);

}  // namespace chorale::config
