#include "coordinator/agent_lease.h"

#include <string>

namespace chorale::coordinator {

Status CheckLease(const SiteId& site, const StoredSite& known, const SiteGreeting* connected,
                  const SiteGreeting& greeting) {
  const std::string agent = "agent of site " + site.value();
  if (connected != nullptr && connected->lineage != greeting.lineage) {
    return FailedPrecondition("another " + agent +
                              " is connected, with another state directory: stop one of the two");
  }
  if (greeting.lineage.empty() || greeting.lineage != known.lineage) return OkStatus();
  if (greeting.epoch < known.epoch) {
    return FailedPrecondition("a newer " + agent +
                              " has started from this state directory or a copy of it (start " +
                              std::to_string(known.epoch) + ", this is " +
                              std::to_string(greeting.epoch) + "): stop this one");
  }
  if (greeting.epoch == known.epoch && greeting.instance != known.instance) {
    return FailedPrecondition("another " + agent +
                              " runs on a copy of this state directory: stop one of the two");
  }
  return OkStatus();
}

}  // namespace chorale::coordinator
