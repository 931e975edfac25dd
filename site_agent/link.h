#pragma once

#include <cstdint>
#include <functional>

#include "chorale/v1/federation.pb.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "site_agent/cancellation.h"

// What comes in from the coordinator. What goes out is outlet.h.
namespace chorale::site_agent {

// Told by the link's own thread; must not block and must not call the link.
class LinkObserver {
 public:
  virtual ~LinkObserver() = default;
  virtual void OnOpened() = 0;
  virtual void OnMessage(v1::CoordinatorMessage message) = 0;
  // Exactly once for each Dial, whatever happened. Never OK.
  virtual void OnClosed(const Status& reason) = 0;
};

// The session's stream. Used by one thread at a time.
class Link {
 public:
  virtual ~Link() = default;
  // Opens the stream. REQUIRES: the previous one, if any, is closed.
  virtual void Dial(LinkObserver& observer) = 0;
  // Ends the stream if there is one: says goodbye and gives the coordinator a moment to answer.
  // OnClosed follows.
  virtual void HangUp() = 0;
};

// Blobs that a task names.
class BlobSource {
 public:
  virtual ~BlobSource() = default;
  // Hands every chunk from `offset_bytes` (a multiple of kChunkBytes) on to `accept`, which checks
  // it; stops at its first error and returns that. CANCELLED. Else what the coordinator answered;
  // UNAVAILABLE without a connection.
  [[nodiscard]] virtual Status Fetch(const TaskId& task, const crypto::BlobId& blob,
                                     std::uint64_t offset_bytes,
                                     const std::function<Status(const v1::Chunk&)>& accept,
                                     Cancellation& cancellation) = 0;
};

}  // namespace chorale::site_agent
