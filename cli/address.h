#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

namespace chorale::cli {

// INVALID_ARGUMENT unless the text is a DNS name or an IP address without port, scheme or brackets.
[[nodiscard]] Status ValidateHost(std::string_view host);
// INVALID_ARGUMENT, naming `field`, unless the text is HOST:PORT ("[::1]:8443" for IPv6) that can
// be dialled: port 0 cannot.
[[nodiscard]] Status ValidateDialAddress(std::string_view field, std::string_view text);
// True for dotted IPv4 and colon IPv6.
[[nodiscard]] bool IsIpAddress(std::string_view text);

}  // namespace chorale::cli
