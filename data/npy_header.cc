#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

#include "data/npy_reader.h"

namespace chorale::data {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kVersionEnd = kMagic.size() + 2;
constexpr std::size_t kMaxAxes = 32;  // NumPy's own bound.

// What the dictionary says.
struct Description {
  std::optional<std::string_view> type;
  std::optional<bool> is_fortran;
  std::optional<std::vector<std::uint64_t>> shape;
};

// Reads the one form of Python literal that NumPy writes, and nothing else.
class DictionaryReader {
 public:
  explicit DictionaryReader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool Read(Description& description) {
    if (!Take('{')) return false;
    while (!Take('}')) {
      const std::optional<std::string_view> key = ReadText();
      if (!key || !Take(':') || !ReadValue(*key, description)) return false;
      if (!Take(',') && (Blanks(), !rest_.starts_with('}'))) return false;
    }
    Blanks();
    return rest_.empty() && description.type && description.is_fortran && description.shape;
  }

 private:
  void Blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }

  [[nodiscard]] bool Take(char wanted) {
    Blanks();
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  [[nodiscard]] bool TakeWord(std::string_view word) {
    Blanks();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  [[nodiscard]] std::optional<std::string_view> ReadText() {
    Blanks();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) return std::nullopt;
    const std::size_t end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  [[nodiscard]] bool ReadValue(std::string_view key, Description& description) {
    if (key == "descr" && !description.type) {
      description.type = ReadText();
      return description.type.has_value();
    }
    if (key == "fortran_order" && !description.is_fortran) {
      if (TakeWord("True")) {
        description.is_fortran = true;
      } else if (TakeWord("False")) {
        description.is_fortran = false;
      }
      return description.is_fortran.has_value();
    }
    if (key == "shape" && !description.shape) {
      description.shape = ReadTuple();
      return description.shape.has_value();
    }
    return false;
  }

  [[nodiscard]] std::optional<std::vector<std::uint64_t>> ReadTuple() {
    if (!Take('(')) return std::nullopt;
    std::vector<std::uint64_t> numbers;
    while (!Take(')')) {
      Blanks();
      std::uint64_t number = 0;
      const char* end = rest_.data() + rest_.size();
      const auto [next, error] = std::from_chars(rest_.data(), end, number);
      if (error != std::errc() || numbers.size() == kMaxAxes) return std::nullopt;
      rest_.remove_prefix(static_cast<std::size_t>(next - rest_.data()));
      numbers.push_back(number);
      const bool has_comma = Take(',');
      // "(5)" is a number in parentheses, not a tuple.
      if (!has_comma && (numbers.size() == 1 || (Blanks(), !rest_.starts_with(')')))) {
        return std::nullopt;
      }
    }
    return numbers;
  }

  std::string_view rest_;
};

// a * b, or nothing when it does not fit.
std::optional<std::uint64_t> Product(std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

std::size_t BytesOf(NpyType type) { return type == NpyType::kUint8 ? 1 : sizeof(float); }

// Why the numbers do not fill the file exactly; nothing when they do.
std::string ProblemOfSize(NpyHeader& header, std::uint64_t file_bytes) {
  header.row_size = 1;
  for (std::size_t axis = 1; axis < header.shape.size(); ++axis) {
    const auto product = Product(header.row_size, header.shape[axis]);
    if (!product) return "has a shape beyond any file";
    header.row_size = *product;
  }
  const auto numbers = Product(header.row_size, header.shape.front());
  const auto bytes = numbers ? Product(*numbers, BytesOf(header.type)) : std::nullopt;
  if (!bytes) return "has a shape beyond any file";
  if (header.data_offset > file_bytes || *bytes != file_bytes - header.data_offset) {
    return "must have exactly the " + std::to_string(*bytes) + " bytes of its shape behind its " +
           std::to_string(header.data_offset) + " bytes of header, got " +
           std::to_string(file_bytes) + " in all";
  }
  return "";
}

}  // namespace

StatusOr<NpyHeader> ParseNpyHeader(ByteSpan start, std::uint64_t file_bytes,
                                   std::string_view file_name) {
  const auto refuse = [file_name](std::string_view problem) {
    return InvalidArgument(std::string(file_name) + ": " + std::string(problem));
  };
  if (start.size() < kVersionEnd + 2 || !AsText(start).starts_with(kMagic)) {
    return refuse("is no NumPy file (.npy)");
  }
  const int major = start[kMagic.size()];
  if (major < 1 || major > 3 || start[kMagic.size() + 1] != 0) {
    return refuse("must have NumPy's format version 1.0, 2.0 or 3.0");
  }
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  const std::size_t text_begin = kVersionEnd + length_bytes;
  if (start.size() < text_begin) return refuse("ends within its header");
  std::uint64_t length = 0;
  for (std::size_t i = length_bytes; i-- > 0;) length = length << 8 | start[kVersionEnd + i];
  if (length > kMaxNpyHeaderBytes - text_begin) {
    return refuse("has a header of over " + std::to_string(kMaxNpyHeaderBytes) + " bytes");
  }
  if (start.size() - text_begin < length) return refuse("ends within its header");

  Description description;
  const std::string_view text = AsText(start.subspan(text_begin, static_cast<std::size_t>(length)));
  if (!DictionaryReader(text).Read(description)) {
    return refuse("has a header that describes no plain array of numbers");
  }
  NpyHeader header{.shape = *std::move(description.shape), .data_offset = text_begin + length};
  if (*description.type == "<f4") {
    header.type = NpyType::kFloat32;
  } else if (*description.type != "|u1") {
    return refuse("must hold numbers of type uint8 (|u1) or little-endian float32 (<f4)");
  }
  if (*description.is_fortran) {
    return refuse("must be in C order; numpy.ascontiguousarray before numpy.save makes it so");
  }
  if (header.shape.empty()) return refuse("must have an axis that counts examples");
  if (const std::string problem = ProblemOfSize(header, file_bytes); !problem.empty()) {
    return refuse(problem);
  }
  return header;
}

}  // namespace chorale::data
