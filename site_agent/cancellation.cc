#include "site_agent/cancellation.h"

#include <utility>

namespace chorale::site_agent {

void Cancellation::Cancel() {
  // The interrupt runs under the lock, so that it never outlives what it refers to.
  const std::lock_guard lock(mutex_);
  if (cancelled_.exchange(true, std::memory_order_acq_rel)) return;
  if (interrupt_) interrupt_();
  changed_.notify_all();
}

bool Cancellation::WaitFor(Duration duration) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, duration, [this] { return is_cancelled(); });
}

Cancellation::Interrupt::Interrupt(Cancellation& cancellation, std::function<void()> interrupt)
    : cancellation_(cancellation) {
  const std::lock_guard lock(cancellation_.mutex_);
  if (cancellation_.is_cancelled()) {
    interrupt();
    return;
  }
  cancellation_.interrupt_ = std::move(interrupt);
}

Cancellation::Interrupt::~Interrupt() {
  const std::lock_guard lock(cancellation_.mutex_);
  cancellation_.interrupt_ = nullptr;
}

}  // namespace chorale::site_agent
