#include "core/config/yaml.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

#include "core/bytes.h"
#include "core/config/field_text.h"
#include "core/config/nearest_key.h"
#include "core/config/yaml_tree.h"
#include "core/utf8.h"

namespace chorale::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

constexpr std::size_t kMaxQuotedCharacters = 60;

// A value as an error message shows it: short, on one line.
std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  std::size_t num_characters = 0;
  while (!text.empty()) {
    if (++num_characters > kMaxQuotedCharacters) return quoted + "...\"";
    const CodePoint point = DecodeUtf8(text);
    if (point.is_valid && !IsUnsafeToShow(point.value)) {
      quoted += text.substr(0, point.size_bytes);
    } else {
      quoted += "?";
    }
    text.remove_prefix(point.size_bytes);
  }
  return quoted + "\"";
}

std::string Describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return Quote(node.scalar);
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "keys below it";
  }
  return "nothing";
}

std::vector<std::string> KeysOf(const Descriptor& type) {
  std::vector<std::string> keys;
  keys.reserve(static_cast<std::size_t>(type.field_count()));
  for (int i = 0; i < type.field_count(); ++i) keys.emplace_back(type.field(i)->name());
  return keys;
}

template <typename T>
StatusOr<T> ParseInteger(const YamlNode& node) {
  T value{};
  const char* const end = node.scalar.data() + node.scalar.size();
  const auto result = std::from_chars(node.scalar.data(), end, value);
  if (node.kind == YamlNode::Kind::kScalar && !node.scalar.empty() && result.ec == std::errc() &&
      result.ptr == end) {
    return value;
  }
  return InvalidArgument(
      "must be a whole number in [" + std::to_string(std::numeric_limits<T>::min()) + ", " +
      std::to_string(std::numeric_limits<T>::max()) + "], got " + Describe(node));
}

template <typename T>
StatusOr<T> ParseReal(const YamlNode& node) {
  T value{};
  const char* const end = node.scalar.data() + node.scalar.size();
  const auto result = std::from_chars(node.scalar.data(), end, value);
  if (node.kind == YamlNode::Kind::kScalar && !node.scalar.empty() && result.ec == std::errc() &&
      result.ptr == end && std::isfinite(value)) {
    return value;
  }
  return InvalidArgument("must be a finite number, like 0.01, got " + Describe(node));
}

StatusOr<bool> ParseBool(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kScalar && node.scalar == "true") return true;
  if (node.kind == YamlNode::Kind::kScalar && node.scalar == "false") return false;
  return InvalidArgument("must be true or false, got " + Describe(node));
}

StatusOr<std::string> ParseString(const YamlNode& node, FieldDescriptor::Type type) {
  if (node.kind == YamlNode::Kind::kNull)
    return InvalidArgument("has no value; write \"\" for an empty text");
  if (node.kind != YamlNode::Kind::kScalar)
    return InvalidArgument("must be a text, got " + Describe(node));
  if (type == FieldDescriptor::TYPE_BYTES) {
    const StatusOr<Bytes> bytes = FromBase64Url(node.scalar);
    if (!bytes.ok())
      return InvalidArgument("must be base64url without padding, got " + Describe(node));
    return ToString(*bytes);
  }
  // Escapes of YAML can spell what the file itself may not hold.
  if (!IsValidUtf8(node.scalar))
    return InvalidArgument("must be UTF-8 text, got " + Describe(node));
  if (node.scalar.find('\0') != std::string::npos) {
    return InvalidArgument("must not hold a NUL character, got " + Describe(node));
  }
  return node.scalar;
}

StatusOr<int> ParseEnum(const YamlNode& node, const google::protobuf::EnumDescriptor& type) {
  if (node.kind == YamlNode::Kind::kScalar) {
    if (const auto* value = FindEnumValue(type, node.scalar)) return value->number();
  }
  return InvalidArgument("must be one of " + EnumChoices(type) + ", got " + Describe(node));
}

