#include <cstdlib>
#include <map>
#include <string>

#include "core/rpc/channel.h"
#include "gtest/gtest.h"
#include "tests/core/rpc/proxy_environment.h"

namespace chorale::rpc {
namespace {

constexpr const char* kProxy = "http://proxy.test:3128";

TEST(ProxyFromEnvironmentTest, IsEmptyWithoutVariables) {
  const ProxyEnvironment environment({});

  EXPECT_EQ(ProxyFromEnvironment("coordinator.test"), "");
}

TEST(ProxyFromEnvironmentTest, ReadsLowerCaseFirstThenUpperCase) {
  {
    const ProxyEnvironment environment({{"HTTPS_PROXY", kProxy}});
    EXPECT_EQ(ProxyFromEnvironment("coordinator.test"), kProxy);
  }
  {
    const ProxyEnvironment environment({{"https_proxy", kProxy}, {"HTTPS_PROXY", "http://no:1"}});
    EXPECT_EQ(ProxyFromEnvironment("coordinator.test"), kProxy);
  }
  {
    const ProxyEnvironment environment({{"https_proxy", ""}, {"HTTPS_PROXY", kProxy}});
    EXPECT_EQ(ProxyFromEnvironment("coordinator.test"), kProxy);
  }
}

TEST(ProxyFromEnvironmentTest, LeavesOutWhatNoProxyNames) {
  for (const char* variable : {"no_proxy", "NO_PROXY"}) {
    for (const char* exceptions : {"coordinator.test", "a.test, coordinator.test ,b.test", "test",
                                   ".test", "*.test", "*", "COORDINATOR.test"}) {
      const ProxyEnvironment environment({{"https_proxy", kProxy}, {variable, exceptions}});
      EXPECT_EQ(ProxyFromEnvironment("Coordinator.Test"), "") << exceptions;
    }
  }
}

TEST(ProxyFromEnvironmentTest, MatchesWholeLabelsOnly) {
  for (const char* exceptions : {"", ",", "ator.test", "other.test", "x.coordinator.test", ".",
                                 "coordinator.tes", "*.coordinator.test.org"}) {
    const ProxyEnvironment environment({{"https_proxy", kProxy}, {"no_proxy", exceptions}});
    EXPECT_EQ(ProxyFromEnvironment("coordinator.test"), kProxy) << exceptions;
  }
}

TEST(ProxyFromEnvironmentTest, DialsThisMachineDirectly) {
  const ProxyEnvironment environment({{"https_proxy", kProxy}});

  for (const char* host : {"localhost", "127.0.0.1", "127.1.2.3", "::1"}) {
    EXPECT_EQ(ProxyFromEnvironment(host), "") << host;
  }
  EXPECT_EQ(ProxyFromEnvironment("127.example.org"), kProxy);
  EXPECT_EQ(ProxyFromEnvironment("localhost.example.org"), kProxy);
}

}  // namespace
}  // namespace chorale::rpc
