#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/random.h"
#include "core/time.h"
#include "tests/simulation/network.h"

namespace chorale::simulation {

// Of a job's reports.
enum class Protection {
  kNone,     // The coordinator sees each.
  kMasked,   // Secure aggregation.
  kPrivate,  // And differential privacy, with budgets at the sites.
};

enum class TroubleKind {
  kKill,       // The process dies and starts again.
  kPowerCut,   // The machine goes, and starts again.
  kStop,       // The process is asked to stop, and starts again.
  kCut,        // No message gets through; of the coordinator, none of anybody.
  kDiskFault,  // One write or sync fails, or kills the process.
  kDiskFull,   // No write finds space for a while.
  kClockJump,  // The wall clock shows another time, up to an hour off.
};

struct Trouble {
  Duration when{0};
  TroubleKind kind = TroubleKind::kKill;
  std::string whom;      // A site, or "coordinator".
  Duration how_long{0};  // Until it is over.
  DiskFault fault = DiskFault::kError;
  int countdown = 1;  // Writes and syncs until the fault.
};

struct PlannedJob {
  v1::JobSpec spec;
  Duration when{0};
  std::optional<Duration> cancelled_after;
};

// All that a seed decides in advance. What is left to chance on the way is drawn from the world.
struct Scenario {
  std::vector<std::string> sites;
  std::vector<PlannedJob> jobs;
  Weather weather;
  Protection protection = Protection::kNone;
  std::uint32_t rounds_of_session = 1;  // Of secure aggregation.
  std::vector<Trouble> troubles;
  Duration calm_after{0};  // From then on nothing goes wrong any more.
};

// `only`: jobs with this protection, whatever the seed says.
[[nodiscard]] Scenario DrawScenario(std::uint64_t seed, std::optional<Protection> only);
// One line for people.
[[nodiscard]] std::string Describe(const Scenario& scenario);
[[nodiscard]] std::string Describe(const Trouble& trouble);

}  // namespace chorale::simulation
