#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/status.h"

// Private to the .cc files of this folder: protobuf's wire format, looked at before it is decoded.
namespace chorale::secagg {

struct WireField {
  std::uint32_t number = 0;
  std::uint32_t wire_type = 0;
  ByteSpan content = {};  // Of wire type 2.
};

// Reads fields one by one. The input may be anything.
class WireReader {
 public:
  explicit WireReader(ByteSpan bytes) : rest_(bytes) {}

  [[nodiscard]] bool IsAtEnd() const { return rest_.empty(); }
  // Refuses (MALFORMED) what is no field. Wire types 0, 1, 2 and 5.
  [[nodiscard]] StatusOr<WireField> Next();

 private:
  [[nodiscard]] StatusOr<std::uint64_t> Varint();

  ByteSpan rest_;
};

// How often a field may come. Packed lists of numbers come once.
struct FieldRule {
  std::uint32_t number = 0;
  std::size_t most = 1;
};

// Refuses (MALFORMED), naming the message, a field without a rule and one that comes too often, so
// that decoding takes memory in proportion to the bytes.
[[nodiscard]] Status CheckFields(std::string_view message, ByteSpan bytes,
                                 std::span<const FieldRule> rules);

}  // namespace chorale::secagg
