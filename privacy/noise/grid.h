#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/status.h"
#include "privacy/noise/discrete_gaussian.h"
#include "privacy/noise/wide_integer.h"

// Sums over patients in whole multiples of a step gamma, so that they, and the noise, are integers
// and how far one patient moves a sum is a fact about integers rather than about rounding.
namespace chorale::privacy {

// How patients' vectors come onto the grid.
enum class GridEncoding {
  kVerified,  // Each by itself, and its norm checked in integers: the bound holds by computation.
  kFast,      // Their floating-point sum, once. Whoever summed must have clipped each patient to
              // ClipNorm; a share of 2^-8 of the bound is set aside for what floating point adds
              // to that, which is a margin, not a proof.
};

struct GridOptions {
  double max_grad_norm = 0;          // C, in (0, 1e30].
  std::uint64_t num_parameters = 0;  // d, 1 to 2^40.
  // 1 + sqrt(d) gamma / C at most: how much the grid may cost. In (1, 2].
  double grid_inflation = 1.001;
};

class Grid {
 public:
  // gamma = C (grid_inflation - 1) / sqrt(d), rounded down to a power of two, so that decoding is
  // exact. INVALID_ARGUMENT names the field, the bound and the value; also where C / gamma would
  // exceed 2^50.
  [[nodiscard]] static StatusOr<Grid> Create(const GridOptions& options);

  [[nodiscard]] double step() const { return step_; }
  [[nodiscard]] std::uint64_t num_parameters() const { return num_parameters_; }
  // C / gamma: bounds every coordinate of a patient, in steps. Exact.
  [[nodiscard]] double norm_in_steps() const { return norm_in_steps_; }
  // floor((C / gamma)^2): what kVerified holds the sum of squares to.
  [[nodiscard]] Uint128 max_square() const { return max_square_; }

  // What a patient's vector is clipped to before it is rounded: C - sqrt(d) gamma / 2, and
  // C (1 - 2^-8). Rounded down.
  [[nodiscard]] double ClipNorm(GridEncoding encoding) const;
  // The most by which one patient's presence moves a sum, in steps, in the Euclidean norm:
  // sqrt(max_square), and C / gamma + sqrt(d). Rounded up.
  [[nodiscard]] double Sensitivity(GridEncoding encoding) const;

 private:
  explicit Grid(const GridOptions& options);

  double max_grad_norm_;
  std::uint64_t num_parameters_;
  double step_;
  double norm_in_steps_;
  Uint128 max_square_;
};

// The kVerified sum of patients' vectors, modulo 2^64. Not thread-safe.
class PatientSum {
 public:
  explicit PatientSum(const Grid& grid);

  // Clips, rounds, checks and adds one patient's vector; false where it is not finite or its
  // rounded norm is too large, and adds nothing. How often that happens is known from patients'
  // data: it must not be released. REQUIRES: num_parameters values.
  bool Add(std::span<const float> vector);
  bool Add(std::span<const double> vector);

  // [num_parameters]; two's complement.
  [[nodiscard]] std::span<const std::int64_t> sum() const { return sum_; }

 private:
  template <typename Value>
  bool AddVector(std::span<const Value> vector);

  Grid grid_;
  std::vector<std::int64_t> sum_;
  std::vector<std::int64_t> rounded_;
};

// kFast: writes a sum of clipped vectors in steps, each coordinate to the nearest. INTERNAL, and
// `out` is zero, where a coordinate is not finite or beyond 2^50 steps: then nobody clipped, and
// nothing may be released. REQUIRES: as many values as parameters.
[[nodiscard]] Status RoundSum(const Grid& grid, std::span<const float> sum,
                              std::span<std::int64_t> out);
[[nodiscard]] Status RoundSum(const Grid& grid, std::span<const double> sum,
                              std::span<std::int64_t> out);

struct NoiseShareOptions {
  GridEncoding encoding = GridEncoding::kVerified;
  double noise_multiplier = 0;            // z, in [0.01, 1e6].
  std::uint32_t num_sites = 0;            // Whose shares are drawn, 1 to 10,000.
  std::uint32_t tolerated_dropouts = 0;   // Whose shares may be missing
  std::uint32_t tolerated_colluders = 0;  // or known.
  std::uint64_t max_batch = 0;            // Patients of a site in a step; public; 1 to 2^32.
  int ring_bits = 32;                     // Of the sum: 32 or 64.
};

// What each site draws.
struct NoiseShare {
  Dyadic variance;               // In steps squared, rounded up.
  std::uint32_t num_honest = 0;  // Whose noise counts.
  double sensitivity = 0;        // In steps.
};

// No share is narrower than this, in steps: then a sum of shares is as good as one discrete
// Gaussian (discrete_gaussian_rdp.h).
inline constexpr double kMinShareSigma = 10;

// A share of variance (z sensitivity)^2 / (num_sites - dropouts - colluders): without those the
// noise is still z times the sensitivity. INVALID_ARGUMENT names the field, or what to change where
// a share would be narrower than kMinShareSigma or the sum of all sites, of patients at the bound
// plus 12 standard deviations of the noise, could leave the ring.
[[nodiscard]] StatusOr<NoiseShare> PlanNoiseShare(const Grid& grid,
                                                  const NoiseShareOptions& options);

}  // namespace chorale::privacy
