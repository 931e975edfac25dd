#include "core/storage/sqlite.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>
#include <utility>

#include "core/storage/file.h"
#include "gtest/gtest.h"
#include "tests/core/storage/file_size_limit.h"
#include "tests/support/temporary_directory.h"

namespace chorale::storage {
namespace {

constexpr std::array kFirst = {
    Migration{"CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT, bytes BLOB) STRICT"}};
constexpr std::array kSecond = {kFirst[0], Migration{"ALTER TABLE note ADD COLUMN author TEXT;"
                                                     "UPDATE note SET author = 'unknown'"}};

class SqliteTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path path() const { return directory_.path() / "state.db"; }

  [[nodiscard]] Database Open(std::span<const Migration> migrations = kFirst) const {
    StatusOr<Database> database = Database::Open(path(), migrations);
    EXPECT_TRUE(database.ok()) << database.status();
    return *std::move(database);
  }

  static Statement Prepare(Database& database, std::string_view sql) {
    StatusOr<Statement> statement = database.Prepare(sql);
    EXPECT_TRUE(statement.ok()) << statement.status();
    return *std::move(statement);
  }

  static std::int64_t Count(Database& database) {
    Statement statement = Prepare(database, "SELECT count(*) FROM note");
    EXPECT_TRUE(*statement.Step());
    return statement.Int(0);
  }

