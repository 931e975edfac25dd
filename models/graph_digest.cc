#include "models/graph_digest.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.h"

namespace chorale::models {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::string_view kDomain("chorale/v1/model-graph\0", 23);

// The fields that are set, in order of their numbers.
std::vector<const FieldDescriptor*> FieldsOf(const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  return fields;
}

class Encoder {
 public:
  void Write(const Message& message) {
    std::vector<const FieldDescriptor*> fields = FieldsOf(message);
    // A field of value -0 counts as set for protobuf, and says what an unset one does.
    std::erase_if(fields, [&](const FieldDescriptor* field) {
      return !field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE &&
             message.GetReflection()->GetDouble(message, field) == 0;
    });
    WriteNumber<4>(fields.size());
    for (const FieldDescriptor* field : fields) {
      WriteNumber<4>(static_cast<std::uint64_t>(field->number()));
      if (field->is_repeated()) {
        WriteList(message, *field);
      } else {
        WriteSingle(message, *field);
      }
    }
  }

  crypto::Digest Finish() && { return std::move(hasher_).Finish(); }
  void Update(std::string_view text) { hasher_.Update(AsBytes(text)); }

 private:
  // Big-endian.
  template <std::size_t kBytes>
  void WriteNumber(std::uint64_t value) {
    std::array<std::uint8_t, kBytes> bytes{};
    for (std::size_t i = 0; i < kBytes; ++i) {
      bytes[i] = static_cast<std::uint8_t>(value >> (8 * (kBytes - 1 - i)));
    }
    hasher_.Update(bytes);
  }
  void WriteDouble(double value) {
    WriteNumber<8>(std::bit_cast<std::uint64_t>(value == 0 ? 0.0 : value));
  }
  void WriteText(const std::string& text) {
    WriteNumber<4>(text.size());
    Update(text);
  }

  void WriteSingle(const Message& message, const FieldDescriptor& field) {
    const auto& reflection = *message.GetReflection();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT32:
        return WriteNumber<8>(reflection.GetUInt32(message, &field));
      case FieldDescriptor::CPPTYPE_UINT64:
        return WriteNumber<8>(reflection.GetUInt64(message, &field));
      case FieldDescriptor::CPPTYPE_BOOL:
        return WriteNumber<8>(reflection.GetBool(message, &field) ? 1 : 0);
      case FieldDescriptor::CPPTYPE_ENUM:
        return WriteNumber<8>(static_cast<std::uint64_t>(reflection.GetEnumValue(message, &field)));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return WriteDouble(reflection.GetDouble(message, &field));
      case FieldDescriptor::CPPTYPE_STRING:
        return WriteText(reflection.GetString(message, &field));
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Write(reflection.GetMessage(message, &field));
      case FieldDescriptor::CPPTYPE_INT32:
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_FLOAT:
        return;  // No field of model.proto is of these types.
    }
  }

  void WriteList(const Message& message, const FieldDescriptor& field) {
    const auto& reflection = *message.GetReflection();
    const int count = reflection.FieldSize(message, &field);
    WriteNumber<4>(static_cast<std::uint64_t>(count));
    for (int i = 0; i < count; ++i) {
      switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_UINT32:
          WriteNumber<8>(reflection.GetRepeatedUInt32(message, &field, i));
          break;
        case FieldDescriptor::CPPTYPE_UINT64:
          WriteNumber<8>(reflection.GetRepeatedUInt64(message, &field, i));
          break;
        case FieldDescriptor::CPPTYPE_DOUBLE:
          WriteDouble(reflection.GetRepeatedDouble(message, &field, i));
          break;
        case FieldDescriptor::CPPTYPE_STRING:
          WriteText(reflection.GetRepeatedString(message, &field, i));
          break;
        case FieldDescriptor::CPPTYPE_MESSAGE:
          Write(reflection.GetRepeatedMessage(message, &field, i));
          break;
        default:
          break;  // No list of model.proto is of another type.
      }
    }
  }

  crypto::Sha256Hasher hasher_;
};

}  // namespace

crypto::Digest CanonicalDigest(const Message& message) {
  Encoder encoder;
  encoder.Update(kDomain);
  encoder.Write(message);
  return std::move(encoder).Finish();
}

bool HasUnknownFields(const Message& message) {
  const auto& reflection = *message.GetReflection();
  if (!reflection.GetUnknownFields(message).empty()) return true;
  for (const FieldDescriptor* field : FieldsOf(message)) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      if (HasUnknownFields(reflection.GetMessage(message, field))) return true;
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      if (HasUnknownFields(reflection.GetRepeatedMessage(message, field, i))) return true;
    }
  }
  return false;
}

}  // namespace chorale::models
