#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/crypto/blob_digest.h"
#include "core/status.h"
#include "data/moments.h"
#include "site_agent/task_policy.h"

namespace chorale::site_agent {

// A task whose every fact fits its job.
struct CheckedTask {
  TaskFacts facts;
  // Training only: where to start from, of the size that the job's model has.
  std::optional<crypto::BlobId> global_model = std::nullopt;
  // Training under federated standardisation only: one for each numeric feature, finite, deviations
  // above 0.
  std::vector<data::Moments> moments = {};
};

// Holds what the coordinator says against the job that the researcher signed. INVALID_ARGUMENT
// names the field at fault. Takes any task. REQUIRES: `job` is valid.
[[nodiscard]] StatusOr<CheckedTask> CheckTask(const v1::Task& task, const v1::JobSpec& job);

}  // namespace chorale::site_agent
