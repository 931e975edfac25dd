#include "data/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>

#include "core/utf8.h"

namespace chorale::data {
namespace {

constexpr std::size_t kMaxNumberLength = 128;

bool IsNumberCharacter(char c) {
  return (c >= '0' && c <= '9') || c == '.' || c == '+' || c == '-' || c == 'e' || c == 'E';
}

}  // namespace

std::optional<double> ParseNumber(std::string_view text, char decimal) {
  if (text.empty() || text.size() > kMaxNumberLength) return std::nullopt;
  std::array<char, kMaxNumberLength> buffer{};
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == decimal) {
      c = '.';
    } else if (c == '.') {
      return std::nullopt;  // Groups thousands where the decimal mark is a comma.
    }
    if (!IsNumberCharacter(c)) return std::nullopt;
    buffer[i] = c;
  }
  const char* begin = buffer.data();
  const char* end = begin + text.size();
  if (*begin == '+') {
    ++begin;  // std::from_chars takes no plus sign.
    if (begin == end || *begin == '-') return std::nullopt;
  }
  double value = 0;
  const auto [rest, error] = std::from_chars(begin, end, value, std::chars_format::general);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

bool IsSafeToShow(std::string_view text) {
  while (!text.empty()) {
    const CodePoint next = DecodeUtf8(text);
    if (!next.is_valid || IsUnsafeToShow(next.value)) return false;
    text.remove_prefix(next.size_bytes);
  }
  return true;
}

ValueList::ValueList(std::vector<std::string> values) {
  values_.reserve(values.size());
  for (std::string& text : values) {
    const std::optional<double> number = ParseNumber(text, '.');
    has_numbers_ = has_numbers_ || number.has_value();
    values_.push_back({std::move(text), number});
  }
}

std::optional<std::size_t> ValueList::Find(std::string_view cell, char decimal) const {
  const std::optional<double> number = has_numbers_ ? ParseNumber(cell, decimal) : std::nullopt;
  const auto found = std::find_if(values_.begin(), values_.end(), [&](const Value& value) {
    return value.text == cell || (number && value.number == number);
  });
  if (found == values_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - values_.begin());
}

std::optional<std::size_t> ValueList::FindRepeated() const {
  for (std::size_t i = 1; i < values_.size(); ++i) {
    if (Find(values_[i].text, '.') < i) return i;
  }
  return std::nullopt;
}

}  // namespace chorale::data
