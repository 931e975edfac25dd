#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "chorale/v1/federation.grpc.pb.h"
#include "coordinator/driver.h"
#include "coordinator/site_channel.h"
#include "coordinator/site_sessions.h"
#include "core/time.h"

namespace chorale::coordinator {

// Serves one Connect call: reads what the site says, writes what the engine sends, ends with a
// status that the site gets to see. No thread of its own and no blocking: gRPC calls the On…
// functions. Safe for concurrent use.
class SiteStream final : public grpc::ServerBidiReactor<v1::SiteMessage, v1::CoordinatorMessage>,
                         public SiteChannel {
 public:
  // The stream keeps itself until gRPC is done with it. Driver and clock must outlive it.
  [[nodiscard]] static SiteStream* Start(grpc::CallbackServerContext& context, Driver& driver,
                                         const Clock& clock, SessionId id, SiteSession session);

  // SiteChannel.
  void Send(v1::CoordinatorMessage message) override;
  void Close(const Status& why) override;
  void Kill() override;
  [[nodiscard]] Time last_heard() const override;

 private:
  SiteStream(grpc::CallbackServerContext& context, Driver& driver, const Clock& clock,
             SessionId id);

  void OnReadDone(bool is_ok) override;
  void OnWriteDone(bool is_ok) override;
  void OnDone() override;

  void Take(const v1::SiteMessage& message);
  // To the driver, unless too many messages of this session wait there.
  void Post(Mailbox::Command command);
  // REQUIRE: mutex_ held.
  void WriteNext();
  void FinishWhenWritten();
  void CloseLocked(const Status& why);

  Driver& driver_;
  const Clock& clock_;
  const SessionId id_;
  std::atomic<std::int64_t> last_heard_us_;
  // Commands of this session that the engine has not done yet. Shared with them: they may outlive
  // the stream.
  const std::shared_ptr<std::atomic<int>> num_waiting_ = std::make_shared<std::atomic<int>>(0);
  bool has_greeted_ = false;  // Of the reading side alone.
  v1::SiteMessage incoming_;  // Likewise.

  std::mutex mutex_;                          // Guards everything below.
  grpc::CallbackServerContext* context_;      // Null when gRPC is done with it.
  std::deque<v1::CoordinatorMessage> queue_;  // The first is being written when is_writing_.
  bool is_writing_ = false;
  bool is_finished_ = false;
  std::optional<Status> ending_;      // Once set, nothing more is queued.
  std::shared_ptr<SiteStream> self_;  // Until OnDone.
};

}  // namespace chorale::coordinator
