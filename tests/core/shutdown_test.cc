#include "core/shutdown.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

namespace chorale {
namespace {

// Signals concern the whole process, so each case runs in one of its own, which ends with the
// status that the test expects.
constexpr int kAsExpected = 42;
constexpr int kNotAsExpected = 1;

[[noreturn]] void EndWith(bool is_as_expected) {
  _exit(is_as_expected ? kAsExpected : kNotAsExpected);
}

std::unique_ptr<ShutdownSignal> CreateOrEnd() {
  StatusOr<std::unique_ptr<ShutdownSignal>> signal = ShutdownSignal::Create();
  if (!signal.ok()) _exit(kNotAsExpected);
  return *std::move(signal);
}

bool IsReadable(int fd) {
  pollfd watched = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&watched, 1, 0) == 1;
}

class ShutdownDeathTest : public ::testing::TestWithParam<int> {
 protected:
  ShutdownDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_P(ShutdownDeathTest, ASignalIsWaitedForAndNotDiedOf) {
  const int number = GetParam();
  EXPECT_EXIT(
      {
        const auto signal = CreateOrEnd();
        const bool is_early = signal->WaitFor(Duration::zero()) || IsReadable(signal->fd());
        kill(getpid(), number);
        const bool is_readable = IsReadable(signal->fd());
        signal->Wait();
        EndWith(!is_early && is_readable && signal->WaitFor(Duration::zero()));
      },
      ::testing::ExitedWithCode(kAsExpected), "");
}

TEST_P(ShutdownDeathTest, ASecondSignalEndsTheProcessAtOnce) {
  const int number = GetParam();
  EXPECT_EXIT(
      {
        const auto signal = CreateOrEnd();
        kill(getpid(), number);
        signal->Wait();
        kill(getpid(), number);
        EndWith(false);
      },
      ::testing::ExitedWithCode(130), "");
}

INSTANTIATE_TEST_SUITE_P(EachSignal, ShutdownDeathTest, ::testing::Values(SIGINT, SIGTERM),
                         [](const auto& number) {
                           return number.param == SIGINT ? "Int" : "Term";
                         });

TEST(ShutdownTimeoutDeathTest, WaitsNoLongerThanAsked) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const auto signal = CreateOrEnd();
        const auto start = std::chrono::steady_clock::now();
        const bool has_come = signal->WaitFor(std::chrono::milliseconds(5));
        EndWith(!has_come &&
                std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(5));
      },
      ::testing::ExitedWithCode(kAsExpected), "");
}

TEST(ShutdownThreadDeathTest, WakesTheWaiterWhenAnotherThreadIsInterrupted) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const auto signal = CreateOrEnd();
        // The signal goes to the process while the thread runs; the thread must not take it.
        std::thread other([] { kill(getpid(), SIGTERM); });
        signal->Wait();
        other.join();
        EndWith(true);
      },
      ::testing::ExitedWithCode(kAsExpected), "");
}

}  // namespace
}  // namespace chorale
