#include "privacy/ledger/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <fstream>
#include <thread>

#include "core/storage/file.h"
#include "core/storage/sqlite.h"
#include "tests/privacy/ledger/fixtures.h"

namespace chorale::privacy {
namespace {

using testing::HasSubstr;

const DatasetId kHeart("heart");

class LedgerTest : public testing::Test {
 protected:
  // A job with two rounds, one of which left.
  static void Fill(Ledger& ledger) {
    const StatusOr<ReservationId> job = ledger.Reserve(ValidRequest());
    ASSERT_TRUE(job.ok()) << job.status();
    ASSERT_TRUE(ledger.Start(StepsOf(*job, "task-1", 10)).ok());
    ASSERT_TRUE(ledger.Commit("task-1").ok());
    ASSERT_TRUE(ledger.Start(StepsOf(*job, "task-2", 10)).ok());
  }
  // The file after everything is closed. Head file removed: rows must stand for themselves.
  void FillAndClose() {
    {
      const std::unique_ptr<Ledger> ledger = home_.Open();
      Fill(*ledger);
      head_ = ledger->Head();
    }
    std::filesystem::remove(home_.files().head);
  }
  [[nodiscard]] std::string FileBytes() const {
    return *storage::ReadFile(home_.files().database, 1 << 24);
  }
  void WriteFileBytes(const std::string& bytes) const {
    for (const char* suffix : {"-wal", "-shm"}) {
      std::filesystem::remove(home_.files().database.string() + suffix);
    }
    std::ofstream(home_.files().database, std::ios::binary) << bytes;
  }
  // Behind the ledger's back.
  void Execute(const std::string& sql) const {
    const std::vector<storage::Migration> migrations(1);
    StatusOr<storage::Database> database =
        storage::Database::Open(home_.files().database, migrations);
    ASSERT_TRUE(database.ok()) << database.status();
    const Status status = database->Execute(sql);
    ASSERT_TRUE(status.ok()) << status;
  }

