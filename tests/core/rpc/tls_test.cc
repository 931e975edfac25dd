#include "core/rpc/tls.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <string>

#include "core/log.h"
#include "core/rpc/status_conversion.h"
#include "core/storage/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/rpc/test_federation.h"
#include "tests/support/temporary_directory.h"

namespace chorale::rpc {
namespace {

using ::testing::HasSubstr;

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(log::Configure({.level = log::Level::kInfo,
                                .format = log::Format::kJson,
                                .file = (directory_.path() / "log").string()})
                    .ok());
    InitializeRpc();  // Forgets which records were written before.
  }
  void TearDown() override { ASSERT_TRUE(log::Configure({}).ok()); }

  [[nodiscard]] std::string Log() const {
    return *storage::ReadFile(directory_.path() / "log", 1 << 20);
  }

  support::TemporaryDirectory directory_;
  TestRoot root_;
  TestRoot other_root_;
};

TEST_F(TlsTest, ShowsTheServerWhoTheClientIs) {
  TestServer server(root_.IssueServer());

  const StatusOr<std::string> name = AskOwnName(Dial(server.address(), root_.IssueClient("north")));

  ASSERT_TRUE(name.ok()) << name.status();
  EXPECT_EQ(*name, "north");
}

TEST_F(TlsTest, RefusesAClientWithoutACertificate) {
  TestServer server(root_.IssueServer());
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = root_.pem();

  const Status refused =
      AskOwnName(grpc::CreateChannel(server.address(), grpc::SslCredentials(options))).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable) << refused;
  EXPECT_THAT(Log(), HasSubstr("rpc.handshake_refused"));
  EXPECT_THAT(Log(), HasSubstr("peer did not return a certificate"));
}

TEST_F(TlsTest, RefusesAPlainTextClient) {
  TestServer server(root_.IssueServer());

  const Status refused =
      AskOwnName(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()))
          .status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable) << refused;
}

TEST_F(TlsTest, RefusesAClientOfAnotherRoot) {
  TestServer server(root_.IssueServer());
  TestParty stranger = other_root_.IssueClient("north");
  stranger.root_pem = root_.pem();

  const Status refused = AskOwnName(Dial(server.address(), stranger)).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable) << refused;
  EXPECT_THAT(Log(), HasSubstr("rpc.handshake_refused"));
}

TEST_F(TlsTest, RefusesAnExpiredClient) {
  TestServer server(root_.IssueServer());

  const Status refused = AskOwnName(Dial(server.address(), root_.IssueExpiredClient())).status();

  EXPECT_THAT(MessageOf(ExplainConnectionFailure(refused, "coordinator.test:443")),
              HasSubstr("refused this party's certificate"));
  EXPECT_THAT(Log(), HasSubstr("rpc.handshake_refused"));
}

TEST_F(TlsTest, ClientRefusesAServerOfAnotherRoot) {
  TestServer server(other_root_.IssueServer());

  const Status refused = AskOwnName(Dial(server.address(), root_.IssueClient("north"))).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused), HasSubstr("certificate verify failed"));
}

TEST_F(TlsTest, ClientRefusesAnExpiredServer) {
  TestServer server(root_.IssueExpiredServer());

  const Status refused = AskOwnName(Dial(server.address(), root_.IssueClient("north"))).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused), HasSubstr("certificate verify failed"));
}

TEST_F(TlsTest, ClientRefusesAServerOfAnotherName) {
  TestServer server(root_.IssueServerNamed("elsewhere.test"));

  const Status refused = AskOwnName(Dial(server.address(), root_.IssueClient("north"))).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused), HasSubstr("is not in peer certificate"));
}

TEST_F(TlsTest, ClientRefusesASiteThatPosesAsTheCoordinator) {
  TestServer server(root_.IssueClientWithServerNames());

  const Status refused = AskOwnName(Dial(server.address(), root_.IssueClient("north"))).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused), HasSubstr("certificate verify failed"));
}

TEST_F(TlsTest, WritesOneRecordForManyRefusals) {
  TestServer server(root_.IssueServer());
  const TestParty late = root_.IssueExpiredClient();

  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(AskOwnName(Dial(server.address(), late)).ok());
  }

  const std::string log = Log();
  EXPECT_EQ(log.find("rpc.handshake_refused"), log.rfind("rpc.handshake_refused")) << log;
}

}  // namespace
}  // namespace chorale::rpc
