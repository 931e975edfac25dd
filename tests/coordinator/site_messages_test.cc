#include "coordinator/site_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "core/parameters.h"
#include "core/random.h"
#include "core/rpc/chunks.h"
#include "data/preparation.h"
#include "tests/support/valid_job.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

v1::SiteMessage Hello() {
  v1::SiteMessage message;
  message.mutable_hello()->set_agent_version("0.1.0");
  message.mutable_hello()->add_datasets("heart-disease");
  message.mutable_hello()->add_active_tasks("j1/1/1/north");
  message.mutable_hello()->add_open_jobs("j1");
  return message;
}

v1::SiteMessage Refusal() {
  v1::SiteMessage message;
  message.mutable_refused()->set_task_id("j1/1/1/north");
  message.mutable_refused()->set_code("BUSY");
  message.mutable_refused()->set_message("Too many tasks wait.");
  return message;
}

OpenTask Task() {
  OpenTask task{.id = TaskId("j1/1/1/north"),
                .job = JobId("j1"),
                .round = {RoundNumber(1), 1},
                .site = SiteId("north"),
                .payload_bytes = 8,
                .metrics = {},
                .blobs = {{.size_bytes = 8, .digest = {1}}}};
  task.metrics.emplace_back();
  task.metrics[0].set_kind(v1::METRIC_KIND_LOSS);
  task.metrics[0].set_split(v1::SPLIT_TRAIN);
  return task;
}

v1::ReportHeader Header() {
  v1::ReportHeader header;
  header.set_task_id("j1/1/1/north");
  *header.mutable_payload() = rpc::ToProto({.size_bytes = 8, .digest = {1}});
  header.set_num_examples(10);
  v1::MetricValue& metric = *header.add_metrics();
  metric.set_kind(v1::METRIC_KIND_LOSS);
  metric.set_split(v1::SPLIT_TRAIN);
  metric.set_value(0.5);
  return header;
}

std::string MessageFor(const v1::SiteMessage& message) {
  const auto statement = Decode(message);
  EXPECT_EQ(statement.status().code(), StatusCode::kInvalidArgument);
  return MessageOf(statement.status());
}

StatusCode CodeOf(const v1::ReportHeader& header) {
  return DecodeReportHeader(header, Task()).status().code();
}

TEST(SiteMessagesTest, ReadsAHello) {
  const auto statement = Decode(Hello());

  ASSERT_TRUE(statement.ok()) << statement.status();
  const auto& greeting = std::get<SiteGreeting>(*statement);
  EXPECT_EQ(greeting.agent_version, "0.1.0");
  EXPECT_THAT(greeting.datasets, testing::ElementsAre("heart-disease"));
  EXPECT_THAT(greeting.active_tasks, testing::ElementsAre(TaskId("j1/1/1/north")));
  EXPECT_THAT(greeting.open_jobs, testing::ElementsAre(JobId("j1")));
}

TEST(SiteMessagesTest, ReadsWhichStateAnAgentHasAndWhereItsLedgerStands) {
  v1::SiteMessage hello = Hello();
  hello.mutable_hello()->mutable_state()->set_lineage(std::string(32, 'a'));
  hello.mutable_hello()->mutable_state()->set_epoch(4);
  hello.mutable_hello()->mutable_ledger()->set_seq(7);
  hello.mutable_hello()->mutable_ledger()->set_digest(std::string(32, '\1'));
  v1::SiteMessage heartbeat;
  *heartbeat.mutable_heartbeat()->mutable_ledger() = hello.hello().ledger();

  const auto greeting = std::get<SiteGreeting>(*Decode(hello));
  EXPECT_EQ(greeting.lineage, std::string(32, 'a'));
  EXPECT_EQ(greeting.epoch, 4u);
  EXPECT_EQ(greeting.ledger->seq, 7u);
  EXPECT_EQ(std::get<SiteAlive>(*Decode(heartbeat)).ledger, greeting.ledger);
}

TEST(SiteMessagesTest, RefusesAStateOrALedgerHeadOutOfBounds) {
  v1::SiteMessage strange_lineage = Hello();
  strange_lineage.mutable_hello()->mutable_state()->set_lineage("north\nward");
  v1::SiteMessage no_epoch = Hello();
  no_epoch.mutable_hello()->mutable_state()->set_lineage(std::string(32, 'a'));
  v1::SiteMessage short_digest = Hello();
  short_digest.mutable_hello()->mutable_ledger()->set_seq(1);
  v1::SiteMessage no_row;
  no_row.mutable_heartbeat()->mutable_ledger()->set_digest(std::string(32, 'a'));

  EXPECT_THAT(MessageFor(strange_lineage), HasSubstr("hello.state.lineage"));
  EXPECT_THAT(MessageFor(no_epoch), HasSubstr("hello.state.epoch"));
  EXPECT_THAT(MessageFor(short_digest), HasSubstr("ledger.digest"));
  EXPECT_THAT(MessageFor(no_row), HasSubstr("ledger.seq"));
}

