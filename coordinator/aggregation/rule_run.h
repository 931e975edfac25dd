#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/aggregation/piece_reader.h"
#include "coordinator/aggregation/server_rule.h"
#include "coordinator/payload_store.h"
#include "core/status.h"

// What the rules share: opening payloads, walking through them piece by piece, writing results.
namespace chorale::coordinator {

struct RuleRun {
  PayloadStore& payloads;
  const ServerRuleRequest& request;
  int num_threads;
  const std::atomic<bool>& cancelled;
};

// Weights that add up to 1, in the order of the contributions. INVALID_ARGUMENT: no weighting, no
// contributions, no examples.
[[nodiscard]] StatusOr<std::vector<double>> ContributionWeights(
    std::span<const Contribution> contributions, v1::Weighting weighting);

// All weights 1 / size.
[[nodiscard]] std::vector<double> UniformWeights(std::size_t size);

// What a rule reads, each of the model's size.
class Sections {
 public:
  explicit Sections(const RuleRun& run) : run_(run) {}
  [[nodiscard]] Status AddModel();
  // What begins at this offset of every site's payload, in the order of the contributions. An error
  // names the site.
  [[nodiscard]] Status AddUpdates(std::uint64_t offset_bytes = 0);
  // The i-th vector of the state; nothing before the first round.
  [[nodiscard]] Status AddState(std::uint64_t index);
  [[nodiscard]] Status Add(const crypto::BlobId& payload);
  [[nodiscard]] std::span<const PayloadSection> all() const { return sections_; }

 private:
  const RuleRun& run_;
  std::vector<PayloadSection> sections_;
};

// The same piece of every section: [num_sections][values of the piece].
using PieceValues = std::vector<std::span<const float>>;
// Calls `step` for one piece after another and stops at its first error. Pieces begin at multiples
// of 4096 values; their number depends on the sections alone. CANCELLED.
[[nodiscard]] Status ForEachPiece(const RuleRun& run, const Sections& sections,
                                  const std::function<Status(const PieceValues&)>& step);

// INVALID_ARGUMENT, with the name of the site, for an update that is not finite: what a rule that
// compares numbers cannot take. `updates` are in the order of the contributions.
[[nodiscard]] Status CheckFinite(const RuleRun& run,
                                 std::span<const std::span<const float>> updates);

// Writes float32 values, in pieces of any size.
class ValueWriter {
 public:
  [[nodiscard]] static StatusOr<ValueWriter> Create(PayloadStore& payloads,
                                                    std::uint64_t size_bytes);
  // Into a scratch payload.
  [[nodiscard]] static StatusOr<ValueWriter> CreateScratch(PayloadStore& payloads,
                                                           std::uint64_t size_bytes);
  // FAILED_PRECONDITION: a value is beyond float32, since training diverged.
  [[nodiscard]] Status Append(std::span<const float> values);
  [[nodiscard]] StatusOr<HeldPayload> Commit() &&;

 private:
  ValueWriter(PayloadWriter writer, std::uint64_t size_bytes);
  PayloadWriter writer_;
  std::vector<float> chunk_;  // Not yet in the writer, which takes whole chunks.
};

// The sum over all sections of weight times value: [values of a section].
[[nodiscard]] StatusOr<HeldPayload> SumSections(const RuleRun& run, const Sections& sections,
                                                std::span<const double> weights);

// The model plus the weighted sum of the updates. [weights] as the contributions.
[[nodiscard]] StatusOr<HeldPayload> AddUpdates(const RuleRun& run, std::span<const double> weights);

}  // namespace chorale::coordinator
