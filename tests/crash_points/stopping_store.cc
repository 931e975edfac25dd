#include "tests/crash_points/stopping_store.h"

#include <iterator>
#include <string>

namespace chorale::crash_points {
namespace {

std::string StepName(std::uint32_t step) {
  constexpr const char* kNames[] = {
      "report",   "advertise keys", "share keys", "acknowledge shares", "consistency check",
      "unmasking"};
  return step < std::size(kNames) ? kNames[step] : "of no name";
}

std::string NameOf(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kStarted:
      return "started";
    case v1::JobEvent::kCohortSelected:
      return "cohort";
    case v1::JobEvent::kSiteReported:
      return "answer " + StepName(event.site_reported().step());
    case v1::JobEvent::kSiteRefused:
      return "refusal";
    case v1::JobEvent::kSiteDropped:
      return "drop";
    case v1::JobEvent::kSiteReturned:
      return "return";
    case v1::JobEvent::kDeadlinePassed:
      return "deadline";
    case v1::JobEvent::kStepDone:
      return "step " + StepName(event.step_done().step());
    case v1::JobEvent::kAggregated:
      return "publish";
    case v1::JobEvent::kCancelRequested:
      return "cancel";
    case v1::JobEvent::kSessionLost:
      return "session lost";
    default:
      return "failure";
  }
}

std::vector<std::string> NamesOf(const coordinator::Batch& batch) {
  std::vector<std::string> names;
  if (!batch.submissions.empty()) names.emplace_back("submission");
  for (const coordinator::Batch::Event& event : batch.events) names.push_back(NameOf(event.event));
  if (!batch.ended.empty()) names.emplace_back("end");
  return names;
}

}  // namespace

StatusOr<std::vector<crypto::BlobId>> StoppingStore::Append(const coordinator::Batch& batch) {
  const std::vector<std::string> names = NamesOf(batch);
  for (const std::string& name : names) points_.Pass("before " + name);
  StatusOr<std::vector<crypto::BlobId>> released = ForwardingJobStore::Append(batch);
  if (!released.ok()) return released;
  for (const std::string& name : names) points_.Pass("after " + name);
  return released;
}

StatusOr<std::vector<coordinator::StoredJob>> StoppingStore::LoadUnfinished() {
  StatusOr<std::vector<coordinator::StoredJob>> jobs = ForwardingJobStore::LoadUnfinished();
  points_.Pass("after recovery has read");
  return jobs;
}

}  // namespace chorale::crash_points
