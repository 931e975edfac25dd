#include "core/rpc/address.h"

#include <string>

#include "gtest/gtest.h"

namespace chorale::rpc {
namespace {

TEST(AddressTest, ReadsNamesAndAddresses) {
  EXPECT_EQ(ParseAddress("address", "coordinator.test:443")->host, "coordinator.test");
  EXPECT_EQ(ParseAddress("address", "coordinator.test:443")->port, 443);
  EXPECT_EQ(ParseAddress("address", "127.0.0.1:0")->port, 0);
  EXPECT_EQ(ParseAddress("address", "[::1]:65535")->host, "::1");
}

TEST(AddressTest, RefusesWhatCouldBeAnotherKindOfTarget) {
  for (const std::string text :
       {"", ":", "host", "host:", ":443", "host:65536", "host:-1", "host:+1", "host: 1", "host:1 ",
        "unix:/tmp/s:1", "dns:///host:443", "a b:1", "host\n:1", "::1:443", "[]:443", "[::1:443",
        "user@host:1", "xds:///a:1"}) {
    const Status refused = ParseAddress("listen", text).status();
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(MessageOf(refused).find("listen must"), 0u);
  }
  EXPECT_FALSE(ParseAddress("listen", std::string(300, 'a') + ":1").ok());
}

}  // namespace
}  // namespace chorale::rpc
