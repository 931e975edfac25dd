#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/simulation/parties.h"
#include "tests/simulation/scenario.h"
#include "tests/simulation/world.h"

namespace chorale::simulation {

// What one seed came to.
struct Outcome {
  std::optional<std::string> violation;  // None: all held.
  std::string scenario;
  std::uint64_t num_steps = 0;
  Duration duration{0};  // Simulated.
  std::uint64_t num_published = 0;
  std::uint64_t num_masked_reports = 0;
  std::uint64_t num_charges = 0;
  std::uint64_t story = 0;  // Of the same seed the same, when there is a trace.
};

// Runs a whole federation to the end of its jobs. `trace`, if not null, is told the story.
[[nodiscard]] Outcome Simulate(std::uint64_t seed, std::optional<Protection> only, Parties& parties,
                               const World::Report& trace);

}  // namespace chorale::simulation
