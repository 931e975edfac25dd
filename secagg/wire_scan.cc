#include "secagg/wire_scan.h"

#include <string>

#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kFixed64 = 1;
constexpr std::uint32_t kLengthDelimited = 2;
constexpr std::uint32_t kFixed32 = 5;
constexpr int kMostVarintBytes = 10;

Status NotAMessage() {
  return Refused(RefusalCode::kMalformed, "the bytes are no protobuf message");
}

}  // namespace

StatusOr<std::uint64_t> WireReader::Varint() {
  std::uint64_t value = 0;
  for (int i = 0; i < kMostVarintBytes && !rest_.empty(); ++i) {
    const std::uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) return value;
  }
  return NotAMessage();
}

StatusOr<WireField> WireReader::Next() {
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t tag, Varint());
  if (tag > UINT32_MAX) return NotAMessage();
  WireField field{.number = static_cast<std::uint32_t>(tag >> 3),
                  .wire_type = static_cast<std::uint32_t>(tag & 7)};
  std::uint64_t size = 0;
  if (field.wire_type == kVarint) {
    CHORALE_RETURN_IF_ERROR(Varint().status());
  } else if (field.wire_type == kFixed64) {
    size = 8;
  } else if (field.wire_type == kFixed32) {
    size = 4;
  } else if (field.wire_type == kLengthDelimited) {
    CHORALE_ASSIGN_OR_RETURN(size, Varint());
  } else {
    return NotAMessage();
  }
  if (size > rest_.size()) return NotAMessage();
  field.content = rest_.first(static_cast<std::size_t>(size));
  rest_ = rest_.subspan(static_cast<std::size_t>(size));
  return field;
}

Status CheckFields(std::string_view message, ByteSpan bytes, std::span<const FieldRule> rules) {
  std::vector<std::size_t> counts(rules.size());
  WireReader reader(bytes);
  while (!reader.IsAtEnd()) {
    StatusOr<WireField> field = reader.Next();
    if (!field.ok()) return Annotate(field.status(), message);
    std::size_t rule = 0;
    while (rule < rules.size() && rules[rule].number != field->number) ++rule;
    if (rule == rules.size()) {
      return Refused(RefusalCode::kMalformed,
                     std::string(message) + " has no field " + std::to_string(field->number));
    }
    if (++counts[rule] > rules[rule].most) {
      return Refused(RefusalCode::kMalformed,
                     std::string(message) + ": field " + std::to_string(field->number) +
                         " may come at most " + std::to_string(rules[rule].most) + " times");
    }
  }
  return OkStatus();
}

}  // namespace chorale::secagg
