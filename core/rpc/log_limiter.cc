#include "core/rpc/log_limiter.h"

#include <algorithm>
#include <functional>

namespace chorale::rpc {
namespace {

constexpr Duration kWindow = std::chrono::minutes(1);
constexpr std::uint64_t kMaxPerWindow = 60;

}  // namespace

std::optional<std::uint64_t> LogLimiter::Admit(std::string_view text, Duration now) {
  const std::size_t hash = std::hash<std::string_view>{}(text);
  auto entry = std::find_if(entries_.begin(), entries_.end(), [hash](const Entry& known) {
    return known.hash == hash && known.passed_at != Duration::min();
  });
  if (entry != entries_.end() && now - entry->passed_at < kWindow) {
    ++entry->num_held_back;
    return std::nullopt;
  }
  if (window_start_ == Duration::min() || now - window_start_ >= kWindow) {
    window_start_ = now;
    num_in_window_ = 0;
  }
  if (num_in_window_ == kMaxPerWindow) return std::nullopt;
  ++num_in_window_;
  if (entry == entries_.end()) {
    entry = std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      return a.passed_at < b.passed_at;
    });
    *entry = {.hash = hash, .passed_at = now, .num_held_back = 0};
  }
  const std::uint64_t num_held_back = entry->num_held_back;
  *entry = {.hash = hash, .passed_at = now, .num_held_back = 0};
  return num_held_back;
}

}  // namespace chorale::rpc
