// A stored event of a job: whatever the bytes, replay ends with a job or a status, and what is
// decoded encodes again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "coordinator/job_event_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chorale;
  using namespace chorale::coordinator;
  v1::JobEvent event;
  if (!event.ParseFromArray(data, static_cast<int>(size))) return 0;
  const StatusOr<TimedEvent> decoded = Decode(event);
  if (!decoded.ok()) return 0;
  if (!Decode(Encode(decoded->event, decoded->time)).ok()) std::abort();
  const JobRules rules{.num_rounds = 1,
                       .min_reports = 1,
                       .deadline = std::chrono::seconds(1),
                       .needs_preparation = size % 2 == 0,
                       .uses_newton = size % 3 == 0,
                       .personalizes = true,
                       .early_stop = EarlyStopRules{}};
  (void)Replay(rules, {Encode(JobStarted{}, Time{}), event});
  const SiteId site("north");
  const SiteReported reported{
      .round = {RoundNumber(rules.needs_preparation ? 0 : 1), 1}, .site = site, .report = {}};
  (void)Replay(rules, {Encode(JobStarted{}, Time{}), Encode(CohortSelected{{site}}, Time{}),
                       Encode(reported, Time{}), event});
  return 0;
}
