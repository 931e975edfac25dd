#include "data/columns.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "core/config/nearest_key.h"
#include "data/values.h"

namespace chorale::data {
namespace {

// A name of one or two characters is near to anything as short: it would be told unasked.
constexpr std::size_t kMinSuggestedBytes = 3;
constexpr std::size_t kMaxSuggestedBytes = 64;

bool MayBeTold(std::string_view name) {
  return name.size() >= kMinSuggestedBytes && name.size() <= kMaxSuggestedBytes &&
         !ParseNumber(name, '.') && !ParseNumber(name, ',') && IsSafeToShow(name);
}

}  // namespace

ColumnIndex::ColumnIndex(const CsvTable& table) : table_(table) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) by_name_.emplace(table.columns[i], i);
}

StatusOr<std::size_t> ColumnIndex::Find(std::string_view name, std::string_view field) const {
  if (const auto found = by_name_.find(name); !name.empty() && found != by_name_.end()) {
    return found->second;
  }
  std::string message = table_.file_name + ": " + std::string(field) + ": there is no column '" +
                        std::string(name) + "' among the " + std::to_string(table_.columns.size()) +
                        " of the table";
  if (const std::optional<std::string> nearest = NearestTo(name)) {
    message += "; the nearest is '" + *nearest + "'";
  }
  return InvalidArgument(message);
}

std::optional<std::string> ColumnIndex::NearestTo(std::string_view name) const {
  std::vector<std::string> known;
  std::copy_if(table_.columns.begin(), table_.columns.end(), std::back_inserter(known), MayBeTold);
  return config::NearestKey(name, known);
}

}  // namespace chorale::data
