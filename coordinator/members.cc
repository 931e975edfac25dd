#include "coordinator/members.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "core/log.h"
#include "core/storage/file.h"

namespace chorale::coordinator {
namespace {

constexpr std::uint64_t kMaxRosterBytes = 16u << 20;
constexpr std::size_t kMaxKnown = 4096;

Status CheckVersion(const identity::Roster& roster, std::uint64_t least_version) {
  if (roster.version() >= least_version) return OkStatus();
  return FailedPrecondition("the roster has version " + std::to_string(roster.version()) +
                            ", but version " + std::to_string(least_version) +
                            " was in force here: get the newest file from the authority");
}

}  // namespace

Members::Members(std::filesystem::path path, const crypto::Certificate& root)
    : path_(std::move(path)), root_(root) {}

StatusOr<std::unique_ptr<Members>> Members::Open(const std::filesystem::path& roster_path,
                                                 const crypto::Certificate& root,
                                                 std::uint64_t least_version) {
  std::unique_ptr<Members> members(new Members(roster_path, root));
  // The stamp first: a change while reading is then seen as one.
  CHORALE_ASSIGN_OR_RETURN(members->stamp_, members->Stamp());
  CHORALE_ASSIGN_OR_RETURN(Loaded loaded, members->Read());
  CHORALE_RETURN_IF_ERROR(
      Annotate(CheckVersion(loaded.roster, least_version), roster_path.string()));
  members->roster_ = std::make_shared<const identity::Roster>(std::move(loaded.roster));
  members->roster_file_ = std::move(loaded.file);
  return members;
}

StatusOr<Members::FileStamp> Members::Stamp() const {
  std::error_code error;
  FileStamp stamp{.modified_at = std::filesystem::last_write_time(path_, error), .size_bytes = 0};
  if (!error) stamp.size_bytes = std::filesystem::file_size(path_, error);
  if (error) return NotFound("the roster " + path_.string() + ": " + error.message());
  return stamp;
}

StatusOr<Members::Loaded> Members::Read() const {
  CHORALE_ASSIGN_OR_RETURN(std::string file, storage::ReadFile(path_, kMaxRosterBytes));
  StatusOr<identity::Roster> roster = identity::Roster::Parse(file, root_);
  if (!roster.ok()) return Annotate(roster.status(), path_.string());
  return Loaded{*std::move(roster), std::move(file)};
}

void Members::Refresh() {
  const std::scoped_lock lock(mutex_);
  const StatusOr<FileStamp> stamp = Stamp();
  if (stamp.ok() && *stamp == stamp_) return;
  if (!stamp.ok() && !stamp_.has_value()) return;  // Still away; said before.
  stamp_ = stamp.ok() ? std::optional(*stamp) : std::nullopt;
  StatusOr<Loaded> loaded = stamp.ok() ? Read() : StatusOr<Loaded>(stamp.status());
  const Status usable =
      loaded.ok() ? CheckVersion(loaded->roster, roster_->version()) : loaded.status();
  if (!usable.ok()) {
    log::Error("roster.not_taken",
               {{"why", MessageOf(usable)}, {"version_in_force", roster_->version()}});
    return;
  }
  roster_ = std::make_shared<const identity::Roster>(std::move(loaded->roster));
  roster_file_ = std::move(loaded->file);
  known_.clear();
  log::Info("roster.taken", {{"version", roster_->version()}, {"sites", roster_->sites().size()}});
}

StatusOr<identity::Party> Members::Authenticate(const crypto::Certificate& certificate,
                                                Time wall_now) {
  Refresh();
  const std::scoped_lock lock(mutex_);
  const auto known = known_.find(certificate.fingerprint());
  if (known != known_.end() && known->second.not_before <= wall_now &&
      wall_now <= known->second.not_after) {
    return known->second.party;
  }
  CHORALE_ASSIGN_OR_RETURN(identity::Party party, roster_->Authenticate(certificate, wall_now));
  if (known_.size() >= kMaxKnown) known_.clear();
  const crypto::CertificateFields& own = certificate.fields();
  const crypto::CertificateFields& root = root_.fields();
  known_[certificate.fingerprint()] = {party, std::max(own.not_before, root.not_before),
                                       std::min(own.not_after, root.not_after)};
  return party;
}

std::shared_ptr<const identity::Roster> Members::roster() const {
  const std::scoped_lock lock(mutex_);
  return roster_;
}

std::string Members::roster_file() const {
  const std::scoped_lock lock(mutex_);
  return roster_file_;
}

}  // namespace chorale::coordinator
