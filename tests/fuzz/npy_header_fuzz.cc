#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "data/npy_reader.h"

// The first byte says where the size of the file comes from: the input itself, or the eight bytes
// that follow. The rest is the file. What is accepted must lie within it, whatever the shape says.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool says_size = (data[0] & 1) != 0 && size >= 1 + sizeof(std::uint64_t);
  chorale::ByteSpan file(data + 1, size - 1);
  std::uint64_t file_bytes = file.size();
  if (says_size) {
    std::memcpy(&file_bytes, file.data(), sizeof(file_bytes));
    file = file.subspan(sizeof(file_bytes));
    if (file_bytes < file.size()) return 0;  // No reader sees more bytes than the file has.
  }
  const auto header = chorale::data::ParseNpyHeader(
      file.first(std::min(file.size(), chorale::data::kMaxNpyHeaderBytes)), file_bytes, "f");
  if (!header.ok()) return 0;
  if (header->shape.empty() || header->data_offset > file_bytes) std::abort();
  const std::uint64_t number_bytes = header->type == chorale::data::NpyType::kUint8 ? 1 : 4;
  const std::uint64_t left = file_bytes - header->data_offset;
  const bool has_numbers =
      std::find(header->shape.begin(), header->shape.end(), 0u) == header->shape.end();
  if (!has_numbers) {
    if (left != 0) std::abort();
    return 0;
  }
  // Divisions, for a product could wrap around.
  std::uint64_t numbers = left / number_bytes;
  for (const std::uint64_t length : header->shape) {
    if (numbers % length != 0) std::abort();
    numbers /= length;
  }
  if (numbers != 1 || left % number_bytes != 0) std::abort();
  if (header->shape[0] * header->row_size * number_bytes != left) std::abort();
  return 0;
}
