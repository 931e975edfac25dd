#include "site_agent/federation_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "core/chunking.h"
#include "core/rpc/chunks.h"
#include "core/rpc/tls.h"
#include "site_agent/journal.h"
#include "site_agent/release_guard.h"
#include "tests/site_agent/fake_coordinator.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

using testing::HasSubstr;

// Keeps what the link tells; waits are bounded.
class RecordingObserver final : public LinkObserver {
 public:
  void OnOpened() override {
    Note([this] { ++num_opened; });
  }
  void OnMessage(v1::CoordinatorMessage message) override {
    Note([&] { messages.push_back(std::move(message)); });
  }
  void OnClosed(const Status& reason) override {
    Note([&] { closed.push_back(reason); });
  }

  template <typename Condition>
  bool Wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(2), condition);
  }
  Status WaitForClosed() {
    EXPECT_TRUE(Wait([this] { return !closed.empty(); }));
    const std::lock_guard lock(mutex_);
    return closed.empty() ? OkStatus() : closed.back();
  }

  int num_opened = 0;
  std::vector<v1::CoordinatorMessage> messages;
  std::vector<Status> closed;

 private:
  template <typename Change>
  void Note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

class FederationClientTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    rpc::InitializeRpc();
    pki_ = new support::TestPki();
  }
  static void TearDownTestSuite() { delete pki_; }

  FederationClient MakeClient(const std::string& address) {
    return FederationClient({.coordinator = address, .proxy = "none"}, north_, clock_);
  }

  static support::TestPki* pki_;
  identity::Identity north_ = pki_->Load(v1::PARTY_ROLE_SITE, "north");
  SystemClock clock_;
  FakeCoordinator coordinator_{*pki_};
  RecordingObserver observer_;
};

support::TestPki* FederationClientTest::pki_ = nullptr;

TEST_F(FederationClientTest, CarriesTheSessionBothWaysAndSaysGoodbye) {
  support::TemporaryDirectory directory;
  auto journal = *Journal::Open(directory.path() / "state");
  FederationClient client = MakeClient(coordinator_.address());
  ReleaseGuard guard(client, *journal, clock_, {"heart"});
  client.Dial(observer_);
  ASSERT_TRUE(observer_.Wait([this] { return observer_.num_opened == 1; }));

  ASSERT_TRUE(guard.Release(HelloRelease{{"heart"}, {}}).ok());

  EXPECT_EQ(coordinator_.WaitFor(v1::SiteMessage::kHello).hello().datasets(0), "heart");
  ASSERT_TRUE(observer_.Wait([this] { return observer_.messages.size() == 1; }));
  EXPECT_EQ(observer_.messages[0].hello().coordinator_version(), "test");
  client.HangUp();
  EXPECT_EQ(observer_.WaitForClosed().code(), StatusCode::kUnavailable);
  EXPECT_EQ(guard.Release(HeartbeatRelease{}).code(), StatusCode::kUnavailable);
}

TEST_F(FederationClientTest, TellsWhenTheCoordinatorEndsTheSession) {
  support::TemporaryDirectory directory;
  auto journal = *Journal::Open(directory.path() / "state");
  FederationClient client = MakeClient(coordinator_.address());
  ReleaseGuard guard(client, *journal, clock_, {});
  client.Dial(observer_);
  ASSERT_TRUE(observer_.Wait([this] { return observer_.num_opened == 1; }));
  ASSERT_TRUE(guard.Release(HelloRelease{}).ok());
  coordinator_.WaitFor(v1::SiteMessage::kHello);

  coordinator_.EndSession();

  EXPECT_FALSE(observer_.WaitForClosed().ok());
  client.Dial(observer_);  // And again.
  EXPECT_TRUE(observer_.Wait([this] { return observer_.num_opened == 2; }));
}

TEST_F(FederationClientTest, FetchesABlobFromWhereItIsTold) {
  FederationClient client = MakeClient(coordinator_.address());
  client.Dial(observer_);
  ASSERT_TRUE(observer_.Wait([this] { return observer_.num_opened == 1; }));
  const Bytes content(2 * kChunkBytes + 5, 9);
  coordinator_.AddBlob(content);
  Cancellation cancellation;
  std::vector<std::uint64_t> offsets;

  const Status fetched = client.Fetch(
      TaskId("t"), crypto::IdentifyBlob(content), kChunkBytes,
      [&](const v1::Chunk& chunk) {
        offsets.push_back(chunk.offset_bytes());
        return OkStatus();
      },
      cancellation);

  EXPECT_TRUE(fetched.ok()) << fetched;
  EXPECT_EQ(offsets, (std::vector<std::uint64_t>{kChunkBytes, 2 * kChunkBytes}));
}

