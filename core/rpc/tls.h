#pragma once

#include <memory>
#include <string>

#include "core/crypto/secret_bytes.h"
#include "core/status.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

// TLS 1.3 only, mutual: either side shows a certificate of the federation.
namespace chorale::rpc {

struct TlsIdentity {
  std::string certificate_pem;
  const crypto::SecretBytes& key_pem;
  std::string root_pem;
};

// Call once, before anything else of gRPC, in every program: switches TLS 1.2 off (gRPC 1.51 has no
// setting for it; the TLS 1.2 cipher list is set to one that no certificate of ours can serve) and
// routes gRPC's own log to ours.
void InitializeRpc();

// The handshake refuses a client without a certificate, or one that the root did not issue or that
// has expired.
[[nodiscard]] std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(
    const TlsIdentity& identity);
// The handshake refuses a server that the root did not issue, that has expired, or whose name is
// not the dialled one.
[[nodiscard]] std::shared_ptr<grpc::ChannelCredentials> MakeChannelCredentials(
    const TlsIdentity& identity);

}  // namespace chorale::rpc
