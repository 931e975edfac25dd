#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/site_channel.h"
#include "coordinator/store.h"
#include "core/crypto/certificate.h"
#include "core/ids.h"
#include "core/time.h"

namespace chorale::coordinator {

using SessionId = StrongId<struct SessionIdTag, std::uint64_t>;

// What a site told of itself.
struct SiteGreeting {
  std::string agent_version = {};
  std::vector<std::string> datasets = {};
  std::vector<TaskId> active_tasks = {};
  std::optional<Time> clock = {};
  std::string instance = {};                 // Empty: an agent that does not tell.
  std::string lineage = {};                  // Of its state directory. Empty: likewise.
  std::uint64_t epoch = 0;                   // Starts from that directory.
  std::optional<LedgerReceipt> ledger = {};  // Unset: no row.
  std::vector<JobId> open_jobs = {};         // That its ledger holds steps for.
};

struct SiteSession {
  SiteId site = {};
  std::shared_ptr<const crypto::Certificate> certificate = {};
  std::shared_ptr<SiteChannel> channel = {};  // Shared with the call that serves it.
  std::optional<SiteGreeting> greeting = {};  // Unset until its hello.
};

// The sessions of all sites: of one site the newest that has greeted counts. Used by the engine's
// thread.
class SiteSessions {
 public:
  void Open(SessionId id, SiteSession session);
  // The session becomes its site's; an older one is ended with ABORTED. False when there is no such
  // session any more.
  bool Greet(SessionId id, SiteGreeting greeting);
  // Forgets a session. Returns its site when it was the site's present one.
  std::optional<SiteId> Close(SessionId id);

  [[nodiscard]] const SiteSession* Find(SessionId id) const;
  // The session of a connected site; null otherwise.
  [[nodiscard]] const SiteSession* FindSite(const SiteId& site) const;
  [[nodiscard]] std::vector<SiteId> ConnectedSites() const;
  [[nodiscard]] std::size_t num_connected() const { return current_.size(); }
  [[nodiscard]] const std::map<SessionId, SiteSession>& all() const { return sessions_; }

  // Ends a session. Returns its site when it was the site's present one. What does not end by the
  // next call of KillEnding is cut off.
  std::optional<SiteId> End(SessionId id, const Status& why);
  void KillEnding();

 private:
  std::map<SessionId, SiteSession> sessions_;
  std::map<SiteId, SessionId> current_;
  std::vector<std::shared_ptr<SiteChannel>> ending_;
};

}  // namespace chorale::coordinator
