#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>

#include "core/storage/sqlite.h"
#include "gtest/gtest.h"
#include "tests/support/temporary_directory.h"

namespace chorale::storage {
namespace {

constexpr std::array kMigrations = {
    Migration{"CREATE TABLE transfer (id INTEGER PRIMARY KEY, amount INTEGER) STRICT"}};

// Two rows a transaction that cancel each other; tells the parent after every commit.
[[noreturn]] void TransferForever(const std::filesystem::path& path, int report) {
  StatusOr<Database> database = Database::Open(path, kMigrations);
  if (!database.ok()) ::_exit(1);
  StatusOr<Statement> insert = database->Prepare("INSERT INTO transfer (amount) VALUES (?)");
  if (!insert.ok()) ::_exit(1);
  for (std::int64_t amount = 1;; ++amount) {
    StatusOr<Transaction> transaction = Transaction::Begin(*database);
    if (!transaction.ok() || !insert->Bind(1, amount).Run().ok() ||
        !insert->Bind(1, -amount).Run().ok() || !transaction->Commit().ok() ||
        ::write(report, "c", 1) != 1) {
      ::_exit(1);
    }
  }
}

// Commits once, begins another transaction, tells the parent, and stays in its middle.
[[noreturn]] void StopInTheMiddle(const std::filesystem::path& path, int report) {
  StatusOr<Database> database = Database::Open(path, kMigrations);
  if (!database.ok() || !database->Execute("INSERT INTO transfer VALUES (1, 0)").ok()) ::_exit(1);
  StatusOr<Transaction> transaction = Transaction::Begin(*database);
  if (!transaction.ok() || !database->Execute("INSERT INTO transfer VALUES (2, 7)").ok() ||
      ::write(report, "c", 1) != 1) {
    ::_exit(1);
  }
  for (;;) ::pause();
}

class SqliteCrashTest : public ::testing::Test {
 protected:
  // Runs `work` in a child until it has reported `num_reports` times, then kills it.
  void RunAndKill(void (*work)(const std::filesystem::path&, int), int num_reports) {
    int report[2];
    ASSERT_EQ(::pipe(report), 0);
    const pid_t child = ::fork();
    if (child == 0) work(path(), report[1]);
    ::close(report[1]);
    for (int i = 0; i < num_reports; ++i) {
      char c = 0;
      ASSERT_EQ(::read(report[0], &c, 1), 1) << "the child ended early";
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    ::close(report[0]);
  }

  // Count and sum of all rows, after whatever recovery the file needs.
  std::pair<std::int64_t, std::int64_t> Totals() {
    StatusOr<Database> database = Database::Open(path(), kMigrations);
    EXPECT_TRUE(database.ok()) << database.status();
    StatusOr<Statement> select = database->Prepare("SELECT count(*), sum(amount) FROM transfer");
    EXPECT_TRUE(select.ok());
    EXPECT_TRUE(*select->Step());
    return {select->Int(0), select->Int(1)};
  }

  [[nodiscard]] std::filesystem::path path() const { return directory_.path() / "state.db"; }
  support::TemporaryDirectory directory_;
};

TEST_F(SqliteCrashTest, DropsTheTransactionOfAKilledProcess) {
  RunAndKill(&StopInTheMiddle, 1);

  EXPECT_EQ(Totals(), std::make_pair(std::int64_t{1}, std::int64_t{0}));
}

TEST_F(SqliteCrashTest, HoldsWholeTransactionsOnlyWhereverTheKillFalls) {
  int num_committed = 0;
  for (const int num_reports : {1, 7, 20}) {
    RunAndKill(&TransferForever, num_reports);
    num_committed += num_reports;

    const auto [count, sum] = Totals();

    EXPECT_GE(count, 2 * num_committed);
    EXPECT_EQ(count % 2, 0);
    EXPECT_EQ(sum, 0);
  }
}

}  // namespace
}  // namespace chorale::storage
