#include "backup/staging.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>
#include <system_error>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/chunking.h"
#include "core/crypto/blob_digest.h"
#include "core/storage/blob_store.h"
#include "core/storage/sqlite.h"
#include "core/storage/sqlite_snapshot.h"

namespace chorale::backup {
namespace {

constexpr std::string_view kPrefix = ".backup-";

Status Failed(std::string_view doing, const std::filesystem::path& path, std::error_code error) {
  const std::string message =
      "cannot " + std::string(doing) + " " + path.string() + ": " + error.message();
  if (error == std::errc::no_space_on_device) return ResourceExhausted(message);
  if (error == std::errc::permission_denied || error == std::errc::read_only_file_system ||
      error == std::errc::operation_not_permitted) {
    return PermissionDenied(message);
  }
  return Unavailable(message);
}

bool Exists(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

StatusOr<std::vector<crypto::BlobId>> BlobsNamedBy(const StateLayout::Blobs& blobs,
                                                   storage::Database& database) {
  CHORALE_ASSIGN_OR_RETURN(storage::Statement rows, database.Prepare(blobs.query));
  std::vector<crypto::BlobId> named;
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(const bool has_row, rows.Step());
    if (!has_row) return named;
    CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest, crypto::DigestFromBytes(rows.Blob(0)));
    named.push_back({static_cast<std::uint64_t>(rows.Int(1)), digest});
  }
}

StatusOr<std::vector<crypto::BlobId>> BlobsNamedBy(const StateLayout::Blobs& blobs,
                                                   const std::filesystem::path& database_path) {
  CHORALE_ASSIGN_OR_RETURN(storage::Database database,
                           storage::Database::OpenAnyReadOnly(database_path));
  return BlobsNamedBy(blobs, database);
}

// The regular files below a folder, by their paths from `root`.
StatusOr<std::vector<std::string>> FilesBelow(const std::filesystem::path& root,
                                              const std::string& folder) {
  std::vector<std::string> files;
  if (!Exists(root / folder)) return files;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator entry(root / folder, error), end;
       !error && entry != end; entry.increment(error)) {
    std::error_code gone;  // Replaced or removed just now.
    if (!entry->is_regular_file(gone)) continue;
    // Temporary files of a write under way.
    if (entry->path().filename().string().starts_with(".")) continue;
    files.push_back(entry->path().lexically_relative(root).string());
  }
  if (error) return Failed("list", root / folder, error);
  std::ranges::sort(files);
  return files;
}

// False: there is no such file any more.
StatusOr<bool> Link(const std::filesystem::path& from, const std::filesystem::path& to) {
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(to.parent_path()));
  if (::link(from.c_str(), to.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  return Failed("link", from, std::error_code(errno, std::system_category()));
}

// What a backup that was killed left behind.
void RemoveStale(const std::filesystem::path& state_directory) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(state_directory, error), end;
       !error && entry != end; entry.increment(error)) {
    if (!entry->path().filename().string().starts_with(kPrefix)) continue;
    const auto lock = storage::DirectoryLock::Acquire(entry->path());
    if (!lock.ok()) continue;  // Another one is under way.
    std::error_code ignored;   // What stays is tried again next time.
    std::filesystem::remove_all(entry->path(), ignored);
  }
}

// Links the blobs that the database names. A program removes one only after a commit that does not
// name it any more, so that they are all there while nobody can commit.
Status LinkBlobs(const StateLayout::Blobs& blobs, storage::Database& database,
                 const std::filesystem::path& from, const std::filesystem::path& to) {
  CHORALE_ASSIGN_OR_RETURN(const auto named, BlobsNamedBy(blobs, database));
  for (const crypto::BlobId& id : named) {
    const std::string name = blobs.folder + "/" + ToHex(id.digest);
    CHORALE_ASSIGN_OR_RETURN(const bool is_there, Link(from / name, to / name));
    if (!is_there) {
      return DataLoss("the state names blob " + ToHex(id.digest) + ", which is not in " +
                      (from / blobs.folder).string() + ": the state directory is damaged");
    }
  }
  return OkStatus();
}

Status Stage(const StateLayout& layout, const std::filesystem::path& from,
             const std::filesystem::path& to) {
  const std::string& first = layout.databases.front();
  std::function<Status(storage::Database&)> link_blobs;
  if (layout.blobs.has_value()) {
    link_blobs = [&](storage::Database& database) {
      return LinkBlobs(*layout.blobs, database, from, to);
    };
  }
  CHORALE_RETURN_IF_ERROR(storage::SnapshotDatabase(from / first, to / first, link_blobs));
  std::vector<std::string> files = layout.files;
  for (const std::string& folder : layout.folders) {
    CHORALE_ASSIGN_OR_RETURN(const auto below, FilesBelow(from, folder));
    files.insert(files.end(), below.begin(), below.end());
  }
  for (const std::string& file : files) {
    CHORALE_RETURN_IF_ERROR(Link(from / file, to / file).status());
  }
  for (std::size_t i = 1; i < layout.databases.size(); ++i) {
    const std::string& database = layout.databases[i];
    if (!Exists(from / database)) continue;
    CHORALE_RETURN_IF_ERROR(storage::SnapshotDatabase(from / database, to / database));
  }
  return OkStatus();
}

