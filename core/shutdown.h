#pragma once

#include <memory>

#include "core/status.h"
#include "core/time.h"

namespace chorale {

// Turns SIGINT and SIGTERM into something to wait for, so that a program drains instead of dying,
// whichever thread the system hands the signal to. The first signal asks to stop; a second one,
// while the program drains, ends the process at once with exit status 130. At most one at a time,
// used by one thread.
class ShutdownSignal {
 public:
  // Takes the signals from here on, until destroyed. UNAVAILABLE when the system has no descriptor
  // left.
  [[nodiscard]] static StatusOr<std::unique_ptr<ShutdownSignal>> Create();

  ~ShutdownSignal();
  ShutdownSignal(const ShutdownSignal&) = delete;
  ShutdownSignal& operator=(const ShutdownSignal&) = delete;

  // Returns when a signal has come; at once if one came before.
  void Wait();
  // The same for at most `timeout`; zero only looks. True when a signal has come.
  [[nodiscard]] bool WaitFor(Duration timeout);

  // Readable when a signal has come that Wait has not yet seen: for poll and epoll. Read it through
  // WaitFor only.
  [[nodiscard]] int fd() const { return fd_; }

 private:
  explicit ShutdownSignal(int fd) : fd_(fd) {}

  const int fd_;
  bool has_come_ = false;
};

}  // namespace chorale
