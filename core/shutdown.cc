#include "core/shutdown.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <system_error>

namespace chorale {
namespace {

constexpr int kExitStatusOnSecondSignal = 130;
constexpr Duration kLongWait = std::chrono::hours(1);

// The handler's only way to the object. A handler and not a blocked signal with a signalfd: libraries
// start threads when they are loaded, before main, and those would take the signal and die of it.
std::atomic<int> signal_fd = -1;
std::atomic<bool> is_second_fatal = false;
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

extern "C" void OnShutdownSignal(int) {
  if (is_second_fatal) _exit(kExitStatusOnSecondSignal);
  const int saved_errno = errno;
  const std::uint64_t one = 1;
  // A full counter means that a signal is waiting already.
  [[maybe_unused]] const ssize_t written = write(signal_fd, &one, sizeof(one));
  errno = saved_errno;
}

void SetAction(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

StatusOr<std::unique_ptr<ShutdownSignal>> ShutdownSignal::Create() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0)
    return Unavailable("cannot watch for signals: " + std::generic_category().message(errno));
  signal_fd = fd;
  is_second_fatal = false;
  SetAction(OnShutdownSignal);
  return std::unique_ptr<ShutdownSignal>(new ShutdownSignal(fd));
}

ShutdownSignal::~ShutdownSignal() {
  SetAction(SIG_DFL);
  signal_fd = -1;
  close(fd_);
}

void ShutdownSignal::Wait() {
  while (!WaitFor(kLongWait)) {
  }
}

bool ShutdownSignal::WaitFor(Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + std::max(timeout, Duration::zero());
  while (!has_come_) {
    std::uint64_t count = 0;
    if (read(fd_, &count, sizeof(count)) == sizeof(count)) {
      has_come_ = true;
      is_second_fatal = true;
      break;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd watched = {.fd = fd_, .events = POLLIN, .revents = 0};
    poll(&watched, 1,
         static_cast<int>(std::min<std::int64_t>(left.count(), std::numeric_limits<int>::max())));
  }
  return has_come_;
}

}  // namespace chorale