Status CheckBlob(const storage::BlobStore& store, const crypto::BlobId& id) {
  CHORALE_ASSIGN_OR_RETURN(const storage::BlobReader reader, store.Find(id));
  return storage::CheckContent(reader, id);
}

StatusOr<crypto::Digest> DigestFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  crypto::Sha256Hasher hasher;
  std::string piece(kChunkBytes, '\0');
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hasher.Update(AsBytes(piece).first(static_cast<std::size_t>(file.gcount())));
  }
  if (!file.eof()) return Unavailable("cannot read " + path.string());
  return std::move(hasher).Finish();
}

}  // namespace

StatusOr<Staging> Staging::Take(const StateLayout& layout,
                                const std::filesystem::path& state_directory) {
  if (!Exists(state_directory / layout.databases.front())) {
    return NotFound("there is no state in " + state_directory.string() + " (no " +
                    layout.databases.front() + "): the program has not run there yet");
  }
  RemoveStale(state_directory);
  std::string pattern = (state_directory / (std::string(kPrefix) + "XXXXXX")).string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    return Failed("create a folder in", state_directory,
                  std::error_code(errno, std::system_category()));
  }
  const std::filesystem::path directory = pattern;
  StatusOr<storage::DirectoryLock> lock = storage::DirectoryLock::Acquire(directory);
  if (!lock.ok()) {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    return lock.status();
  }
  Staging staging(directory, *std::move(lock));
  staging.content_ = directory / "state";
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(staging.content_));
  CHORALE_RETURN_IF_ERROR(Stage(layout, state_directory, staging.content_));
  return staging;
}

Staging::Staging(Staging&& other) noexcept
    : directory_(std::exchange(other.directory_, {})),
      content_(std::move(other.content_)),
      lock_(std::move(other.lock_)) {}

Staging::~Staging() {
  if (directory_.empty()) return;
  std::error_code ignored;  // What stays is removed by the next backup.
  std::filesystem::remove_all(directory_, ignored);
}

StatusOr<StateFiles> ListState(const StateLayout& layout,
                               const std::filesystem::path& state_directory) {
  StateFiles files;
  const auto add = [&](const std::string& name) { files[name] = state_directory / name; };
  const std::string& first = layout.databases.front();
  if (!Exists(state_directory / first)) {
    return NotFound("there is no state in " + state_directory.string() + " (no " + first + ")");
  }
  for (const std::string& database : layout.databases) {
    if (Exists(state_directory / database)) add(database);
  }
  if (layout.blobs.has_value()) {
    CHORALE_ASSIGN_OR_RETURN(const auto named,
                             BlobsNamedBy(*layout.blobs, state_directory / first));
    for (const crypto::BlobId& id : named) add(layout.blobs->folder + "/" + ToHex(id.digest));
  }
  for (const std::string& folder : layout.folders) {
    CHORALE_ASSIGN_OR_RETURN(const auto below, FilesBelow(state_directory, folder));
    for (const std::string& file : below) add(file);
  }
  for (const std::string& file : layout.files) {
    if (Exists(state_directory / file)) add(file);
  }
  return files;
}

StatusOr<crypto::Digest> DigestState(const StateLayout& layout,
                                     const std::filesystem::path& state_directory) {
  CHORALE_ASSIGN_OR_RETURN(const StateFiles files, ListState(layout, state_directory));
  std::string text = "chorale.v1.State\n";
  const auto add = [&text](const std::string& name, const crypto::Digest& digest) {
    text += name + " " + ToHex(digest) + "\n";
  };
  for (const std::string& database : layout.databases) {
    if (!files.contains(database)) continue;
    CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest,
                             storage::DigestDatabase(files.at(database)));
    add(database, digest);
  }
  if (layout.blobs.has_value()) {
    CHORALE_ASSIGN_OR_RETURN(
        const auto named, BlobsNamedBy(*layout.blobs, state_directory / layout.databases.front()));
    const auto store = storage::BlobStore::OpenReadOnly(state_directory / layout.blobs->folder);
    for (const crypto::BlobId& id : named) CHORALE_RETURN_IF_ERROR(CheckBlob(store, id));
  }
  for (const auto& [name, path] : files) {
    const bool is_database = std::ranges::find(layout.databases, name) != layout.databases.end();
    const bool is_blob = layout.blobs.has_value() && name.starts_with(layout.blobs->folder + "/");
    if (is_database || is_blob) continue;  // Told by the databases.
    CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest, DigestFile(path));
    add(name, digest);
  }
  return crypto::Sha256(AsBytes(text));
}

}  // namespace chorale::backup
