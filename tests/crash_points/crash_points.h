#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "core/status.h"

namespace chorale::crash_points {

// Places at which a program stops when it is told to, so that it can be killed there. Between two
// effects on the world (a record on disk, a word to a peer, a step of training) a kill is the same
// as right after the first: the points stand before and after each effect.
//
// Whoever drives the test connects to <state directory>/crash-points (mode 0600), and talks in
// lines:
//   stop NAME K   the K-th passage from now on, K from 1, does not return; answered with "armed"
//   run           the program begins; answered with "running"
//   counts        answered with a line "NAME PASSAGES" for each point passed so far, then "end"
// A program that stands at a point says "at NAME". It ends when the connection does.
// Safe for concurrent use.
class CrashPoints {
 public:
  // Waits for the connection and for "run". UNAVAILABLE: no socket, or a driver that went away.
  [[nodiscard]] static StatusOr<std::unique_ptr<CrashPoints>> Open(
      const std::filesystem::path& state_directory);
  ~CrashPoints();

  void Pass(std::string_view name);
  // Before the effect and, unless it failed, after it.
  template <typename Effect>
  auto Around(const std::string& name, Effect effect) {
    Pass("before " + name);
    auto outcome = effect();
    if (outcome.ok()) Pass("after " + name);
    return outcome;
  }

 private:
  struct Point {
    std::uint64_t passages = 0;
    std::uint64_t stop_at = 0;  // Of passages; 0: never.
  };

  CrashPoints(int connection) : connection_(connection) {}
  // A line from the driver. NOT_FOUND: it went away.
  [[nodiscard]] StatusOr<std::string> ReadLine();
  void Say(const std::string& line);
  // True once the program may begin.
  [[nodiscard]] bool Obey(const std::string& line);
  void Listen();

  const int connection_;
  std::string received_;  // The listening thread's, once it runs.
  std::mutex mutex_;      // Guards points_ and writing.
  std::map<std::string, Point, std::less<>> points_;
  std::atomic<bool> is_ending_{false};
  std::thread listener_;
};

}  // namespace chorale::crash_points
