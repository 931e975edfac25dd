#include "core/bytes.h"

#include <array>

namespace chorale {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64UrlAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t kNoDigit = 0xff;

constexpr std::array<std::uint8_t, 256> InverseOf(std::string_view alphabet) {
  std::array<std::uint8_t, 256> inverse{};
  inverse.fill(kNoDigit);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    inverse[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return inverse;
}

constexpr std::array<std::uint8_t, 256> HexValues() {
  std::array<std::uint8_t, 256> values = InverseOf(kHexDigits);
  for (char c = 'A'; c <= 'F'; ++c) {
    values[static_cast<std::uint8_t>(c)] = static_cast<std::uint8_t>(c - 'A' + 10);
  }
  return values;
}

constexpr std::array<std::uint8_t, 256> kHexValues = HexValues();
constexpr std::array<std::uint8_t, 256> kBase64UrlValues = InverseOf(kBase64UrlAlphabet);

}  // namespace

std::string ToHex(ByteSpan bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text.push_back(kHexDigits[byte >> 4]);
    text.push_back(kHexDigits[byte & 0xf]);
  }
  return text;
}

StatusOr<Bytes> FromHex(std::string_view text) {
  if (text.size() % 2 != 0) {
    return InvalidArgument("hexadecimal text must have an even number of digits, got " +
                           std::to_string(text.size()));
  }
  Bytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const std::uint8_t high = kHexValues[static_cast<std::uint8_t>(text[i])];
    const std::uint8_t low = kHexValues[static_cast<std::uint8_t>(text[i + 1])];
    if (high == kNoDigit || low == kNoDigit) {
      return InvalidArgument("hexadecimal text must hold only [0-9a-fA-F], not so near position " +
                             std::to_string(i));
    }
    bytes[i / 2] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return bytes;
}

std::string ToBase64Url(ByteSpan bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t pending = 0;
  int num_bits = 0;
  for (const std::uint8_t byte : bytes) {
    pending = pending << 8 | byte;
    num_bits += 8;
    while (num_bits >= 6) {
      num_bits -= 6;
      text.push_back(kBase64UrlAlphabet[pending >> num_bits & 0x3f]);
    }
  }
  if (num_bits > 0) text.push_back(kBase64UrlAlphabet[pending << (6 - num_bits) & 0x3f]);
  return text;
}

StatusOr<Bytes> FromBase64Url(std::string_view text) {
  if (text.size() % 4 == 1) {
    return InvalidArgument("base64url text cannot have " + std::to_string(text.size()) +
                           " characters");
  }
  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t pending = 0;
  int num_bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::uint8_t value = kBase64UrlValues[static_cast<std::uint8_t>(text[i])];
    if (value == kNoDigit) {
      return InvalidArgument("base64url text must hold only [A-Za-z0-9_-], not so at position " +
                             std::to_string(i));
    }
    pending = (pending << 6 | value) & 0xffff;
    num_bits += 6;
    if (num_bits >= 8) {
      num_bits -= 8;
      bytes.push_back(static_cast<std::uint8_t>(pending >> num_bits));
    }
  }
  // Otherwise two texts would stand for the same bytes.
  if ((pending & ((1u << num_bits) - 1)) != 0) {
    return InvalidArgument("base64url text ends in bits that must be zero");
  }
  return bytes;
}

}  // namespace chorale