  support::TemporaryDirectory directory_;
};

TEST_F(SqliteTest, BindsAndReadsEveryType) {
  Database database = Open();
  const Bytes blob = {0, 1, 255};
  const std::string text("a\0b", 3);

  Statement insert = Prepare(database, "INSERT INTO note VALUES (?, ?, ?)");
  ASSERT_TRUE(
      insert.Bind(1, std::int64_t{1} << 62).Bind(2, text).Bind(3, ByteSpan(blob)).Run().ok());
  ASSERT_TRUE(insert.Bind(1, 2).BindNull(2).Bind(3, ByteSpan()).Run().ok());

  Statement select = Prepare(database, "SELECT id, body, bytes FROM note ORDER BY id DESC");
  ASSERT_TRUE(*select.Step());
  EXPECT_EQ(select.Int(0), std::int64_t{1} << 62);
  EXPECT_EQ(select.Text(1), text);
  EXPECT_EQ(select.Blob(2), blob);
  ASSERT_TRUE(*select.Step());
  EXPECT_TRUE(select.IsNull(1));
  EXPECT_FALSE(select.IsNull(2));
  EXPECT_TRUE(select.Blob(2).empty());
  EXPECT_FALSE(*select.Step());
}

TEST_F(SqliteTest, TellsAnEmptyTextFromNull) {
  Database database = Open();

  ASSERT_TRUE(Prepare(database, "INSERT INTO note (id, body) VALUES (1, ?)")
                  .Bind(1, std::string_view())
                  .Run()
                  .ok());

  Statement select = Prepare(database, "SELECT body FROM note");
  ASSERT_TRUE(*select.Step());
  EXPECT_FALSE(select.IsNull(0));
  EXPECT_EQ(select.Text(0), "");
}

TEST_F(SqliteTest, RunsAStatementAgainWithoutItsOldBindings) {
  Database database = Open();
  Statement insert = Prepare(database, "INSERT INTO note (id, body) VALUES (?, ?)");
  ASSERT_TRUE(insert.Bind(1, 1).Bind(2, "one").Run().ok());

  ASSERT_TRUE(insert.Bind(1, 2).Run().ok());

  Statement select = Prepare(database, "SELECT body FROM note WHERE id = 2");
  ASSERT_TRUE(*select.Step());
  EXPECT_TRUE(select.IsNull(0));
}

TEST_F(SqliteTest, ReportsABindingOutsideTheStatement) {
  Database database = Open();
  Statement insert = Prepare(database, "INSERT INTO note (id) VALUES (?)");

  EXPECT_EQ(insert.Bind(1, 1).Bind(7, 1).Run().code(), StatusCode::kInternal);
  EXPECT_EQ(Count(database), 0);
  EXPECT_TRUE(insert.Bind(1, 1).Run().ok());
}

TEST_F(SqliteTest, RefusesARepeatedKey) {
  Database database = Open();
  Statement insert = Prepare(database, "INSERT INTO note (id) VALUES (?)");
  ASSERT_TRUE(insert.Bind(1, 1).Run().ok());

  const Status again = insert.Bind(1, 1).Run();

  EXPECT_EQ(again.code(), StatusCode::kAlreadyExists);
  EXPECT_NE(MessageOf(again).find("note.id"), std::string::npos) << again;
  EXPECT_TRUE(insert.Bind(1, 2).Run().ok());
}

TEST_F(SqliteTest, EnforcesForeignKeys) {
  Database database = Open();
  ASSERT_TRUE(database.Execute("CREATE TABLE child (note INTEGER REFERENCES note (id))").ok());

  EXPECT_EQ(database.Execute("INSERT INTO child VALUES (5)").code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(SqliteTest, RefusesSeveralStatementsInOnePreparation) {
  Database database = Open();

  EXPECT_EQ(database.Prepare("SELECT 1; SELECT 2").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(database.Prepare("  ").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(database.Prepare("SELEC 1").status().code(), StatusCode::kInternal);
  EXPECT_TRUE(database.Prepare("SELECT 1; \n").ok());
}

TEST_F(SqliteTest, KeepsWhatWasCommittedAndNothingElse) {
  {
    Database database = Open();
    {
      StatusOr<Transaction> transaction = Transaction::Begin(database);
      ASSERT_TRUE(transaction.ok());
      ASSERT_TRUE(database.Execute("INSERT INTO note (id) VALUES (1)").ok());
      ASSERT_TRUE(transaction->Commit().ok());
    }
    StatusOr<Transaction> dropped = Transaction::Begin(database);
    ASSERT_TRUE(dropped.ok());
    ASSERT_TRUE(database.Execute("INSERT INTO note (id) VALUES (2)").ok());
  }

  Database database = Open();
  EXPECT_EQ(Count(database), 1);
}

TEST_F(SqliteTest, RefusesASecondCommitAndANestedTransaction) {
  Database database = Open();
  StatusOr<Transaction> transaction = Transaction::Begin(database);
  ASSERT_TRUE(transaction.ok());

  EXPECT_EQ(Transaction::Begin(database).status().code(), StatusCode::kInternal);
  EXPECT_TRUE(transaction->Commit().ok());
  EXPECT_EQ(transaction->Commit().code(), StatusCode::kFailedPrecondition);
}

TEST_F(SqliteTest, SurvivesAMoveWithItsStatements) {
  Database first = Open();
  Statement insert = Prepare(first, "INSERT INTO note (id) VALUES (?)");
  Database second = std::move(first);
  Statement moved = std::move(insert);

  EXPECT_TRUE(moved.Bind(1, 1).Run().ok());
  EXPECT_EQ(Count(second), 1);
}

TEST_F(SqliteTest, UsesDurableSettings) {
  Database database = Open();

  for (const auto& [pragma, expected] : {std::pair{"journal_mode", "wal"},
                                         {"synchronous", "2"},
                                         {"foreign_keys", "1"},
                                         {"trusted_schema", "0"}}) {
    Statement statement = Prepare(database, "PRAGMA " + std::string(pragma));
    ASSERT_TRUE(*statement.Step());
    EXPECT_EQ(statement.Text(0), expected) << pragma;
  }
}

TEST_F(SqliteTest, CreatesFilesThatOnlyTheOwnerReads) {
  Database database = Open();
  ASSERT_TRUE(database.Execute("INSERT INTO note (id) VALUES (1)").ok());

  std::size_t num_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u) << entry.path();
    ++num_files;
  }
  EXPECT_EQ(num_files, 3u);  // The database, its log and its index.
}

TEST_F(SqliteTest, MigratesAnOlderFileAndKeepsItsRows) {
  {
    Database database = Open(kFirst);
    ASSERT_TRUE(database.Execute("INSERT INTO note (id) VALUES (1)").ok());
  }

  Database database = Open(kSecond);

  Statement select = Prepare(database, "SELECT author FROM note");
  ASSERT_TRUE(*select.Step());
  EXPECT_EQ(select.Text(0), "unknown");
}

TEST_F(SqliteTest, RefusesAFileOfANewerVersionAndLeavesItAlone) {
  { const Database migrated = Open(kSecond); }

  const Status refused = Database::Open(path(), kFirst).status();

  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(refused).find("schema 2, known up to 1"), std::string::npos) << refused;
  Database database = Open(kSecond);
  EXPECT_TRUE(database.Prepare("SELECT author FROM note").ok());
}

TEST_F(SqliteTest, KeepsNothingOfAMigrationThatFails) {
  { const Database migrated = Open(kFirst); }
  const std::array broken = {
      kFirst[0], Migration{"CREATE TABLE other (id INTEGER); INSERT INTO absent VALUES (1)"}};

  const Status failed = Database::Open(path(), broken).status();

  EXPECT_EQ(failed.code(), StatusCode::kInternal);
  EXPECT_NE(MessageOf(failed).find("migration 2"), std::string::npos) << failed;
  Database database = Open(kFirst);
  EXPECT_FALSE(database.Prepare("SELECT * FROM other").ok());
}

TEST_F(SqliteTest, RefusesAFileThatIsNoDatabase) {
  ASSERT_TRUE(
      WriteFileAtomically(path(), AsBytes(std::string(4096, 'x')), FileMode::kPrivate).ok());

  const Status refused = Database::Open(path(), kFirst).status();

  EXPECT_EQ(refused.code(), StatusCode::kDataLoss) << refused;
  EXPECT_NE(MessageOf(refused).find(path().string()), std::string::npos);
}

// A file of a hundred or so pages.
void FillAndClose(Database database) {
  ASSERT_TRUE(database
                  .Execute("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
                           "2000) INSERT INTO note (id, body) SELECT i, printf('%0200d', i) FROM n")
                  .ok());
}

TEST_F(SqliteTest, RefusesATruncatedFile) {
  FillAndClose(Open());
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) / 2);

