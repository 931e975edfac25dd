#include "models/text.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace chorale::models {
namespace {

constexpr std::size_t kMaxNameCharacters = 128;

bool IsNameCharacter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

}  // namespace

std::string NumberText(double value) {
  std::array<char, 32> text{};
  const int size = std::snprintf(text.data(), text.size(), "%g", value);
  return {text.data(), static_cast<std::size_t>(size)};
}

std::string ChoicesOf(const google::protobuf::Descriptor& message, const std::string& oneof) {
  const google::protobuf::OneofDescriptor& choice = *message.FindOneofByName(oneof);
  std::string names;
  for (int i = 0; i < choice.field_count(); ++i) {
    names += (i == 0 ? "" : ", ") + choice.field(i)->name();
  }
  return names;
}

bool IsNodeName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameCharacters &&
         std::all_of(name.begin(), name.end(), IsNameCharacter);
}

}  // namespace chorale::models
