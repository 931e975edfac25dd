#include "tests/core/rpc/test_federation.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "core/rpc/status_conversion.h"
#include "gtest/gtest.h"

namespace chorale::rpc {
namespace {

using std::chrono::hours;

class RpcEnvironment final : public ::testing::Environment {
 public:
  void SetUp() override { InitializeRpc(); }
};
[[maybe_unused]] const ::testing::Environment* const kEnvironment =
    ::testing::AddGlobalTestEnvironment(new RpcEnvironment);

template <typename T>
T Require(StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "test set-up: %s\n", result.status().ToString().c_str());
    std::abort();
  }
  return *std::move(result);
}

crypto::CertificateFields Named(std::string name) {
  crypto::CertificateFields fields;
  fields.common_name = std::move(name);
  return fields;
}

crypto::CertificateFields ServerFields() {
  crypto::CertificateFields fields = Named("coordinator");
  fields.dns_names = {"localhost", "coordinator.test"};
  fields.ip_addresses = {"127.0.0.1"};
  return fields;
}

crypto::Certificate MakeRootCertificate(const crypto::TlsKey& key, Time now) {
  crypto::CertificateFields fields = Named("root");
  fields.not_before = now - hours(24 * 60);
  fields.not_after = now + hours(24 * 365);
  return Require(crypto::Certificate::MakeRoot(key, fields));
}

}  // namespace

TestRoot::TestRoot()
    : now_(SystemClock().WallNow()),
      key_(crypto::TlsKey::Generate()),
      root_(MakeRootCertificate(key_, now_)) {}

TestParty TestRoot::Issue(crypto::CertificateFields fields, Purpose purpose,
                          Validity validity) const {
  const bool is_expired = validity == Validity::kExpired;
  fields.not_before = now_ - hours(24 * 30);
  fields.not_after = is_expired ? now_ - hours(1) : now_ + hours(24 * 30);
  const crypto::TlsKey key = crypto::TlsKey::Generate();
  const crypto::Certificate certificate = Require(crypto::Certificate::Issue(
      root_, key_, Require(crypto::MakeSigningRequest(key)), fields, purpose == Purpose::kServer));
  return {.certificate_pem = certificate.pem(), .key_pem = key.ToPem(), .root_pem = root_.pem()};
}

TestParty TestRoot::IssueServer() const {
  return Issue(ServerFields(), Purpose::kServer, Validity::kCurrent);
}

TestParty TestRoot::IssueServerNamed(const std::string& dns_name) const {
  crypto::CertificateFields fields = Named("coordinator");
  fields.dns_names = {dns_name};
  return Issue(std::move(fields), Purpose::kServer, Validity::kCurrent);
}

TestParty TestRoot::IssueClient(const std::string& name) const {
  return Issue(Named(name), Purpose::kClient, Validity::kCurrent);
}

TestParty TestRoot::IssueExpiredServer() const {
  return Issue(ServerFields(), Purpose::kServer, Validity::kExpired);
}

TestParty TestRoot::IssueExpiredClient() const {
  return Issue(Named("late"), Purpose::kClient, Validity::kExpired);
}

TestParty TestRoot::IssueClientWithServerNames() const {
  return Issue(ServerFields(), Purpose::kClient, Validity::kCurrent);
}

grpc::Status TestFederation::Connect(
    grpc::ServerContext* /*context*/,
    grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::SiteMessage>* stream) {
  v1::SiteMessage message;
  while (stream->Read(&message)) {
    v1::CoordinatorMessage answer;
    answer.mutable_hello()->set_coordinator_version(message.hello().agent_version());
    if (!stream->Write(answer)) break;
  }
  return grpc::Status::OK;
}

grpc::Status TestFederation::ListSites(grpc::ServerContext* context,
                                       const v1::ListSitesRequest* /*request*/,
                                       v1::ListSitesResponse* response) {
  const auto peer = peers_.Find(*context);
  if (!peer.ok()) return ToGrpc(peer.status());
  if (peers_.Find(*context).value() != *peer) return ToGrpc(Internal("not kept"));
  response->add_sites()->set_site((*peer)->common_name());
  return grpc::Status::OK;
}

TestServer::TestServer(const TestParty& party, ServerOptions options) {
  if (options.listen.empty()) options.listen = "127.0.0.1:0";
  const std::vector<grpc::Service*> services = {static_cast<v1::Federation::Service*>(&federation_),
                                                static_cast<v1::Jobs::Service*>(&federation_)};
  server_ = Require(Server::Start(options, party.Tls(), services));
}

std::shared_ptr<grpc::Channel> Dial(const std::string& address, const TestParty& party) {
  return Require(MakeChannel(
      {.address = address, .proxy = "none", .keepalive_interval = Duration::zero()}, party.Tls()));
}

StatusOr<std::string> AskOwnName(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = v1::Jobs::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(HangLimit());
  v1::ListSitesResponse response;
  CHORALE_RETURN_IF_ERROR(FromGrpc(stub->ListSites(&context, {}, &response)));
  if (response.sites_size() != 1) return DataLoss("one site expected");
  return response.sites(0).site();
}

}  // namespace chorale::rpc
