#pragma once

#include <list>
#include <memory>
#include <utility>

#include "chorale/v1/jobs.pb.h"
#include "core/crypto/certificate.h"
#include "core/status.h"
#include "core/time.h"
#include "jobs/signed_job.h"
#include "models/graph.h"

namespace chorale::site_agent {

// A job whose author is known, and what its model comes to.
struct KnownJob {
  jobs::VerifiedJob verified;
  std::shared_ptr<const models::GraphPlan> plan;
};

// Signed jobs, verified and worked out once a job and not at every task. Not thread-safe.
class JobCache {
 public:
  explicit JobCache(crypto::Certificate root) : root_(std::move(root)) {}

  // Whether the author's certificate is valid at `now` is asked every time. Errors: as
  // jobs::VerifySignedJob and jobs::PlanOf.
  [[nodiscard]] StatusOr<std::shared_ptr<const KnownJob>> Find(const v1::SignedJob& job, Time now);

 private:
  struct Entry {
    v1::SignedJob signed_job;  // Every byte of it must be the same.
    crypto::Certificate certificate;
    std::shared_ptr<const KnownJob> known;
  };
  crypto::Certificate root_;
  std::list<Entry> entries_;  // Last used first.
};

}  // namespace chorale::site_agent
