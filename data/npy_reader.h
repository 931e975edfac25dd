#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/status.h"

// NumPy's file format (.npy, versions 1.0 to 3.0) as far as examples need it: uint8 (|u1) or
// little-endian float32 (<f4), in C order, with at least one axis.
//
//   file   := 93 "NUMPY" MAJOR MINOR LENGTH header numbers
//   LENGTH := of the header: 2 bytes little-endian in version 1.0, 4 in 2.0 and 3.0
//   header := a Python dictionary with the keys descr, fortran_order and shape, then blanks
namespace chorale::data {

enum class NpyType { kUint8, kFloat32 };

struct NpyHeader {
  NpyType type = NpyType::kUint8;
  std::vector<std::uint64_t> shape;  // At least one axis; the first counts rows.
  std::uint64_t data_offset = 0;     // Of the first number, bytes.
  std::uint64_t row_size = 0;        // Numbers of one row.
};

// A header is at most this long, numbers before it included.
inline constexpr std::size_t kMaxNpyHeaderBytes = 1 << 16;

// From the first bytes of a file: all, or kMaxNpyHeaderBytes. INVALID_ARGUMENT "FILE: what is
// wrong", of which nothing is quoted from the file: another format, a header that is too long, an
// unknown or repeated key, another type or order, a size that overflows or is not exactly
// `file_bytes`.
[[nodiscard]] StatusOr<NpyHeader> ParseNpyHeader(ByteSpan start, std::uint64_t file_bytes,
                                                 std::string_view file_name);

// A file mapped into memory, read-only: its numbers take no memory but the system's cache.
// Immutable, hence safe for concurrent use, as long as nobody writes into the file.
class NpyFile {
 public:
  // The errors of ParseNpyHeader; NOT_FOUND, PERMISSION_DENIED; INVALID_ARGUMENT: no regular file;
  // UNAVAILABLE: the system's words.
  [[nodiscard]] static StatusOr<std::shared_ptr<const NpyFile>> Open(
      const std::filesystem::path& path);
  NpyFile(const NpyFile&) = delete;
  NpyFile& operator=(const NpyFile&) = delete;
  ~NpyFile();

  [[nodiscard]] const NpyHeader& header() const { return header_; }
  [[nodiscard]] std::uint64_t num_rows() const { return header_.shape.front(); }
  // False when the row holds a NaN or an infinity. REQUIRES: row < num_rows().
  [[nodiscard]] bool IsFinite(std::uint64_t row) const;
  // One row in row-major order; uint8 divided by 255. REQUIRES: row < num_rows(), row_size numbers.
  void CopyRow(std::uint64_t row, std::span<float> numbers) const;
  void CopyRow(std::uint64_t row, std::span<double> numbers) const;

 private:
  NpyFile(NpyHeader header, ByteSpan mapping);
  [[nodiscard]] const std::uint8_t* RowAt(std::uint64_t row) const;

  NpyHeader header_;
  ByteSpan mapping_;
};

}  // namespace chorale::data
