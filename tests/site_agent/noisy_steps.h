#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/crypto/secret_bytes.h"
#include "core/ids.h"
#include "data/examples.h"
#include "privacy/noise/noise_stream.h"
#include "privacy/noise/wide_integer.h"

// What tests of noisy sums compare: sums in whole steps of the grid, of datasets that differ by one
// patient.
namespace chorale::site_agent {

using Steps = std::vector<std::int64_t>;

inline constexpr std::size_t kNumInputs = 5;

// A fixed one for each number and site.
inline privacy::NoiseKey KeyOf(std::uint32_t number, const std::string& site = "north") {
  std::array<std::uint8_t, 32> bytes{};
  bytes[0] = static_cast<std::uint8_t>(number);
  bytes[1] = static_cast<std::uint8_t>(number >> 8);
  return privacy::NoiseKey::Create(crypto::SecretBytes(bytes), JobId("job"), SiteId(site)).value();
}

// With one patient more, of these rows. As the last, so that whoever was drawn without this patient
// is drawn with it.
inline data::Examples With(data::Examples examples, std::span<const float> rows, float target) {
  const std::uint32_t patient = examples.patients.empty() ? 0 : examples.patients.back() + 1;
  examples.inputs.insert(examples.inputs.end(), rows.begin(), rows.end());
  for (std::size_t row = 0; row < rows.size() / kNumInputs; ++row) {
    examples.targets.push_back(target);
    examples.patients.push_back(patient);
  }
  return examples;
}

inline Steps Minus(const Steps& a, const Steps& b) {
  EXPECT_EQ(a.size(), b.size());
  Steps difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return difference;
}

inline privacy::Uint128 SquareOf(const Steps& values) {
  privacy::Uint128 sum = 0;
  for (const std::int64_t value : values) {
    const auto size = static_cast<privacy::Uint128>(value < 0 ? -value : value);
    sum += size * size;
  }
  return sum;
}

}  // namespace chorale::site_agent
