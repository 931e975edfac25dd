#pragma once

#include <chrono>
#include <string>

namespace chorale {

// Microseconds since the Unix epoch. Deadlines and events carry this type.
using Duration = std::chrono::microseconds;
using Time = std::chrono::time_point<std::chrono::system_clock, Duration>;

// The world's time. Implementations are safe for concurrent use.
class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back and is not moved by clock steps: the wall time at start plus the time that
  // really passed.
  [[nodiscard]] virtual Time Now() const = 0;
  // What the machine's clock says: for certificates and for people.
  [[nodiscard]] virtual Time WallNow() const = 0;
};

class SystemClock final : public Clock {
 public:
  SystemClock();
  [[nodiscard]] Time Now() const override;
  [[nodiscard]] Time WallNow() const override;

 private:
  Time start_;
  std::chrono::steady_clock::time_point steady_start_;
};

// "2026-11-20T08:15:45.123Z" (UTC, milliseconds).
[[nodiscard]] std::string FormatTime(Time time);
// "1 h 2 min", "40 s", "1.25 s", "15 ms": two significant units at most.
[[nodiscard]] std::string FormatDuration(Duration duration);

}  // namespace chorale
