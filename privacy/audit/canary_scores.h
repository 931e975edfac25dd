#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "core/status.h"

// Tests of noisy sums in which canaries were planted: patients that are made up so that each, when
// it is drawn, adds a known number to a coordinate of its own and nothing elsewhere.
namespace chorale::privacy {

struct CanaryPlan {
  std::vector<std::uint8_t> is_in;  // [num_canaries]: 1 where it is a patient, by a fair coin.
  double sample_rate = 1;           // q
  double contribution = 0;          // B: what a drawn canary adds, in steps of the grid.
  double share_variance = 0;        // Of the noise of one site in one step.
  std::uint32_t num_sites = 1;      // Whose sums make up a step.
};

struct AuditTest {
  std::string name;
  double measured = 0;
  double expected = 0;
  // At most the chance, under correct code, of a value as far off: bounds by Chernoff, which hold
  // for every size and are a small factor above the exact ones.
  double p_value = 1;
};

// Not thread-safe. Sums are kept as statistics, not as they are.
class CanaryScores {
 public:
  // INVALID_ARGUMENT: fewer than 16 canaries in or out; numbers that are not positive.
  [[nodiscard]] static StatusOr<CanaryScores> Create(CanaryPlan plan);

  // What the sites gave in one step: num_sites sums of num_canaries.
  void AddStep(std::span<const std::vector<std::int64_t>> sums);

  // REQUIRES: a step. Those of
  //   canary_shift          the mean score of canaries that are in, against T q B: a wrong clip
  //   noise_variance        the noise of every single sum: too narrow or too wide
  //   score_variance        the noise over all steps and sites: any that is correlated
  //   coordinate_variance   the noise of the worst coordinate: any that is too narrow or missing
  //   zero_share            how many coordinates have no noise at all
  //   noise_reuse           the worst pair of sums: the same noise twice
  // The last five look at canaries that are out, whose scores are noise and nothing else.
  [[nodiscard]] std::vector<AuditTest> Tests() const;

  // The logarithm of how much likelier each canary's sums are with it than without. [num_canaries]
  [[nodiscard]] std::span<const double> log_ratios() const { return log_ratios_; }
  [[nodiscard]] std::uint64_t num_steps() const { return num_steps_; }
  [[nodiscard]] const CanaryPlan& plan() const { return plan_; }

 private:
  explicit CanaryScores(CanaryPlan plan);
  void AddSum(const std::vector<std::int64_t>& sum);
  void CompareWithEarlier(std::vector<double> noise);
  [[nodiscard]] AuditTest ShiftTest() const;
  [[nodiscard]] AuditTest CoordinateTest() const;
  [[nodiscard]] AuditTest ReuseTest() const;
  [[nodiscard]] double num_sums() const;

  CanaryPlan plan_;
  std::vector<std::size_t> out_;  // The canaries that are out.
  std::uint64_t num_steps_ = 0;
  std::vector<double> scores_;      // Over sites and steps. [num_canaries]
  std::vector<double> log_ratios_;  // [num_canaries]
  std::vector<double> squares_;     // Over sites and steps, of those that are out.
  double num_zeros_ = 0;
  std::deque<std::vector<double>> recent_;  // Noise on some coordinates, of length 1.
  double num_pairs_ = 0;
  double largest_overlap_ = 0;  // In standard deviations.
};

}  // namespace chorale::privacy
