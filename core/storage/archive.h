#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/status.h"

// Many files in one that is whole or refused:
//   "chorale-archive-1\n"
//   header   size (4 bytes), bytes; what they mean is the caller's
//   entries  'E', size of the name (2 bytes), name, size of the content (8 bytes), content
//   end      'Z', number of entries (8 bytes), SHA-256 of everything before
// Numbers have their big end first. A name is a relative path of parts of [A-Za-z0-9._-], none of
// them "." or "..", and comes once.
namespace chorale::storage {

inline constexpr std::size_t kMaxArchiveHeaderBytes = 1u << 16;

// INVALID_ARGUMENT unless an archive may have an entry of this name.
[[nodiscard]] Status CheckArchiveName(std::string_view name);

// Writes an archive of mode 0600 into a temporary file beside it. What is not committed is removed.
// Not thread-safe. Errors: RESOURCE_EXHAUSTED: disk full; PERMISSION_DENIED; UNAVAILABLE.
class ArchiveWriter {
 public:
  // ALREADY_EXISTS: there is something at `path`. INVALID_ARGUMENT: the header is too large.
  [[nodiscard]] static StatusOr<ArchiveWriter> Create(const std::filesystem::path& path,
                                                      ByteSpan header);
  ArchiveWriter(ArchiveWriter&& other) noexcept;
  ArchiveWriter& operator=(ArchiveWriter&& other) noexcept;
  ~ArchiveWriter();

  // INVALID_ARGUMENT: the name. DATA_LOSS: the file shrank while it was read.
  [[nodiscard]] Status AddFile(std::string_view name, const std::filesystem::path& file);
  [[nodiscard]] Status AddBytes(std::string_view name, ByteSpan bytes);
  // Durable when this returns. The digest that the archive ends with.
  [[nodiscard]] StatusOr<crypto::Digest> Commit() &&;

 private:
  struct State;
  explicit ArchiveWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Takes an archive as it is read. An error ends the reading.
class ArchiveVisitor {
 public:
  virtual ~ArchiveVisitor() = default;
  [[nodiscard]] virtual Status OnHeader(ByteSpan header) = 0;
  // What follows are the entry's pieces, of at most 1 MiB each.
  [[nodiscard]] virtual Status OnEntry(const std::string& name, std::uint64_t size_bytes) = 0;
  [[nodiscard]] virtual Status OnPiece(ByteSpan piece) = 0;
};

// Hands on what an archive holds, and tells at the end whether it was whole: nothing of it may
// count before. Returns its digest. NOT_FOUND; DATA_LOSS: no archive, cut short, longer than it
// should be, or altered; FAILED_PRECONDITION: of a newer format.
[[nodiscard]] StatusOr<crypto::Digest> ReadArchive(const std::filesystem::path& path,
                                                   ArchiveVisitor& visitor);

}  // namespace chorale::storage
