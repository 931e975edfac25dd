#include "core/rpc/server.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/channel_arguments.h>

#include <future>
#include <string>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/rpc/test_federation.h"

namespace chorale::rpc {
namespace {

using ::testing::HasSubstr;
using Stream = grpc::ClientReaderWriter<v1::SiteMessage, v1::CoordinatorMessage>;

class ServerTest : public ::testing::Test {
 protected:
  // A session and what it needs to live.
  struct Session {
    std::unique_ptr<grpc::ClientContext> context = std::make_unique<grpc::ClientContext>();
    std::unique_ptr<Stream> stream;
  };

  static Session Connect(v1::Federation::Stub& stub) {
    Session session;
    session.context->set_deadline(HangLimit());
    session.stream = stub.Connect(session.context.get());
    return session;
  }

  // Whether the server answers a message on this session.
  static bool Greets(Stream& stream) {
    v1::SiteMessage hello;
    hello.mutable_hello()->set_agent_version("1");
    v1::CoordinatorMessage answer;
    return stream.Write(hello) && stream.Read(&answer) &&
           answer.hello().coordinator_version() == "1";
  }

  std::shared_ptr<grpc::Channel> Channel(const TestServer& server) {
    return Dial(server.address(), client_);
  }

  TestRoot root_;
  TestParty client_ = root_.IssueClient("north");
};

TEST_F(ServerTest, RefusesAPortInUse) {
  const TestServer first(root_.IssueServer());
  const TestParty party = root_.IssueServer();
  v1::Jobs::Service service;

  const Status second =
      Server::Start({.listen = first.address(), .keepalive_interval = {}}, party.Tls(), {&service})
          .status();

  EXPECT_EQ(second.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(second), HasSubstr(first.address()));
}

TEST_F(ServerTest, RefusesAMalformedAddress) {
  const TestParty party = root_.IssueServer();

  for (const char* listen : {"", "localhost", "unix:/tmp/socket", "localhost:99999", ":80"}) {
    EXPECT_EQ(Server::Start({.listen = listen, .keepalive_interval = {}}, party.Tls(), {})
                  .status()
                  .code(),
              StatusCode::kInvalidArgument)
        << listen;
  }
}

TEST_F(ServerTest, RefusesToServeNothing) {
  const TestParty party = root_.IssueServer();

  EXPECT_EQ(Server::Start({.listen = "127.0.0.1:0", .keepalive_interval = {}}, party.Tls(), {})
                .status()
                .code(),
            StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, RefusesAKeyOfAnotherCertificate) {
  TestParty party = root_.IssueServer();
  party.certificate_pem = root_.IssueServer().certificate_pem;

  v1::Jobs::Service service;

  const Status refused =
      Server::Start({.listen = "127.0.0.1:0", .keepalive_interval = {}}, party.Tls(), {&service})
          .status();

  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(refused), HasSubstr("belong"));
}

TEST_F(ServerTest, RefusesAMessageAboveTheLimit) {
  TestServer server(root_.IssueServer(), {.listen = {}, .keepalive_interval = {}});
  const auto stub = v1::Federation::NewStub(Channel(server));
  Session session = Connect(*stub);
  v1::SiteMessage message;
  message.mutable_hello()->set_agent_version(std::string((4 << 20) - 100, 'x'));
  // The channel's own limit is the same, so one that sends more must be another program.
  const auto reckless_stub = v1::Federation::NewStub(*MakeChannel({.address = server.address(),
                                                                   .proxy = "none",
                                                                   .keepalive_interval = {},
                                                                   .max_message_bytes = 16 << 20},
                                                                  client_.Tls()));
  Session reckless = Connect(*reckless_stub);

  EXPECT_TRUE(session.stream->Write(message));
  v1::CoordinatorMessage answer;
  EXPECT_TRUE(session.stream->Read(&answer));
  message.mutable_hello()->set_agent_version(std::string(5 << 20, 'x'));
  reckless.stream->Write(message);
  EXPECT_FALSE(reckless.stream->Read(&answer));
  EXPECT_EQ(reckless.stream->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, RefusesACompressedMessage) {
  TestServer server(root_.IssueServer());
  const auto credentials = MakeChannelCredentials(client_.Tls());
  grpc::ChannelArguments arguments;
  arguments.SetCompressionAlgorithm(GRPC_COMPRESS_GZIP);
  const auto stub =
      v1::Federation::NewStub(grpc::CreateCustomChannel(server.address(), credentials, arguments));
  Session session = Connect(*stub);
  v1::SiteMessage bomb;
  bomb.mutable_hello()->set_agent_version(std::string(3 << 20, 'x'));

  session.stream->Write(bomb);
  v1::CoordinatorMessage answer;
  EXPECT_FALSE(session.stream->Read(&answer));

  EXPECT_EQ(session.stream->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(ServerTest, HoldsHundredsOfSessions) {
  TestServer server(root_.IssueServer());
  std::vector<std::unique_ptr<v1::Federation::Stub>> stubs;
  std::vector<Session> sessions;
  for (int connection = 0; connection < 25; ++connection) {
    stubs.push_back(v1::Federation::NewStub(Channel(server)));
    for (int i = 0; i < 12; ++i) sessions.push_back(Connect(*stubs.back()));
  }

  for (Session& session : sessions) ASSERT_TRUE(Greets(*session.stream));

  // And all of them at once, beside other calls.
  EXPECT_TRUE(AskOwnName(Channel(server)).ok());
  for (Session& session : sessions) {
    session.stream->WritesDone();
    EXPECT_TRUE(session.stream->Finish().ok());
  }
}

TEST_F(ServerTest, LetsACallBeyondTheConnectionsLimitWait) {
  TestServer server(root_.IssueServer(),
                    {.listen = {}, .keepalive_interval = {}, .max_concurrent_streams = 1});
  const auto channel = Channel(server);
  const auto stub = v1::Federation::NewStub(channel);
  Session first = Connect(*stub);
  ASSERT_TRUE(Greets(*first.stream));

  auto second = std::async(std::launch::async, [&channel] { return AskOwnName(channel); });
  first.stream->WritesDone();
  EXPECT_TRUE(first.stream->Finish().ok());

  EXPECT_TRUE(second.get().ok());
}

TEST_F(ServerTest, StopCancelsSessionsAfterTheGracePeriod) {
  TestServer server(root_.IssueServer());
  const auto stub = v1::Federation::NewStub(Channel(server));
  Session session = Connect(*stub);
  ASSERT_TRUE(Greets(*session.stream));

  server.server().Stop(std::chrono::milliseconds(1));

  v1::CoordinatorMessage answer;
  EXPECT_FALSE(session.stream->Read(&answer));
  EXPECT_FALSE(session.stream->Finish().ok());
  EXPECT_FALSE(AskOwnName(Channel(server)).ok());
  server.server().Stop(Duration::zero());
}

TEST_F(ServerTest, StopWaitsForASessionThatEndsInTime) {
  TestServer server(root_.IssueServer());
  const auto stub = v1::Federation::NewStub(Channel(server));
  Session session = Connect(*stub);
  ASSERT_TRUE(Greets(*session.stream));

  std::thread stopper([&server] { server.server().Stop(std::chrono::seconds(20)); });
  EXPECT_TRUE(Greets(*session.stream));
  session.stream->WritesDone();
  EXPECT_TRUE(session.stream->Finish().ok());
  stopper.join();
}

TEST(PeerCertificatesTest, FindsNoneOutsideOfACall) {
  PeerCertificates peers;
  const grpc::ServerContext context;

  EXPECT_EQ(peers.Find(context).status().code(), StatusCode::kUnauthenticated);
}

}  // namespace
}  // namespace chorale::rpc
