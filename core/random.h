#pragma once

#include <cstdint>
#include <span>

namespace chorale {

// Where chance comes from. Secrets and noise take crypto::SecureRandom only.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void Fill(std::span<std::uint8_t> bytes) = 0;

  // Uniform over all 64-bit values.
  [[nodiscard]] std::uint64_t NextUint64();
  // Uniform in [0, bound), without bias. REQUIRES: bound > 0.
  [[nodiscard]] std::uint64_t NextBelow(std::uint64_t bound);
  // Uniform in [0, 1), 53 bits.
  [[nodiscard]] double NextDouble();
};

// The same sequence on every platform for the same seed (xoshiro256**, Blackman and Vigna 2018,
// seeded by splitmix64). For simulation, shuffling and initial parameters; never for secrets. Not
// thread-safe.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed);
  void Fill(std::span<std::uint8_t> bytes) override;

 private:
  std::uint64_t Next();
  std::uint64_t state_[4];
};

}  // namespace chorale
