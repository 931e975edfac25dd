#include "site_agent/known_coordinator.h"

#include <algorithm>
#include <utility>

namespace chorale::site_agent {
namespace {

Status Older(std::string_view what) {
  return FailedPrecondition("this site does not follow the coordinator: " + std::string(what));
}

std::string Versions(const CoordinatorState& told, const CoordinatorState& known) {
  return "it has " + std::to_string(told.version) + " events, and one with " +
         std::to_string(known.version) + " was followed before";
}

}  // namespace

StatusOr<KnownCoordinators> Follow(KnownCoordinators known, const CoordinatorState& told) {
  if (!known.current.has_value()) {
    known.current = told;
    return known;
  }
  CoordinatorState& current = *known.current;
  if (std::ranges::find(known.retired, told.lineage) != known.retired.end()) {
    return Older(
        "its state directory was replaced by another one, which this site has followed since; stop "
        "this coordinator");
  }
  if (told.lineage != current.lineage) {
    if (told.version < current.version && !told.accepts_loss) {
      return Older("its state is older than what this site has seen (" + Versions(told, current) +
                   "); start the newest state, or run `chorale coordinator accept-loss` if that is "
                   "lost for good");
    }
    known.retired.push_back(current.lineage);
    if (known.retired.size() > KnownCoordinators::kMostRetired) {
      known.retired.erase(known.retired.begin());
    }
    current = told;
    return known;
  }
  if (told.epoch < current.epoch) {
    return Older("a newer one has started from its state directory or a copy of it (start " +
                 std::to_string(current.epoch) + ", this is " + std::to_string(told.epoch) +
                 "); stop this one");
  }
  if (told.epoch == current.epoch && told.instance != current.instance) {
    return Older("another one runs on a copy of its state directory; stop one of the two");
  }
  if (told.version < current.version) {
    return Older("its database was put back to an earlier moment (" + Versions(told, current) +
                 "); put the newest one in place, or run `chorale coordinator accept-loss` if that "
                 "is lost for good");
  }
  current = told;
  return known;
}

}  // namespace chorale::site_agent
