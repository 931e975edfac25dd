#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/time.h"

namespace chorale::rpc {

// Decides which of a library's log records to pass on, so that a peer which fails on purpose cannot
// fill a disk: each text once a minute, 60 records of any text a minute. Trivially destructible.
// Not thread-safe.
class LogLimiter {
 public:
  constexpr LogLimiter() = default;
  // How many records of this text were held back since it last passed; nothing when this one is
  // held back too.
  [[nodiscard]] std::optional<std::uint64_t> Admit(std::string_view text, Duration now);

 private:
  struct Entry {
    std::size_t hash = 0;
    Duration passed_at = Duration::min();
    std::uint64_t num_held_back = 0;
  };
  std::array<Entry, 32> entries_{};
  Duration window_start_ = Duration::min();
  std::uint64_t num_in_window_ = 0;
};

}  // namespace chorale::rpc
