#pragma once

#include <cstdint>
#include <map>
#include <tuple>

#include "core/crypto/digest.h"
#include "training/clipped_sum.h"
#include "training/grad_samples.h"

namespace chorale::training {

// What GradSampleMode::kAuto stands for: both ways are timed once for each model and size of draw,
// on rows and parameters that are made up, so that the choice tells nothing of data. Not
// thread-safe.
class ModeChoice {
 public:
  // `setup`: of the sum that is wanted; its examples and parameters are looked at for their size,
  // type and device alone. kMicro where it was cancelled meanwhile.
  [[nodiscard]] GradSampleMode For(const GradSampleSetup& setup, const PatientRows& patients,
                                   std::uint32_t max_patients);

 private:
  // Digest of the model, patients, rows of each, max_patients.
  using Key = std::tuple<crypto::Digest, std::uint64_t, std::uint64_t, std::uint32_t>;
  std::map<Key, GradSampleMode> choices_;
};

}  // namespace chorale::training
