#include "core/rpc/server.h"

#include <grpcpp/impl/codegen/server_context.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/rpc/address.h"
#include "core/rpc/keepalive.h"

namespace chorale::rpc {
namespace {

// Each call of the synchronous interface holds a thread; a session of a site holds one for days.
constexpr int kMaxThreads = 2048;
constexpr std::size_t kMaxBufferBytes = std::size_t{512} << 20;
constexpr int kHandshakeTimeoutMilliseconds = 20'000;
constexpr int kShortestPingIntervalMilliseconds = 100;
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr std::size_t kMaxCachedCertificates = 1024;

void SetLimits(const ServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(options.max_message_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMilliseconds);
  // A few bytes that unpack to gigabytes are refused.
  for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  grpc::ResourceQuota quota("chorale");
  quota.Resize(kMaxBufferBytes).SetMaxThreads(kMaxThreads);
  builder.SetResourceQuota(quota);
}

void SetKeepalive(Duration interval, grpc::ServerBuilder& builder) {
  // Agents ping on idle connections too, as often as their firewall needs.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kShortestPingIntervalMilliseconds);
  for (const IntArgument& argument : KeepaliveArguments(interval)) {
    builder.AddChannelArgument(argument.name, argument.value);
  }
}

// gRPC answers a bad identity in the words of a bad address.
Status ValidateIdentity(const TlsIdentity& identity) {
  StatusOr<crypto::Certificate> certificate =
      crypto::Certificate::FromPem(identity.certificate_pem);
  if (!certificate.ok()) return Annotate(certificate.status(), "the server's certificate");
  StatusOr<crypto::TlsKey> key = crypto::TlsKey::FromPem(AsText(identity.key_pem.Reveal()));
  if (!key.ok()) return Annotate(key.status(), "the server's key");
  CHORALE_RETURN_IF_ERROR(certificate->VerifyKey(*key));
  return Annotate(crypto::Certificate::FromPem(identity.root_pem).status(), "the root certificate");
}

}  // namespace

// ---- Server

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                const TlsIdentity& identity,
                                                const std::vector<grpc::Service*>& services) {
  CHORALE_RETURN_IF_ERROR(ParseAddress("listen", options.listen).status());
  CHORALE_RETURN_IF_ERROR(ValidateIdentity(identity));
  if (services.empty()) return InvalidArgument("services must not be empty");
  grpc::ServerBuilder builder;
  SetLimits(options, builder);
  SetKeepalive(options.keepalive_interval, builder);
  // A second coordinator on the same port must fail rather than take half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  for (grpc::Service* service : services) builder.RegisterService(service);
  int port = 0;
  builder.AddListeningPort(options.listen, MakeServerCredentials(identity), &port);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port <= 0) {
    return Unavailable("cannot listen on " + options.listen +
                       ": the address is not of this machine, or another process uses it");
  }
  return std::unique_ptr<Server>(new Server(std::move(server), port));
}

Server::Server(std::unique_ptr<grpc::Server> server, int port)
    : server_(std::move(server)), port_(port) {}

Server::~Server() { Stop(Duration::zero()); }

void Server::Stop(Duration grace) { server_->Shutdown(std::chrono::system_clock::now() + grace); }

// ---- PeerCertificates

struct PeerCertificates::State {
  std::mutex mutex;
  // By the exact PEM text. Only what passed the handshake comes here, so that the federation bounds
  // it too.
  std::unordered_map<std::string, std::shared_ptr<const crypto::Certificate>> certificates;
};

PeerCertificates::PeerCertificates() : state_(std::make_unique<State>()) {}
PeerCertificates::~PeerCertificates() = default;

StatusOr<std::shared_ptr<const crypto::Certificate>> PeerCertificates::Find(
    const grpc::ServerContextBase& context) {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  const std::vector<grpc::string_ref> values =
      auth == nullptr ? std::vector<grpc::string_ref>()
                      : auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (values.size() != 1) return Unauthenticated("the peer showed no certificate");
  std::string pem(values.front().data(), values.front().size());
  {
    const std::lock_guard lock(state_->mutex);
    const auto known = state_->certificates.find(pem);
    if (known != state_->certificates.end()) return known->second;
  }
  StatusOr<crypto::Certificate> parsed = crypto::Certificate::FromPem(pem);
  if (!parsed.ok()) {
    return Unauthenticated("the peer's certificate: " + MessageOf(parsed.status()));
  }
  auto certificate = std::make_shared<const crypto::Certificate>(*std::move(parsed));
  const std::lock_guard lock(state_->mutex);
  if (state_->certificates.size() >= kMaxCachedCertificates) state_->certificates.clear();
  state_->certificates.insert_or_assign(std::move(pem), certificate);
  return certificate;
}

}  // namespace chorale::rpc
