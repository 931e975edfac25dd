#include "training/patient_sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "core/crypto/secret_bytes.h"

namespace chorale::training {
namespace {

constexpr std::uint64_t kMaxPatients = std::uint64_t{1} << 32;
// Of one call of the source: a call for each draw would cost as much as the draw.
constexpr std::size_t kDrawsAtOnce = 512;

}  // namespace

StatusOr<PatientSampler> PatientSampler::Create(std::uint64_t num_patients, double sample_rate) {
  if (num_patients > kMaxPatients) {
    return InvalidArgument("num_patients must be at most 2^32, got " +
                           std::to_string(num_patients));
  }
  if (!(sample_rate > 0 && sample_rate <= 1)) {
    return InvalidArgument("sample_rate must be in (0, 1]");
  }
  if (sample_rate == 1) return PatientSampler(num_patients, true, 0);
  // Exact: a double below 1 times a power of two is a double below 2^64.
  const double threshold = std::floor(std::ldexp(sample_rate, 64));
  if (threshold < 1) return InvalidArgument("sample_rate must be at least 2^-64");
  return PatientSampler(num_patients, false, static_cast<std::uint64_t>(threshold));
}

std::vector<std::uint32_t> PatientSampler::Sample(RandomSource& random) const {
  std::vector<std::uint32_t> drawn;
  std::array<std::uint8_t, 8 * kDrawsAtOnce> bytes{};
  for (std::uint64_t first = 0; first < num_patients_; first += kDrawsAtOnce) {
    const std::size_t count = std::min<std::uint64_t>(kDrawsAtOnce, num_patients_ - first);
    if (!takes_all_) random.Fill(std::span(bytes).first(8 * count));
    for (std::size_t i = 0; i < count; ++i) {
      std::uint64_t draw = 0;
      for (std::size_t j = 0; j < 8; ++j) draw |= std::uint64_t{bytes[8 * i + j]} << (8 * j);
      if (takes_all_ || draw < threshold_) drawn.push_back(static_cast<std::uint32_t>(first + i));
    }
  }
  crypto::Wipe(bytes);
  return drawn;
}

}  // namespace chorale::training
