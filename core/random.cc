#include "core/random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace chorale {

std::uint64_t RandomSource::NextUint64() {
  std::array<std::uint8_t, 8> bytes{};
  Fill(bytes);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
  return value;
}

std::uint64_t RandomSource::NextBelow(std::uint64_t bound) {
  // Values from the last, incomplete run of `bound` would favour small results.
  const std::uint64_t num_excess = (std::numeric_limits<std::uint64_t>::max() % bound + 1) % bound;
  const std::uint64_t last = std::numeric_limits<std::uint64_t>::max() - num_excess;
  std::uint64_t value = NextUint64();
  while (value > last) value = NextUint64();
  return value % bound;
}

double RandomSource::NextDouble() { return static_cast<double>(NextUint64() >> 11) * 0x1.0p-53; }

SeededRandom::SeededRandom(std::uint64_t seed) {
  for (std::uint64_t& word : state_) {
    // splitmix64 (Steele, Lea and Flood 2014): spreads seeds that differ in one bit.
    seed += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = seed;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    word = mixed ^ mixed >> 31;
  }
}

std::uint64_t SeededRandom::Next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

void SeededRandom::Fill(std::span<std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::uint64_t word = Next();
    const std::size_t count = std::min<std::size_t>(8, bytes.size());
    for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(word >> (8 * i));
    bytes = bytes.subspan(count);
  }
}

}  // namespace chorale
