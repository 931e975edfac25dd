#include "core/ids.h"

#include <algorithm>

namespace chorale {
namespace {

constexpr std::size_t kMaxNameCharacters = 64;

bool IsLetterOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

bool IsValidName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameCharacters && IsLetterOrDigit(text.front()) &&
         IsLetterOrDigit(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
           return IsLetterOrDigit(c) || c == '-';
         });
}

Status ValidateName(std::string_view field, std::string_view text) {
  if (IsValidName(text)) return OkStatus();
  // The value may come from a peer and hold anything, so it is described and not repeated.
  return InvalidArgument(
      std::string(field) +
      " must be 1 to 64 characters of [a-z0-9-] that begin and end with a letter or "
      "digit, got " +
      (text.empty() ? "an empty value" : std::to_string(text.size()) + " characters"));
}

}  // namespace chorale
