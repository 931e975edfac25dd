#include "core/rpc/keepalive.h"

#include <grpc/grpc.h>

#include <algorithm>
#include <chrono>
#include <limits>

namespace chorale::rpc {
namespace {

int ToMilliseconds(Duration duration) {
  const auto count = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return static_cast<int>(std::clamp<decltype(count)>(count, 0, std::numeric_limits<int>::max()));
}

}  // namespace

std::vector<IntArgument> KeepaliveArguments(Duration interval) {
  const int interval_ms = ToMilliseconds(interval);
  if (interval_ms == 0) return {};
  return {{GRPC_ARG_KEEPALIVE_TIME_MS, interval_ms},
          {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, std::clamp(interval_ms, 1'000, 20'000)},
          {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
          {GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0}};
}

}  // namespace chorale::rpc
