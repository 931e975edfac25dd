#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "chorale/v1/federation.grpc.pb.h"
#include "chorale/v1/jobs.grpc.pb.h"
#include "core/crypto/certificate.h"
#include "core/crypto/secret_bytes.h"
#include "core/rpc/channel.h"
#include "core/rpc/server.h"
#include "core/rpc/tls.h"
#include "core/status.h"

namespace chorale::rpc {

// A certificate with its key and the root that its holder trusts.
struct TestParty {
  std::string certificate_pem;
  crypto::SecretBytes key_pem;
  std::string root_pem;
  [[nodiscard]] TlsIdentity Tls() const { return {certificate_pem, key_pem, root_pem}; }
};

// A certificate authority of two months' age.
class TestRoot {
 public:
  TestRoot();
  // Names localhost, coordinator.test and 127.0.0.1.
  [[nodiscard]] TestParty IssueServer() const;
  [[nodiscard]] TestParty IssueServerNamed(const std::string& dns_name) const;
  [[nodiscard]] TestParty IssueClient(const std::string& name) const;
  // Ran out an hour ago.
  [[nodiscard]] TestParty IssueExpiredServer() const;
  [[nodiscard]] TestParty IssueExpiredClient() const;
  // Carries the server's names but may serve clients only: what a site would use to pose as the
  // coordinator.
  [[nodiscard]] TestParty IssueClientWithServerNames() const;
  [[nodiscard]] const std::string& pem() const { return root_.pem(); }

 private:
  enum class Purpose { kClient, kServer };
  enum class Validity { kCurrent, kExpired };
  [[nodiscard]] TestParty Issue(crypto::CertificateFields fields, Purpose purpose,
                                Validity validity) const;
  Time now_;
  crypto::TlsKey key_;
  crypto::Certificate root_;
};

// Answers every control message with a hello, and lists one site named as the caller's certificate.
class TestFederation final : public v1::Federation::Service, public v1::Jobs::Service {
 public:
  grpc::Status Connect(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::SiteMessage>* stream) override;
  grpc::Status ListSites(grpc::ServerContext* context, const v1::ListSitesRequest* request,
                         v1::ListSitesResponse* response) override;

 private:
  PeerCertificates peers_;
};

// A server of the above on a free port of 127.0.0.1.
class TestServer {
 public:
  explicit TestServer(const TestParty& party, ServerOptions options = {});
  [[nodiscard]] int port() const { return server_->port(); }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
  [[nodiscard]] Server& server() { return *server_; }

 private:
  TestFederation federation_;
  std::unique_ptr<Server> server_;
};

// Dials without a proxy.
[[nodiscard]] std::shared_ptr<grpc::Channel> Dial(const std::string& address,
                                                  const TestParty& party);
// Asks for the sites: the caller's name as the server saw it. Gives up after 20 s.
[[nodiscard]] StatusOr<std::string> AskOwnName(const std::shared_ptr<grpc::Channel>& channel);

// Far enough that only a test that hangs meets it.
[[nodiscard]] inline std::chrono::system_clock::time_point HangLimit() {
  return std::chrono::system_clock::now() + std::chrono::seconds(20);
}

}  // namespace chorale::rpc
