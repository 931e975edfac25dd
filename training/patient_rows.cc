#include "training/patient_rows.h"

#include <algorithm>
#include <numeric>

namespace chorale::training {

PatientRows::PatientRows(std::span<const std::uint32_t> of_rows,
                         std::span<const std::uint32_t> patients)
    : patients_(patients.begin(), patients.end()), first_(patients.size() + 1) {
  if (patients.empty()) return;
  // Of each patient: the place among those wanted, from 1; 0 for the others.
  std::vector<std::uint32_t> places(std::size_t{*std::max_element(of_rows.begin(), of_rows.end())} +
                                    1);
  for (std::size_t i = 0; i < patients.size(); ++i) {
    places[patients[i]] = static_cast<std::uint32_t>(i + 1);
  }
  for (const std::uint32_t patient : of_rows) {
    if (places[patient] != 0) ++first_[places[patient]];
  }
  std::partial_sum(first_.begin(), first_.end(), first_.begin());
  rows_.resize(first_.back());
  std::vector<std::size_t> next = first_;
  for (std::size_t row = 0; row < of_rows.size(); ++row) {
    const std::uint32_t place = places[of_rows[row]];
    if (place != 0) rows_[next[place - 1]++] = static_cast<std::int64_t>(row);
  }
}

PatientRows PatientRows::Only(std::span<const std::size_t> places) const {
  PatientRows some;
  for (const std::size_t place : places) {
    some.patients_.push_back(patients_[place]);
    some.rows_.insert(some.rows_.end(), rows(place).begin(), rows(place).end());
    some.first_.push_back(some.rows_.size());
  }
  return some;
}

}  // namespace chorale::training
