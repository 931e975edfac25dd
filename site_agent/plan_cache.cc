#include "site_agent/plan_cache.h"

#include <algorithm>
#include <utility>

#include "jobs/job_spec.h"

namespace chorale::site_agent {
namespace {

constexpr std::size_t kMaxEntries = 8;

}  // namespace

StatusOr<std::shared_ptr<const models::GraphPlan>> PlanCache::Find(const jobs::VerifiedJob& job) {
  const auto found = std::ranges::find(entries_, job.spec_digest, &Entry::spec_digest);
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().plan;
  }
  CHORALE_ASSIGN_OR_RETURN(models::GraphPlan plan, jobs::PlanOf(job.spec));
  entries_.push_front({.spec_digest = job.spec_digest,
                       .plan = std::make_shared<const models::GraphPlan>(std::move(plan))});
  if (entries_.size() > kMaxEntries) entries_.pop_back();
  return entries_.front().plan;
}

}  // namespace chorale::site_agent
