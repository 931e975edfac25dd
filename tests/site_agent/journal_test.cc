#include "site_agent/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/crypto/blob_digest.h"
#include "core/storage/sqlite.h"
#include "tests/site_agent/fixtures.h"
#include "tests/support/temporary_directory.h"

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const TaskId kOne("job-1/1/1/north");
const TaskId kTwo("job-1/2/1/north");

class JournalTest : public testing::Test {
 protected:
  JournalTest() { Reopen(); }
  void Reopen() {
    journal_.reset();
    auto journal = Journal::Open(state_);
    ASSERT_TRUE(journal.ok()) << journal.status();
    journal_ = *std::move(journal);
  }
  Status Record(const TaskId& task_id, const Bytes& payload) {
    v1::ReportHeader header;
    header.set_task_id(task_id.value());
    const crypto::BlobId id = crypto::IdentifyBlob(payload);
    header.mutable_payload()->set_size_bytes(id.size_bytes);
    header.mutable_payload()->set_digest(ToString(id.digest));
    header.set_num_examples(40);
    return journal_->RecordReport({.kind = "update report",
                                   .task_id = task_id,
                                   .size_bytes = payload.size(),
                                   .sha256 = {},
                                   .time = kStart},
                                  header, payload);
  }
  Bytes PayloadOf(const TaskId& task_id) {
    StatusOr<OutgoingReport> report = journal_->LoadReport(task_id);
    EXPECT_TRUE(report.ok()) << report.status();
    if (auto* bytes = std::get_if<Bytes>(&report->payload)) return *bytes;
    const auto& reader = std::get<storage::BlobReader>(report->payload);
    Bytes content(reader.size_bytes());
    EXPECT_TRUE(reader.ReadAt(0, content).ok());
    return content;
  }
  std::size_t NumOutboxFiles() {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(state_ / "outbox"), {}));
  }
  // One number from the database file.
  std::int64_t Count(std::string_view sql) {
    journal_.reset();
    const storage::Migration already_applied[] = {{.sql = "SELECT 1"}, {.sql = "SELECT 1"}};
    auto database = storage::Database::Open(state_ / "journal.db", already_applied);
    EXPECT_TRUE(database.ok()) << database.status();
    auto statement = database->Prepare(sql);
    EXPECT_TRUE(statement.ok()) << statement.status();
    EXPECT_TRUE(*statement->Step());
    return statement->Int(0);
  }

  support::TemporaryDirectory directory_;
  std::filesystem::path state_ = directory_.path() / "state";
  std::unique_ptr<Journal> journal_;
};

TEST_F(JournalTest, KeepsAReportByteForByteAcrossReopening) {
  ASSERT_TRUE(Record(kOne, {1, 2, 3}).ok());

  Reopen();

  EXPECT_THAT(*journal_->PendingReports(), ElementsAre(kOne));
  EXPECT_EQ(PayloadOf(kOne), (Bytes{1, 2, 3}));
  EXPECT_EQ(journal_->LoadReport(kOne)->header.num_examples(), 40u);
  EXPECT_EQ(*journal_->FindReport(kOne), ReportState::kPending);
}

TEST_F(JournalTest, KeepsALargeReportInTheOutbox) {
  const Bytes large(3 << 20, 7);
  ASSERT_TRUE(Record(kOne, large).ok());
  EXPECT_EQ(NumOutboxFiles(), 1u);

  Reopen();

  EXPECT_EQ(PayloadOf(kOne), large);
  ASSERT_TRUE(journal_->SettleReport(kOne, kAcknowledged, kStart).ok());
  EXPECT_EQ(NumOutboxFiles(), 0u);
}

TEST_F(JournalTest, TwoReportsWithTheSameBytesShareThemUntilBothAreSettled) {
  const Bytes large(1 << 20, 7);
  ASSERT_TRUE(Record(kOne, large).ok());
  ASSERT_TRUE(Record(kTwo, large).ok());

  ASSERT_TRUE(journal_->SettleReport(kOne, kAcknowledged, kStart).ok());

  EXPECT_EQ(PayloadOf(kTwo), large);
  ASSERT_TRUE(journal_->SettleReport(kTwo, kAcknowledged, kStart).ok());
  EXPECT_EQ(NumOutboxFiles(), 0u);
}

