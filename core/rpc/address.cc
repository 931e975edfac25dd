#include "core/rpc/address.h"

#include <algorithm>
#include <charconv>

namespace chorale::rpc {
namespace {

constexpr std::size_t kMaxHostCharacters = 253;  // RFC 1035, section 2.3.4, as text.

bool IsAsciiAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool IsHost(std::string_view host, bool is_bracketed) {
  if (host.empty() || host.size() > kMaxHostCharacters) return false;
  return std::all_of(host.begin(), host.end(), [is_bracketed](char c) {
    return IsAsciiAlphanumeric(c) || c == '.' || (is_bracketed ? c == ':' : c == '-' || c == '_');
  });
}

}  // namespace

StatusOr<Address> ParseAddress(std::string_view field, std::string_view text) {
  const Status malformed =
      InvalidArgument(std::string(field) + " must be host:port with a port in [0, 65535]");
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return malformed;
  std::string_view host = text.substr(0, colon);
  const bool is_bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  if (!IsHost(host, is_bracketed)) return malformed;

  const std::string_view digits = text.substr(colon + 1);
  Address address{.host = std::string(host), .port = 0};
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return malformed;
  return address;
}

}  // namespace chorale::rpc
