#pragma once

#include <memory>
#include <string>

#include "core/random.h"
#include "core/rpc/tls.h"
#include "core/status.h"
#include "core/time.h"

namespace grpc {
class Channel;
}

namespace chorale::rpc {

struct ChannelOptions {
  std::string address;  // host:port
  std::string proxy;    // http://[user:password@]host:port, "none", or empty: from the environment.
  Duration
      keepalive_interval;  // Also without calls under way, so that firewalls keep the connection.
  int max_message_bytes = 4 << 20;
};

// The proxy that the environment asks for, for a host: https_proxy, then HTTPS_PROXY, unless
// no_proxy or NO_PROXY names the host (exact, or a suffix after a dot, or "*"). Empty: none.
[[nodiscard]] std::string ProxyFromEnvironment(const std::string& host);

// One connection, dialled lazily. INVALID_ARGUMENT for a malformed address or proxy (https://
// proxies are not supported by gRPC).
[[nodiscard]] StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options,
                                                                   const TlsIdentity& identity);

// Times between attempts to connect: exponential with full jitter (each drawn from [0.5, 1] of base
// * 2^n, at most max).
class Backoff {
 public:
  Backoff(Duration base, Duration max, RandomSource& random)
      : base_(base), max_(max), random_(&random) {}
  [[nodiscard]] Duration Next();
  void Reset() { attempt_ = 0; }

 private:
  Duration base_;
  Duration max_;
  RandomSource* random_;
  int attempt_ = 0;
};

}  // namespace chorale::rpc
