#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "core/crypto/certificate.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "identity/party.h"
#include "identity/roster.h"

namespace chorale::coordinator {

// Who belongs to the federation, as the roster file says at this moment. The file is read again
// when its time or size changes; a broken or older one keeps the roster that holds, and an error is
// logged. Safe for concurrent use.
class Members {
 public:
  // FAILED_PRECONDITION: the roster is older than version `least_version`, which this coordinator
  // has seen. Else errors of reading and of Roster::Parse.
  [[nodiscard]] static StatusOr<std::unique_ptr<Members>> Open(
      const std::filesystem::path& roster_path, const crypto::Certificate& root,
      std::uint64_t least_version);

  // Reads the file again if it changed.
  void Refresh();

  // Who holds this certificate. Errors as Roster::Authenticate; looks at the file first.
  [[nodiscard]] StatusOr<identity::Party> Authenticate(const crypto::Certificate& certificate,
                                                       Time wall_now);

  // shared_ptr: callers go on with the roster they took while a newer one takes its place.
  [[nodiscard]] std::shared_ptr<const identity::Roster> roster() const;
  // The file that it was read from.
  [[nodiscard]] std::string roster_file() const;

 private:
  struct FileStamp {
    std::filesystem::file_time_type modified_at;
    std::uintmax_t size_bytes = 0;
    friend bool operator==(const FileStamp&, const FileStamp&) = default;
  };
  // A certificate that the present roster vouches for, until it expires.
  struct Known {
    identity::Party party;
    Time not_before;
    Time not_after;
  };

  Members(std::filesystem::path path, const crypto::Certificate& root);
  [[nodiscard]] StatusOr<FileStamp> Stamp() const;
  // A roster and the file that says so.
  struct Loaded {
    identity::Roster roster;
    std::string file;
  };
  [[nodiscard]] StatusOr<Loaded> Read() const;

  const std::filesystem::path path_;
  const crypto::Certificate root_;
  mutable std::mutex mutex_;  // Guards everything below.
  std::optional<FileStamp> stamp_;
  std::shared_ptr<const identity::Roster> roster_;
  std::string roster_file_;
  std::map<crypto::Digest, Known> known_;  // By fingerprint; of this roster only.
};

}  // namespace chorale::coordinator