TEST_F(FederationClientTest, AFetchStopsAtTheFirstChunkThatIsRefused) {
  FederationClient client = MakeClient(coordinator_.address());
  client.Dial(observer_);
  ASSERT_TRUE(observer_.Wait([this] { return observer_.num_opened == 1; }));
  const Bytes content(5 * kChunkBytes, 9);
  coordinator_.AddBlob(content);
  Cancellation cancellation;

  EXPECT_EQ(client
                .Fetch(
                    TaskId("t"), crypto::IdentifyBlob(content), 0,
                    [](const v1::Chunk&) { return DataLoss("bad chunk"); }, cancellation)
                .code(),
            StatusCode::kDataLoss);
  cancellation.Cancel();
  EXPECT_FALSE(client
                   .Fetch(
                       TaskId("t"), crypto::IdentifyBlob(content), 0,
                       [](const v1::Chunk&) { return OkStatus(); }, cancellation)
                   .ok());
}

TEST_F(FederationClientTest, ABlobThatIsNotTheTasksIsDenied) {
  FederationClient client = MakeClient(coordinator_.address());
  client.Dial(observer_);
  ASSERT_TRUE(observer_.Wait([this] { return observer_.num_opened == 1; }));
  Cancellation cancellation;

  EXPECT_EQ(client
                .Fetch(
                    TaskId("t"), {.size_bytes = 4, .digest = {}}, 0,
                    [](const v1::Chunk&) { return OkStatus(); }, cancellation)
                .code(),
            StatusCode::kPermissionDenied);
}

TEST_F(FederationClientTest, WithoutAConnectionNothingIsFetched) {
  FederationClient client = MakeClient(coordinator_.address());
  Cancellation cancellation;

  EXPECT_EQ(client
                .Fetch(
                    TaskId("t"), {.size_bytes = 4, .digest = {}}, 0,
                    [](const v1::Chunk&) { return OkStatus(); }, cancellation)
                .code(),
            StatusCode::kUnavailable);
}

TEST_F(FederationClientTest, SaysPlainlyThatItsOwnCertificateExpired) {
  const identity::Identity expired = pki_->LoadExpired(v1::PARTY_ROLE_SITE, "south");
  FederationClient client({.coordinator = coordinator_.address(), .proxy = "none"}, expired,
                          clock_);

  client.Dial(observer_);

  const Status reason = observer_.WaitForClosed();
  EXPECT_EQ(reason.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(MessageOf(reason), HasSubstr("this site's own certificate"));
  EXPECT_EQ(observer_.num_opened, 0);
}

TEST_F(FederationClientTest, ACoordinatorOfAnotherFederationIsNotTrusted) {
  support::TestPki other("other");
  FakeCoordinator impostor(other);
  FederationClient client = MakeClient(impostor.address());

  client.Dial(observer_);

  EXPECT_FALSE(observer_.WaitForClosed().ok());
  EXPECT_EQ(observer_.num_opened, 0);
}

TEST_F(FederationClientTest, NobodyListeningIsExplained) {
  const std::string address = [] {
    FakeCoordinator gone(*pki_);
    return gone.address();
  }();
  FederationClient client = MakeClient(address);

  client.Dial(observer_);

  const Status reason = observer_.WaitForClosed();
  EXPECT_EQ(reason.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(reason), HasSubstr(address));
  EXPECT_EQ(observer_.num_opened, 0);
}

TEST_F(FederationClientTest, AMalformedAddressIsToldNotCrashedOn) {
  FederationClient client = MakeClient("::::");

  client.Dial(observer_);

  EXPECT_EQ(observer_.WaitForClosed().code(), StatusCode::kInvalidArgument);
}

TEST_F(FederationClientTest, DestructionEndsASessionUnderWay) {
  {
    FederationClient client = MakeClient(coordinator_.address());
    client.Dial(observer_);
    ASSERT_TRUE(observer_.Wait([this] { return observer_.num_opened == 1; }));
  }
  EXPECT_EQ(observer_.closed.size(), 1u);
}

}  // namespace
}  // namespace chorale::site_agent
