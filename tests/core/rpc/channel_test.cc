#include "core/rpc/channel.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/rpc/proxy_environment.h"
#include "tests/core/rpc/test_federation.h"

namespace chorale::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

class ChannelTest : public ::testing::Test {
 protected:
  Status Make(const std::string& address, const std::string& proxy) {
    return MakeChannel({.address = address, .proxy = proxy, .keepalive_interval = seconds(10)},
                       client_.Tls())
        .status();
  }
  TestParty client_ = TestRoot().IssueClient("north");
  ProxyEnvironment environment_{{}};
};

TEST_F(ChannelTest, RefusesMalformedAddresses) {
  for (const char* address : {"", "coordinator", "coordinator:0", "https://coordinator:443",
                              "unix:/run/chorale.sock", "coordinator:port"}) {
    const Status refused = Make(address, "none");
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(MessageOf(refused), HasSubstr("address")) << address;
  }
}

TEST_F(ChannelTest, TakesProxiesWithAndWithoutSchemeUserAndSlash) {
  for (const char* proxy : {"http://proxy:3128", "proxy:3128", "http://user:p%40ss@proxy:3128/",
                            "http://10.0.0.1:8080", "none", ""}) {
    EXPECT_TRUE(Make("coordinator:443", proxy).ok()) << proxy;
  }
}

TEST_F(ChannelTest, RefusesProxiesThatGrpcCannotUse) {
  for (const char* proxy : {"https://proxy:3128", "socks5://proxy:1080", "http://proxy",
                            "http://proxy:0", "http://100%:x@proxy:1", "http://proxy:3128/path"}) {
    const Status refused = Make("coordinator:443", proxy);
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << proxy;
    EXPECT_THAT(MessageOf(refused), HasSubstr("proxy")) << proxy;
  }
}

TEST_F(ChannelTest, NeverRepeatsAProxysPassword) {
  const Status refused = Make("coordinator:443", "http://user:opensesame@proxy");

  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(refused), Not(HasSubstr("opensesame")));
}

TEST_F(ChannelTest, NamesTheVariableOfAMalformedProxy) {
  const ProxyEnvironment environment({{"HTTPS_PROXY", "https://proxy:3128"}});

  EXPECT_THAT(MessageOf(Make("coordinator:443", "")), HasSubstr("HTTPS_PROXY"));
}

// Always the same share of the span.
class ConstantRandom final : public RandomSource {
 public:
  explicit ConstantRandom(std::uint8_t byte) : byte_(byte) {}
  void Fill(std::span<std::uint8_t> bytes) override {
    for (std::uint8_t& byte : bytes) byte = byte_;
  }

 private:
  std::uint8_t byte_;
};

TEST(BackoffTest, DoublesUpToTheLongest) {
  ConstantRandom highest(0xff);
  Backoff backoff(milliseconds(100), seconds(1), highest);

  for (const int expected_ms : {100, 200, 400, 800, 1000, 1000, 1000}) {
    EXPECT_NEAR(static_cast<double>(backoff.Next().count()), expected_ms * 1000.0, 1.0);
  }
}

TEST(BackoffTest, DrawsFromTheUpperHalf) {
  ConstantRandom lowest(0);
  Backoff backoff(milliseconds(100), seconds(1), lowest);

  EXPECT_EQ(backoff.Next(), milliseconds(50));
  EXPECT_EQ(backoff.Next(), milliseconds(100));
}

TEST(BackoffTest, BeginsAgainAfterAReset) {
  ConstantRandom lowest(0);
  Backoff backoff(milliseconds(100), seconds(1), lowest);
  for (int i = 0; i < 100; ++i) EXPECT_LE(backoff.Next(), seconds(1));

  backoff.Reset();

  EXPECT_EQ(backoff.Next(), milliseconds(50));
}

TEST(BackoffTest, StaysWithinBoundsForARealRandomSource) {
  SeededRandom random(11);
  Backoff backoff(milliseconds(100), seconds(1), random);
  EXPECT_GE(backoff.Next(), milliseconds(50));
  for (int i = 0; i < 1000; ++i) {
    const Duration pause = backoff.Next();
    EXPECT_GE(pause, milliseconds(100));
    EXPECT_LE(pause, seconds(1));
  }
}

TEST(BackoffTest, NeverPassesALongestBelowItsBase) {
  ConstantRandom highest(0xff);
  Backoff backoff(seconds(5), seconds(1), highest);

  EXPECT_LE(backoff.Next(), seconds(1));
}

}  // namespace
}  // namespace chorale::rpc
