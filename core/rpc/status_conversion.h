#pragma once

#include <grpcpp/support/status.h>

#include <string_view>

#include "core/status.h"

// absl and gRPC share the canonical codes.
namespace chorale::rpc {

[[nodiscard]] grpc::Status ToGrpc(const Status& status);
[[nodiscard]] Status FromGrpc(const grpc::Status& status);

// What a failed connection means in a hospital's network and what to do about it: DNS, proxy 403
// and 407, TLS inspection (missing ALPN, foreign issuer, stripped client certificate), refused and
// expired certificates. `address` is the dialled one. The status keeps its code; the message
// becomes "symptom: cause; remedy". Any other status is kept.
[[nodiscard]] Status ExplainConnectionFailure(const Status& status, std::string_view address);

}  // namespace chorale::rpc
