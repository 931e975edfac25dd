// A backup file: whatever its bytes, reading ends with a digest or a status, every name that is
// handed on is a safe one, and no entry has more or fewer bytes than it says.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/storage/archive.h"

namespace {

using namespace chorale;

class Checker final : public storage::ArchiveVisitor {
 public:
  Status OnHeader(ByteSpan header) override {
    if (header.size() > storage::kMaxArchiveHeaderBytes) std::abort();
    return OkStatus();
  }
  Status OnEntry(const std::string& name, std::uint64_t size_bytes) override {
    CheckEntryIsWhole();
    if (!storage::CheckArchiveName(name).ok()) std::abort();
    left_ = size_bytes;
    return OkStatus();
  }
  Status OnPiece(ByteSpan piece) override {
    if (piece.size() > left_) std::abort();
    left_ -= piece.size();
    return OkStatus();
  }
  void CheckEntryIsWhole() const {
    if (left_ != 0) std::abort();
  }

 private:
  std::uint64_t left_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int fd = ::memfd_create("archive", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, 0) != 0) std::abort();
  if (::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  Checker checker;
  if (storage::ReadArchive("/proc/self/fd/" + std::to_string(fd), checker).ok()) {
    checker.CheckEntryIsWhole();
  }
  return 0;
}
