// Tasks that do not fit their job: half of the input is a job, half a task.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/job_spec.h"
#include "site_agent/task_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chorale;              // NOLINT
  using namespace chorale::site_agent;  // NOLINT
  const google::protobuf::LogSilencer silencer;
  if (size < 2) return 0;
  const std::size_t spec_size = std::min<std::size_t>(data[0] << 8 | data[1], size - 2);
  v1::JobSpec spec;
  v1::Task task;
  if (!spec.ParseFromArray(data + 2, static_cast<int>(spec_size))) return 0;
  if (!task.ParseFromArray(data + 2 + spec_size, static_cast<int>(size - 2 - spec_size))) return 0;
  if (!jobs::Validate(spec).ok()) return 0;
  if (IsStep(task)) {
    const StatusOr<CheckedStep> step = CheckStep(task, spec);
    // No message of the protocol is larger.
    if (step.ok() && step->message.size_bytes > (std::uint64_t{1} << 30)) std::abort();
    return 0;
  }
  const StatusOr<models::GraphPlan> plan = jobs::PlanOf(spec);
  if (!plan.ok()) std::abort();  // A valid job has one.
  const StatusOr<CheckedTask> checked = CheckTask(task, spec, *plan);
  if (!checked.ok()) return 0;
  // What passes has the size of the job's own model, so that memory is bounded by the policy.
  const std::uint64_t model_bytes = plan->layout().num_parameters() * jobs::BytesPerParameter(spec);
  for (const auto& blob : {checked->model, checked->control_variate}) {
    if (blob.has_value() && blob->size_bytes != model_bytes) std::abort();
  }
  const bool adapts = jobs::HasAdaptiveClipping(spec.privacy()) && task.has_training();
  if (checked->clipping_norm.has_value() != adapts) std::abort();
  if (adapts && !jobs::IsClippingNorm(*checked->clipping_norm)) std::abort();
  return 0;
}
