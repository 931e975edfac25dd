#include "tests/simulation/world.h"

#include <array>
#include <cstdio>
#include <utility>

namespace chorale::simulation {

// A midnight: the same seed gives the same course of things all day long.
const Time World::kStart =
    std::chrono::floor<std::chrono::days>(SystemClock().WallNow()) + std::chrono::days(2);

World::World(std::uint64_t seed, Report trace) : random_(seed), trace_(std::move(trace)) {}

void World::After(Duration delay, std::function<void()> what) {
  planned_.push({now_ + delay, num_planned_++, std::move(what)});
}

bool World::Step() {
  if (planned_.empty()) return false;
  // Moved out: what happens plans more.
  Planned next = std::move(const_cast<Planned&>(planned_.top()));
  planned_.pop();
  now_ = next.time;
  ++num_steps_;
  next.what();
  return true;
}

Duration World::Between(Duration least, Duration most) {
  if (most <= least) return least;
  return least + Duration(static_cast<std::int64_t>(
                     random_.NextBelow(static_cast<std::uint64_t>((most - least).count()))));
}

void World::Violate(std::string_view what) {
  if (violation_.has_value()) return;
  violation_ = std::string(what);
  Tell("VIOLATED", what);
}

void World::Write(std::string_view who, std::string_view text) {
  std::array<char, 64> prefix{};
  std::snprintf(prefix.data(), prefix.size(), "%10.3f s  %-11.*s ",
                std::chrono::duration<double>(elapsed()).count(), static_cast<int>(who.size()),
                who.data());
  trace_(std::string(prefix.data()) + std::string(text));
}

Machine::Machine(World& world, std::string name, const std::filesystem::path& directory)
    : world_(world),
      name_(std::move(name)),
      directory_(directory),
      disk_(directory, world.random()) {}

void Machine::Boot() {
  booted_at_ = world_.now();
  booted_at_wall_ = WallNow();
  is_up_ = true;
  ++incarnation_;
}

void Machine::ShutDown(bool power_was_cut) {
  is_up_ = false;
  disk_.Revive(power_was_cut);
}

void Machine::After(Duration delay, std::function<void()> what) {
  world_.After(delay, [this, incarnation = incarnation_, what = std::move(what)] {
    if (is_up_ && incarnation_ == incarnation) what();
  });
}

}  // namespace chorale::simulation
