// What secure aggregation costs, in seconds of one core: masks against the raw keystream of OpenSSL
// in the same run, additions, shares, keys, and whole steps of a round.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/secagg_rounds.h"
#include "bench/secagg_secrets.h"
#include "bench/secagg_timing.h"
#include "core/crypto/cipher.h"
#include "core/crypto/key_agreement.h"
#include "core/crypto/random.h"
#include "core/random.h"
#include "secagg/fixed_point.h"
#include "secagg/key_schedule.h"
#include "secagg/mask_stream.h"
#include "secagg/shamir.h"
#include "secagg/vector_spec.h"

namespace chorale::bench {
namespace {

using nlohmann::ordered_json;
using secagg::MaskKernel;
using secagg::RingBits;

constexpr double kBytesPerGigabyte = 1e9;

struct Kernel {
  MaskKernel kernel;
  const char* name;
  double target_ratio;  // To the raw keystream; 0 without one.
};
constexpr Kernel kKernels[] = {{MaskKernel::kEvp, "evp", 0.85},
                               {MaskKernel::kAesNi, "aesni", 0},
                               {MaskKernel::kVaes, "vaes", 2.5}};

StatusOr<ordered_json> MeasureMasks(RingBits bits, std::uint64_t num_elements, int runs) {
  SeededRandom random(1);
  CHORALE_ASSIGN_OR_RETURN(const auto spec, secagg::VectorSpec::Create({{bits, num_elements}}));
  // As many masks as make a run of a tenth of a second or so.
  const std::size_t num_masks = std::max<std::size_t>(
      8, static_cast<std::size_t>(4e8 / static_cast<double>(spec.size_bytes())));
  std::vector<crypto::SecretBytes> keys;
  std::vector<secagg::MaskTerm> terms;
  for (std::size_t i = 0; i < num_masks; ++i) keys.push_back(DrawSecret(random, 16));
  for (std::size_t i = 0; i < num_masks; ++i) terms.push_back({&keys[i], i % 2 == 0});
  CHORALE_ASSIGN_OR_RETURN(auto stream, crypto::CtrStream::Create(keys[0]));
  std::vector<std::uint8_t> vector(spec.size_bytes());
  const std::uint64_t mask_bytes = spec.size_bytes() * num_masks;

  // They take turns, so that whatever else the machine does concerns all of them.
  double raw_seconds = std::numeric_limits<double>::infinity();
  std::vector<double> seconds(std::size(kKernels), raw_seconds);
  for (int run = 0; run < runs; ++run) {
    raw_seconds = std::min(raw_seconds, RawKeystreamSeconds(stream, mask_bytes));
    for (std::size_t k = 0; k < std::size(kKernels); ++k) {
      if (!secagg::IsAvailable(kKernels[k].kernel)) continue;
      Status applied;
      seconds[k] = std::min(seconds[k], CoreSecondsOf([&] {
                              applied =
                                  secagg::ApplyMasks(spec, 0, vector, terms, 1, kKernels[k].kernel);
                            }));
      CHORALE_RETURN_IF_ERROR(applied);
    }
  }
  const double gigabytes = static_cast<double>(mask_bytes) / kBytesPerGigabyte;
  ordered_json rows;
  for (std::size_t k = 0; k < std::size(kKernels); ++k) {
    if (!secagg::IsAvailable(kKernels[k].kernel)) continue;
    const double ratio = raw_seconds / seconds[k];
    ordered_json row = {{"step", "mask_stream"},
                        {"kernel", kKernels[k].name},
                        {"ring_bits", static_cast<int>(bits)},
                        {"elements", num_elements},
                        {"masks", num_masks},
                        {"gb_per_s", gigabytes / seconds[k]},
                        {"raw_evp_gb_per_s", gigabytes / raw_seconds},
                        {"ratio_to_raw", ratio}};
    if (bits == RingBits::k32 && kKernels[k].target_ratio > 0) {
      row["target_ratio"] = kKernels[k].target_ratio;
      row["ratio_to_target"] = ratio / kKernels[k].target_ratio;
    }
    std::cout << std::setw(6) << static_cast<int>(bits) << std::setw(10) << num_elements
              << std::setw(8) << kKernels[k].name << std::setprecision(2) << std::setw(9)
              << gigabytes / seconds[k] << std::setw(9) << gigabytes / raw_seconds << std::setw(8)
              << ratio << std::endl;
    rows.push_back(std::move(row));
  }
  return rows;
}

StatusOr<ordered_json> MeasureAddition(std::uint64_t num_elements, int runs) {
  CHORALE_ASSIGN_OR_RETURN(const auto spec,
                           secagg::VectorSpec::Create({{RingBits::k32, num_elements}}));
  const std::vector<std::uint8_t> addend(spec.size_bytes(), 1);
  std::vector<std::uint8_t> sum(spec.size_bytes());
  Status added;
  const double seconds =
      LeastCoreSeconds(runs, [&] { added = secagg::AddVectors(spec, 0, addend, sum, 1); });
  CHORALE_RETURN_IF_ERROR(added);
  const double rate = static_cast<double>(spec.size_bytes()) / kBytesPerGigabyte / seconds;
  std::cout << "addition of " << num_elements << " elements: " << std::setprecision(2) << rate
            << " GB/s" << std::endl;
  return ordered_json{{"step", "add"}, {"elements", num_elements}, {"gb_per_s", rate}};
}

StatusOr<ordered_json> MeasureShares(std::uint32_t num_members, int runs) {
  SeededRandom random(2);
  const std::uint32_t threshold = num_members / 2 + 1;
  std::vector<secagg::ShareIndex> xs(num_members);
  std::iota(xs.begin(), xs.end(), 1u);
  const crypto::SecretBytes secret = DrawSecret(random, 32);
  StatusOr<std::vector<secagg::SecretShare>> shares = std::vector<secagg::SecretShare>{};
  const double share_seconds =
      LeastCoreSeconds(runs, [&] { shares = secagg::ShareSecret(secret, threshold, xs, random); });
  CHORALE_RETURN_IF_ERROR(shares.status());
  std::vector<const secagg::SecretShare*> held;
  for (std::uint32_t i = 0; i < threshold; ++i) held.push_back(&(*shares)[i]);
  const auto holders = std::span<const secagg::ShareIndex>(xs).first(threshold);
  auto combiner = secagg::ShareCombiner::Create(holders);
  const double lagrange_seconds =
      LeastCoreSeconds(runs, [&] { combiner = secagg::ShareCombiner::Create(holders); });
  CHORALE_RETURN_IF_ERROR(combiner.status());
  auto combined = combiner->Combine(held);
  const double combine_seconds =
      LeastCoreSeconds(runs, [&] { combined = combiner->Combine(held); });
  CHORALE_RETURN_IF_ERROR(combined.status());
  std::cout << "shares, n = " << num_members << ", t = " << threshold << std::setprecision(1)
            << ": share " << 1e6 * share_seconds << " us, coefficients " << 1e6 * lagrange_seconds
            << " us, combine " << 1e6 * combine_seconds << " us" << std::endl;
  return ordered_json{{"step", "shares"},
                      {"members", num_members},
                      {"threshold", threshold},
                      {"share_seconds", share_seconds},
                      {"coefficients_seconds", lagrange_seconds},
                      {"combine_seconds", combine_seconds}};
}

StatusOr<ordered_json> MeasureKeys(int runs) {
  const auto own = crypto::X25519PrivateKey::Generate();
  const auto peer = crypto::X25519PrivateKey::Generate();
  const crypto::Digest session_id{};
  auto pair = secagg::PairKey(session_id, own, 0, peer.public_key(), 1, 1);
  const double pair_seconds = LeastCoreSeconds(
      runs, [&] { pair = secagg::PairKey(session_id, own, 0, peer.public_key(), 1, 1); });
  CHORALE_RETURN_IF_ERROR(pair.status());
  const double load_seconds = LeastCoreSeconds(
      runs, [&] { crypto::X25519PrivateKey::FromBytes(own.bytes().Reveal()).IgnoreError(); });
  std::cout << "pair key (X25519, HKDF): " << std::setprecision(1) << 1e6 * pair_seconds
            << " us; loading a private key: " << 1e6 * load_seconds << " us" << std::endl;
  return ordered_json{
      {"step", "keys"}, {"pair_key_seconds", pair_seconds}, {"load_seconds", load_seconds}};
}

StatusOr<ordered_json> MeasureEncoding(secagg::Rounding rounding, int runs) {
  SeededRandom random(3);
  std::vector<float> values(1'000'000);
  for (float& value : values) value = static_cast<float>(random.NextDouble() - 0.5);
  CHORALE_ASSIGN_OR_RETURN(const auto fixed, secagg::FixedPoint::Create(RingBits::k32, 1, 10));
  std::vector<std::uint8_t> out(4 * values.size());
  crypto::SecureRandom chance;
  Status encoded;
  const double seconds = LeastCoreSeconds(runs, [&] {
    encoded = fixed.Encode(std::span<const float>(values), rounding, &chance, out);
  });
  CHORALE_RETURN_IF_ERROR(encoded);
  const char* const name = rounding == secagg::Rounding::kNearest ? "nearest" : "stochastic";
  std::cout << "encoding 1000000 values, " << name << ": " << std::setprecision(2) << 1e3 * seconds
            << " ms" << std::endl;
  return ordered_json{
      {"step", "encode"}, {"rounding", name}, {"elements", values.size()}, {"seconds", seconds}};
}

Status Run(const std::vector<std::string>& arguments) {
  CHORALE_ASSIGN_OR_RETURN(const Options options, ParseOptions(arguments));
  const int runs = options.is_quick ? 5 : 20;
  ordered_json result = {{"bench", "secagg"}, {"machine", Machine()}, {"threads", 1}};
  ordered_json& results = result["results"];
  const auto add_all = [&](const ordered_json& rows) {
    for (const ordered_json& row : rows) results.push_back(row);
  };
  std::cout << std::fixed << "  ring  elements  kernel     GB/s      raw   ratio\n";
  for (const std::uint64_t elements : {100'000u, 1'000'000u, 10'000'000u}) {
    CHORALE_ASSIGN_OR_RETURN(const auto rows, MeasureMasks(RingBits::k32, elements, runs));
    add_all(rows);
  }
  for (const RingBits bits : {RingBits::k16, RingBits::k24, RingBits::k64}) {
    CHORALE_ASSIGN_OR_RETURN(const auto rows, MeasureMasks(bits, 1'000'000, runs));
    add_all(rows);
  }
  for (const std::uint64_t elements : {100'000u, 10'000'000u}) {
    CHORALE_ASSIGN_OR_RETURN(auto row, MeasureAddition(elements, 3 * runs));
    results.push_back(std::move(row));
  }
  for (const std::uint32_t members : {10u, 100u, 500u, 1000u}) {
    CHORALE_ASSIGN_OR_RETURN(auto row, MeasureShares(members, 2 * runs));
    results.push_back(std::move(row));
  }
  CHORALE_ASSIGN_OR_RETURN(auto keys, MeasureKeys(20 * runs));
  results.push_back(std::move(keys));
  for (const auto rounding : {secagg::Rounding::kNearest, secagg::Rounding::kStochastic}) {
    CHORALE_ASSIGN_OR_RETURN(auto row, MeasureEncoding(rounding, runs));
    results.push_back(std::move(row));
  }
  CHORALE_ASSIGN_OR_RETURN(const auto masking, MeasureMasking());
  add_all(masking);
  CHORALE_ASSIGN_OR_RETURN(const auto unmasking, MeasureUnmasking(options.is_quick));
  add_all(unmasking);
  CHORALE_ASSIGN_OR_RETURN(const auto memory, MeasureMemory());
  add_all(memory);
  return WriteJson(options, result.dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) {
  return chorale::bench::Finish(
      chorale::bench::Run(std::vector<std::string>(argv + 1, argv + argc)));
}
