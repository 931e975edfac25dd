// Whole connections through an HTTP CONNECT proxy.
#include "tests/core/rpc/connect_proxy.h"

#include <string>

#include "core/rpc/channel.h"
#include "core/rpc/status_conversion.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/rpc/proxy_environment.h"
#include "tests/core/rpc/test_federation.h"

namespace chorale::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The name exists in no DNS (RFC 6761), so that only the proxy can reach it.
constexpr const char* kHost = "coordinator.test";

class ConnectProxyTest : public ::testing::Test {
 protected:
  StatusOr<std::string> Ask(const std::string& proxy) {
    CHORALE_ASSIGN_OR_RETURN(
        const auto channel,
        MakeChannel({.address = address_, .proxy = proxy, .keepalive_interval = {}},
                    client_.Tls()));
    StatusOr<std::string> name = AskOwnName(channel);
    if (!name.ok()) return ExplainConnectionFailure(name.status(), address_);
    return name;
  }

  TestRoot root_;
  TestParty client_ = root_.IssueClient("north");
  TestServer server_{root_.IssueServer()};
  std::string address_ = std::string(kHost) + ":" + std::to_string(server_.port());
  std::string request_ = "CONNECT " + address_ + " HTTP/1.1";
};

TEST_F(ConnectProxyTest, ReachesTheServerThroughEitherVariable) {
  for (const char* variable : {"https_proxy", "HTTPS_PROXY"}) {
    const ConnectProxy proxy({.target_port = server_.port()});
    const ProxyEnvironment environment({{variable, proxy.url()}});

    const StatusOr<std::string> name = Ask("");

    ASSERT_TRUE(name.ok()) << variable << ": " << name.status();
    EXPECT_EQ(*name, "north");
    EXPECT_THAT(proxy.requests(), ElementsAre(request_));
  }
}

TEST_F(ConnectProxyTest, TakesTheConfiguredProxyWhateverTheEnvironmentSays) {
  const ConnectProxy proxy({.target_port = server_.port()});
  const ProxyEnvironment environment(
      {{"https_proxy", "http://127.0.0.1:1"}, {"no_proxy", kHost}, {"NO_PROXY", "*"}});

  EXPECT_EQ(Ask(proxy.authority()), StatusOr<std::string>("north"));
}

TEST_F(ConnectProxyTest, LeavesTheProxyOutForNoProxyAndForNone) {
  address_ = server_.address();
  const ConnectProxy proxy({.target_port = server_.port()});
  const ProxyEnvironment all({{"https_proxy", proxy.url()},
                              {"http_proxy", proxy.url()},
                              {"grpc_proxy", proxy.url()},
                              {"NO_PROXY", "127.0.0.1"}});

  EXPECT_EQ(Ask(""), StatusOr<std::string>("north"));
  EXPECT_EQ(Ask("none"), StatusOr<std::string>("north"));
  EXPECT_THAT(proxy.requests(), IsEmpty());
}

TEST_F(ConnectProxyTest, HonoursNoProxyInEitherCase) {
  for (const char* variable : {"no_proxy", "NO_PROXY"}) {
    const ConnectProxy proxy({.target_port = server_.port()});
    const ProxyEnvironment environment({{"https_proxy", proxy.url()}, {variable, ".test"}});

    const Status failed = Ask("").status();

    EXPECT_THAT(MessageOf(failed), HasSubstr("host name is unknown")) << failed;
    EXPECT_THAT(proxy.requests(), IsEmpty());
  }
}

TEST_F(ConnectProxyTest, ShowsTheProxyItsPassword) {
  const ConnectProxy proxy({.target_port = server_.port(), .required_credentials = "anna:p@ss"});
  const ProxyEnvironment environment({});

  EXPECT_EQ(Ask("http://anna:p%40ss@" + proxy.authority()), StatusOr<std::string>("north"));
}

TEST_F(ConnectProxyTest, ExplainsAMissingPassword) {
  const ConnectProxy proxy({.target_port = server_.port(), .required_credentials = "anna:secret"});
  const ProxyEnvironment environment({});

  const Status refused = Ask(proxy.url()).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused), HasSubstr("407"));
  EXPECT_THAT(MessageOf(refused), HasSubstr("user name and a password"));
}

TEST_F(ConnectProxyTest, ExplainsARefusal) {
  const ConnectProxy proxy({.target_port = server_.port(), .refuse_with = 403});
  const ProxyEnvironment environment({});

  const Status refused = Ask(proxy.url()).status();

  EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused), HasSubstr("403"));
  EXPECT_THAT(MessageOf(refused), HasSubstr("forbids"));
}

TEST_F(ConnectProxyTest, ExplainsAProxyThatIsNotThere) {
  std::string gone;
  {
    const ConnectProxy proxy({.target_port = server_.port()});
    gone = proxy.url();
  }
  const ProxyEnvironment environment({});

  EXPECT_THAT(MessageOf(Ask(gone).status()), HasSubstr("nothing listens"));
}

// TLS inspection: the proxy leads to a server that speaks for the name with a certificate of its
// own.
TEST_F(ConnectProxyTest, ExplainsAForeignCertificate) {
  const TestRoot inspector;
  const TestServer inspection(inspector.IssueServer());
  const ConnectProxy proxy({.target_port = inspection.port()});
  const ProxyEnvironment environment({});

  EXPECT_THAT(MessageOf(Ask(proxy.url()).status()), HasSubstr("TLS inspection"));
}

}  // namespace
}  // namespace chorale::rpc
