#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "coordinator/payload_store.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// Models that researchers have uploaded for jobs to start from: one of each researcher, for an
// hour, in memory's knowledge alone (a restart forgets them). What a job names is kept with the job
// from then on. Safe for concurrent use; must not outlive the payload store.
class Uploads {
 public:
  static constexpr Duration kLifetime = std::chrono::hours(1);
  static constexpr std::size_t kMaxAtOnce = 4;  // Under way, of all researchers.

  // The right to upload now. Ends with it.
  class Turn {
   public:
    Turn(Turn&& other) noexcept;
    Turn& operator=(Turn&&) = delete;
    ~Turn();

   private:
    friend class Uploads;
    Turn(Uploads& uploads, ResearcherId researcher)
        : uploads_(&uploads), researcher_(std::move(researcher)) {}
    Uploads* uploads_;
    ResearcherId researcher_;
  };

  // RESOURCE_EXHAUSTED: this researcher is at it already, or too many are.
  [[nodiscard]] StatusOr<Turn> Begin(const ResearcherId& researcher);
  // Takes the place of the one before.
  void Put(const ResearcherId& researcher, HeldPayload model, Time now);
  // The researcher's upload when it is this one; null otherwise. Shared: it stays held until the
  // job that names it is stored, whatever comes between.
  [[nodiscard]] std::shared_ptr<const HeldPayload> Find(const ResearcherId& researcher,
                                                        const crypto::BlobId& id) const;
  // Forgets those that came more than an hour before `now`.
  void Expire(Time now);

 private:
  struct Upload {
    std::shared_ptr<const HeldPayload> model;
    Time since;
  };

  mutable std::mutex mutex_;  // Guards everything below.
  std::set<ResearcherId> under_way_;
  std::map<ResearcherId, Upload> uploads_;
};

}  // namespace chorale::coordinator
