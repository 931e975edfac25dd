#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "core/time.h"

namespace chorale::site_agent {

// A request to stop one piece of work, seen at once by whoever waits. Safe for concurrent use.
class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  void Cancel();
  [[nodiscard]] bool is_cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  // For code that looks now and then.
  [[nodiscard]] const std::atomic<bool>& flag() const { return cancelled_; }
  // Pauses for `duration`, less when cancelled meanwhile. True when cancelled.
  [[nodiscard]] bool WaitFor(Duration duration);

  // Runs `interrupt` on cancellation, at once if that was before, as long as this object lives:
  // wakes a call that blocks. One at a time per Cancellation. `interrupt` must not block and must
  // not touch the Cancellation.
  class Interrupt {
   public:
    Interrupt(Cancellation& cancellation, std::function<void()> interrupt);
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

   private:
    Cancellation& cancellation_;
  };

 private:
  std::atomic<bool> cancelled_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> interrupt_;  // Guarded by mutex_.
};

}  // namespace chorale::site_agent
