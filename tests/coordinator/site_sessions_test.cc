#include "coordinator/site_sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;

const SiteId kNorth("north");
const SessionId kFirst(1);
const SessionId kSecond(2);

class RecordingChannel final : public SiteChannel {
 public:
  void Send(v1::CoordinatorMessage) override {}
  void Close(const Status& why) override { closed = why; }
  void Kill() override { is_killed = true; }
  [[nodiscard]] Time last_heard() const override { return {}; }
  std::optional<Status> closed;
  bool is_killed = false;
};

class SiteSessionsTest : public testing::Test {
 protected:
  std::shared_ptr<RecordingChannel> Open(SessionId id) {
    auto channel = std::make_shared<RecordingChannel>();
    sessions_.Open(id, {.site = kNorth, .channel = channel});
    return channel;
  }

  SiteSessions sessions_;
};

TEST_F(SiteSessionsTest, ASiteIsConnectedOnceItHasGreeted) {
  Open(kFirst);
  EXPECT_EQ(sessions_.FindSite(kNorth), nullptr);
  EXPECT_EQ(sessions_.num_connected(), 0u);

  EXPECT_TRUE(sessions_.Greet(kFirst, {.agent_version = "1"}));

  ASSERT_NE(sessions_.FindSite(kNorth), nullptr);
  EXPECT_EQ(sessions_.FindSite(kNorth)->greeting->agent_version, "1");
  EXPECT_THAT(sessions_.ConnectedSites(), ElementsAre(kNorth));
}

TEST_F(SiteSessionsTest, TheNewerSessionTakesThePlaceOfTheOlder) {
  const auto older = Open(kFirst);
  sessions_.Greet(kFirst, {});
  Open(kSecond);
  EXPECT_FALSE(older->closed.has_value());  // Until the newer one has greeted.

  sessions_.Greet(kSecond, {.agent_version = "2"});

  EXPECT_EQ(older->closed->code(), StatusCode::kAborted);
  EXPECT_EQ(sessions_.FindSite(kNorth)->greeting->agent_version, "2");
  EXPECT_EQ(sessions_.Close(kFirst), std::nullopt);  // It is not the site's any more.
  EXPECT_EQ(sessions_.num_connected(), 1u);
}

TEST_F(SiteSessionsTest, ClosingThePresentSessionDisconnectsTheSite) {
  Open(kFirst);
  sessions_.Greet(kFirst, {});

  EXPECT_EQ(sessions_.Close(kFirst), kNorth);
  EXPECT_EQ(sessions_.FindSite(kNorth), nullptr);
  EXPECT_EQ(sessions_.Close(kFirst), std::nullopt);
}

TEST_F(SiteSessionsTest, AClosedSessionCannotGreet) {
  EXPECT_FALSE(sessions_.Greet(kFirst, {}));
  EXPECT_EQ(sessions_.num_connected(), 0u);
}

TEST_F(SiteSessionsTest, CutsOffWhatDoesNotEnd) {
  const auto channel = Open(kFirst);
  sessions_.Greet(kFirst, {});
  EXPECT_EQ(sessions_.End(kFirst, Unauthenticated("revoked")), kNorth);
  EXPECT_FALSE(channel->is_killed);

  sessions_.KillEnding();

  EXPECT_TRUE(channel->is_killed);
}

}  // namespace
}  // namespace chorale::coordinator
