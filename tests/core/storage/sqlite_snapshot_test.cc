#include "core/storage/sqlite_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <fstream>
#include <thread>

#include "core/bytes.h"
#include "core/storage/file.h"
#include "core/storage/sqlite.h"
#include "tests/support/temporary_directory.h"

namespace chorale::storage {
namespace {

constexpr std::array<Migration, 1> kSchema = {Migration{R"sql(
  CREATE TABLE pairs (id INTEGER PRIMARY KEY, left INTEGER NOT NULL, right INTEGER NOT NULL);
  CREATE TABLE names (name TEXT NOT NULL, part INTEGER NOT NULL, content BLOB,
                      PRIMARY KEY (name, part)) WITHOUT ROWID;
)sql"}};

class SqliteSnapshotTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path Path(const std::string& name) const {
    return directory_.path() / name;
  }
  Database Open(const std::string& name) { return *Database::Open(Path(name), kSchema); }
  static void AddPair(Database& database, std::int64_t value) {
    Statement insert = *database.Prepare("INSERT INTO pairs (left, right) VALUES (?1, ?1)");
    ASSERT_TRUE(insert.Bind(1, value).Run().ok());
  }
  static std::int64_t Ask(Database& database, const std::string& sql) {
    Statement query = *database.Prepare(sql);
    EXPECT_TRUE(*query.Step());
    return query.Int(0);
  }
  support::TemporaryDirectory directory_{support::Medium::kMemory};
};

TEST_F(SqliteSnapshotTest, CopiesWhatIsCommittedAndNothingElse) {
  Database database = Open("a.db");
  AddPair(database, 1);
  Transaction transaction = *Transaction::Begin(database);
  AddPair(database, 2);

  const Status copied = SnapshotDatabase(Path("a.db"), Path("b.db"));

  ASSERT_TRUE(copied.ok()) << copied;
  Database copy = Open("b.db");
  EXPECT_EQ(Ask(copy, "SELECT count(*) FROM pairs"), 1);
  ASSERT_TRUE(std::move(transaction).Commit().ok());
}

TEST_F(SqliteSnapshotTest, ACopyIsOneMomentHoweverManyWritersThereAre) {
  std::atomic<bool> is_over = false;
  Open("a.db");
  std::thread writer([&] {
    Database database = Open("a.db");
    for (std::int64_t value = 0; !is_over; ++value) {
      Transaction transaction = *Transaction::Begin(database);
      AddPair(database, value);
      AddPair(database, value);  // Rows come in twos.
      ASSERT_TRUE(std::move(transaction).Commit().ok());
    }
  });
  for (int i = 0; i < 20; ++i) {
    const std::string name = "copy" + std::to_string(i);
    const Status copied = SnapshotDatabase(Path("a.db"), Path(name));
    EXPECT_TRUE(copied.ok()) << copied;
    Database copy = Open(name);
    EXPECT_EQ(Ask(copy, "SELECT count(*) % 2 FROM pairs"), 0);
  }
  is_over = true;
  writer.join();
}

TEST_F(SqliteSnapshotTest, EqualContentHasOneDigestHoweverItsPagesLie) {
  Database first = Open("a.db");
  Database second = Open("b.db");
  for (std::int64_t value = 0; value < 500; ++value) AddPair(first, value);
  ASSERT_TRUE(first.Execute("DELETE FROM pairs WHERE id % 2 = 0").ok());
  for (std::int64_t value = 498; value >= 0; value -= 2) {
    const std::string text = std::to_string(value);
    ASSERT_TRUE(second
                    .Execute("INSERT INTO pairs VALUES (" + std::to_string(value + 1) + ", " +
                             text + ", " + text + ")")
                    .ok());
  }

  EXPECT_EQ(*DigestDatabase(Path("a.db")), *DigestDatabase(Path("b.db")));
  ASSERT_TRUE(SnapshotDatabase(Path("a.db"), Path("c.db")).ok());
  EXPECT_EQ(*DigestDatabase(Path("a.db")), *DigestDatabase(Path("c.db")));
}

TEST_F(SqliteSnapshotTest, EveryDifferenceOfContentChangesTheDigest) {
  std::vector<crypto::Digest> digests;
  int number = 0;
  for (const std::string sql :
       {"", "INSERT INTO names VALUES ('a', 1, NULL)", "INSERT INTO names VALUES ('a', 1, x'')",
        "INSERT INTO names VALUES ('a', 1, '')", "INSERT INTO names VALUES ('a', 1, x'31')",
        "INSERT INTO names VALUES ('a', 1, '1')", "INSERT INTO names VALUES ('a1', 1, NULL)",
        "INSERT INTO names VALUES ('a', 11, NULL)", "INSERT INTO pairs VALUES (1, 2, 3)",
        "CREATE INDEX extra ON pairs (left)", "PRAGMA user_version = 7"}) {
    const std::string name = "d" + std::to_string(number++);
    Database database = Open(name);
    ASSERT_TRUE(database.Execute(sql).ok()) << sql;
    digests.push_back(*DigestDatabase(Path(name)));
  }
  for (std::size_t i = 0; i < digests.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(digests[i], digests[j]) << i << " and " << j;
  }
}

TEST_F(SqliteSnapshotTest, ADamagedDatabaseIsNotCopied) {
  {
    Database database = Open("a.db");
    for (std::int64_t value = 0; value < 2000; ++value) AddPair(database, value);
  }
  {
    std::fstream file(Path("a.db"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    file << std::string(2000, '\xff');
  }
  EXPECT_EQ(SnapshotDatabase(Path("a.db"), Path("b.db")).code(), StatusCode::kDataLoss);
  EXPECT_FALSE(std::filesystem::exists(Path("b.db")));
}

TEST_F(SqliteSnapshotTest, ReplacesNothingAndCopiesNothing) {
  Open("a.db");
  std::ofstream(Path("b.db")) << "somebody's work";
  EXPECT_EQ(SnapshotDatabase(Path("a.db"), Path("b.db")).code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(Path("b.db"), 100), "somebody's work");
  EXPECT_EQ(SnapshotDatabase(Path("none"), Path("c.db")).code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::storage