TEST(SiteMessagesTest, RefusesAHelloOutOfBounds) {
  v1::SiteMessage without_version = Hello();
  without_version.mutable_hello()->clear_agent_version();
  v1::SiteMessage strange_version = Hello();
  strange_version.mutable_hello()->set_agent_version("1\n2");
  v1::SiteMessage many_datasets = Hello();
  for (int i = 0; i < 256; ++i) many_datasets.mutable_hello()->add_datasets("d");
  v1::SiteMessage many_jobs = Hello();
  for (int i = 0; i < 64; ++i) many_jobs.mutable_hello()->add_open_jobs("j");
  v1::SiteMessage strange_job = Hello();
  strange_job.mutable_hello()->add_open_jobs("j\n2");
  v1::SiteMessage strange_dataset = Hello();
  strange_dataset.mutable_hello()->add_datasets("a,b");
  v1::SiteMessage many_tasks = Hello();
  for (int i = 0; i < 64; ++i) many_tasks.mutable_hello()->add_active_tasks("t");

  EXPECT_THAT(MessageFor(without_version), HasSubstr("hello.agent_version"));
  EXPECT_THAT(MessageFor(strange_version), HasSubstr("hello.agent_version"));
  EXPECT_THAT(MessageFor(many_datasets), HasSubstr("hello.datasets"));
  EXPECT_THAT(MessageFor(strange_dataset), HasSubstr("hello.datasets"));
  EXPECT_THAT(MessageFor(many_tasks), HasSubstr("hello.active_tasks"));
  EXPECT_THAT(MessageFor(many_jobs), HasSubstr("hello.open_jobs"));
  EXPECT_THAT(MessageFor(strange_job), HasSubstr("hello.open_jobs"));
}

TEST(SiteMessagesTest, KeepsControlCharactersOutOfReasons) {
  v1::SiteMessage message = Refusal();
  message.mutable_refused()->set_message("a\x1b[2Jb\nc");

  const auto statement = Decode(message);

  ASSERT_TRUE(statement.ok()) << statement.status();
  EXPECT_EQ(std::get<SiteTaskRefused>(*statement).refusal.message, "a [2Jb c");
}

TEST(SiteMessagesTest, RefusesARefusalOutOfBounds) {
  v1::SiteMessage long_code = Refusal();
  long_code.mutable_refused()->set_code(std::string(65, 'A'));
  v1::SiteMessage long_message = Refusal();
  long_message.mutable_refused()->set_message(std::string(513, 'a'));
  v1::SiteMessage no_task = Refusal();
  no_task.mutable_refused()->clear_task_id();

  EXPECT_THAT(MessageFor(long_code), HasSubstr("refused.code"));
  EXPECT_THAT(MessageFor(long_message), HasSubstr("refused.message"));
  EXPECT_THAT(MessageFor(no_task), HasSubstr("refused.task_id"));
}

TEST(SiteMessagesTest, TakesAMessageOfANewerKindAsASignOfLife) {
  const auto statement = Decode(v1::SiteMessage());

  ASSERT_TRUE(statement.ok()) << statement.status();
  EXPECT_TRUE(std::holds_alternative<SiteAlive>(*statement));
}

TEST(ReportHeaderTest, TakesWhatTheTaskAsksFor) {
  const auto report = DecodeReportHeader(Header(), Task());

  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->num_examples, 10u);
  EXPECT_EQ(report->metrics.size(), 1u);
}

TEST(ReportHeaderTest, RefusesAnotherSizeOrDigest) {
  v1::ReportHeader size = Header();
  size.mutable_payload()->set_size_bytes(12);
  v1::ReportHeader digest = Header();
  digest.mutable_payload()->set_digest("short");

  EXPECT_EQ(CodeOf(size), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(digest), StatusCode::kInvalidArgument);
}

TEST(ReportHeaderTest, RefusesExamplesOutOfBounds) {
  for (const std::uint64_t count : {std::uint64_t{0}, std::uint64_t{1'000'000'000'001}}) {
    v1::ReportHeader header = Header();
    header.set_num_examples(count);

    EXPECT_EQ(CodeOf(header), StatusCode::kInvalidArgument);
  }
}

TEST(ReportHeaderTest, RefusesMetricsThatNobodyAskedFor) {
  v1::ReportHeader other = Header();
  other.mutable_metrics(0)->set_split(v1::SPLIT_TEST);
  v1::ReportHeader twice = Header();
  *twice.add_metrics() = twice.metrics(0);
  v1::ReportHeader infinite = Header();
  infinite.mutable_metrics(0)->set_value(std::numeric_limits<double>::infinity());

  EXPECT_EQ(CodeOf(other), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(twice), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(infinite), StatusCode::kInvalidArgument);
}