  EXPECT_EQ(Database::Open(path(), kFirst).status().code(), StatusCode::kDataLoss);
}

TEST_F(SqliteTest, RefusesAFileWithABrokenPage) {
  FillAndClose(Open());
  {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 * 3);
    file.write(std::string(64, '\xff').data(), 64);
  }

  EXPECT_EQ(Database::Open(path(), kFirst).status().code(), StatusCode::kDataLoss);
}

TEST_F(SqliteTest, ReportsAFullDiskAndGoesOnWhenThereIsRoom) {
  Database database = Open();
  Statement insert = Prepare(database, "INSERT INTO note (id, body) VALUES (?, ?)");
  const std::string large(200'000, 'x');

  Status written = OkStatus();
  {
    const FileSizeLimit limit(128 << 10);
    StatusOr<Transaction> transaction = Transaction::Begin(database);
    ASSERT_TRUE(transaction.ok());
    written = insert.Bind(1, 1).Bind(2, large).Run();
    if (written.ok()) written = transaction->Commit();
  }

  EXPECT_EQ(written.code(), StatusCode::kResourceExhausted) << written;
  EXPECT_EQ(Count(database), 0);
  EXPECT_TRUE(insert.Bind(1, 1).Bind(2, large).Run().ok());
}

TEST_F(SqliteTest, ReportsAMissingDirectory) {
  EXPECT_EQ(Database::Open(directory_.path() / "none" / "state.db", kFirst).status().code(),
            StatusCode::kUnavailable);
}

TEST_F(SqliteTest, ShowsAReaderOnlyWhatIsCommitted) {
  Database writer = Open();
  Database reader = Open();
  StatusOr<Transaction> transaction = Transaction::Begin(writer);
  ASSERT_TRUE(transaction.ok());
  ASSERT_TRUE(writer.Execute("INSERT INTO note (id) VALUES (1)").ok());

  EXPECT_EQ(Count(reader), 0);
  ASSERT_TRUE(transaction->Commit().ok());
  EXPECT_EQ(Count(reader), 1);
}

TEST_F(SqliteTest, ReadsWhileAnotherWritesAndWritesNothing) {
  EXPECT_EQ(Database::OpenReadOnly(path(), kFirst).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path()));
  Database writer = Open();
  ASSERT_TRUE(writer.Execute("INSERT INTO note (id) VALUES (1)").ok());

  StatusOr<Database> reader = Database::OpenReadOnly(path(), kFirst);

  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(Count(*reader), 1);
  ASSERT_TRUE(writer.Execute("INSERT INTO note (id) VALUES (2)").ok());
  EXPECT_EQ(Count(*reader), 2);
  EXPECT_EQ(reader->Execute("DELETE FROM note").code(), StatusCode::kPermissionDenied);
}

TEST_F(SqliteTest, ReadsWhatNobodyHasOpenAndRefusesAnOlderSchema) {
  { const Database written = Open(); }

  EXPECT_TRUE(Database::OpenReadOnly(path(), kFirst).ok());
  EXPECT_EQ(Database::OpenReadOnly(path(), kSecond).status().code(),
            StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace chorale::storage
