#pragma once

#include <cstdint>
#include <string>
#include <vector>

// A made-up multi-hospital cardiology table for trying things out without patients: the columns of
// the UCI heart-disease data, drawn from a logistic ground truth with differences between
// hospitals. Same seed, same bytes.
//
// Age, sex, chest pain, ST depression, pulse, angina, pressure and cholesterol enter the log-odds
// of disease in the direction that clinical data show; a model that knows the truth reaches an
// AUROC of about 0.88, a logistic regression trained on some hundred rows about 0.85. No value of a
// real person went into it.
namespace chorale::data {

struct SyntheticHospital {
  std::string name;
  std::uint32_t num_rows = 0;
  double shift = 0;  // Moves age, pressure, cholesterol and prevalence away from the average
                     // hospital, in deviations.
};

// Four hospitals that differ in size, case mix and prevalence, for demonstrations.
[[nodiscard]] std::vector<SyntheticHospital> DefaultSyntheticHospitals();

// CSV text with a header, a `split` column (two thirds `train`) and target `num` (0 to 4, above 0
// is disease). The name takes part in the seed: hospitals with one seed have different patients.
// `shift` is used within [-3, 3].
[[nodiscard]] std::string MakeSyntheticHospital(const SyntheticHospital& hospital,
                                                std::uint64_t seed);

}  // namespace chorale::data
