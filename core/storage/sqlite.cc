#include "core/storage/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>
#include <limits>
#include <utility>

#include "core/storage/posix.h"

namespace chorale::storage {
namespace {

using internal::FileDescriptor;

constexpr int kBusyTimeoutMilliseconds = 5000;

// Applied before the file is read. A schema that somebody else wrote may not call functions, and no
// temporary file is left outside the state directory. Memory mapping stays off: a truncated file
// would end the process by a signal.
constexpr const char* kConnectionSettings =
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA cell_size_check = ON;"
    "PRAGMA mmap_size = 0;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA secure_delete = ON;"
    "PRAGMA foreign_keys = ON;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA journal_size_limit = 67108864;";

int LastErrnoOf(sqlite3_file* file) {
  int error = 0;
  if (file != nullptr && file->pMethods != nullptr) {
    file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error);
  }
  return error;
}

// A file size limit or a quota is an I/O error to SQLite, and sqlite3_system_errno may tell of a
// later call.
bool HadNoSpace(sqlite3* db) {
  if (db == nullptr) return false;
  sqlite3_file* database = nullptr;
  sqlite3_file* log = nullptr;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &database);
  sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  return internal::IsNoSpace(LastErrnoOf(database)) || internal::IsNoSpace(LastErrnoOf(log)) ||
         internal::IsNoSpace(sqlite3_system_errno(db));
}

StatusCode CodeOf(sqlite3* db, int result) {
  switch (result) {
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_DATA:
    case SQLITE_IOERR_CORRUPTFS:
      return StatusCode::kDataLoss;
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return StatusCode::kAlreadyExists;
    default:
      break;
  }
  switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return StatusCode::kDataLoss;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return StatusCode::kPermissionDenied;
    case SQLITE_CONSTRAINT:
      return StatusCode::kFailedPrecondition;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      return HadNoSpace(db) ? StatusCode::kResourceExhausted : StatusCode::kUnavailable;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return StatusCode::kUnavailable;
    default:
      return StatusCode::kInternal;
  }
}

Status SqliteError(sqlite3* db, int result) {
  const char* file = db == nullptr ? nullptr : sqlite3_db_filename(db, "main");
  std::string message = "database " + std::string(file == nullptr ? "" : file) + ": ";
  // The connection's words are about its latest call only.
  message += db != nullptr && sqlite3_extended_errcode(db) == result ? sqlite3_errmsg(db)
                                                                     : sqlite3_errstr(result);
  return MakeStatus(CodeOf(db, result), message);
}

Status Run(sqlite3* db, const char* sql) {
  const int result = sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? OkStatus() : SqliteError(db, result);
}

void RollBack(sqlite3* db) {
  // Some errors roll back by themselves.
  if (sqlite3_get_autocommit(db) == 0) sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
}

// The file must exist before SQLite opens it, or its mode would depend on the umask. An existing
// one is not touched: closing any descriptor of it would drop the locks of other connections of
// this process.
Status CreateDatabaseFile(const std::filesystem::path& path) {
  const FileDescriptor file(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (file.is_open()) return internal::SyncDirectory(internal::DirectoryOf(path));
  return errno == EEXIST ? OkStatus() : internal::SystemError(errno, "create", path);
}

StatusOr<std::string> QueryText(Database& database, std::string_view sql) {
  CHORALE_ASSIGN_OR_RETURN(Statement statement, database.Prepare(sql));
  CHORALE_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  return has_row ? statement.Text(0) : std::string();
}

// The number of migrations that the file has seen.
StatusOr<std::size_t> LoadVersion(Database& database, std::size_t known) {
  CHORALE_ASSIGN_OR_RETURN(Statement statement, database.Prepare("PRAGMA user_version"));
  CHORALE_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  const std::int64_t version = has_row ? statement.Int(0) : 0;
  if (version < 0) return DataLoss("its schema version is " + std::to_string(version));
  if (static_cast<std::size_t>(version) > known) {
    return FailedPrecondition("written by a newer version of this program (schema " +
                              std::to_string(version) + ", known up to " + std::to_string(known) +
                              "); run that version");
  }
  return static_cast<std::size_t>(version);
}

Status Migrate(Database& database, std::span<const Migration> migrations) {
  for (;;) {
    CHORALE_ASSIGN_OR_RETURN(const std::size_t seen, LoadVersion(database, migrations.size()));
    if (seen == migrations.size()) return OkStatus();
    CHORALE_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database));
    // Another process may have migrated before the lock was ours.
    CHORALE_ASSIGN_OR_RETURN(const std::size_t version, LoadVersion(database, migrations.size()));
    if (version != seen) continue;
    const std::string step = "migration " + std::to_string(version + 1);
    if (Status done = database.Execute(migrations[version].sql); !done.ok()) {
      return Annotate(done, step);
    }
    CHORALE_RETURN_IF_ERROR(
        database.Execute("PRAGMA user_version = " + std::to_string(version + 1)));
    if (Status done = transaction.Commit(); !done.ok()) return Annotate(done, step);
  }
}

