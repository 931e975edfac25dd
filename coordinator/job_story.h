#pragma once

#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/job.h"
#include "coordinator/store.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// What happened to a job, oldest first: its events, what each of them led to, and the coordinator's
// starts while it was under way. `starts`: of coordinators with this store, oldest first. DATA_LOSS
// when an event does not follow from the ones before it.
[[nodiscard]] StatusOr<std::vector<v1::StoryEntry>> TellStory(const StoredJob& job,
                                                              const JobRules& rules,
                                                              const std::vector<Time>& starts);

}  // namespace chorale::coordinator