TEST(ReportHeaderTest, RefusesMetricsThatNoModelHas) {
  v1::ReportHeader huge = Header();
  huge.mutable_metrics(0)->set_value(1e300);
  EXPECT_EQ(CodeOf(huge), StatusCode::kInvalidArgument);

  OpenTask task = Task();
  task.metrics[0].set_kind(v1::METRIC_KIND_ACCURACY);
  v1::ReportHeader header = Header();
  header.mutable_metrics(0)->set_kind(v1::METRIC_KIND_ACCURACY);
  for (const double accuracy : {-0.1, 0.0, 1.0, 1.1}) {
    header.mutable_metrics(0)->set_value(accuracy);
    EXPECT_EQ(DecodeReportHeader(header, task).ok(), accuracy >= 0 && accuracy <= 1) << accuracy;
  }
}

TEST(PayloadPieceTest, RefusesNumbersThatAreNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = -std::numeric_limits<float>::infinity();
  for (const float bad : {nan, infinite}) {
    const std::vector<float> values = {1, bad};

    const Status sound = CheckPayloadPiece(Task(), 0, AsBytes(std::span<const float>(values)));

    EXPECT_EQ(sound.code(), StatusCode::kInvalidArgument);
  }
  const std::vector<float> fine = {std::numeric_limits<float>::max(),
                                   std::numeric_limits<float>::denorm_min()};
  EXPECT_TRUE(CheckPayloadPiece(Task(), 0, AsBytes(std::span<const float>(fine))).ok());
}

TEST(ReportHeaderTest, TellsMetricsBesideAnUpdateOnly) {
  for (const Phase phase : {Phase::kPreparation, Phase::kNewton, Phase::kPersonalization}) {
    OpenTask task = Task();
    task.phase = phase;

    EXPECT_EQ(DecodeReportHeader(Header(), task).status().code(), StatusCode::kInvalidArgument);
    v1::ReportHeader without = Header();
    without.clear_metrics();
    EXPECT_TRUE(DecodeReportHeader(without, task).ok());
  }
}

StatusCode WholeCode(const OpenTask& task, std::uint64_t num_examples,
                     const std::vector<double>& sums) {
  EXPECT_TRUE(IsCheckedAsWhole(task));
  return CheckWholePayload(task, num_examples, AsBytes(std::span<const double>(sums))).code();
}

TEST(WholePayloadTest, ChecksTheSumsOfAPreparationRound) {
  OpenTask task = Task();
  task.phase = Phase::kPreparation;
  v1::DataSpec data = support::ValidJob().data();
  data.set_standardization(v1::STANDARDIZATION_FEDERATED);
  task.data = std::make_shared<const v1::DataSpec>(data);
  // age: rows, sum, squares, missing; pain: three levels, missing.
  const std::vector<double> sound = {10, 30, 100, 1, 5, 4, 2, 0};
  ASSERT_EQ(data::PreparationSize(data), sound.size());

  EXPECT_EQ(WholeCode(task, 11, sound), StatusCode::kOk);
  EXPECT_EQ(WholeCode(task, 9, sound), StatusCode::kInvalidArgument);
  EXPECT_EQ(WholeCode(task, 11, {10, 30, 100, 1}), StatusCode::kInvalidArgument);
  for (std::size_t i = 0; i < sound.size(); ++i) {
    std::vector<double> bad = sound;
    bad[i] = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(WholeCode(task, 11, bad), StatusCode::kInvalidArgument) << i;
  }
}

TEST(WholePayloadTest, ChecksTheSumsOfANewtonRound) {
  OpenTask task = Task();
  task.phase = Phase::kNewton;
  task.num_coefficients = 2;
  // Loss, rows, gradient, upper triangle of the Hessian.
  const std::vector<double> sound = {6.9, 10, 1, -2, 3, 0.5, 4};

  EXPECT_EQ(WholeCode(task, 10, sound), StatusCode::kOk);
  EXPECT_EQ(WholeCode(task, 11, sound), StatusCode::kInvalidArgument);
  EXPECT_EQ(WholeCode(task, 10, {6.9, 10}), StatusCode::kInvalidArgument);
}

TEST(WholePayloadTest, ChecksTheMetricsOfAPersonalizationRound) {
  OpenTask task = Task();
  task.phase = Phase::kPersonalization;

  EXPECT_EQ(WholeCode(task, 10, {4.5, 9}), StatusCode::kOk);
  EXPECT_EQ(WholeCode(task, 10, {4.5, 9, 1, 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(WholeCode(task, 10, {4.5, 0.5}), StatusCode::kInvalidArgument);
}

TEST(SiteMessagesTest, SurvivesDamagedMessages) {
  SeededRandom random(3);
  for (const v1::SiteMessage& good : {Hello(), Refusal()}) {
    const std::string bytes = good.SerializeAsString();
    for (int i = 0; i < 500; ++i) {
      std::string damaged = bytes;
      damaged[random.NextBelow(damaged.size())] = static_cast<char>(random.NextBelow(256));
      if (i % 2 == 0) damaged.resize(random.NextBelow(damaged.size() + 1));
      v1::SiteMessage message;
      if (message.ParseFromString(damaged)) (void)Decode(message);
      v1::ReportHeader header;
      if (header.ParseFromString(damaged)) (void)DecodeReportHeader(header, Task());
    }
  }
}

}  // namespace
}  // namespace chorale::coordinator
