#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "coordinator/partial_payload.h"
#include "coordinator/payload_store.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// Models that researchers have uploaded for jobs to start from: one of each researcher and the
// beginning of one, for an hour, in memory's knowledge alone (a restart forgets them). What a job
// names is kept with the job from then on. Safe for concurrent use; must not outlive the payload
// store.
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
    // Says what is uploaded, and takes what an earlier turn left of it; null when nothing. What is
    // left of anything else is forgotten.
    [[nodiscard]] std::unique_ptr<PartialPayload> TakePartial(const crypto::BlobId& id);
    // Leaves it to the next turn.
    void KeepPartial(std::unique_ptr<PartialPayload> partial, Time now);

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
  // How many bytes of this model of the researcher are held: all of them, or the beginning that an
  // earlier turn left. Ends a turn with the same model, or of which no model is known yet, and
  // waits for that. RESOURCE_EXHAUSTED: it has not ended after `patience`.
  [[nodiscard]] StatusOr<std::uint64_t> FindReceived(const ResearcherId& researcher,
                                                     const crypto::BlobId& id, Duration patience);
  // Takes the place of the one before.
  void Put(const ResearcherId& researcher, HeldPayload model, Time now);
  // The researcher's upload when it is this one; null otherwise. Shared: it stays held until the
  // job that names it is stored, whatever comes between.
  [[nodiscard]] std::shared_ptr<const HeldPayload> Find(const ResearcherId& researcher,
                                                        const crypto::BlobId& id) const;
  // Forgets those that came an hour or more before `now`, whole or not, and cancels those that
  // began then and are still under way.
  void Expire(Time now);

 private:
  struct Upload {
    std::shared_ptr<const HeldPayload> model;
    Time since;
  };
  struct UnderWay {
    Time since;
    std::function<void()> cancel;
    std::optional<crypto::BlobId> id;  // Once it is known.
  };
  struct Partial {
    std::unique_ptr<PartialPayload> payload;
    Time since;
  };

  mutable std::mutex mutex_;  // Guards everything below.
  std::condition_variable turn_ended_;
  std::map<ResearcherId, UnderWay> under_way_;
  std::map<ResearcherId, Upload> uploads_;
  std::map<ResearcherId, Partial> partials_;
};

}  // namespace chorale::coordinator