// Writes nothing: a newer version's file stays as it is.
StatusOr<std::size_t> CheckFile(Database& database, std::span<const Migration> migrations) {
  CHORALE_ASSIGN_OR_RETURN(const std::size_t version, LoadVersion(database, migrations.size()));
  CHORALE_ASSIGN_OR_RETURN(const std::string check, QueryText(database, "PRAGMA quick_check(1)"));
  if (check != "ok") return DataLoss("integrity check failed: " + check);
  return version;
}

Status PrepareToRead(Database& database, std::span<const Migration> migrations) {
  CHORALE_ASSIGN_OR_RETURN(const std::size_t version, CheckFile(database, migrations));
  if (version == migrations.size()) return OkStatus();
  return FailedPrecondition("written by an older version of this program (schema " +
                            std::to_string(version) + ", read is " +
                            std::to_string(migrations.size()) +
                            "); start the program that writes it once");
}

Status Prepare(Database& database, std::span<const Migration> migrations) {
  CHORALE_RETURN_IF_ERROR(database.Execute(kConnectionSettings));
  CHORALE_RETURN_IF_ERROR(CheckFile(database, migrations).status());
  CHORALE_ASSIGN_OR_RETURN(const std::string mode,
                           QueryText(database, "PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return FailedPrecondition("this disk has no shared memory for write-ahead logging (mode is " +
                              mode + "); use a local disk");
  }
  CHORALE_RETURN_IF_ERROR(Migrate(database, migrations));
  // A process that was killed may have left a transaction in the log that nobody has synced. It
  // shows from here on, so it must not be lost to a power cut: a checkpoint syncs the log first.
  return database.Execute("PRAGMA wal_checkpoint(PASSIVE)");
}

}  // namespace

// ---- Statement

Statement::Statement(Statement&& other) noexcept
    : db_(other.db_),
      statement_(std::exchange(other.statement_, nullptr)),
      bind_result_(other.bind_result_) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this != &other) {
    sqlite3_finalize(statement_);
    db_ = other.db_;
    statement_ = std::exchange(other.statement_, nullptr);
    bind_result_ = other.bind_result_;
  }
  return *this;
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::KeepFailure(int result) {
  if (bind_result_ == SQLITE_OK) bind_result_ = result;
  return *this;
}

Statement& Statement::Bind(int index, std::int64_t value) {
  return KeepFailure(sqlite3_bind_int64(statement_, index, value));
}

Statement& Statement::Bind(int index, std::string_view text) {
  // A null pointer would bind NULL.
  return KeepFailure(sqlite3_bind_text64(statement_, index, text.empty() ? "" : text.data(),
                                         text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

Statement& Statement::Bind(int index, ByteSpan blob) {
  if (blob.empty()) return KeepFailure(sqlite3_bind_zeroblob(statement_, index, 0));
  return KeepFailure(
      sqlite3_bind_blob64(statement_, index, blob.data(), blob.size(), SQLITE_TRANSIENT));
}

Statement& Statement::BindNull(int index) {
  return KeepFailure(sqlite3_bind_null(statement_, index));
}

StatusOr<bool> Statement::Step() {
  if (bind_result_ != SQLITE_OK) {
    const int failed = std::exchange(bind_result_, SQLITE_OK);
    Reset();
    return Annotate(SqliteError(db_, failed), "binding a parameter");
  }
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  // The words of the error are lost with the reset.
  Status status = result == SQLITE_DONE ? OkStatus() : SqliteError(db_, result);
  sqlite3_reset(statement_);
  if (!status.ok()) return status;
  return false;
}

Status Statement::Run() {
  const Status status = Step().status();
  Reset();
  return status;
}

void Statement::Reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  bind_result_ = SQLITE_OK;
}

std::int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Statement::Text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_, column);
  if (text == nullptr) return "";
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Bytes Statement::Blob(int column) const {
  const auto* blob = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  if (blob == nullptr) return {};
  return {blob, blob + sqlite3_column_bytes(statement_, column)};
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

// ---- Database

StatusOr<Database> Database::Connect(const std::filesystem::path& path, int flags) {
  sqlite3* handle = nullptr;
  const int result = sqlite3_open_v2(
      path.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, nullptr);
  Database database(handle);
  if (result != SQLITE_OK) return SqliteError(handle, result);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMilliseconds);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  return database;
}

StatusOr<Database> Database::Open(const std::filesystem::path& path,
                                  std::span<const Migration> migrations) {
  CHORALE_RETURN_IF_ERROR(CreateDatabaseFile(path));
  CHORALE_ASSIGN_OR_RETURN(Database database, Connect(path, SQLITE_OPEN_READWRITE));
  if (Status prepared = storage::Prepare(database, migrations); !prepared.ok()) {
    return Annotate(prepared, "cannot open " + path.string());
  }
  return database;
}

StatusOr<Database> Database::OpenAnyReadOnly(const std::filesystem::path& path) {
  return ConnectToFile(path, SQLITE_OPEN_READONLY);
}

StatusOr<Database> Database::OpenAny(const std::filesystem::path& path) {
  return ConnectToFile(path, SQLITE_OPEN_READWRITE);
}

StatusOr<Database> Database::ConnectToFile(const std::filesystem::path& path, int flags) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return NotFound("there is no " + path.string());
  CHORALE_ASSIGN_OR_RETURN(Database database, Connect(path, flags));
  if (Status set = database.Execute(kConnectionSettings); !set.ok()) {
    return Annotate(set, "cannot read " + path.string());
  }
  return database;
}

