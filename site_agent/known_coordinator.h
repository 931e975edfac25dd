#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/status.h"

// Which coordinators a site has followed, so that it follows none that knows less: one whose state
// was put back to an earlier moment would train rounds again, and one that runs on a copy of
// another's state would have two models of one job.
namespace chorale::site_agent {

// What a coordinator tells of its state.
struct CoordinatorState {
  std::string lineage;        // Of its state directory.
  std::uint64_t epoch = 0;    // Starts of it.
  std::string instance;       // Of its process.
  std::uint64_t version = 0;  // Events of jobs that it holds.
  bool accepts_loss = false;  // Its operator knows that what came after a backup is lost.
  friend bool operator==(const CoordinatorState&, const CoordinatorState&) = default;
};

struct KnownCoordinators {
  static constexpr std::size_t kMostRetired = 64;
  std::optional<CoordinatorState> current = {};  // The newest that was followed; highest version.
  std::vector<std::string> retired = {};         // Lineages before it, the latest last.
  friend bool operator==(const KnownCoordinators&, const KnownCoordinators&) = default;
};

// What to remember once this one is followed. FAILED_PRECONDITION: it must not be, and why, for its
// operator to read.
[[nodiscard]] StatusOr<KnownCoordinators> Follow(KnownCoordinators known,
                                                 const CoordinatorState& told);

}  // namespace chorale::site_agent
