#pragma once

#include "chorale/v1/federation.pb.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// One site's session as the engine uses it. Safe for concurrent use; no call blocks.
class SiteChannel {
 public:
  virtual ~SiteChannel() = default;
  // Queues a message. A site that lets too many pile up loses its session.
  virtual void Send(v1::CoordinatorMessage message) = 0;
  // Ends the session; the site learns why once what was sent before is out.
  virtual void Close(const Status& why) = 0;
  // Ends it whether or not the site listens.
  virtual void Kill() = 0;
  // When the site last said anything.
  [[nodiscard]] virtual Time last_heard() const = 0;
};

}  // namespace chorale::coordinator
