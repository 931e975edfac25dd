#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

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

  // `cancel` ends the call that uploads, if it takes over an hour: nobody keeps others waiting by
  // sending nothing. It must not block and must not touch the Uploads. RESOURCE_EXHAUSTED: this
  // researcher is at it already, or too many are.
  [[nodiscard]] StatusOr<Turn> Begin(const ResearcherId& researcher, Time now,
                                     std::function<void()> cancel);
  // Takes the place of the one before.
  void Put(const ResearcherId& researcher, HeldPayload model, Time now);
  // The researcher's upload when it is this one; null otherwise. Shared: it stays held until the
  // job that names it is stored, whatever comes between.
  [[nodiscard]] std::shared_ptr<const HeldPayload> Find(const ResearcherId& researcher,
                                                        const crypto::BlobId& id) const;
  // Forgets those that came an hour or more before `now`, and cancels those that began then and are
  // still under way.
  void Expire(Time now);

 private:
  struct Upload {
    std::shared_ptr<const HeldPayload> model;
    Time since;
  };
  struct UnderWay {
    Time since;
    std::function<void()> cancel;
  };

  mutable std::mutex mutex_;  // Guards everything below.
  std::map<ResearcherId, UnderWay> under_way_;
  std::map<ResearcherId, Upload> uploads_;
};

}  // namespace chorale::coordinator
