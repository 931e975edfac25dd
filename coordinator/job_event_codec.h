#pragma once

#include "chorale/v1/storage.pb.h"
#include "coordinator/job.h"
#include "core/status.h"
#include "core/time.h"

// The events of a job as they are stored.
namespace chorale::coordinator {

struct TimedEvent {
  JobEvent event;
  Time time;
};

[[nodiscard]] v1::JobEvent Encode(const JobEvent& event, Time time);
// DATA_LOSS for an event that Encode does not make.
[[nodiscard]] StatusOr<TimedEvent> Decode(const v1::JobEvent& event);

// A job as its stored events tell. DATA_LOSS when one of them does not fit the others.
[[nodiscard]] StatusOr<Job> Replay(const JobRules& rules, const std::vector<v1::JobEvent>& events);

}  // namespace chorale::coordinator
