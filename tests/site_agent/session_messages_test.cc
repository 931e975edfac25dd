#include "site_agent/session_messages.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/random.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

v1::CoordinatorMessage HelloMessage() {
  v1::CoordinatorMessage message;
  message.mutable_hello()->mutable_heartbeat_interval()->set_seconds(10);
  message.mutable_hello()->mutable_clock()->set_seconds(1'700'000'000);
  return message;
}

v1::CoordinatorMessage TaskMessage() {
  v1::CoordinatorMessage message;
  v1::Task& task = *message.mutable_task();
  task.set_task_id("job-1/1/1/north");
  task.set_job_id("job-1");
  task.set_round(1);
  task.mutable_report_deadline()->set_seconds(1'700'000'060);
  task.mutable_training()->mutable_global_model()->set_size_bytes(12);
  return message;
}

bool IsMisbehaviour(const std::optional<Event>& event) {
  return event.has_value() && std::holds_alternative<CoordinatorMisbehaved>(*event);
}

TEST(SessionMessagesTest, ReadsAGreeting) {
  const std::optional<Event> event = DecodeMessage(HelloMessage());

  ASSERT_TRUE(event.has_value());
  const auto* greeted = std::get_if<CoordinatorGreeted>(&*event);
  ASSERT_NE(greeted, nullptr);
  EXPECT_EQ(greeted->heartbeat_interval, std::chrono::seconds(10));
  EXPECT_EQ(greeted->clock, Time(std::chrono::seconds(1'700'000'000)));
}

TEST(SessionMessagesTest, ReadsWhichStateACoordinatorHasAndItsReceipt) {
  v1::CoordinatorMessage message = HelloMessage();
  message.mutable_hello()->mutable_state()->set_lineage(std::string(32, 'a'));
  message.mutable_hello()->mutable_state()->set_epoch(4);
  message.mutable_hello()->set_instance("i");
  message.mutable_hello()->set_state_version(9);
  message.mutable_hello()->set_accepts_loss(true);
  message.mutable_hello()->mutable_ledger_receipt()->set_seq(7);
  message.mutable_hello()->mutable_ledger_receipt()->set_digest(std::string(32, '\1'));

  const std::optional<Event> event = DecodeMessage(message);

  const auto& greeted = std::get<CoordinatorGreeted>(*event);
  EXPECT_EQ(greeted.state, (CoordinatorState{.lineage = std::string(32, 'a'),
                                             .epoch = 4,
                                             .instance = "i",
                                             .version = 9,
                                             .accepts_loss = true}));
  EXPECT_EQ(greeted.receipt->seq, 7u);
  v1::CoordinatorMessage task = TaskMessage();
  task.mutable_task()->set_state_version(11);
  EXPECT_EQ(std::get<TaskArrived>(*DecodeMessage(task)).state_version, 11u);
}

TEST(SessionMessagesTest, AMalformedStateOrReceiptIsMisbehaviour) {
  v1::CoordinatorMessage lineage = HelloMessage();
  lineage.mutable_hello()->mutable_state()->set_lineage("a");
  lineage.mutable_hello()->mutable_state()->set_epoch(1);
  v1::CoordinatorMessage epoch = HelloMessage();
  epoch.mutable_hello()->mutable_state()->set_lineage(std::string(32, 'a'));
  v1::CoordinatorMessage receipt = HelloMessage();
  receipt.mutable_hello()->mutable_ledger_receipt()->set_digest("short");

  EXPECT_TRUE(IsMisbehaviour(DecodeMessage(lineage)));
  EXPECT_TRUE(IsMisbehaviour(DecodeMessage(epoch)));
  EXPECT_TRUE(IsMisbehaviour(DecodeMessage(receipt)));
}

TEST(SessionMessagesTest, ReadsATask) {
  const std::optional<Event> event = DecodeMessage(TaskMessage());

  ASSERT_TRUE(event.has_value());
  const auto* arrived = std::get_if<TaskArrived>(&*event);
  ASSERT_NE(arrived, nullptr);
  EXPECT_EQ(arrived->task->task_id(), "job-1/1/1/north");
  EXPECT_EQ(arrived->report_deadline, Time(std::chrono::seconds(1'700'000'060)));
}

TEST(SessionMessagesTest, RefusesMalformedIds) {
  for (const std::string& id :
       {std::string(), std::string("a b"), std::string(129, 'a'), std::string("a\n"),
        std::string("caf\xc3\xa9"), std::string(1, 0)}) {
    v1::CoordinatorMessage task = TaskMessage();
    task.mutable_task()->set_task_id(id);
    EXPECT_TRUE(IsMisbehaviour(DecodeMessage(task)));

    task = TaskMessage();
    task.mutable_task()->set_job_id(id);
    EXPECT_TRUE(IsMisbehaviour(DecodeMessage(task)));

    v1::CoordinatorMessage cancelled;
    cancelled.mutable_cancelled()->set_task_id(id);
    EXPECT_TRUE(IsMisbehaviour(DecodeMessage(cancelled)));

    v1::CoordinatorMessage ended;
    ended.mutable_job_ended()->set_job_id(id);
    EXPECT_TRUE(IsMisbehaviour(DecodeMessage(ended)));
  }
}

TEST(SessionMessagesTest, RefusesTimesBeyondTheCalendar) {
  constexpr std::int64_t kFar = std::numeric_limits<std::int64_t>::max();
  v1::CoordinatorMessage message = HelloMessage();
  message.mutable_hello()->mutable_heartbeat_interval()->set_seconds(kFar);
  EXPECT_TRUE(IsMisbehaviour(DecodeMessage(message)));

  message = HelloMessage();
  message.mutable_hello()->mutable_clock()->set_seconds(-kFar);
  EXPECT_TRUE(IsMisbehaviour(DecodeMessage(message)));

  message = TaskMessage();
  message.mutable_task()->mutable_report_deadline()->set_nanos(-1);
  EXPECT_TRUE(IsMisbehaviour(DecodeMessage(message)));
}

TEST(SessionMessagesTest, IgnoresKindsOfANewerCoordinator) {
  EXPECT_EQ(DecodeMessage(v1::CoordinatorMessage()), std::nullopt);
}

// Bytes that parse after any mutation become an event that the session survives.
TEST(SessionMessagesTest, SurvivesMutatedMessages) {
  const google::protobuf::LogSilencer silencer;
  SeededRandom random(11);
  const std::string seeds[] = {HelloMessage().SerializeAsString(),
                               TaskMessage().SerializeAsString()};
  int num_parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = seeds[random.NextBelow(2)];
    for (std::uint64_t k = 0; k <= random.NextBelow(4); ++k) {
      bytes[random.NextBelow(bytes.size())] = static_cast<char>(random.NextBelow(256));
    }
    if (random.NextBelow(4) == 0) bytes.resize(random.NextBelow(bytes.size()));
    v1::CoordinatorMessage message;
    if (!message.ParseFromString(bytes)) continue;
    ++num_parsed;
    const std::optional<Event> event = DecodeMessage(std::move(message));
    if (!event.has_value()) continue;
    Session session(SessionOptions{}, {}, kStart);
    ASSERT_TRUE(session.Step(TimePassed{}, kStart).ok());
    ASSERT_TRUE(session.Step(LinkOpened{}, kStart).ok());
    (void)session.Step(*event, kStart);
    (void)session.Step(*event, kStart + std::chrono::hours(1));
    (void)session.NextDeadline();
    EXPECT_FALSE(session.Describe(kStart).empty());
  }
  EXPECT_GT(num_parsed, 1000);
}

}  // namespace
}  // namespace chorale::site_agent
