#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/status.h"
#include "data/moments.h"
#include "models/graph.h"
#include "secagg/messages.h"
#include "site_agent/task_policy.h"

namespace chorale::site_agent {

// A task whose every fact fits its job.
struct CheckedTask {
  TaskFacts facts;
  std::uint32_t round = 0;
  // Where to start from: float32 [num_parameters], or the coefficients of newton, float64
  // [num_parameters]. None for a preparation alone.
  std::optional<crypto::BlobId> model = std::nullopt;
  // Training under scaffold, after its first round: the server's, float32 [num_parameters].
  std::optional<crypto::BlobId> control_variate = std::nullopt;
  // Training whose clipping adapts: what gradients are shortened to in this round.
  std::optional<double> clipping_norm = std::nullopt;
  // Under federated standardisation only: one for each numeric feature, finite, deviations above 0.
  std::vector<data::Moments> moments = {};
  // Under secure aggregation: a SignedMessage of RoundStart, which nobody has read yet.
  Bytes round_start = {};
};

// A step of secure aggregation that reports nothing of the data.
struct CheckedStep {
  // What the site answers with.
  secagg::MessageKind answer = secagg::MessageKind::kAdvertiseKeys;
  crypto::BlobId message;               // What it is asked with.
  std::string coordinator_certificate;  // Of the first step: PEM.
};
[[nodiscard]] bool IsStep(const v1::Task& task);
// INVALID_ARGUMENT names the field at fault. REQUIRES: IsStep(task).
[[nodiscard]] StatusOr<CheckedStep> CheckStep(const v1::Task& task, const v1::JobSpec& job);

// Holds what the coordinator says against the job that the researcher signed. INVALID_ARGUMENT
// names the field at fault. Takes any task. REQUIRES: `job` is valid; `plan` is its
// (jobs::PlanOf).
[[nodiscard]] StatusOr<CheckedTask> CheckTask(const v1::Task& task, const v1::JobSpec& job,
                                              const models::GraphPlan& plan);

}  // namespace chorale::site_agent
