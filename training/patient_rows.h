#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace chorale::training {

// The rows of some patients, by patient. Immutable.
class PatientRows {
 public:
  // `of_rows`: the patient of each row, numbered from 0 without gaps; `patients`: those wanted.
  // REQUIRES: each of them is one, and none comes twice.
  PatientRows(std::span<const std::uint32_t> of_rows, std::span<const std::uint32_t> patients);

  // Those at these places.
  [[nodiscard]] PatientRows Only(std::span<const std::size_t> places) const;

  [[nodiscard]] std::size_t num_patients() const { return patients_.size(); }
  [[nodiscard]] std::size_t num_rows() const { return rows_.size(); }
  [[nodiscard]] std::uint32_t patient(std::size_t index) const { return patients_[index]; }
  // In file order, at least one.
  [[nodiscard]] std::span<const std::int64_t> rows(std::size_t index) const {
    return std::span(rows_).subspan(first_[index], first_[index + 1] - first_[index]);
  }

 private:
  PatientRows() = default;

  std::vector<std::uint32_t> patients_;
  std::vector<std::int64_t> rows_;
  std::vector<std::size_t> first_ = {0};  // Of each patient in rows_. [num_patients + 1]
};

}  // namespace chorale::training
