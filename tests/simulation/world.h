#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "core/time.h"
#include "tests/simulation/disk.h"

namespace chorale::simulation {

// Time and chance of one simulation, what is going to happen in it, and what went wrong. The same
// seed gives the same course of things.
class World {
 public:
  using Report = std::function<void(std::string_view line)>;

  // `trace` is told every line of the story; null: nobody listens.
  World(std::uint64_t seed, Report trace);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Time now() const { return now_; }
  [[nodiscard]] Duration elapsed() const { return now_ - kStart; }
  [[nodiscard]] RandomSource& random() { return random_; }

  // Happens so much later; things of one moment in the order in which they were asked for.
  void After(Duration delay, std::function<void()> what);
  // Lets the next thing happen. False: nothing is left.
  bool Step();
  [[nodiscard]] std::uint64_t num_steps() const { return num_steps_; }

  // ---- chance
  [[nodiscard]] bool Chance(double probability) { return random_.NextDouble() < probability; }
  [[nodiscard]] Duration Between(Duration least, Duration most);

  // ---- the story
  template <typename... Part>
  void Tell(std::string_view who, const Part&... parts) {
    if (trace_ == nullptr) return;
    std::string text;
    (text.append(std::string_view(parts)), ...);
    Write(who, text);
  }
  // Something that must never happen has happened. The first one counts.
  void Violate(std::string_view what);
  [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }

  // When all simulations begin: certificates of the test's parties are valid around it.
  static const Time kStart;

 private:
  struct Planned {
    Time time;
    std::uint64_t number;
    std::function<void()> what;
    friend bool operator<(const Planned& a, const Planned& b) {
      return a.time != b.time ? a.time > b.time : a.number > b.number;
    }
  };
  void Write(std::string_view who, std::string_view text);

  Time now_ = kStart;
  SeededRandom random_;
  Report trace_;
  std::priority_queue<Planned> planned_;
  std::uint64_t num_planned_ = 0;
  std::uint64_t num_steps_ = 0;
  std::optional<std::string> violation_;
};

// A machine of one party: its clock, its disk, and the process that runs on it, if it does.
class Machine final : public Clock {
 public:
  Machine(World& world, std::string name, const std::filesystem::path& directory);

  // Real time of this machine since its process started: steps of the wall clock do not move it.
  [[nodiscard]] Time Now() const override { return booted_at_wall_ + (world_.now() - booted_at_); }
  [[nodiscard]] Time WallNow() const override { return world_.now() + skew_; }
  void SetSkew(Duration skew) { skew_ = skew; }

  [[nodiscard]] World& world() { return world_; }
  [[nodiscard]] Disk& disk() { return disk_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Where the process keeps its files.
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }

  // A process begins. REQUIRES: none runs.
  void Boot();
  // It is gone. REQUIRES: it has no file open.
  void ShutDown(bool power_was_cut);
  [[nodiscard]] bool is_up() const { return is_up_; }
  // Of the process: what was planned for one does not happen to the next.
  [[nodiscard]] std::uint64_t incarnation() const { return incarnation_; }
  // Happens to this process, if it is there still.
  void After(Duration delay, std::function<void()> what);

 private:
  World& world_;
  const std::string name_;
  const std::filesystem::path directory_;
  Disk disk_;
  Duration skew_{0};
  Time booted_at_{};
  Time booted_at_wall_{};
  bool is_up_ = false;
  std::uint64_t incarnation_ = 0;
};

}  // namespace chorale::simulation
