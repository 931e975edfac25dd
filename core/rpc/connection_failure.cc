#include <array>
#include <string>
#include <string_view>

#include "core/rpc/status_conversion.h"

namespace chorale::rpc {
namespace {

enum class Phase { kConnecting, kAny };

struct Explanation {
  std::string_view symptom;  // As gRPC 1.51 and OpenSSL 3 word it.
  std::string_view cause;
  std::string_view remedy;
  Phase phase = Phase::kAny;
};

// How gRPC begins when no connection came about.
constexpr std::string_view kConnecting = "failed to connect";

constexpr std::string_view kBypass =
    "ask the network team to let CONNECT to this address pass without TLS inspection or content "
    "filter";

// The first symptom that occurs in the message wins: the more telling ones come first, since one
// message may quote several errors.
constexpr std::array kExplanations = {
    Explanation{"HTTP proxy returned response code 407",
                "the proxy wants a user name and a password",
                "give them in the proxy setting as http://user:password@host:port; for NTLM or "
                "Kerberos run a local relay such as cntlm"},
    Explanation{"HTTP proxy returned response code 403", "the proxy forbids this address", kBypass},
    Explanation{"HTTP proxy returned response code",
                "the proxy did not open a connection to this address",
                "check that the proxy is an HTTP proxy, allows CONNECT and can resolve the name"},
    Explanation{"missing selected ALPN property", "TLS inspection: a proxy ends the encryption",
                kBypass},
    Explanation{"is not in peer certificate",
                "the certificate shown does not carry the name that was dialled",
                "dial a name that the coordinator's certificate carries, or have the certificate "
                "renewed with this name"},
    Explanation{"certificate verify failed",
                "the certificate shown is not of this federation or has expired; mostly TLS "
                "inspection, or a coordinator of another federation, or a wrong clock",
                kBypass},
    Explanation{"certificate expired", "the coordinator found this party's certificate expired",
                "renew the enrolment, and check this machine's clock"},
    Explanation{"certificate required",
                "the coordinator saw no certificate of this party: TLS inspection strips it",
                kBypass},
    Explanation{"unknown ca", "the coordinator belongs to another federation",
                "check the coordinator's address and enrol again if the federation has a new root"},
    Explanation{"bad certificate", "the coordinator refused this party's certificate",
                "check that this party is enrolled in the coordinator's federation"},
    Explanation{"wrong version number", "what answers at this address does not speak TLS",
                "check the address and the port"},
    Explanation{"alert handshake failure", "the peers share no TLS 1.3",
                "something on the way speaks an old TLS; ask for a direct connection"},
    Explanation{"alert protocol version", "the peers share no TLS 1.3",
                "something on the way speaks an old TLS; ask for a direct connection"},
    Explanation{"DNS resolution failed", "the host name is unknown on this machine",
                "check the name; if only the proxy can resolve it, set the proxy"},
    Explanation{"Connection refused", "nothing listens at this address",
                "check that the coordinator runs and that the port is right"},
    Explanation{"No route to host", "the network does not lead there or a firewall refuses",
                "ask the network team to allow outgoing TCP to this address, or set the proxy"},
    Explanation{"Network is unreachable", "the network does not lead there",
                "ask the network team to allow outgoing TCP to this address, or set the proxy"},
    Explanation{"keepalive watchdog timeout",
                "the connection went silent: a firewall or proxy dropped it",
                "lower the keepalive interval"},
    Explanation{"too_many_pings", "the keepalive interval is shorter than the peer allows",
                "raise the keepalive interval"},
    Explanation{"imeout occurred", "no answer in time: a firewall may drop the packets",
                "ask the network team to allow outgoing TCP to this address, or set the proxy"},
    Explanation{"Deadline Exceeded", "no answer in time: a firewall may drop the packets",
                "ask the network team to allow outgoing TCP to this address, or set the proxy"},
    Explanation{"Socket closed",
                "the other end hung up: the coordinator stopped, or it refused this party's "
                "certificate (expired, or of another federation), or TLS inspection strips the "
                "certificate",
                "see the coordinator's log for rpc.handshake_refused; renew an expired "
                "certificate; else ask the network team for a connection without TLS inspection",
                Phase::kConnecting},
    Explanation{"Connection reset by peer",
                "the other end hung up: it refused this party's certificate, or a firewall "
                "interferes",
                "see the coordinator's log for rpc.handshake_refused; ask the network team",
                Phase::kConnecting},
    Explanation{"Socket closed", "the connection ended: the coordinator stopped or a proxy cut it",
                "nothing, if it stops once; else check the coordinator's log"},
    Explanation{"Connection reset by peer",
                "the connection was cut: the coordinator's machine or a firewall on the way",
                "nothing, if it happens once; else lower the keepalive interval"},
};

}  // namespace

Status ExplainConnectionFailure(const Status& status, std::string_view address) {
  if (status.code() != StatusCode::kUnavailable) return status;
  const std::string message = MessageOf(status);
  const bool is_connecting = message.find(kConnecting) != std::string::npos;
  for (const Explanation& known : kExplanations) {
    if (message.find(known.symptom) == std::string::npos) continue;
    if (known.phase == Phase::kConnecting && !is_connecting) continue;
    return MakeStatus(status.code(),
                      "cannot reach " + std::string(address) + " (" + std::string(known.symptom) +
                          "): " + std::string(known.cause) + "; " + std::string(known.remedy));
  }
  return status;
}

}  // namespace chorale::rpc
