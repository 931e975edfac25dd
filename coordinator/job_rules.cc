// What the machine of job.h needs of a specification, and of a refusal.
#include <algorithm>
#include <iterator>
#include <string_view>

#include "coordinator/job.h"
#include "coordinator/time_codec.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"

namespace chorale::coordinator {

JobRules RulesOf(const v1::JobSpec& spec) {
  JobRules rules{.num_rounds = spec.rounds().count(),
                 .min_reports = spec.rounds().min_reports(),
                 .max_abandoned = spec.rounds().max_abandoned(),
                 .deadline = FromProto(spec.rounds().deadline()),
                 .needs_preparation = jobs::NeedsPreparation(spec),
                 .uses_newton = spec.has_newton(),
                 .is_noisy = jobs::IsPrivate(spec),
                 .personalizes = spec.has_personalization()};
  if (jobs::IsMasked(spec)) rules.masking = jobs::GroupRulesOf(spec);
  if (jobs::HasAdaptiveClipping(spec.privacy())) {
    rules.clipping_norm = jobs::AdaptiveClippingOf(spec.privacy()).initial_norm();
  }
  if (spec.rounds().has_early_stop()) {
    const v1::EarlyStop& stop = spec.rounds().early_stop();
    rules.early_stop = EarlyStopRules{.kind = stop.metric().kind(),
                                      .split = stop.metric().split(),
                                      .patience = stop.patience(),
                                      .min_change = stop.min_change()};
  }
  return rules;
}

bool IsPassing(const Refusal& refusal) {
  constexpr std::string_view kPassing[] = {"BUSY",          "SITE_STOPPING",       "TASK_EXPIRED",
                                           "TASK_REPEATED", "RESOURCE_LIMIT",      "INTERNAL_ERROR",
                                           "SESSION_LOST",  "MASKED_ROUND_REFUSED"};
  return std::find(std::begin(kPassing), std::end(kPassing), refusal.code) != std::end(kPassing);
}

}  // namespace chorale::coordinator
