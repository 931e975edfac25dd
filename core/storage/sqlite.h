#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/status.h"

struct sqlite3;
struct sqlite3_stmt;

// SQLite in WAL mode with synchronous=FULL: a committed transaction survives a power cut.
// A Database and its statements belong to one thread at a time.
//
// Errors everywhere: RESOURCE_EXHAUSTED disk full or out of memory; DATA_LOSS a damaged file;
// PERMISSION_DENIED a read-only one; ALREADY_EXISTS a repeated key; FAILED_PRECONDITION another
// broken constraint; UNAVAILABLE locked by another process for 5 s, or an I/O error; INTERNAL wrong
// SQL, a bug of ours.
namespace chorale::storage {

// One step of a schema. Applied once, in order, each in a transaction; PRAGMA user_version counts
// them.
struct Migration {
  std::string_view sql;
};

class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  // Parameters count from 1. Binding and column access outside the statement's range is a bug of
  // ours.
  Statement& Bind(int index, std::int64_t value);
  Statement& Bind(int index, std::string_view text);
  Statement& Bind(int index, ByteSpan blob);
  Statement& BindNull(int index);

  // True: a row is there; false: done. Resets itself when done or failed.
  [[nodiscard]] StatusOr<bool> Step();
  // Runs a statement without rows, then clears its bindings.
  [[nodiscard]] Status Run();
  // Ends reading early and clears the bindings.
  void Reset();

  // Columns count from 0 and are valid until the next Step.
  [[nodiscard]] std::int64_t Int(int column) const;
  [[nodiscard]] std::string Text(int column) const;
  [[nodiscard]] Bytes Blob(int column) const;
  [[nodiscard]] bool IsNull(int column) const;

 private:
  friend class Database;
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  Statement& KeepFailure(int result);
  sqlite3* db_;
  sqlite3_stmt* statement_;
  int bind_result_ = 0;  // The first failure of Bind, for the next Step to tell.
};

class Database {
 public:
  // Opens or creates the file (mode 0600) and migrates it. DATA_LOSS: the file is no sound
  // database. FAILED_PRECONDITION: it was written by a newer version.
  [[nodiscard]] static StatusOr<Database> Open(const std::filesystem::path& path,
                                               std::span<const Migration> migrations);
  // To be read while another process writes: each statement sees one moment of it. NOT_FOUND: there
  // is no file. FAILED_PRECONDITION: its schema is not the newest one. Errors as above otherwise;
  // what would write is PERMISSION_DENIED.
  [[nodiscard]] static StatusOr<Database> OpenReadOnly(const std::filesystem::path& path,
                                                       std::span<const Migration> migrations);
  // The same whatever its schema.
  [[nodiscard]] static StatusOr<Database> OpenAnyReadOnly(const std::filesystem::path& path);
  // To lock it against others.
  [[nodiscard]] static StatusOr<Database> OpenAny(const std::filesystem::path& path);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  [[nodiscard]] StatusOr<Statement> Prepare(std::string_view sql);
  // One or more statements without parameters.
  [[nodiscard]] Status Execute(std::string_view sql);
  // Copies the whole database into a new file of mode 0600: as of the present transaction's moment,
  // if one is under way. Not durable. ALREADY_EXISTS: there is something at `path`.
  [[nodiscard]] Status CopyInto(const std::filesystem::path& path);

 private:
  friend class Transaction;
  explicit Database(sqlite3* db) : db_(db) {}
  [[nodiscard]] static StatusOr<Database> Connect(const std::filesystem::path& path, int flags);
  [[nodiscard]] static StatusOr<Database> ConnectToFile(const std::filesystem::path& path,
                                                        int flags);
  sqlite3* db_;
};

// Takes the write lock. Rolls back unless committed. Ends before its database. A commit costs one
// sync of the disk.
class Transaction {
 public:
  [[nodiscard]] static StatusOr<Transaction> Begin(Database& database);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  // RESOURCE_EXHAUSTED: disk full. On error nothing of the transaction is kept.
  [[nodiscard]] Status Commit();

 private:
  explicit Transaction(sqlite3* db) : db_(db) {}
  sqlite3* db_;
};

}  // namespace chorale::storage
