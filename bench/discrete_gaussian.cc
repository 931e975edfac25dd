// Samples of discrete Gaussian noise in a second of one core, against the ChaCha20 keystream that
// they are made of, in the same run.
#include "privacy/noise/discrete_gaussian.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <iomanip>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/options.h"
#include "core/crypto/cipher.h"

namespace chorale::bench {
namespace {

using privacy::DiscreteGaussian;

// A large model's step, as one site draws it.
constexpr std::size_t kNumSamples = std::size_t{1} << 20;
// Words of keystream that no sample does without: one, and one more where blocks hold more than one
// number.
constexpr double kBytesOfAWord = 8;
constexpr double kLeastSigmaOfBlocks = 16;
// The share of the limit that the sampler is held to.
constexpr double kTargetRatio = 0.1;

// Of this thread alone: other programs on the machine do not count.
double ProcessorSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <typename Function>
double LeastSeconds(int runs, Function function) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    const double start = ProcessorSeconds();
    function();
    least = std::min(least, ProcessorSeconds() - start);
  }
  return least;
}

StatusOr<double> KeystreamBytesPerSecond(int runs) {
  CHORALE_ASSIGN_OR_RETURN(auto stream,
                           crypto::ChaCha20Stream::Create(crypto::SecretBytes(std::size_t{32}), 0));
  std::vector<std::uint8_t> piece(8192);
  constexpr int kPieces = 2048;
  const double seconds = LeastSeconds(runs, [&] {
    for (int i = 0; i < kPieces; ++i) stream.Generate(piece);
  });
  return static_cast<double>(piece.size()) * kPieces / seconds;
}

StatusOr<nlohmann::ordered_json> Measure(double sigma, int runs, double bytes_per_second) {
  privacy::NoiseKey key = privacy::NoiseKey::Generate(JobId("bench"), SiteId("bench"));
  const double start = ProcessorSeconds();
  CHORALE_ASSIGN_OR_RETURN(const DiscreteGaussian gaussian,
                           DiscreteGaussian::Create(privacy::DyadicOf(sigma * sigma)));
  const double setup_seconds = ProcessorSeconds() - start;
  std::vector<std::int64_t> samples(kNumSamples);
  std::uint64_t step = 0;
  Status status = OkStatus();
  const double seconds = LeastSeconds(runs, [&] {
    auto stream = key.Open({.step = step++, .purpose = "gradient"});
    status.Update(stream.status());
    if (stream.ok()) gaussian.Draw(*std::move(stream), samples, 1);
  });
  CHORALE_RETURN_IF_ERROR(status);
  double square = 0;
  for (const std::int64_t sample : samples) square += std::pow(static_cast<double>(sample), 2);
  const double rate = static_cast<double>(kNumSamples) / seconds;
  const double limit = bytes_per_second / (kBytesOfAWord * (sigma < kLeastSigmaOfBlocks ? 1 : 2));
  return nlohmann::ordered_json{
      {"sigma", sigma},
      {"samples_per_second", rate},
      {"limit_samples_per_second", limit},
      {"ratio_to_limit", rate / limit},
      {"target_ratio", kTargetRatio},
      {"setup_seconds", setup_seconds},
      {"variance_over_sigma_squared", square / static_cast<double>(kNumSamples) / sigma / sigma}};
}

Status Run(const std::vector<std::string>& arguments) {
  CHORALE_ASSIGN_OR_RETURN(const Options options, ParseOptions(arguments));
  const int runs = options.is_quick ? 5 : 25;
  CHORALE_ASSIGN_OR_RETURN(const double bytes_per_second, KeystreamBytesPerSecond(runs));
  nlohmann::ordered_json result = {{"bench", "discrete_gaussian"},
                                   {"machine", Machine()},
                                   {"chacha20_bytes_per_second", bytes_per_second}};
  std::cout
      << "ChaCha20 " << std::setprecision(3) << bytes_per_second / 1e9
      << " GB/s; one core\n        sigma  million samples/s   of limit   set-up ms   variance\n";
  for (const double sigma : {1.0, 10.0, 64.0, 1024.0, 65'536.0, 0x1p28, 0x1p40}) {
    CHORALE_ASSIGN_OR_RETURN(const auto row, Measure(sigma, runs, bytes_per_second));
    std::cout << std::setprecision(4) << std::setw(13) << sigma << std::setw(19)
              << row["samples_per_second"].get<double>() / 1e6 << std::setw(11)
              << row["ratio_to_limit"].get<double>() << std::setw(12)
              << row["setup_seconds"].get<double>() * 1e3 << std::setw(11)
              << row["variance_over_sigma_squared"].get<double>() << std::endl;
    result["results"].push_back(row);
  }
  return WriteJson(options, result.dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) {
  return chorale::bench::Finish(
      chorale::bench::Run(std::vector<std::string>(argv + 1, argv + argc)));
}
