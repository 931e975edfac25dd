#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/status.h"

namespace chorale::rpc {

struct Address {
  std::string host;  // Without brackets.
  std::uint16_t port = 0;
};

// Reads "host:port", with an IPv6 host in brackets. INVALID_ARGUMENT, naming `field`, for anything
// else, so that no text reaches gRPC's other target schemes. Port 0 passes.
[[nodiscard]] StatusOr<Address> ParseAddress(std::string_view field, std::string_view text);

}  // namespace chorale::rpc
