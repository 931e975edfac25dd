#include "cli/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <string>

#include "core/rpc/address.h"

namespace chorale::cli {
namespace {

bool IsDnsName(std::string_view text) {
  if (text.empty() || text.size() > 253 || text.front() == '.' || text.back() == '.') return false;
  std::size_t label = 0;
  char previous = '.';
  for (const char c : text) {
    const bool is_letter_or_digit =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (c == '.') {
      if (label == 0 || previous == '-') return false;
      label = 0;
    } else if (is_letter_or_digit || (c == '-' && label > 0)) {
      if (++label > 63) return false;
    } else {
      return false;
    }
    previous = c;
  }
  return previous != '-';
}

}  // namespace

bool IsIpAddress(std::string_view text) {
  const std::string terminated(text);
  in6_addr address{};
  return ::inet_pton(AF_INET, terminated.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, terminated.c_str(), &address) == 1;
}

Status ValidateHost(std::string_view host) {
  if (IsIpAddress(host) || IsDnsName(host)) return OkStatus();
  return InvalidArgument(
      "'" + std::string(host) +
      "' is no host: expected a DNS name or an IP address, without port and scheme");
}

Status ValidateDialAddress(std::string_view field, std::string_view text) {
  CHORALE_ASSIGN_OR_RETURN(const rpc::Address address, rpc::ParseAddress(field, text));
  if (address.port != 0) return OkStatus();
  return InvalidArgument(std::string(field) + " must have a port in [1, 65535] to dial, got 0");
}

}  // namespace chorale::cli
