#include "data/npy_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

namespace chorale::data {
namespace {

static_assert(std::endian::native == std::endian::little, "float32 is copied as it is stored");

Status SystemError(int error, std::string_view doing, const std::filesystem::path& path) {
  const std::string message = "cannot " + std::string(doing) + " " + path.string() + ": " +
                              std::generic_category().message(error);
  if (error == ENOENT || error == ENOTDIR) return NotFound(message);
  if (error == EACCES || error == EPERM) return PermissionDenied(message);
  return Unavailable(message);
}

// A descriptor is not needed once the file is mapped.
class ScopedDescriptor {
 public:
  explicit ScopedDescriptor(int fd) : fd_(fd) {}
  ScopedDescriptor(const ScopedDescriptor&) = delete;
  ScopedDescriptor& operator=(const ScopedDescriptor&) = delete;
  ~ScopedDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// The numbers follow a header of any length: a float32 need not be aligned.
float FloatAt(const std::uint8_t* bytes) {
  float number = 0;
  std::memcpy(&number, bytes, sizeof(number));
  return number;
}

template <typename Number>
void Copy(const std::uint8_t* row, NpyType type, std::span<Number> numbers) {
  if (type == NpyType::kUint8) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = static_cast<Number>(row[i]) / Number{255};
    }
    return;
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = FloatAt(row + i * sizeof(float));
  }
}

}  // namespace

StatusOr<std::shared_ptr<const NpyFile>> NpyFile::Open(const std::filesystem::path& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  const ScopedDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd() < 0) return SystemError(errno, "open", path);
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) return SystemError(errno, "look at", path);
  const std::string name = path.filename().string();
  if (!S_ISREG(status.st_mode)) return InvalidArgument(name + ": is no regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return ParseNpyHeader({}, 0, name).status();
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (address == MAP_FAILED) return SystemError(errno, "map", path);
  const ByteSpan mapping(static_cast<const std::uint8_t*>(address), size);
  StatusOr<NpyHeader> header =
      ParseNpyHeader(mapping.first(std::min(size, kMaxNpyHeaderBytes)), size, name);
  if (!header.ok()) {
    ::munmap(address, size);
    return header.status();
  }
  return std::shared_ptr<const NpyFile>(new NpyFile(*std::move(header), mapping));
}

NpyFile::NpyFile(NpyHeader header, ByteSpan mapping)
    : header_(std::move(header)), mapping_(mapping) {}

NpyFile::~NpyFile() { ::munmap(const_cast<std::uint8_t*>(mapping_.data()), mapping_.size()); }

const std::uint8_t* NpyFile::RowAt(std::uint64_t row) const {
  const std::uint64_t number_bytes = header_.type == NpyType::kUint8 ? 1 : sizeof(float);
  return mapping_.data() + header_.data_offset + row * header_.row_size * number_bytes;
}

bool NpyFile::IsFinite(std::uint64_t row) const {
  if (header_.type == NpyType::kUint8) return true;
  const std::uint8_t* bytes = RowAt(row);
  for (std::uint64_t i = 0; i < header_.row_size; ++i) {
    if (!std::isfinite(FloatAt(bytes + i * sizeof(float)))) return false;
  }
  return true;
}

void NpyFile::CopyRow(std::uint64_t row, std::span<float> numbers) const {
  Copy(RowAt(row), header_.type, numbers);
}

void NpyFile::CopyRow(std::uint64_t row, std::span<double> numbers) const {
  Copy(RowAt(row), header_.type, numbers);
}

}  // namespace chorale::data