  LedgerHome home_;
  LedgerHead head_;
};

// A disk on which no file may grow any further, as long as this lives.
class NoRoom {
 public:
  NoRoom() {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoRoom() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

// Whoever refuses a job for its budget refuses it for good.
TEST_F(LedgerTest, AFullDiskIsNoExhaustedBudget) {
  const std::unique_ptr<Ledger> ledger = home_.Open();
  {
    const NoRoom full;
    EXPECT_EQ(ledger->Reserve(ValidRequest()).status().code(), StatusCode::kUnavailable);
  }
  const StatusOr<ReservationId> job = ledger->Reserve(ValidRequest());
  ASSERT_TRUE(job.ok()) << job.status();
  {
    const NoRoom full;
    const Status refused = ledger->Start(StepsOf(*job, "task-1", 10));
    EXPECT_EQ(refused.code(), StatusCode::kUnavailable);
    EXPECT_THAT(MessageOf(refused), HasSubstr("cannot be written"));
  }
  EXPECT_TRUE(ledger->Start(StepsOf(*job, "task-1", 10)).ok());
}

TEST_F(LedgerTest, SpendingSurvivesTheProcess) {
  BurnDown before;
  LedgerHead head;
  {
    const std::unique_ptr<Ledger> ledger = home_.Open();
    Fill(*ledger);
    before = ledger->BurnDownOf(kHeart, ValidRequest().limits);
    head = ledger->Head();
  }
  const std::unique_ptr<Ledger> ledger = home_.Open();
  const BurnDown after = ledger->BurnDownOf(kHeart, ValidRequest().limits);

  EXPECT_EQ(ledger->Head(), head);
  EXPECT_EQ(head.seq, 4u);
  EXPECT_EQ(after.epsilon_spent, before.epsilon_spent);
  EXPECT_EQ(after.epsilon_held, before.epsilon_held);
  EXPECT_EQ(after.share_held, before.share_held);
  EXPECT_EQ(after.jobs[0].reserved_at, before.jobs[0].reserved_at);
  EXPECT_EQ(ledger->Start(StepsOf(ReservationId(1), "task-2", 10)).code(),
            StatusCode::kAlreadyExists);
}

TEST_F(LedgerTest, RepeatedCallsAddNoRow) {
  const std::unique_ptr<Ledger> ledger = home_.Open();
  const ReservationId job = *ledger->Reserve(ValidRequest());
  ASSERT_TRUE(ledger->Start(StepsOf(job, "task-1", 10)).ok());
  ASSERT_TRUE(ledger->Commit("task-1").ok());
  ASSERT_TRUE(ledger->Release(job).ok());
  const LedgerHead head = ledger->Head();

  EXPECT_EQ(ledger->Start(StepsOf(job, "task-1", 10)).code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(ledger->Commit("task-1").ok());
  EXPECT_TRUE(ledger->Release(job).ok());

  EXPECT_EQ(ledger->Head(), head);
  EXPECT_EQ(ledger->Commit("task-9").code(), StatusCode::kNotFound);
  EXPECT_EQ(ledger->Release(ReservationId(9)).code(), StatusCode::kNotFound);
}

TEST_F(LedgerTest, ReservationsThatRaceNeverOverspend) {
  const std::unique_ptr<Ledger> ledger = home_.Open();
  std::atomic<int> next = 0;
  std::atomic<int> num_admitted = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = next++; i < 1000; i = next++) {
        ReserveRequest request = ValidRequest("job-" + std::to_string(i));
        request.job.parts[0].steps = 25;
        // Two parts, for which no noise is looked for.
        request.job.parts.push_back({.step = {.kind = Gaussian{1000}}, .steps = 1});
        const Status status = ledger->Reserve(request).status();
        if (status.ok()) ++num_admitted;
        EXPECT_TRUE(status.ok() || status.code() == StatusCode::kResourceExhausted) << status;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  const BurnDown burn = ledger->BurnDownOf(kHeart, ValidRequest().limits);
  EXPECT_EQ(burn.jobs.size(), static_cast<std::size_t>(num_admitted));
  EXPECT_EQ(ledger->Head().seq, static_cast<std::uint64_t>(num_admitted));
  EXPECT_LE(burn.share_held, 1);
  EXPECT_LE(burn.epsilon_held, 10);
  // One more would not have fitted.
  EXPECT_GT(burn.share_held * (num_admitted + 1) / num_admitted, 1);
}

TEST_F(LedgerTest, AFlippedBitIsNoticedOrChangesNothing) {
  FillAndClose();
  const std::string bytes = FileBytes();
  int num_refused = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 11) {
    std::string spoiled = bytes;
    spoiled[at] = static_cast<char>(spoiled[at] ^ (1 << (at % 8)));
    WriteFileBytes(spoiled);

    const StatusOr<LedgerSnapshot> snapshot = ReadLedger(home_.files());

    if (!snapshot.ok()) {
      ++num_refused;
    } else {
      EXPECT_EQ(snapshot->head, head_) << at;
    }
  }
  EXPECT_GT(num_refused, 50);
}

TEST_F(LedgerTest, AnAlteredRowIsDataLoss) {
  FillAndClose();
  Execute(
      "DROP TRIGGER entries_are_final;"
      "UPDATE entries SET entry = (SELECT entry FROM entries WHERE seq = 4) WHERE seq = 2");

  const Status status = home_.TryOpen().status();

  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(MessageOf(status), HasSubstr("row 2 of the ledger is not what was written"));
}

TEST_F(LedgerTest, AMissingRowIsDataLoss) {
  FillAndClose();
  Execute("DROP TRIGGER entries_stay; DELETE FROM entries WHERE seq = 2");

  EXPECT_EQ(home_.TryOpen().status().code(), StatusCode::kDataLoss);
}

TEST_F(LedgerTest, RowsThatChangedPlacesAreDataLoss) {
  FillAndClose();
  Execute(
      "DROP TRIGGER entries_are_final;"
      "UPDATE entries SET seq = 100 WHERE seq = 2; UPDATE entries SET seq = 2 WHERE seq = 4;"
      "UPDATE entries SET seq = 4 WHERE seq = 100");

  EXPECT_EQ(home_.TryOpen().status().code(), StatusCode::kDataLoss);
}

TEST_F(LedgerTest, AFileCutShortIsRefused) {
  FillAndClose();
  const std::string bytes = FileBytes();
  for (const std::size_t size : {std::size_t{10}, std::size_t{100}, bytes.size() / 2}) {
    WriteFileBytes(bytes.substr(0, size));

    EXPECT_FALSE(home_.TryOpen().ok()) << size;
  }
}

TEST_F(LedgerTest, TheFileItselfRefusesToForget) {
  FillAndClose();
  const std::vector<storage::Migration> migrations(1);
  StatusOr<storage::Database> database =
      storage::Database::Open(home_.files().database, migrations);
  ASSERT_TRUE(database.ok());

  EXPECT_FALSE(database->Execute("DELETE FROM entries").ok());
  EXPECT_FALSE(database->Execute("UPDATE entries SET seq = seq + 1").ok());
}

TEST_F(LedgerTest, AnOlderCopyIsRefusedAgainstTheHeadFile) {
  const std::string copy = (home_.files().database.string() + ".copy");
  {
    const std::unique_ptr<Ledger> ledger = home_.Open();
    ASSERT_TRUE(ledger->Reserve(ValidRequest()).ok());
  }
  std::filesystem::copy_file(home_.files().database, copy);
  Fill(*home_.Open());
  WriteFileBytes(*storage::ReadFile(copy, 1 << 24));

  const Status status = home_.TryOpen().status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("the privacy ledger was rolled back: it ends at row 1, "
                                           "and row 4 was receipted"));
  EXPECT_THAT(MessageOf(status), HasSubstr("Restore the newest ledger.db"));
  EXPECT_EQ(ReadLedger(home_.files()).status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(LedgerTest, ALostLedgerIsRefusedAgainstTheHeadFile) {
  Fill(*home_.Open());
  std::filesystem::remove(home_.files().database);

  EXPECT_EQ(home_.TryOpen().status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(LedgerTest, AnotherHistoryIsRefusedAgainstTheHeadFile) {
  Fill(*home_.Open());
  std::filesystem::remove(home_.files().database);
  const std::string head = *storage::ReadFile(home_.files().head, 256);
  std::filesystem::remove(home_.files().head);
  {
    const std::unique_ptr<Ledger> other = home_.Open();
    for (int i = 0; i < 6; ++i) {
      ReserveRequest request = ValidRequest("other-" + std::to_string(i));
      request.job.parts[0].steps = 1;
      ASSERT_TRUE(other->Reserve(request).ok());
    }
  }
  std::ofstream(home_.files().head) << head;

  EXPECT_THAT(MessageOf(home_.TryOpen().status()),
              HasSubstr("its row 4 is not the one that was receipted"));
}

TEST_F(LedgerTest, AHeadFileLeftBehindByACrashIsBroughtUpToDate) {
  LedgerHead head;
  std::string older;
  {
    const std::unique_ptr<Ledger> ledger = home_.Open();
    ASSERT_TRUE(ledger->Reserve(ValidRequest()).ok());
    older = *storage::ReadFile(home_.files().head, 256);
    Fill(*ledger);
    head = ledger->Head();
  }
  std::ofstream(home_.files().head) << older;

  EXPECT_EQ(home_.Open()->Head(), head);
  EXPECT_EQ(*storage::ReadFile(home_.files().head, 256),
            std::to_string(head.seq) + " " + ToHex(head.digest) + "\n");
}

TEST_F(LedgerTest, AHeadFileThatIsNoneIsDataLoss) {
  for (const char* text : {"", "\n", "4", "4 \n", "x 00\n", "4 zz\n", "4 00\n", "-1 00\n"}) {
    std::ofstream(home_.files().head, std::ios::trunc) << text;

    EXPECT_EQ(home_.TryOpen().status().code(), StatusCode::kDataLoss) << text;
  }
}

TEST_F(LedgerTest, AReceiptIsCheckedAgainstRowsOfAnyAge) {
  const std::unique_ptr<Ledger> ledger = home_.Open();
  ASSERT_TRUE(ledger->CheckHead({}).ok());
  ASSERT_TRUE(ledger->Reserve(ValidRequest()).ok());
  const LedgerHead early = ledger->Head();
  Fill(*ledger);
  LedgerHead forged = early;
  forged.digest[0] ^= 1;
  LedgerHead ahead = ledger->Head();
  ++ahead.seq;

  EXPECT_TRUE(ledger->CheckHead(early).ok());
  EXPECT_TRUE(ledger->CheckHead(ledger->Head()).ok());
  EXPECT_EQ(ledger->CheckHead(forged).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ledger->CheckHead(ahead).code(), StatusCode::kFailedPrecondition);
}

TEST_F(LedgerTest, TwoWritersAreNoticed) {
  const std::unique_ptr<Ledger> first = home_.Open();
  const std::unique_ptr<Ledger> second = home_.Open();
  ASSERT_TRUE(first->Reserve(ValidRequest()).ok());

  const Status status = second->Reserve(ValidRequest()).status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("two agents must not share a state directory"));
}

TEST_F(LedgerTest, IsReadWhileAnotherWrites) {
  EXPECT_EQ(ReadLedger(home_.files()).status().code(), StatusCode::kNotFound);
  const std::unique_ptr<Ledger> ledger = home_.Open();
  Fill(*ledger);

  const StatusOr<LedgerSnapshot> snapshot = ReadLedger(home_.files());

  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(snapshot->head, ledger->Head());
  EXPECT_EQ(snapshot->state.Spent(kHeart, 1e-5).epsilon, ledger->Spent(kHeart, 1e-5).epsilon);
  ASSERT_TRUE(ledger->Commit("task-2").ok());
  EXPECT_EQ(ReadLedger(home_.files())->head, ledger->Head());
}

}  // namespace
}  // namespace chorale::privacy
