#pragma once

#include <vector>

#include "core/time.h"

namespace chorale::rpc {

struct IntArgument {
  const char* name;
  int value;
};

// gRPC's settings for pings on idle and busy connections every `interval`, none below 1 ms. An
// unanswered ping ends the connection after the interval, at least 1 s and at most 20 s.
[[nodiscard]] std::vector<IntArgument> KeepaliveArguments(Duration interval);

}  // namespace chorale::rpc
