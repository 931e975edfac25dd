#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/csv_reader.h"
#include "data/examples.h"
#include "data/moments.h"
#include "data/values.h"
#include "tests/support/real_data.h"

// Real multi-site tables as numbers, for tests of solvers.
namespace chorale::training {

class NumberTable {
 public:
  // Nothing on a machine without the data.
  static std::optional<NumberTable> Load(std::string_view relative_path) {
    const auto path = support::FindRealData(relative_path);
    if (!path.has_value()) return std::nullopt;
    auto table = data::ReadCsv(*path, {});
    if (!table.ok()) return std::nullopt;
    return NumberTable(*std::move(table));
  }
  [[nodiscard]] std::size_t num_rows() const { return table_.rows.size(); }
  [[nodiscard]] const std::string& Text(std::size_t row, const std::string& column) const {
    return table_.rows[row][places_.at(column)];
  }
  [[nodiscard]] double Number(std::size_t row, const std::string& column) const {
    return data::ParseNumber(Text(row, column), '.').value_or(std::nan(""));
  }
  // Names of the columns from `first` to `last`, in the order of the file.
  [[nodiscard]] std::vector<std::string> Columns(const std::string& first,
                                                 const std::string& last) const {
    return {table_.columns.begin() + static_cast<std::ptrdiff_t>(places_.at(first)),
            table_.columns.begin() + static_cast<std::ptrdiff_t>(places_.at(last)) + 1};
  }

 private:
  explicit NumberTable(data::CsvTable table) : table_(std::move(table)) {
    for (std::size_t i = 0; i < table_.columns.size(); ++i) places_[table_.columns[i]] = i;
  }
  data::CsvTable table_;
  std::map<std::string, std::size_t> places_;
};

// Examples of every site, in the order of their names.
using SiteExamples = std::map<std::string, data::ExactExamples>;

struct Extraction {
  std::string site_column;
  std::vector<std::function<double(const NumberTable&, std::size_t)>> inputs;
  std::vector<std::string> targets;
  std::string split = "train";
};

inline std::function<double(const NumberTable&, std::size_t)> Column(const std::string& name) {
  return [name](const NumberTable& table, std::size_t row) { return table.Number(row, name); };
}

// 1 where the column has this value.
inline std::function<double(const NumberTable&, std::size_t)> Indicator(const std::string& name,
                                                                        double value) {
  return [name, value](const NumberTable& table, std::size_t row) {
    return table.Number(row, name) == value ? 1.0 : 0.0;
  };
}

// Rows with a negative target (unknown) are left out.
inline SiteExamples Extract(const NumberTable& table, const Extraction& extraction) {
  SiteExamples sites;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    if (table.Text(row, "split") != extraction.split) continue;
    std::vector<double> targets;
    for (const std::string& target : extraction.targets)
      targets.push_back(table.Number(row, target));
    if (targets.front() < 0) continue;
    data::ExactExamples& site = sites[table.Text(row, extraction.site_column)];
    site.num_inputs = extraction.inputs.size();
    site.num_targets = targets.size();
    for (const auto& input : extraction.inputs) site.inputs.push_back(input(table, row));
    site.targets.insert(site.targets.end(), targets.begin(), targets.end());
  }
  return sites;
}

inline data::ExactExamples Pool(const SiteExamples& sites) {
  data::ExactExamples pooled;
  pooled.num_inputs = sites.begin()->second.num_inputs;
  pooled.num_targets = sites.begin()->second.num_targets;
  for (const auto& [name, site] : sites) {
    pooled.inputs.insert(pooled.inputs.end(), site.inputs.begin(), site.inputs.end());
    pooled.targets.insert(pooled.targets.end(), site.targets.begin(), site.targets.end());
  }
  return pooled;
}

// Training and test rows of every site.
struct Splits {
  SiteExamples train;
  SiteExamples test;
};

inline Splits ExtractSplits(const NumberTable& table, Extraction extraction) {
  Splits splits{.train = Extract(table, extraction), .test = {}};
  extraction.split = "test";
  splits.test = Extract(table, extraction);
  return splits;
}

// Sample moments of every input.
inline std::vector<data::Moments> MomentsOfInputs(const data::ExactExamples& examples) {
  std::vector<data::Moments> moments;
  for (std::size_t j = 0; j < examples.num_inputs; ++j) {
    std::vector<double> column;
    for (std::size_t i = j; i < examples.inputs.size(); i += examples.num_inputs) {
      column.push_back(examples.inputs[i]);
    }
    moments.push_back(data::MomentsOf(column));
  }
  return moments;
}

inline void Standardise(const std::vector<data::Moments>& moments, data::ExactExamples& examples) {
  for (std::size_t i = 0; i < examples.inputs.size(); ++i) {
    const data::Moments& column = moments[i % examples.num_inputs];
    examples.inputs[i] = (examples.inputs[i] - column.mean) / column.standard_deviation;
  }
}

}  // namespace chorale::training
