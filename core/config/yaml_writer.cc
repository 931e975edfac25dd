#include "core/config/yaml_writer.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/config/field_text.h"
#include "core/utf8.h"

namespace chorale::config {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool IsPlainCharacter(char c) {
  return IsLetter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '/';
}

// Words that YAML readers take for booleans or nothing.
bool IsReservedWord(std::string_view text) {
  constexpr std::array<std::string_view, 8> kWords = {"true", "false", "null", "yes",
                                                      "no",   "on",    "off",  "nan"};
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::find(kWords.begin(), kWords.end(), lower) != kWords.end() || lower == "y" ||
         lower == "n";
}

void AppendEscape(char32_t c, std::string& out) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  out += c > 0xffff ? "\\U" : "\\u";
  for (int shift = c > 0xffff ? 28 : 12; shift >= 0; shift -= 4)
    out.push_back(kDigits[c >> shift & 0xf]);
}

std::string WriteString(std::string_view text) {
  const bool is_plain = !text.empty() && (IsLetter(text.front()) || text.front() == '/') &&
                        std::all_of(text.begin(), text.end(), IsPlainCharacter) &&
                        !IsReservedWord(text);
  if (is_plain) return std::string(text);
  std::string quoted = "\"";
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    if (!point.is_valid) {
      AppendEscape(0xfffd, quoted);
    } else if (point.value == '"' || point.value == '\\') {
      quoted.push_back('\\');
      quoted.push_back(text.front());
    } else if (point.value == '\n') {
      quoted += "\\n";
    } else if (point.value == '\t') {
      quoted += "\\t";
    } else if (IsUnsafeToShow(point.value)) {
      AppendEscape(point.value, quoted);
    } else {
      quoted += text.substr(0, point.size_bytes);
    }
    text.remove_prefix(point.size_bytes);
  }
  return quoted + "\"";
}

template <typename T>
std::string WriteReal(T value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

std::string WriteEnum(const FieldDescriptor& field, int number) {
  const auto* value = field.enum_type()->FindValueByNumber(number);
  return value == nullptr ? std::to_string(number) : EnumShortName(*value);
}

SecondsAndNanos ReadWellKnown(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  return {reflection.GetInt64(message, message.GetDescriptor()->FindFieldByNumber(1)),
          reflection.GetInt32(message, message.GetDescriptor()->FindFieldByNumber(2))};
}

// The field, or its `index`-th value if it is repeated.
#define CHORALE_READ(Type)                                                    \
  (field.is_repeated() ? reflection.GetRepeated##Type(message, &field, index) \
                       : reflection.Get##Type(message, &field))

std::string WriteScalar(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(CHORALE_READ(Int32));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(CHORALE_READ(Int64));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(CHORALE_READ(UInt32));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(CHORALE_READ(UInt64));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return WriteReal(CHORALE_READ(Double));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return WriteReal(CHORALE_READ(Float));
    case FieldDescriptor::CPPTYPE_BOOL:
      return CHORALE_READ(Bool) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return WriteEnum(field, CHORALE_READ(EnumValue));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string value = CHORALE_READ(String);
      return WriteString(field.type() == FieldDescriptor::TYPE_BYTES ? ToBase64Url(AsBytes(value))
                                                                     : value);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return "";
}

#undef CHORALE_READ

class Writer {
 public:
  // The lines of `message`, each behind `indent` spaces.
  void WriteMessage(const Message& message, std::size_t indent) {
    for (const FieldDescriptor* field : SetFields(message)) {
      Indent(indent);
      text_ += std::string(field->name()) + ":";
      if (field->is_repeated()) {
        WriteList(message, *field, indent);
      } else {
        WriteValue(message, *field, 0, indent + 2);
      }
    }
  }

  [[nodiscard]] std::string Take() && { return std::move(text_); }

 private:
  static std::vector<const FieldDescriptor*> SetFields(const Message& message) {
    std::vector<const FieldDescriptor*> fields;
    message.GetReflection()->ListFields(message, &fields);  // In the order of their numbers.
    return fields;
  }

  void WriteList(const Message& message, const FieldDescriptor& field, std::size_t indent) {
    const int size = message.GetReflection()->FieldSize(message, &field);
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      text_ += " [";
      for (int i = 0; i < size; ++i) text_ += (i == 0 ? "" : ", ") + WriteScalar(message, field, i);
      text_ += "]\n";
      return;
    }
    text_ += "\n";
    for (int i = 0; i < size; ++i) {
      Indent(indent + 2);
      text_ += "-";
      WriteValue(message, field, i, indent + 4);
    }
  }

  // What follows "key:" or "-", to the end of the line and below it.
  void WriteValue(const Message& message, const FieldDescriptor& field, int index,
                  std::size_t indent) {
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      text_ += " " + WriteScalar(message, field, index) + "\n";
      return;
    }
    const Reflection& reflection = *message.GetReflection();
    const Message& value = field.is_repeated()
                               ? reflection.GetRepeatedMessage(message, &field, index)
                               : reflection.GetMessage(message, &field);
    const std::string type(field.message_type()->full_name());
    if (type == "google.protobuf.Duration") {
      text_ += " " + FormatDurationText(ReadWellKnown(value)) + "\n";
    } else if (type == "google.protobuf.Timestamp") {
      text_ += " " + FormatTimestampText(ReadWellKnown(value)) + "\n";
    } else if (SetFields(value).empty()) {
      text_ += " {}\n";
    } else if (field.is_repeated()) {
      // The first key stands behind the dash.
      Writer below;
      below.WriteMessage(value, indent);
      text_.append(" ").append(below.text_, indent);
    } else {
      text_ += "\n";
      WriteMessage(value, indent);
    }
  }

  void Indent(std::size_t count) { text_.append(count, ' '); }

  std::string text_;
};

}  // namespace

std::string ToYaml(const Message& message) {
  Writer writer;
  writer.WriteMessage(message, 0);
  std::string text = std::move(writer).Take();
  return text.empty() ? "{}\n" : text;
}

}  // namespace chorale::config
