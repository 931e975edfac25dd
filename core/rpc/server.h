#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/crypto/certificate.h"
#include "core/rpc/tls.h"
#include "core/status.h"
#include "core/time.h"

namespace grpc {
class Server;
class ServerContextBase;
class Service;
}  // namespace grpc

namespace chorale::rpc {

struct ServerOptions {
  std::string listen;           // host:port; port 0 picks a free one.
  Duration keepalive_interval;  // Pings on idle connections; an unanswered one ends the connection.
  int max_message_bytes = 4 << 20;
  int max_concurrent_streams = 16;  // Per connection.
};

// A listening server. Stop() ends accepting at once and gives calls under way until the grace
// period's end.
class Server {
 public:
  // INVALID_ARGUMENT for a malformed address or identity, or no service; UNAVAILABLE when the
  // address cannot be bound. `services` must outlive the server.
  [[nodiscard]] static StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options, const TlsIdentity& identity,
      const std::vector<grpc::Service*>& services);
  ~Server();
  [[nodiscard]] int port() const { return port_; }
  // Ends accepting at once, gives calls under way until the grace period's end, then cancels them.
  // Returns when none is left. Idempotent.
  void Stop(Duration grace);

 private:
  Server(std::unique_ptr<grpc::Server> server, int port);
  std::unique_ptr<grpc::Server> server_;
  int port_;
};

// The certificate that the peer of this call proved to hold. UNAUTHENTICATED when there is none.
// Parsed certificates are kept by fingerprint, since every call of a connection asks. Safe for
// concurrent use.
class PeerCertificates {
 public:
  PeerCertificates();
  ~PeerCertificates();
  // UNAUTHENTICATED when the peer showed none. Parsed certificates are kept, since every call asks,
  // and shared with the calls that use them.
  [[nodiscard]] StatusOr<std::shared_ptr<const crypto::Certificate>> Find(
      const grpc::ServerContextBase& context);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace chorale::rpc
