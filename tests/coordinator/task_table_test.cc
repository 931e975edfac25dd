#include "coordinator/task_table.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>

namespace chorale::coordinator {
namespace {

const JobId kJob("j1");
const RoundKey kRound{RoundNumber(1), 1};
const SiteId kNorth("north");
const TaskId kTask = TaskIdOf(kJob, kRound, kNorth);

class TaskTableTest : public testing::Test {
 protected:
  TaskTableTest() {
    table_.Open({.id = kTask, .job = kJob, .round = kRound, .site = kNorth, .payload_bytes = 8});
  }
  StatusOr<TaskTable::Transfer> Begin() {
    return table_.Begin(kTask, kNorth, TaskTable::Direction::kDown, [this] { ++num_cancelled_; });
  }

  int num_cancelled_ = 0;
  TaskTable table_{3};
};

TEST_F(TaskTableTest, NamesTasksByJobRoundAttemptAndSite) {
  EXPECT_EQ(kTask.value(), "j1/1/1/north");
}

TEST_F(TaskTableTest, FindsAnOpenTask) {
  const StatusOr<OpenTask> task = table_.Find(kTask, kNorth);

  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->payload_bytes, 8u);
}

TEST_F(TaskTableTest, ShowsATaskToNoOtherSite) {
  EXPECT_EQ(table_.Find(kTask, SiteId("south")).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(TaskTableTest, SaysThatAnUnknownTaskIsClosed) {
  EXPECT_EQ(table_.Find(TaskId("j9/1/1/north"), kNorth).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(TaskTableTest, CancelsTransfersWhenTheRoundCloses) {
  const auto transfer = Begin();
  ASSERT_TRUE(transfer.ok());

  table_.Close(kJob, kRound);

  EXPECT_EQ(num_cancelled_, 1);
  EXPECT_EQ(Begin().status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(TaskTableTest, TellsWhoeverAsksForASuspendedTaskToTryAgainUntilItIsOpened) {
  const auto transfer = Begin();
  ASSERT_TRUE(transfer.ok());
  const OpenTask task = *table_.Find(kTask, kNorth);

  table_.Suspend(kJob, kRound);

  EXPECT_EQ(num_cancelled_, 1);
  EXPECT_EQ(Begin().status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(table_.Find(kTask, kNorth).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(table_.Find(kTask, SiteId("south")).status().code(), StatusCode::kPermissionDenied);
  table_.Open(task);
  EXPECT_TRUE(Begin().ok());
}

TEST_F(TaskTableTest, OneCallAtATimeWaitsForATransferToEnd) {
  const crypto::BlobId payload = crypto::IdentifyBlob(Bytes{1});
  std::promise<void> cancelled;
  std::optional<StatusOr<TaskTable::Transfer>> transfer = table_.Begin(
      kTask, kNorth, TaskTable::Direction::kUp, [&cancelled] { cancelled.set_value(); });
  ASSERT_TRUE(transfer->ok());
  std::future<StatusOr<std::uint64_t>> first = std::async(std::launch::async, [&] {
    return table_.FindPartial(kTask, kNorth, payload, std::chrono::minutes(1));
  });
  cancelled.get_future().wait();

  EXPECT_EQ(table_.FindPartial(kTask, kNorth, payload, std::chrono::minutes(1)).status().code(),
            StatusCode::kResourceExhausted);
  transfer.reset();
  EXPECT_EQ(*first.get(), 0u);
  EXPECT_EQ(*table_.FindPartial(kTask, kNorth, payload, Duration(0)), 0u);
}

TEST_F(TaskTableTest, ATransferThatDoesNotEndIsNotWaitedForForEver) {
  const auto transfer = table_.Begin(kTask, kNorth, TaskTable::Direction::kUp, [] {});

  EXPECT_EQ(table_.FindPartial(kTask, kNorth, crypto::IdentifyBlob(Bytes{1}), Duration(1))
                .status()
                .code(),
            StatusCode::kResourceExhausted);
}

TEST_F(TaskTableTest, ASuspendedTaskMayBeClosed) {
  table_.Suspend(kJob, kRound);
  table_.Close(kJob, kRound);

  EXPECT_EQ(Begin().status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(TaskTableTest, ClosesOneRoundOnly) {
  const RoundKey tenth{RoundNumber(10), 1};
  const TaskId other = TaskIdOf(kJob, tenth, kNorth);
  table_.Open({.id = other, .job = kJob, .round = tenth, .site = kNorth});

  table_.Close(kJob, kRound);

  EXPECT_TRUE(table_.Find(other, kNorth).ok());
}

TEST_F(TaskTableTest, DoesNotCancelATransferThatHasEnded) {
  { const auto transfer = Begin(); }

  table_.Close(kJob, kRound);

  EXPECT_EQ(num_cancelled_, 0);
}

TEST_F(TaskTableTest, BoundsTheTransfersOfATask) {
  const auto first = Begin();
  const auto second = Begin();

  EXPECT_EQ(Begin().status().code(), StatusCode::kResourceExhausted);
}

TEST_F(TaskTableTest, BoundsAllTransfers) {
  const TaskId south = TaskIdOf(kJob, kRound, SiteId("south"));
  table_.Open({.id = south, .job = kJob, .round = kRound, .site = SiteId("south")});
  const auto first = Begin();
  const auto second = Begin();
  std::optional<StatusOr<TaskTable::Transfer>> third =
      table_.Begin(south, SiteId("south"), TaskTable::Direction::kDown, [] {});
  ASSERT_TRUE(third->ok());

  EXPECT_EQ(
      table_.Begin(south, SiteId("south"), TaskTable::Direction::kDown, [] {}).status().code(),
      StatusCode::kResourceExhausted);
  third.reset();
  EXPECT_TRUE(table_.Begin(south, SiteId("south"), TaskTable::Direction::kDown, [] {}).ok());
}

TEST_F(TaskTableTest, CountsBytesOverAllTransfersOfATask) {
  {
    auto first = Begin();
    first->AddBytesDown(10);
  }
  auto second = Begin();
  second->AddBytesDown(5);

  EXPECT_EQ(second->bytes_down(), 15u);
}

TEST_F(TaskTableTest, RemembersWhatWasReported) {
  table_.MarkReported(kTask, {.payload = {.size_bytes = 8, .digest = {1}}, .num_examples = 3});

  EXPECT_EQ(table_.Find(kTask, kNorth)->report->num_examples, 3u);
}

TEST_F(TaskTableTest, CancelsCallsThatStaySilent) {
  const Time start{std::chrono::seconds(100)};
  int num_cancelled = 0;
  const auto cancel = [&] { ++num_cancelled; };
  std::optional<StatusOr<TaskTable::SilentCall>> spoke = table_.BeginSilent(kNorth, start, cancel);
  const auto silent = table_.BeginSilent(kNorth, start, cancel);
  const auto later = table_.BeginSilent(kNorth, start + std::chrono::seconds(5), cancel);
  spoke.reset();

  table_.CancelSilent(start + std::chrono::seconds(1));

  EXPECT_EQ(num_cancelled, 1);
}

TEST_F(TaskTableTest, BoundsTheSilentCallsOfASite) {
  std::vector<StatusOr<TaskTable::SilentCall>> calls;
  for (int i = 0; i < 16; ++i) calls.push_back(table_.BeginSilent(kNorth, Time(), [] {}));

  EXPECT_EQ(table_.BeginSilent(kNorth, Time(), [] {}).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_TRUE(table_.BeginSilent(SiteId("south"), Time(), [] {}).ok());
}

}  // namespace
}  // namespace chorale::coordinator
