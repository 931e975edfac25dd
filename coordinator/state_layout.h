#pragma once

#include "backup/state_layout.h"

namespace chorale::coordinator {

// What of a coordinator's state directory a backup takes: the jobs, and the payloads that they
// name. The roster, the identity and weights that researchers are just uploading are no part of it.
[[nodiscard]] inline backup::StateLayout CoordinatorStateLayout() {
  return {.databases = {"coordinator.db"},
          .blobs = backup::StateLayout::Blobs{
              .folder = "payloads",
              .query = "SELECT digest, size_bytes FROM blobs WHERE content IS NULL"}};
}

}  // namespace chorale::coordinator