TEST_F(JournalTest, ASecondReportOfATaskIsRefusedAndTheFirstStands) {
  ASSERT_TRUE(Record(kOne, {1}).ok());

  EXPECT_EQ(Record(kOne, {2}).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(PayloadOf(kOne), Bytes{1});
}

TEST_F(JournalTest, ASettledReportLosesItsBytesAndKeepsItsName) {
  ASSERT_TRUE(Record(kOne, {1}).ok());

  ASSERT_TRUE(journal_->SettleReport(kOne, kAcknowledged, kStart).ok());
  ASSERT_TRUE(journal_->SettleReport(kOne, kAcknowledged, kStart).ok());
  Reopen();

  EXPECT_THAT(*journal_->PendingReports(), IsEmpty());
  EXPECT_EQ(*journal_->FindReport(kOne), ReportState::kAcknowledged);
  EXPECT_EQ(journal_->LoadReport(kOne).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Record(kOne, {2}).code(), StatusCode::kAlreadyExists);
}

TEST_F(JournalTest, TellsWhatTheCoordinatorTookFromWhatItTurnedDown) {
  ASSERT_TRUE(Record(kOne, {1}).ok());
  ASSERT_TRUE(Record(kTwo, {2}).ok());
  EXPECT_EQ(*journal_->FindReport(kOne), ReportState::kPending);

  ASSERT_TRUE(journal_->SettleReport(kOne, kAcknowledged, kStart).ok());
  ASSERT_TRUE(journal_->SettleReport(kTwo, "the round is over", kStart).ok());
  Reopen();

  EXPECT_EQ(*journal_->FindReport(kOne), ReportState::kAcknowledged);
  EXPECT_EQ(*journal_->FindReport(kTwo), ReportState::kDiscarded);
}

TEST_F(JournalTest, AnUnknownTaskHasNoReport) {
  EXPECT_EQ(*journal_->FindReport(kOne), ReportState::kNone);
  EXPECT_TRUE(journal_->SettleReport(kOne, kAcknowledged, kStart).ok());
}

TEST_F(JournalTest, PayloadsThatNoReportNamesAreSweptOut) {
  const Bytes large(1 << 20, 7);
  ASSERT_TRUE(Record(kOne, large).ok());
  WriteFile(state_ / "outbox" / std::string(64, 'a'), "left by a crash");

  Reopen();

  EXPECT_EQ(NumOutboxFiles(), 1u);
  EXPECT_EQ(PayloadOf(kOne), large);
}

TEST_F(JournalTest, ConsecutiveHeartbeatsShareARow) {
  const ReleaseRecord heartbeat{
      .kind = "heartbeat", .task_id = {}, .size_bytes = 2, .sha256 = {}, .time = kStart};
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(journal_->RecordRelease(heartbeat).ok());
  ReleaseRecord other = heartbeat;
  other.kind = "accepted";
  ASSERT_TRUE(journal_->RecordRelease(other).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(journal_->RecordRelease(heartbeat).ok());

  EXPECT_EQ(Count("SELECT count(*) FROM releases"), 3);
  EXPECT_EQ(Count("SELECT sum(count) FROM releases"), 9);
  EXPECT_EQ(Count("SELECT count FROM releases WHERE id = 1"), 5);
}

TEST_F(JournalTest, AReportIsARelease) {
  ASSERT_TRUE(Record(kOne, {1, 2, 3}).ok());

  EXPECT_EQ(Count("SELECT size_bytes FROM releases WHERE kind = 'update report'"), 3);
}

TEST_F(JournalTest, KeepsTheLastVerdictOfATask) {
  TaskRecord record{.task_id = kOne,
                    .job_id = JobId("job-1"),
                    .job_digest = {},
                    .verdict = "allowed",
                    .time = kStart};
  ASSERT_TRUE(journal_->RecordTask(record).ok());
  ASSERT_TRUE(Record(kOne, {1}).ok());
  record.task_id = kTwo;
  record.verdict = "COHORT_MIN";
  ASSERT_TRUE(journal_->RecordTask(record).ok());

  EXPECT_EQ(Count("SELECT count(*) FROM tasks WHERE verdict = 'reported'"), 1);
  EXPECT_EQ(Count("SELECT count(*) FROM tasks WHERE verdict = 'COHORT_MIN'"), 1);
}

TEST_F(JournalTest, TheStateDirectoryIsClosedToOtherUsers) {
  const auto permissions = std::filesystem::status(state_).permissions();

  EXPECT_EQ(permissions & std::filesystem::perms::all, std::filesystem::perms::owner_all);
}

TEST_F(JournalTest, ASpoiltPayloadIsNotSent) {
  ASSERT_TRUE(Record(kOne, Bytes(100, 7)).ok());
  EXPECT_EQ(Count("UPDATE reports SET payload = zeroblob(100) RETURNING 1"), 1);
  Reopen();

  EXPECT_EQ(journal_->LoadReport(kOne).status().code(), StatusCode::kDataLoss);
}

TEST_F(JournalTest, RemembersWhichCoordinatorsWereFollowed) {
  EXPECT_EQ(*journal_->LoadCoordinators(), KnownCoordinators{});
  KnownCoordinators known = {
      .current = CoordinatorState{.lineage = "a", .epoch = 1, .instance = "i", .version = 5}};
  ASSERT_TRUE(journal_->RecordCoordinators(known).ok());
  known.current->version = 7;
  ASSERT_TRUE(journal_->RecordCoordinators(known).ok());
  known.retired = {"a"};
  known.current = CoordinatorState{
      .lineage = "b", .epoch = 2, .instance = "j", .version = 6, .accepts_loss = true};
  ASSERT_TRUE(journal_->RecordCoordinators(known).ok());

  Reopen();

  EXPECT_EQ(*journal_->LoadCoordinators(), known);
}

}  // namespace
}  // namespace chorale::site_agent
