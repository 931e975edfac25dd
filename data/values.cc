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

ValueList::ValueList(std::vector<std::string> values) : values_(std::move(values)) {
  for (std::size_t i = 0; i < values_.size(); ++i) {
    by_text_.emplace(values_[i], i);
    if (const std::optional<double> number = ParseNumber(values_[i], '.')) {
      by_number_.emplace(*number, i);
    }
  }
}

std::optional<std::size_t> ValueList::Find(std::string_view cell, char decimal) const {
  std::optional<std::size_t> found;
  if (const auto same_text = by_text_.find(cell); same_text != by_text_.end()) {
    found = same_text->second;
  }
  if (by_number_.empty()) return found;
  const std::optional<double> number = ParseNumber(cell, decimal);
  if (!number) return found;
  const auto same_number = by_number_.find(*number);
  if (same_number == by_number_.end()) return found;
  return std::min(found.value_or(same_number->second), same_number->second);
}

std::optional<std::size_t> ValueList::FindRepeated() const {
  for (std::size_t i = 1; i < values_.size(); ++i) {
    if (Find(values_[i], '.') < i) return i;
  }
  return std::nullopt;
}

}  // namespace chorale::data
