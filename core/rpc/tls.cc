#include "core/rpc/tls.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string_view>

#include "core/bytes.h"
#include "core/log.h"
#include "core/rpc/log_limiter.h"

namespace chorale::rpc {
namespace {

constexpr std::size_t kMaxLoggedCharacters = 512;

// gRPC takes a plain function for its log, so what limits it lives here.
constinit std::mutex log_mutex;
constinit LogLimiter log_limiter;

std::optional<std::uint64_t> Admit(std::string_view text) {
  const auto now =
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch());
  const std::lock_guard lock(log_mutex);
  return log_limiter.Admit(text, now);
}

void WriteLog(gpr_log_func_args* record) {
  if (record->severity != GPR_LOG_SEVERITY_ERROR) return;
  const std::string_view text = std::string_view(record->message).substr(0, kMaxLoggedCharacters);
  const std::optional<std::uint64_t> num_held_back = Admit(text);
  if (!num_held_back) return;
  constexpr std::string_view kRefused = "Handshake failed";
  if (text.find(kRefused) != std::string_view::npos) {
    log::Warning("rpc.handshake_refused", {{"reason", text}, {"held_back", *num_held_back}});
    return;
  }
  log::Error("rpc.internal", {{"message", text}, {"held_back", *num_held_back}});
}

// gRPC keeps its own copy of the key; the one in between goes.
void WipeText(std::string& text) {
  crypto::Wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
}

}  // namespace

void InitializeRpc() {
  // These need an RSA key; all of ours are P-256. TLS 1.3 has suites of its own.
  ::setenv("GRPC_SSL_CIPHER_SUITES",
           "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305",
           /*overwrite=*/1);
  // Present and empty, it keeps gRPC from reading no_proxy by rules that differ from
  // ProxyFromEnvironment's.
  ::setenv("no_grpc_proxy", "", /*overwrite=*/1);
  {
    const std::lock_guard lock(log_mutex);
    log_limiter = LogLimiter();
  }
  // Protobuf prints what it finds wrong with a peer's message; the peer would write our log.
  google::protobuf::SetLogHandler(nullptr);
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  gpr_set_log_function(&WriteLog);
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsIdentity& identity) {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = identity.root_pem;
  options.pem_key_cert_pairs.push_back(
      {ToString(identity.key_pem.Reveal()), identity.certificate_pem});
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::SslServerCredentials(options);
  WipeText(options.pem_key_cert_pairs.front().private_key);
  return credentials;
}

std::shared_ptr<grpc::ChannelCredentials> MakeChannelCredentials(const TlsIdentity& identity) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = identity.root_pem;
  options.pem_cert_chain = identity.certificate_pem;
  options.pem_private_key = ToString(identity.key_pem.Reveal());
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::SslCredentials(options);
  WipeText(options.pem_private_key);
  return credentials;
}

}  // namespace chorale::rpc
