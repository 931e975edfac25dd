#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/rpc/channel.h"

namespace chorale::rpc {
namespace {

std::string Environment(const char* lower, const char* upper) {
  for (const char* name : {lower, upper}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return "";
}

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// `host` and `entry` in lower case.
bool Names(std::string_view entry, std::string_view host) {
  if (entry == "*") return true;
  // "*.example.org" and ".example.org" mean what "example.org" means.
  if (entry.starts_with("*.")) entry.remove_prefix(1);
  if (entry.starts_with('.')) entry.remove_prefix(1);
  if (entry.empty()) return false;
  if (host == entry) return true;
  return host.size() > entry.size() && host.ends_with(entry) &&
         host[host.size() - entry.size() - 1] == '.';
}

bool IsLoopback(std::string_view host) {
  const bool is_numeric = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return host == "localhost" || host.ends_with(".localhost") || host == "::1" ||
         (is_numeric && host.starts_with("127."));
}

}  // namespace

std::string ProxyFromEnvironment(const std::string& host) {
  const std::string proxy = Environment("https_proxy", "HTTPS_PROXY");
  if (proxy.empty()) return "";
  const std::string exceptions = ToLower(Environment("no_proxy", "NO_PROXY"));
  const std::string wanted = ToLower(host);
  if (IsLoopback(wanted)) return "";
  std::string_view rest = exceptions;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    if (Names(Trim(rest.substr(0, comma)), wanted)) return "";
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return proxy;
}

}  // namespace chorale::rpc
