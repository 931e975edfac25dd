#include "core/storage/sqlite_snapshot.h"

#include <unistd.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"

namespace chorale::storage {
namespace {

std::string Within(char quote, const std::string& text) {
  std::string quoted(1, quote);
  for (const char c : text) quoted += c == quote ? std::string(2, c) : std::string(1, c);
  return quoted + quote;
}
std::string Quoted(const std::string& name) { return Within('"', name); }

StatusOr<std::vector<std::vector<std::string>>> QueryRows(Database& database,
                                                          const std::string& sql, int num_columns) {
  CHORALE_ASSIGN_OR_RETURN(Statement query, database.Prepare(sql));
  std::vector<std::vector<std::string>> rows;
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, query.Step());
    if (!has_row) return rows;
    std::vector<std::string>& row = rows.emplace_back();
    for (int column = 0; column < num_columns; ++column) row.push_back(query.Text(column));
  }
}

class ContentHasher {
 public:
  explicit ContentHasher(Database& database) : database_(database) {}

  void Add(const std::string& text) {
    const std::string size = std::to_string(text.size()) + ":";
    hasher_.Update(AsBytes(size));
    hasher_.Update(AsBytes(text));
  }

  Status AddTable(const std::string& table) {
    CHORALE_ASSIGN_OR_RETURN(
        const auto columns,
        QueryRows(database_, "SELECT name, pk FROM pragma_table_info(" + Within('\'', table) + ")",
                  2));
    std::string values;              // As literals, of which no two are alike.
    std::map<int, std::string> key;  // By place within the primary key.
    for (const std::vector<std::string>& column : columns) {
      values += (values.empty() ? "quote(" : ", quote(") + Quoted(column[0]) + ")";
      if (const int place = std::stoi(column[1]); place > 0) key[place] = Quoted(column[0]);
    }
    std::string order;
    for (const auto& [place, column] : key) order += (order.empty() ? "" : ", ") + column;
    CHORALE_ASSIGN_OR_RETURN(Statement rows,
                             database_.Prepare("SELECT " + values + " FROM " + Quoted(table) +
                                               " ORDER BY " + (order.empty() ? "rowid" : order)));
    while (true) {
      CHORALE_ASSIGN_OR_RETURN(const bool has_row, rows.Step());
      if (!has_row) return OkStatus();
      for (std::size_t column = 0; column < columns.size(); ++column) {
        Add(rows.Text(static_cast<int>(column)));
      }
    }
  }

  crypto::Digest Finish() && { return std::move(hasher_).Finish(); }

 private:
  Database& database_;
  crypto::Sha256Hasher hasher_;
};

Status CheckAll(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(Database database, Database::OpenAnyReadOnly(path));
  CHORALE_ASSIGN_OR_RETURN(const auto rows, QueryRows(database, "PRAGMA integrity_check(1)", 1));
  if (rows.size() == 1 && rows[0][0] == "ok") return OkStatus();
  return DataLoss("database " + path.string() +
                  " fails its integrity check: " + (rows.empty() ? "" : rows[0][0]));
}

// From here on `reader` sees one moment; `then` is done before another one can come.
Status PinWhile(const std::filesystem::path& path, Database& reader,
                const std::function<Status(Database& database)>& then) {
  CHORALE_ASSIGN_OR_RETURN(Database gate, Database::OpenAny(path));
  CHORALE_ASSIGN_OR_RETURN(const Transaction closed, Transaction::Begin(gate));
  CHORALE_RETURN_IF_ERROR(reader.Execute("BEGIN; SELECT count(*) FROM sqlite_schema"));
  return then(reader);
}

}  // namespace

Status SnapshotDatabase(const std::filesystem::path& from, const std::filesystem::path& to,
                        const std::function<Status(Database& database)>& at_that_moment) {
  CHORALE_ASSIGN_OR_RETURN(Database reader, Database::OpenAnyReadOnly(from));
  std::error_code error;
  if (std::filesystem::exists(to, error)) return AlreadyExists(to.string() + " exists already");
  const auto copy = [&]() -> Status {
    if (at_that_moment) {
      CHORALE_RETURN_IF_ERROR(PinWhile(from, reader, at_that_moment));
    }
    CHORALE_RETURN_IF_ERROR(reader.CopyInto(to));
    return CheckAll(to);
  };
  const Status copied = copy();
  if (!copied.ok()) ::unlink(to.c_str());
  return Annotate(copied, "cannot copy " + from.string());
}

StatusOr<crypto::Digest> DigestDatabase(const std::filesystem::path& path) {
  CHORALE_ASSIGN_OR_RETURN(Database database, Database::OpenAnyReadOnly(path));
  CHORALE_RETURN_IF_ERROR(database.Execute("BEGIN"));  // One moment for all statements.
  ContentHasher hasher(database);
  CHORALE_ASSIGN_OR_RETURN(const auto version, QueryRows(database, "PRAGMA user_version", 1));
  for (const auto& row : version) hasher.Add(row[0]);
  CHORALE_ASSIGN_OR_RETURN(const auto schema,
                           QueryRows(database,
                                     "SELECT type, name, coalesce(sql, '') FROM sqlite_schema "
                                     "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
                                     3));
  for (const std::vector<std::string>& row : schema) {
    for (const std::string& text : row) hasher.Add(text);
    if (row[0] == "table") CHORALE_RETURN_IF_ERROR(hasher.AddTable(row[1]));
  }
  return std::move(hasher).Finish();
}

}  // namespace chorale::storage