// The two well-known types that are written as one word. Both hold seconds = 1 and nanos = 2.
Status ParseWellKnown(const YamlNode& node, bool is_duration, Message& message) {
  std::optional<SecondsAndNanos> value;
  if (node.kind == YamlNode::Kind::kScalar) {
    value = is_duration ? ParseDurationText(node.scalar) : ParseTimestampText(node.scalar);
  }
  if (!value) {
    return InvalidArgument(
        std::string(is_duration
                        ? "must be a whole number and a unit (ms, s, min, h, d), like 90s, got "
                        : "must be a time, like 2026-01-31T08:00:00Z, got ") +
        Describe(node));
  }
  message.GetReflection()->SetInt64(&message, message.GetDescriptor()->FindFieldByNumber(1),
                                    value->seconds);
  message.GetReflection()->SetInt32(&message, message.GetDescriptor()->FindFieldByNumber(2),
                                    value->nanos);
  return OkStatus();
}

class Reader {
 public:
  explicit Reader(std::string_view file_name) : file_name_(file_name) {}

  // `path` names `node` for error messages; it is empty at the top.
  Status ReadMessage(const YamlNode& node, const std::string& path, Message& message) const {
    if (node.kind == YamlNode::Kind::kNull) return OkStatus();
    if (node.kind != YamlNode::Kind::kMap) {
      return Problem(node.line, path.empty() ? "the file" : path,
                     "must hold keys, got " + Describe(node));
    }
    std::map<std::string_view, int> lines;
    std::map<const OneofDescriptor*, const YamlEntry*> members;
    for (const YamlEntry& entry : node.entries) {
      const std::string entry_path = path.empty() ? entry.key : path + "." + entry.key;
      const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(entry.key);
      if (field == nullptr) return UnknownKey(entry, path, *message.GetDescriptor());
      if (const auto [first, is_new] = lines.emplace(entry.key, entry.line); !is_new) {
        return Problem(
            entry.line, entry_path,
            "occurs twice, first at line " + std::to_string(first->second) + "; remove one");
      }
      if (const OneofDescriptor* oneof = field->real_containing_oneof()) {
        if (const auto [other, is_new] = members.emplace(oneof, &entry); !is_new) {
          return Problem(entry.line, entry_path,
                         "cannot stand beside " + other->second->key + " (line " +
                             std::to_string(other->second->line) + "); keep one of them");
        }
      }
      CHORALE_RETURN_IF_ERROR(ReadField(entry, entry_path, *field, message));
    }
    return OkStatus();
  }

 private:
  [[nodiscard]] Status Problem(int line, const std::string& path,
                               const std::string& problem) const {
    return InvalidArgument(file_name_ + ":" + std::to_string(line) + ": " + path + " " + problem);
  }

  [[nodiscard]] Status UnknownKey(const YamlEntry& entry, const std::string& path,
                                  const Descriptor& type) const {
    const std::vector<std::string> known = KeysOf(type);
    std::string hint;
    if (const auto nearest = NearestKey(entry.key, known)) {
      hint = "; did you mean " + *nearest + "?";
    } else if (known.empty()) {
      hint = "; no key may stand here, write {}";
    } else {
      hint = "; valid keys: ";
      for (std::size_t i = 0; i < known.size(); ++i) hint += (i == 0 ? "" : ", ") + known[i];
    }
    const std::string quoted = Quote(entry.key);
    const std::string shown = quoted.substr(1, quoted.size() - 2);
    return Problem(entry.line, path.empty() ? shown : path + "." + shown, "is no valid key" + hint);
  }

  Status ReadField(const YamlEntry& entry, const std::string& path, const FieldDescriptor& field,
                   Message& message) const {
    if (!field.is_repeated()) return ReadValue(entry.value, entry.line, path, field, message);
    if (entry.value.kind == YamlNode::Kind::kNull) return OkStatus();
    if (entry.value.kind != YamlNode::Kind::kList) {
      return Problem(entry.line, path, "must be a list, like [a, b], got " + Describe(entry.value));
    }
    for (std::size_t i = 0; i < entry.value.items.size(); ++i) {
      const YamlNode& item = entry.value.items[i];
      CHORALE_RETURN_IF_ERROR(
          ReadValue(item, item.line, path + "[" + std::to_string(i) + "]", field, message));
    }
    return OkStatus();
  }

