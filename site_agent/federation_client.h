#pragma once

#include <memory>
#include <string>

#include "core/time.h"
#include "identity/identity.h"
#include "site_agent/link.h"
#include "site_agent/outlet.h"

namespace chorale::site_agent {

struct ClientOptions {
  std::string coordinator;  // host:port
  std::string proxy;        // As in site.yaml.
  Duration keepalive_interval = std::chrono::seconds(20);
};

// The gRPC side: one connection, dialled out, that carries the session, the blobs and the reports.
// What goes out comes from the release guard (Outlet); a request for a blob repeats what the task
// said and nothing else.
//
// Each Dial makes a fresh connection, so that the session's own pauses decide when to try again.
// Before dialling it looks at this site's own certificate. Reasons of failed connections are
// explained (rpc::ExplainConnectionFailure). Threading: Link by one thread, Outlet::Send by one,
// Outlet::Report by one, BlobSource::Fetch by any.
class FederationClient final : public Link, public BlobSource, public Outlet {
 public:
  // `identity` and `clock` must outlive the client.
  FederationClient(ClientOptions options, const identity::Identity& identity, const Clock& clock);
  // Ends every call; OnClosed of a session under way comes before this returns.
  ~FederationClient() override;

  void Dial(LinkObserver& observer) override;
  // Gives the coordinator two seconds to take the goodbye. A report under way is cut off.
  void HangUp() override;
  Status Fetch(const TaskId& task, const crypto::BlobId& blob, std::uint64_t offset_bytes,
               const std::function<Status(const v1::Chunk&)>& accept,
               Cancellation& cancellation) override;
  Status Send(Released<v1::SiteMessage> message) override;
  Status Report(Released<OutgoingReport> report) override;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace chorale::site_agent
