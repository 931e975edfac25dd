#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

// What the text of a cell means. Independent of the locale.
namespace chorale::data {

// A finite decimal number: "-1.5", "+2", ".7", "1e-3", with `decimal` ('.' or ',') as its mark.
// Nothing for any other text: inf, nan, hexadecimal, digits grouped by thousands, a number beyond
// double or over 128 characters.
[[nodiscard]] std::optional<double> ParseNumber(std::string_view text, char decimal);

// True for well-formed UTF-8 without control characters: fit for a message.
[[nodiscard]] bool IsSafeToShow(std::string_view text);

// Values that a person listed, to be found in cells. A cell equals a value when the texts are the
// same, or when both are numbers and the numbers are: exports write one code as 0, 0.0 or 0,00.
class ValueList {
 public:
  // Numbers among `values` have a decimal point. Takes time and memory in proportion to them.
  explicit ValueList(std::vector<std::string> values);

  // Index of the first value that `cell` equals. `decimal` is the mark of the cell.
  [[nodiscard]] std::optional<std::size_t> Find(std::string_view cell, char decimal) const;
  [[nodiscard]] bool Contains(std::string_view cell, char decimal) const {
    return Find(cell, decimal).has_value();
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  // Index of the first value that equals an earlier one.
  [[nodiscard]] std::optional<std::size_t> FindRepeated() const;

 private:
  // std::string_view finds a std::string without a copy.
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };

  std::vector<std::string> values_;
  // The first value of each text and of each number.
  std::unordered_map<std::string, std::size_t, TextHash, std::equal_to<>> by_text_;
  std::unordered_map<double, std::size_t> by_number_;
};

}  // namespace chorale::data