  // Sets a field, or adds to it if it is repeated.
  Status ReadValue(const YamlNode& node, int line, const std::string& path,
                   const FieldDescriptor& field, Message& message) const {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const Reflection& reflection = *message.GetReflection();
      Message& value = *(field.is_repeated() ? reflection.AddMessage(&message, &field)
                                             : reflection.MutableMessage(&message, &field));
      const std::string type(field.message_type()->full_name());
      const bool is_duration = type == "google.protobuf.Duration";
      if (!is_duration && type != "google.protobuf.Timestamp")
        return ReadMessage(node, path, value);
      return Locate(ParseWellKnown(node, is_duration, value), line, path);
    }
    return Locate(ReadScalar(node, field, message), line, path);
  }

  [[nodiscard]] Status Locate(const Status& status, int line, const std::string& path) const {
    return status.ok() ? status : Problem(line, path, MessageOf(status));
  }

  static Status ReadScalar(const YamlNode& node, const FieldDescriptor& field, Message& message);

  const std::string file_name_;
};

#define CHORALE_STORE(Type, parsed)                  \
  do {                                               \
    CHORALE_ASSIGN_OR_RETURN(auto value, parsed);    \
    if (field.is_repeated()) {                       \
      reflection.Add##Type(&message, &field, value); \
    } else {                                         \
      reflection.Set##Type(&message, &field, value); \
    }                                                \
    return OkStatus();                               \
  } while (false)

Status Reader::ReadScalar(const YamlNode& node, const FieldDescriptor& field, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      CHORALE_STORE(Int32, ParseInteger<std::int32_t>(node));
    case FieldDescriptor::CPPTYPE_INT64:
      CHORALE_STORE(Int64, ParseInteger<std::int64_t>(node));
    case FieldDescriptor::CPPTYPE_UINT32:
      CHORALE_STORE(UInt32, ParseInteger<std::uint32_t>(node));
    case FieldDescriptor::CPPTYPE_UINT64:
      CHORALE_STORE(UInt64, ParseInteger<std::uint64_t>(node));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      CHORALE_STORE(Double, ParseReal<double>(node));
    case FieldDescriptor::CPPTYPE_FLOAT:
      CHORALE_STORE(Float, ParseReal<float>(node));
    case FieldDescriptor::CPPTYPE_BOOL:
      CHORALE_STORE(Bool, ParseBool(node));
    case FieldDescriptor::CPPTYPE_ENUM:
      CHORALE_STORE(EnumValue, ParseEnum(node, *field.enum_type()));
    case FieldDescriptor::CPPTYPE_STRING:
      CHORALE_STORE(String, ParseString(node, field.type()));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return Internal("a message is no scalar");
}

#undef CHORALE_STORE

}  // namespace

Status ParseYaml(std::string_view text, std::string_view file_name, Message& message) {
  message.Clear();
  CHORALE_ASSIGN_OR_RETURN(const YamlNode root, ReadYamlTree(text, file_name));
  return Reader(file_name).ReadMessage(root, "", message);
}

Status LoadYaml(const std::string& path, Message& message) {
  message.Clear();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             &std::fclose);
  if (file == nullptr) {
    if (errno == ENOENT) return NotFound("there is no file " + path);
    return Unavailable("cannot open " + path + ": " + std::generic_category().message(errno));
  }
  // One byte more than allowed tells a file that is too long from one that just fits.
  std::string text(kMaxFileBytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) {
    return Unavailable("cannot read " + path + ": " + std::generic_category().message(errno));
  }
  return ParseYaml(text, path, message);
}

}  // namespace chorale::config
