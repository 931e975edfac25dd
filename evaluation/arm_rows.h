#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "data/examples.h"
#include "data/preparation.h"
#include "evaluation/arms.h"

// The rows of an arm, prepared as the arm's model expects them. Private to arms.cc.
namespace chorale::evaluation {

// One way of preparing rows: everybody's alike, or each site's by its own statistics.
class Preparation {
 public:
  // By the training rows of these sites together.
  static Preparation Of(std::span<const Site> sites, const v1::DataSpec& spec);
  static Preparation PerSite() { return {}; }
  // REQUIRES: data::Validate(moments, spec of the sites).
  static Preparation By(std::span<const data::Moments> moments);

  [[nodiscard]] data::Examples Rows(const Site& site, v1::Split split) const;
  [[nodiscard]] data::ExactExamples ExactRows(const Site& site, v1::Split split) const;
  // Of every site, in order.
  [[nodiscard]] std::vector<data::Examples> TestRows(std::span<const Site> sites) const;

 private:
  Preparation() = default;
  std::optional<std::vector<data::Moments>> moments_;  // None: per site.
};

// Of rows that number them from 0 without gaps.
inline std::uint32_t NumPatients(std::span<const std::uint32_t> patients) {
  return patients.empty() ? 0 : *std::max_element(patients.begin(), patients.end()) + 1;
}

// `more` behind `all`; patients of the two are different people.
template <typename Number>
void Append(data::ExamplesOf<Number>& all, const data::ExamplesOf<Number>& more) {
  const std::uint32_t first_patient = NumPatients(all.patients);
  all.num_inputs = more.num_inputs;
  all.num_targets = more.num_targets;
  all.inputs.insert(all.inputs.end(), more.inputs.begin(), more.inputs.end());
  all.targets.insert(all.targets.end(), more.targets.begin(), more.targets.end());
  for (const std::uint32_t patient : more.patients) all.patients.push_back(first_patient + patient);
}

}  // namespace chorale::evaluation
