#pragma once

#include "backup/state_layout.h"

namespace chorale::site_agent {

// What of a site's state directory a backup takes. The journal is copied first: whatever report it
// holds, its charge is in the ledger and its promises are made.
[[nodiscard]] inline backup::StateLayout SiteStateLayout() {
  return {.databases = {"journal.db", "promises.db", "ledger.db"},
          .blobs =
              backup::StateLayout::Blobs{
                  .folder = "outbox",
                  .query = "SELECT DISTINCT payload_digest, payload_size FROM reports "
                           "WHERE outcome IS NULL AND payload IS NULL"},
          .folders = {"jobs", "models"},
          .files = {"roster-version"}};
}

}  // namespace chorale::site_agent
