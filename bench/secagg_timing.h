#pragma once

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/crypto/cipher.h"

// Seconds of one core: what the thread itself used, whatever else the machine does.
namespace chorale::bench {

inline double CoreSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <typename Function>
double CoreSecondsOf(Function function) {
  const double start = CoreSeconds();
  function();
  return CoreSeconds() - start;
}

// The least of `runs`: other work on the same core's caches adds to the rest.
template <typename Function>
double LeastCoreSeconds(int runs, Function function) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) least = std::min(least, CoreSecondsOf(function));
  return least;
}

// The limit of what OpenSSL masks: so much keystream into one piece that stays in cache, as
// `openssl speed -bytes 16384`.
inline double RawKeystreamSeconds(crypto::CtrStream& stream, std::uint64_t size_bytes) {
  constexpr std::size_t kPieceBytes = 16384;
  std::vector<std::uint8_t> piece(kPieceBytes);
  return CoreSecondsOf([&] {
    for (std::uint64_t done = 0; done < size_bytes; done += kPieceBytes) stream.Generate(piece);
  });
}

}  // namespace chorale::bench
