#pragma once

#include <list>
#include <memory>

#include "core/crypto/digest.h"
#include "core/status.h"
#include "jobs/signed_job.h"
#include "models/graph.h"

namespace chorale::site_agent {

// What the model of a signed job comes to, worked out once a job and not once a round. Not
// thread-safe.
class PlanCache {
 public:
  // Errors: as jobs::PlanOf.
  [[nodiscard]] StatusOr<std::shared_ptr<const models::GraphPlan>> Find(
      const jobs::VerifiedJob& job);

 private:
  struct Entry {
    crypto::Digest spec_digest{};
    std::shared_ptr<const models::GraphPlan> plan;
  };
  std::list<Entry> entries_;  // Last used first.
};

}  // namespace chorale::site_agent
