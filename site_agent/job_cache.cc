#include "site_agent/job_cache.h"

#include <algorithm>

#include "jobs/job_spec.h"

namespace chorale::site_agent {
namespace {

constexpr std::size_t kMaxEntries = 8;

bool IsSame(const v1::SignedJob& a, const v1::SignedJob& b) {
  return a.signature() == b.signature() && a.certificate() == b.certificate() &&
         a.spec() == b.spec();
}

}  // namespace

StatusOr<std::shared_ptr<const KnownJob>> JobCache::Find(const v1::SignedJob& job, Time now) {
  const auto found = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return IsSame(entry.signed_job, job); });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    CHORALE_RETURN_IF_ERROR(
        Annotate(found->certificate.VerifyIssuedBy(root_, now), "the job's certificate"));
    return found->known;
  }
  CHORALE_ASSIGN_OR_RETURN(jobs::VerifiedJob verified, jobs::VerifySignedJob(job, root_, now));
  CHORALE_ASSIGN_OR_RETURN(models::GraphPlan plan, jobs::PlanOf(verified.spec));
  CHORALE_ASSIGN_OR_RETURN(crypto::Certificate certificate,
                           crypto::Certificate::FromPem(job.certificate()));
  // From now on only the dates of this certificate are asked: it remembers who issued it.
  CHORALE_RETURN_IF_ERROR(certificate.VerifyIssuedBy(root_, now));
  entries_.push_front({.signed_job = job,
                       .certificate = std::move(certificate),
                       .known = std::make_shared<const KnownJob>(KnownJob{
                           .verified = std::move(verified),
                           .plan = std::make_shared<const models::GraphPlan>(std::move(plan))})});
  if (entries_.size() > kMaxEntries) entries_.pop_back();
  return entries_.front().known;
}

}  // namespace chorale::site_agent
