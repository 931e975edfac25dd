#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/status.h"
#include "data/csv_reader.h"

namespace chorale::data {

// Columns of a table by name. The table must outlive it.
class ColumnIndex {
 public:
  explicit ColumnIndex(const CsvTable& table);

  // INVALID_ARGUMENT "FILE: FIELD: no column ..." with the nearest name that the table has, if one
  // is near. A name that reads as a number is never told: in a file without a header row it would
  // be a patient's value.
  [[nodiscard]] StatusOr<std::size_t> Find(std::string_view name, std::string_view field) const;

 private:
  [[nodiscard]] std::optional<std::string> NearestTo(std::string_view name) const;

  const CsvTable& table_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
};

}  // namespace chorale::data
