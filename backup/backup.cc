#include "backup/backup.h"

#include <unistd.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "backup/staging.h"
#include "core/bytes.h"
#include "core/storage/archive.h"
#include "core/storage/file.h"
#include "core/storage/state_mark.h"
#include "core/version.h"

namespace chorale::backup {
namespace {

constexpr std::string_view kState = "state/";
constexpr std::string_view kConfig = "config/";
constexpr std::string_view kIdentity = "identity/";

// What of the state the file says by itself.
StatusOr<v1::BackupHeader> DecodeHeader(ByteSpan bytes) {
  v1::BackupHeader header;
  if (!header.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      !crypto::DigestFromBytes(AsBytes(header.state_digest())).ok()) {
    return DataLoss("the backup's header cannot be read");
  }
  return header;
}

class Checker : public storage::ArchiveVisitor {
 public:
  Status OnHeader(ByteSpan bytes) override {
    CHORALE_ASSIGN_OR_RETURN(header_, DecodeHeader(bytes));
    return OkStatus();
  }
  Status OnEntry(const std::string&, std::uint64_t) override { return OkStatus(); }
  Status OnPiece(ByteSpan) override { return OkStatus(); }
  [[nodiscard]] const v1::BackupHeader& header() const { return header_; }

 private:
  v1::BackupHeader header_;
};

// Writes entries below a directory.
class Extractor final : public Checker {
 public:
  Extractor(v1::PartyRole role, std::filesystem::path directory)
      : role_(role), directory_(std::move(directory)) {}

  Status OnHeader(ByteSpan bytes) override {
    CHORALE_RETURN_IF_ERROR(Checker::OnHeader(bytes));
    if (header().role() == role_) return OkStatus();
    return InvalidArgument(std::string("the backup is that of a ") +
                           (header().role() == v1::PARTY_ROLE_SITE ? "site" : "coordinator"));
  }
  Status OnEntry(const std::string& name, std::uint64_t) override {
    CHORALE_RETURN_IF_ERROR(CloseFile());
    const bool is_config = name.starts_with(kConfig);
    if (!is_config && !name.starts_with(kState) && !name.starts_with(kIdentity)) {
      return DataLoss("the backup holds a file that no backup has: " + name);
    }
    const std::filesystem::path path =
        directory_ / (is_config ? name.substr(kConfig.size()) : name);
    CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(path.parent_path()));
    CHORALE_ASSIGN_OR_RETURN(file_, storage::FileWriter::Create(path));
    return OkStatus();
  }
  Status OnPiece(ByteSpan piece) override { return file_->Append(piece); }
  Status CloseFile() {
    if (!file_.has_value()) return OkStatus();
    storage::FileWriter file = *std::move(file_);
    file_.reset();
    return std::move(file).Close();
  }

 private:
  const v1::PartyRole role_;
  const std::filesystem::path directory_;
  std::optional<storage::FileWriter> file_;
};

// A directory that goes again unless it takes its place.
class NewDirectory {
 public:
  static StatusOr<NewDirectory> Create(const std::filesystem::path& final_path) {
    std::string pattern = final_path.string() + ".restoring-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
      return Unavailable("cannot create a directory beside " + final_path.string() + ": " +
                         std::system_category().message(errno));
    }
    return NewDirectory(pattern);
  }
  NewDirectory(NewDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  NewDirectory& operator=(NewDirectory&&) = delete;
  ~NewDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // Over an empty directory, or none.
  Status TakePlaceOf(const std::filesystem::path& final_path) && {
    if (::rename(path_.c_str(), final_path.c_str()) == 0) {
      path_.clear();
      return storage::SyncDirectory(final_path.parent_path());
    }
    if (errno == ENOTEMPTY || errno == EEXIST) {
      return AlreadyExists(final_path.string() + " is not empty: restore into a new directory");
    }
    return Unavailable("cannot create " + final_path.string() + ": " +
                       std::system_category().message(errno));
  }

 private:
  explicit NewDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace

StatusOr<Written> Write(const Request& request) {
  CHORALE_ASSIGN_OR_RETURN(const Staging staging,
                           Staging::Take(request.layout, request.state_directory));
  CHORALE_ASSIGN_OR_RETURN(const crypto::Digest state_digest,
                           DigestState(request.layout, staging.content()));
  Written written{.header = request.header};
  written.header.set_program_version(Version());
  written.header.set_state_digest(state_digest.data(), state_digest.size());
  written.header.set_has_keys(false);
  for (const auto& [name, path] : request.further) {
    if (name.starts_with(kIdentity)) written.header.set_has_keys(true);
  }
  const std::string header = written.header.SerializeAsString();
  CHORALE_ASSIGN_OR_RETURN(storage::ArchiveWriter archive,
                           storage::ArchiveWriter::Create(request.file, AsBytes(header)));
  CHORALE_ASSIGN_OR_RETURN(const StateFiles files, ListState(request.layout, staging.content()));
  for (const auto& [name, path] : files) {
    CHORALE_RETURN_IF_ERROR(archive.AddFile(std::string(kState) + name, path));
  }
  for (const auto& [name, path] : request.further) {
    CHORALE_RETURN_IF_ERROR(archive.AddFile(name, path));
  }
  CHORALE_ASSIGN_OR_RETURN(written.digest, std::move(archive).Commit());
  return written;
}

StatusOr<Written> Check(const std::filesystem::path& file) {
  Checker checker;
  CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest, storage::ReadArchive(file, checker));
  return Written{.header = checker.header(), .digest = digest};
}

StatusOr<Written> Restore(const std::filesystem::path& file, const Destination& destination,
                          RandomSource& random) {
  std::error_code error;
  if (std::filesystem::exists(destination.directory, error) &&
      !std::filesystem::is_empty(destination.directory, error)) {
    return AlreadyExists(destination.directory.string() +
                         " is not empty: restore into a new directory");
  }
  CHORALE_ASSIGN_OR_RETURN(NewDirectory made, NewDirectory::Create(destination.directory));
  Extractor extractor(destination.role, made.path());
  CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest, storage::ReadArchive(file, extractor));
  CHORALE_RETURN_IF_ERROR(extractor.CloseFile());

  const std::filesystem::path state = made.path() / "state";
  StatusOr<crypto::Digest> state_digest = DigestState(destination.layout, state);
  if (!state_digest.ok()) return Annotate(state_digest.status(), "the restored state");
  if (AsText(*state_digest) != extractor.header().state_digest()) {
    return DataLoss("the restored state has digest " + ToHex(*state_digest) +
                    ", the backup was made of one with " +
                    ToHex(AsBytes(extractor.header().state_digest())));
  }
  CHORALE_RETURN_IF_ERROR(storage::BeginLineage(state, random, /*accepts_loss=*/false).status());
  CHORALE_RETURN_IF_ERROR(std::move(made).TakePlaceOf(destination.directory));
  return Written{.header = extractor.header(), .digest = digest};
}

}  // namespace chorale::backup
