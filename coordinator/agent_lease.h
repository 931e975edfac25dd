#pragma once

#include "coordinator/site_sessions.h"
#include "coordinator/store.h"
#include "core/ids.h"
#include "core/status.h"

// One agent at a time speaks for a site. Two state directories of one site have two journals and
// two ledgers, neither of which knows what the other did.
namespace chorale::coordinator {

// Whether an agent that greets may have the site's session. `known`: the one that was accepted
// last; `connected`: the one whose session stands, if any. FAILED_PRECONDITION with what to do:
// another state directory's agent is connected; or a newer agent of this directory, or of a copy of
// it, was accepted before.
[[nodiscard]] Status CheckLease(const SiteId& site, const StoredSite& known,
                                const SiteGreeting* connected, const SiteGreeting& greeting);

}  // namespace chorale::coordinator
