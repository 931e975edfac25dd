#include "coordinator/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/bytes.h"
#include "core/storage/file.h"
#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

constexpr std::string_view kMinimal = R"(# Where sites dial.
listen: 127.0.0.1:0
state_directory: state
identity_directory: /etc/chorale/identity
roster: roster.yaml
)";

class CoordinatorConfigTest : public testing::Test {
 protected:
  StatusOr<v1::CoordinatorConfig> Load(const std::string& text) {
    const auto path = directory_.path() / "coordinator.yaml";
    EXPECT_TRUE(storage::WriteFileAtomically(path, AsBytes(text), storage::FileMode::kPublic).ok());
    return LoadConfig(path);
  }
  std::string MessageFor(const std::string& extra) {
    const auto config = Load(std::string(kMinimal) + extra);
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument);
    return MessageOf(config.status());
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
};

TEST_F(CoordinatorConfigTest, FillsInDefaultsAndResolvesPaths) {
  const auto config = Load(std::string(kMinimal));

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_directory(), (directory_.path() / "state").string());
  EXPECT_EQ(config->identity_directory(), "/etc/chorale/identity");
  EXPECT_EQ(config->roster(), (directory_.path() / "roster.yaml").string());
  EXPECT_EQ(config->max_running_jobs(), 4u);
  EXPECT_EQ(config->max_queued_jobs(), 1000u);
  EXPECT_GE(config->threads(), 1u);
  EXPECT_EQ(config->heartbeat_interval().seconds(), 10);
  EXPECT_EQ(config->max_model_bytes(), 64ull << 30);
}

TEST_F(CoordinatorConfigTest, NamesFileLineAndBoundOfABrokenValue) {
  const std::string message = MessageFor("max_running_jobs: 257\n");

  EXPECT_THAT(message, HasSubstr("coordinator.yaml:6"));
  EXPECT_THAT(message, HasSubstr("must be in [1, 256], got 257"));
}

TEST_F(CoordinatorConfigTest, RefusesValuesOutOfBounds) {
  EXPECT_THAT(MessageFor("max_queued_jobs: 100001\n"), HasSubstr("max_queued_jobs"));
  EXPECT_THAT(MessageFor("threads: 1025\n"), HasSubstr("threads"));
  EXPECT_THAT(MessageFor("heartbeat_interval: 500ms\n"), HasSubstr("must be in [1 s, 5 min]"));
  EXPECT_THAT(MessageFor("heartbeat_interval: 6min\n"), HasSubstr("must be in [1 s, 5 min]"));
  EXPECT_THAT(MessageFor("metrics_listen: nowhere\n"), HasSubstr("must be host:port"));
  EXPECT_THAT(MessageFor("log: {level: loud}\n"), HasSubstr("log"));
}

TEST_F(CoordinatorConfigTest, RefusesAnUnknownKeyWithTheNearestValidOne) {
  EXPECT_THAT(MessageFor("max_runing_jobs: 2\n"), HasSubstr("max_running_jobs"));
}

TEST_F(CoordinatorConfigTest, DemandsWhatHasNoDefault) {
  EXPECT_THAT(MessageOf(Load("listen: 127.0.0.1:0\n").status()), HasSubstr("state_directory"));
  EXPECT_THAT(MessageOf(Load("state_directory: s\n").status()), HasSubstr("listen"));
}

TEST_F(CoordinatorConfigTest, RefusesAnAddressWithoutASoundPort) {
  for (const char* address : {"localhost", "localhost:", ":99", "localhost:70000", "localhost:x"}) {
    v1::CoordinatorConfig config;
    config.set_listen(address);

    EXPECT_EQ(Validate(config).code(), StatusCode::kInvalidArgument) << address;
  }
}

TEST_F(CoordinatorConfigTest, TellsThatThereIsNoFile) {
  EXPECT_EQ(LoadConfig("/nonexistent/coordinator.yaml").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::coordinator
