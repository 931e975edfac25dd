#include "cli/address.h"

#include <gtest/gtest.h>

#include <string>

namespace chorale::cli {
namespace {

TEST(AddressTest, AcceptsNamesAndAddressesAsHosts) {
  for (const char* host : {"localhost", "coordinator.example.org", "10.0.0.7", "::1", "a-b.c1"}) {
    EXPECT_TRUE(ValidateHost(host).ok()) << host;
  }
}

TEST(AddressTest, RefusesHostsWithPortSchemeOrStrayCharacters) {
  for (const std::string host : {"", "host:8443", "https://host", ".host", "host.", "-host",
                                 "host-", "a..b", "ho st", "host/", "h\x1bst"}) {
    EXPECT_EQ(ValidateHost(host).code(), StatusCode::kInvalidArgument) << host;
  }
  EXPECT_EQ(ValidateHost(std::string(64, 'a')).code(), StatusCode::kInvalidArgument);
}

TEST(AddressTest, AcceptsWhatCanBeDialled) {
  for (const char* address : {"localhost:1", "10.0.0.7:8443", "[::1]:65535"}) {
    EXPECT_TRUE(ValidateDialAddress("coordinator", address).ok()) << address;
  }
}

TEST(AddressTest, RefusesWhatCannotBeDialledAndNamesTheField) {
  for (const char* address : {"localhost", "localhost:", "localhost:x", "localhost:65536", "::1:80",
                              ":80", "localhost:0"}) {
    const Status status = ValidateDialAddress("--coordinator", address);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << address;
    EXPECT_NE(MessageOf(status).find("--coordinator"), std::string::npos) << address;
  }
}

TEST(AddressTest, TellsAddressesFromNames) {
  EXPECT_TRUE(IsIpAddress("127.0.0.1"));
  EXPECT_TRUE(IsIpAddress("fe80::1"));
  EXPECT_FALSE(IsIpAddress("localhost"));
  EXPECT_FALSE(IsIpAddress("127.0.0"));
}

}  // namespace
}  // namespace chorale::cli
