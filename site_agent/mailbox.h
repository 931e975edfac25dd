#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "core/time.h"

namespace chorale::site_agent {

// Hands things from threads to one thread, in order. Safe for concurrent use. Its senders are
// bounded by the protocol: see the driver.
template <typename T>
class Mailbox {
 public:
  void Push(T item) {
    {
      const std::lock_guard lock(mutex_);
      items_.push_back(std::move(item));
    }
    changed_.notify_one();
  }

  // Nothing comes any more; what lies in the box is dropped.
  void Close() {
    {
      const std::lock_guard lock(mutex_);
      is_closed_ = true;
      items_.clear();
    }
    changed_.notify_all();
  }

  // Waits for the next thing. Nothing: closed.
  [[nodiscard]] std::optional<T> Pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_closed_ || !items_.empty(); });
    return Take();
  }

  // The same for at most `timeout`. Nothing: closed, or time is up.
  [[nodiscard]] std::optional<T> PopWithin(Duration timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [this] { return is_closed_ || !items_.empty(); });
    return Take();
  }

 private:
  std::optional<T> Take() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  std::mutex mutex_;  // Guards everything below.
  std::condition_variable changed_;
  std::deque<T> items_;
  bool is_closed_ = false;
};

}  // namespace chorale::site_agent
