#include "core/rpc/keepalive.h"

#include <grpc/grpc.h>

#include <map>
#include <string>

#include "gtest/gtest.h"
#include "tests/core/rpc/test_federation.h"

namespace chorale::rpc {
namespace {

std::map<std::string, int> Arguments(Duration interval) {
  std::map<std::string, int> arguments;
  for (const IntArgument& argument : KeepaliveArguments(interval)) {
    arguments[argument.name] = argument.value;
  }
  return arguments;
}

TEST(KeepaliveTest, WaitsAtLeastASecondAndAtMostTwentyForAnAnswer) {
  EXPECT_EQ(Arguments(std::chrono::milliseconds(10)).at(GRPC_ARG_KEEPALIVE_TIMEOUT_MS), 1'000);
  EXPECT_EQ(Arguments(std::chrono::seconds(5)).at(GRPC_ARG_KEEPALIVE_TIMEOUT_MS), 5'000);
  EXPECT_EQ(Arguments(std::chrono::hours(1)).at(GRPC_ARG_KEEPALIVE_TIMEOUT_MS), 20'000);
}

TEST(KeepaliveTest, IsOffForAnIntervalOfZero) { EXPECT_TRUE(Arguments(Duration::zero()).empty()); }

TEST(KeepaliveTest, StaysInRangeForAnAbsurdInterval) {
  EXPECT_GT(Arguments(Duration::max()).at(GRPC_ARG_KEEPALIVE_TIME_MS), 0);
}

// The one test here that takes a second: what it shows cannot be seen in less.
TEST(KeepaliveTest, ServerBearsPingsOnAnIdleConnection) {
  const TestRoot root;
  const TestParty client = root.IssueClient("north");
  TestServer server(root.IssueServer());
  const auto channel = *MakeChannel({.address = server.address(),
                                     .proxy = "none",
                                     .keepalive_interval = std::chrono::milliseconds(150)},
                                    client.Tls());
  ASSERT_TRUE(AskOwnName(channel).ok());
  ASSERT_EQ(channel->GetState(false), GRPC_CHANNEL_READY);

  const bool has_changed = channel->WaitForStateChange(
      GRPC_CHANNEL_READY, std::chrono::system_clock::now() + std::chrono::milliseconds(1'000));

  EXPECT_FALSE(has_changed);
}

}  // namespace
}  // namespace chorale::rpc
