#pragma once

#include <cstdint>
#include <vector>

#include "core/random.h"
#include "core/status.h"

// Which patients a private step meets. No LibTorch here.
namespace chorale::training {

// Poisson sampling: every patient is drawn by itself with one probability, whatever becomes of the
// others, so that the number drawn is random and may be 0. This is what accountants call Poisson;
// a shuffled pass in batches is not.
class PatientSampler {
 public:
  // INVALID_ARGUMENT: a sample rate outside (0, 1], or so small that no draw could tell it from 0
  // (below 2^-64); over 2^32 patients.
  [[nodiscard]] static StatusOr<PatientSampler> Create(std::uint64_t num_patients,
                                                       double sample_rate);

  // The patients of one step, rising. Each is drawn when 64 bits of `random` lie below
  // floor(sample_rate * 2^64): with no more than the sample rate that is accounted for, and less
  // than 2^-64 below it. The amplification by sampling holds while nobody else knows who was drawn:
  // `random` is a crypto::SecureRandom outside tests and simulations.
  [[nodiscard]] std::vector<std::uint32_t> Sample(RandomSource& random) const;

 private:
  PatientSampler(std::uint64_t num_patients, bool takes_all, std::uint64_t threshold)
      : num_patients_(num_patients), takes_all_(takes_all), threshold_(threshold) {}

  std::uint64_t num_patients_;
  bool takes_all_;           // A sample rate of 1, which is no 64-bit threshold.
  std::uint64_t threshold_;  // Draws below it take the patient.
};

}  // namespace chorale::training
