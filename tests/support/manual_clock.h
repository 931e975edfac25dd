#pragma once

#include <atomic>
#include <cstdint>

#include "core/time.h"

namespace chorale::support {

// Time that passes when the test says so. Both clocks show the same, unless the wall's is set. Safe
// for concurrent use.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Time start) : now_us_(start.time_since_epoch().count()) {}
  [[nodiscard]] Time Now() const override { return Time(Duration(now_us_)); }
  [[nodiscard]] Time WallNow() const override { return Now() + Duration(wall_offset_us_); }
  void Advance(Duration by) { now_us_ += by.count(); }
  // Somebody sets the machine's clock.
  void StepWall(Duration by) { wall_offset_us_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_us_;
  std::atomic<std::int64_t> wall_offset_us_ = 0;
};

}  // namespace chorale::support
