#include "bench/secagg_rounds.h"

#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

#include "bench/secagg_secrets.h"
#include "bench/secagg_timing.h"
#include "core/random.h"
#include "secagg/mask_stream.h"
#include "secagg/mask_terms.h"
#include "secagg/vector_spec.h"

namespace chorale::bench {
namespace {

using secagg::MaskKernel;
using secagg::MaskTerm;
using secagg::OwnedMaskTerm;

constexpr secagg::Suite kSuite = secagg::Suite::kAes128Ctr;

std::vector<OwnedMaskTerm> DrawMasks(std::uint32_t count, RandomSource& random) {
  std::vector<OwnedMaskTerm> masks;
  for (std::uint32_t i = 0; i < count; ++i) {
    masks.push_back({DrawSecret(random, secagg::MaskKeyBytes(kSuite)), i % 2 == 0});
  }
  return masks;
}

// The most memory that this process held since the last call of ResetPeak, in bytes.
StatusOr<std::uint64_t> PeakBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return Unavailable("/proc/self/status has no VmHWM");
}

Status ResetPeak() {
  malloc_trim(0);  // What was freed would be taken again unseen.
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file ? OkStatus() : Unavailable("/proc/self/clear_refs cannot be written");
}

// Of `work`, beyond what was held when it began.
template <typename Work>
StatusOr<std::uint64_t> PeakBytesOf(const Work& work) {
  CHORALE_RETURN_IF_ERROR(ResetPeak());
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t before, PeakBytes());
  CHORALE_RETURN_IF_ERROR(work());
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t peak, PeakBytes());
  return peak - std::min(peak, before);
}

StatusOr<nlohmann::ordered_json> MeasureMemoryOf(std::uint64_t num_elements) {
  constexpr std::uint32_t kMembers = 100;
  constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 22;  // As the coordinator reads them.
  SeededRandom random(1);
  CHORALE_ASSIGN_OR_RETURN(const auto spec,
                           secagg::VectorSpec::Create({{secagg::RingBits::k32, num_elements}}));
  const std::vector<OwnedMaskTerm> masks = DrawMasks(kMembers, random);
  const std::vector<MaskTerm> terms = secagg::Borrow(masks);
  Bytes vector(spec.size_bytes(), 1);
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t masking, PeakBytesOf([&] {
                             return secagg::ApplyMasks(spec, 0, vector, terms, 1);
                           }));
  CHORALE_ASSIGN_OR_RETURN(
      const std::uint64_t unmasking, PeakBytesOf([&]() -> Status {
        Bytes sum, addend;
        for (std::uint64_t begin = 0; begin < spec.size_bytes(); begin += kPieceBytes) {
          const std::uint64_t size = std::min(kPieceBytes, spec.size_bytes() - begin);
          const ByteSpan piece = ByteSpan(vector).subspan(begin, size);
          sum.assign(piece.begin(), piece.end());
          addend.assign(piece.begin(), piece.end());
          for (std::uint32_t site = 1; site < kMembers; ++site) {
            CHORALE_RETURN_IF_ERROR(secagg::AddVectors(spec, begin, addend, sum, 1));
          }
          CHORALE_RETURN_IF_ERROR(secagg::ApplyMasks(spec, begin, sum, terms, 1));
        }
        return OkStatus();
      }));
  const auto size = static_cast<double>(spec.size_bytes());
  return nlohmann::ordered_json{
      {"step", "memory"},
      {"members", kMembers},
      {"elements", num_elements},
      {"vector_bytes", spec.size_bytes()},
      {"mask_extra_bytes", masking},
      {"unmask_extra_bytes", unmasking},
      {"mask_peak_per_vector", (size + static_cast<double>(masking)) / size},
      {"unmask_peak_per_vector", static_cast<double>(unmasking) / size}};
}

}  // namespace

StatusOr<nlohmann::ordered_json> MeasureMasking() {
  constexpr std::uint32_t kMembers = 1000;
  constexpr std::uint64_t kElements = 1'000'000;
  SeededRandom random(2);
  const std::vector<OwnedMaskTerm> masks = DrawMasks(kMembers, random);
  CHORALE_ASSIGN_OR_RETURN(const auto spec,
                           secagg::VectorSpec::Create({{secagg::RingBits::k32, kElements}}));
  Bytes vector(spec.size_bytes());
  const std::vector<MaskTerm> terms = secagg::Borrow(masks);
  nlohmann::ordered_json rows;
  for (const bool is_evp : {true, false}) {
    Status applied;
    const double seconds = LeastCoreSeconds(2, [&] {
      applied = secagg::ApplyMasks(spec, 0, vector, terms, 1,
                                   is_evp ? MaskKernel::kEvp : MaskKernel::kBest);
    });
    CHORALE_RETURN_IF_ERROR(applied);
    const double target = is_evp ? 0.5 : 0.15;
    rows.push_back({{"step", "mask"},
                    {"members", kMembers},
                    {"elements", kElements},
                    {"kernel", is_evp ? "evp" : "best"},
                    {"seconds", seconds},
                    {"target_seconds", target},
                    {"ratio_to_target", seconds / target}});
    std::cout << "a member's masks, n = 1000, d = 1000000, " << (is_evp ? "evp" : "best") << ": "
              << std::setprecision(3) << seconds << " s (target " << target << ")" << std::endl;
  }
  return rows;
}

StatusOr<nlohmann::ordered_json> MeasureMemory() {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::cout << "memory, n = 100: beyond a vector of   masking   unmasking" << std::endl;
  for (const std::uint64_t elements : {1'000'000u, 10'000'000u}) {
    CHORALE_ASSIGN_OR_RETURN(nlohmann::ordered_json row, MeasureMemoryOf(elements));
    std::cout << std::setprecision(1) << std::setw(34) << row["vector_bytes"].get<double>() / 1e6
              << " MB" << std::setw(7) << row["mask_extra_bytes"].get<double>() / 1e6 << " MB"
              << std::setw(9) << row["unmask_extra_bytes"].get<double>() / 1e6 << " MB"
              << std::endl;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace chorale::bench
