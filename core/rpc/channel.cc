#include "core/rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/bytes.h"
#include "core/rpc/address.h"
#include "core/rpc/keepalive.h"
#include "core/version.h"

namespace chorale::rpc {
namespace {

constexpr std::string_view kHttpScheme = "http://";

// An HTTP proxy, and what to tell it about us.
struct Proxy {
  std::string url;            // http://host:port
  std::string authorization;  // Of the CONNECT request, for user and password; else empty.
};

std::string ToBase64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string encoded;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 3; ++j) {
      group = group << 8 | (j < text.size() ? static_cast<std::uint8_t>(text[j]) : 0u);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      encoded += i + j <= text.size() ? kAlphabet[group >> (18 - 6 * j) & 63] : '=';
    }
  }
  return encoded;
}

StatusOr<std::string> DecodePercent(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const StatusOr<Bytes> byte = FromHex(text.substr(i + 1, 2));
    if (!byte.ok() || byte->size() != 1) {
      return InvalidArgument("proxy's user and password have a % without two hexadecimal digits");
    }
    decoded += static_cast<char>(byte->front());
    i += 2;
  }
  return decoded;
}

// Reads http://[user:password@]host:port; a bare host:port means the same. Messages leave the text
// out: it may hold a password. gRPC would take the user too, but not one with an encoded '@'.
StatusOr<Proxy> ParseProxy(std::string_view text) {
  if (text.starts_with(kHttpScheme)) text.remove_prefix(kHttpScheme.size());
  if (text.find("://") != std::string_view::npos) {
    return InvalidArgument(
        "proxy must begin with http:// (a proxy that is itself reached over https, or SOCKS, is "
        "not supported; run a local relay)");
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  const std::size_t at = text.rfind('@');
  const bool has_user = at != std::string_view::npos;
  const std::string_view authority = has_user ? text.substr(at + 1) : text;
  CHORALE_ASSIGN_OR_RETURN(const Address address, ParseAddress("proxy", authority));
  if (address.port == 0) return InvalidArgument("proxy's port must be in [1, 65535], got 0");
  Proxy proxy{.url = std::string(kHttpScheme) + std::string(authority), .authorization = {}};
  if (has_user) {
    CHORALE_ASSIGN_OR_RETURN(const std::string user, DecodePercent(text.substr(0, at)));
    proxy.authorization = "Proxy-Authorization:Basic " + ToBase64(user);
  }
  return proxy;
}

// The proxy to use, if any.
StatusOr<std::optional<Proxy>> SelectProxy(const ChannelOptions& options, const std::string& host) {
  if (options.proxy == "none") return std::nullopt;
  if (!options.proxy.empty()) return ParseProxy(options.proxy);
  const std::string from_environment = ProxyFromEnvironment(host);
  if (from_environment.empty()) return std::nullopt;
  StatusOr<Proxy> proxy = ParseProxy(from_environment);
  if (!proxy.ok()) {
    return Annotate(proxy.status(), "environment variable https_proxy or HTTPS_PROXY");
  }
  return *std::move(proxy);
}

grpc::ChannelArguments MakeArguments(const ChannelOptions& options,
                                     const std::optional<Proxy>& proxy) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  arguments.SetMaxSendMessageSize(options.max_message_bytes);
  arguments.SetUserAgentPrefix("chorale/" + Version());
  for (const IntArgument& argument : KeepaliveArguments(options.keepalive_interval)) {
    arguments.SetInt(argument.name, argument.value);
  }
  // The caller decides when to try again; gRPC's own pauses only add to that.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10000);  // Also the limit of one attempt.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Neither DNS nor the peer configures this side.
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  // A few bytes that unpack to gigabytes are refused.
  arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  // Identities that differ never share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, proxy ? 1 : 0);
  if (proxy) {
    arguments.SetString(GRPC_ARG_HTTP_PROXY, proxy->url);
    if (!proxy->authorization.empty()) {
      arguments.SetString("grpc.http_connect_headers", proxy->authorization);
    }
  }
  return arguments;
}

}  // namespace

StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options,
                                                     const TlsIdentity& identity) {
  CHORALE_ASSIGN_OR_RETURN(const Address address, ParseAddress("address", options.address));
  if (address.port == 0) return InvalidArgument("address's port must be in [1, 65535], got 0");
  CHORALE_ASSIGN_OR_RETURN(const std::optional<Proxy> proxy, SelectProxy(options, address.host));
  return grpc::CreateCustomChannel("dns:///" + options.address, MakeChannelCredentials(identity),
                                   MakeArguments(options, proxy));
}

Duration Backoff::Next() {
  Duration longest = std::min(base_, max_);
  for (int i = 0; i < attempt_ && longest < max_; ++i) {
    longest = longest > max_ / 2 ? max_ : longest * 2;
  }
  if (longest < max_) ++attempt_;
  const double share = 0.5 + 0.5 * random_->NextDouble();
  return Duration(static_cast<Duration::rep>(share * static_cast<double>(longest.count())));
}

}  // namespace chorale::rpc
