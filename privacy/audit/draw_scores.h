#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/status.h"
#include "privacy/audit/canary_scores.h"

// Tests of who was drawn: whether batches are those of Poisson sampling, which is what is billed.
namespace chorale::privacy {

// Not thread-safe.
class DrawScores {
 public:
  // INVALID_ARGUMENT: no canary; a rate outside (0, 1].
  [[nodiscard]] static StatusOr<DrawScores> Create(std::uint64_t num_canaries, double sample_rate);

  // One step: whether each canary was drawn. REQUIRES: num_canaries values.
  void AddStep(std::span<const std::uint8_t> is_drawn);

  // REQUIRES: a step. Mean squared distances from what is expected, over the variances of binomial
  // numbers:
  //   draw_sizes    of how many a step draws: batches of a fixed size have less, patients that come
  //                 together more
  //   draw_counts   of how often a canary is drawn: a shuffled pass, which deals everybody out
  //                 before anybody comes again, has less, the same batch again more
  // Either also tells of another rate than the one given.
  [[nodiscard]] std::vector<AuditTest> Tests() const;

 private:
  DrawScores(std::uint64_t num_canaries, double sample_rate)
      : sample_rate_(sample_rate), counts_(num_canaries) {}

  double sample_rate_;
  std::vector<double> sizes_;   // [steps]
  std::vector<double> counts_;  // [num_canaries]
};

}  // namespace chorale::privacy