StatusOr<Database> Database::OpenReadOnly(const std::filesystem::path& path,
                                          std::span<const Migration> migrations) {
  CHORALE_ASSIGN_OR_RETURN(Database database, OpenAnyReadOnly(path));
  if (Status prepared = PrepareToRead(database, migrations); !prepared.ok()) {
    return Annotate(prepared, "cannot read " + path.string());
  }
  return database;
}

Database::Database(Database&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}

Database& Database::operator=(Database&& other) noexcept {
  if (this != &other) {
    sqlite3_close_v2(db_);
    db_ = std::exchange(other.db_, nullptr);
  }
  return *this;
}

// Statements that outlive the database keep the connection open until they are gone.
Database::~Database() { sqlite3_close_v2(db_); }

StatusOr<Statement> Database::Prepare(std::string_view sql) {
  if (sql.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    return InvalidArgument("an SQL statement of " + std::to_string(sql.size()) + " bytes");
  }
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  const int result = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, &tail);
  if (result != SQLITE_OK) return SqliteError(db_, result);
  Statement prepared(db_, statement);
  if (statement == nullptr) return InvalidArgument("an SQL statement must not be empty");
  const std::string_view rest = sql.substr(static_cast<std::size_t>(tail - sql.data()));
  if (rest.find_first_not_of(" \t\r\n;") != std::string_view::npos) {
    return InvalidArgument("only the first of several SQL statements would run");
  }
  return prepared;
}

Status Database::Execute(std::string_view sql) { return Run(db_, std::string(sql).c_str()); }

Status Database::CopyInto(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) return AlreadyExists(path.string() + " exists already");
  CHORALE_RETURN_IF_ERROR(CreateDatabaseFile(path));
  CHORALE_ASSIGN_OR_RETURN(Database copy, Connect(path, SQLITE_OPEN_READWRITE));
  CHORALE_RETURN_IF_ERROR(copy.Execute("PRAGMA synchronous = OFF"));
  sqlite3_backup* const backup = sqlite3_backup_init(copy.db_, "main", db_, "main");
  if (backup == nullptr) return SqliteError(copy.db_, sqlite3_extended_errcode(copy.db_));
  const int stepped = sqlite3_backup_step(backup, -1);
  const int finished = sqlite3_backup_finish(backup);
  if (stepped != SQLITE_DONE)
    return SqliteError(copy.db_, finished == SQLITE_OK ? stepped : finished);
  return QueryText(copy, "PRAGMA journal_mode = DELETE").status();  // One file, without a log.
}

// ---- Transaction

StatusOr<Transaction> Transaction::Begin(Database& database) {
  // IMMEDIATE: a reader that turns writer could be refused half way.
  CHORALE_RETURN_IF_ERROR(Run(database.db_, "BEGIN IMMEDIATE"));
  return Transaction(database.db_);
}

Transaction::Transaction(Transaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}

Transaction::~Transaction() {
  if (db_ != nullptr) RollBack(db_);
}

Status Transaction::Commit() {
  if (db_ == nullptr) return FailedPrecondition("the transaction is over");
  sqlite3* const db = std::exchange(db_, nullptr);
  // An error inside the transaction may have ended it already; committing would then find none.
  if (sqlite3_get_autocommit(db) != 0) {
    return Aborted("the transaction was rolled back by an earlier error");
  }
  const Status committed = Run(db, "COMMIT");
  if (!committed.ok()) RollBack(db);
  return committed;
}

}  // namespace chorale::storage
