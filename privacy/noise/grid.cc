#include "privacy/noise/grid.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>

namespace chorale::privacy {
namespace {

constexpr double kMostNormInSteps = 0x1p50;
constexpr double kFloatMargin = 0x1p-8;
constexpr double kTailSigmas = 12;
// Squares of numbers below 2^25 add up 8192 times within 64 bits.
constexpr double kSmallNorm = 0x1p25;
constexpr std::size_t kPieceSize = 8192;

// A correctly rounded result is off by at most half a unit: the next double bounds it.
double Up(double value) { return std::nextafter(value, std::numeric_limits<double>::infinity()); }
double Down(double value) { return std::nextafter(value, 0.0); }

template <typename Value>
Status OutOfBounds(std::string_view field, std::string_view bounds, Value value) {
  std::ostringstream text;
  text << field << " must be in " << bounds << ", got " << value;
  return InvalidArgument(text.str());
}

// floor(x^2). REQUIRES: 0 <= x <= 2^50.
Uint128 FloorOfSquare(double x) {
  const Dyadic number = DyadicOf(x);
  const Uint128 square = static_cast<Uint128>(number.mantissa) * number.mantissa;
  const int shift = -2 * number.exponent;
  return shift >= 128 ? 0 : square >> std::max(shift, 0);
}

// The nearest integer, to even from the middle; something for |x| above 2^50.
std::int64_t Nearest(double x) {
  // In this binade a double's last bit counts one.
  constexpr double kShift = 0x1.8p52;
  return static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(x + kShift) -
                                   std::bit_cast<std::uint64_t>(kShift));
}

// The sum of squares of a piece, no larger than its bounds allow.
Uint128 SumOfSquares(std::span<const std::int64_t> values, bool is_small) {
  if (is_small) {
    std::uint64_t sum = 0;
    for (const std::int64_t value : values) sum += static_cast<std::uint64_t>(value * value);
    return sum;
  }
  Uint128 sum = 0;
  for (const std::int64_t value : values) {
    const auto size = static_cast<std::uint64_t>(value < 0 ? -value : value);
    sum += static_cast<Uint128>(size) * size;
  }
  return sum;
}

template <typename Value>
Status RoundSumOf(const Grid& grid, std::span<const Value> sum, std::span<std::int64_t> out) {
  const double steps = 1 / grid.step();  // A power of two, as the step is.
  bool is_good = true;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const double scaled = static_cast<double>(sum[i]) * steps;
    const bool is_near = std::abs(scaled) <= kMostNormInSteps;
    is_good &= is_near;
    out[i] = Nearest(is_near ? scaled : 0);
  }
  if (is_good) return OkStatus();
  std::fill(out.begin(), out.end(), 0);
  return Internal("a sum of clipped vectors has a coordinate that no clipped vectors add up to");
}

}  // namespace

StatusOr<Grid> Grid::Create(const GridOptions& options) {
  // Written so that NaN is refused.
  if (!(options.max_grad_norm >= 1e-30 && options.max_grad_norm <= 1e30)) {
    return OutOfBounds("max_grad_norm", "[1e-30, 1e30]", options.max_grad_norm);
  }
  if (options.num_parameters < 1 || options.num_parameters > std::uint64_t{1} << 40) {
    return OutOfBounds("num_parameters", "[1, 2^40]", options.num_parameters);
  }
  if (!(options.grid_inflation > 1 && options.grid_inflation <= 2)) {
    return OutOfBounds("grid_inflation", "(1, 2]", options.grid_inflation);
  }
  const Grid grid(options);
  if (grid.norm_in_steps_ > kMostNormInSteps) {
    return InvalidArgument(
        "grid_inflation is too close to 1 for so many parameters: max_grad_norm would be more than "
        "2^50 steps; use a larger one");
  }
  return grid;
}

Grid::Grid(const GridOptions& options)
    : max_grad_norm_(options.max_grad_norm), num_parameters_(options.num_parameters) {
  const double root = std::sqrt(static_cast<double>(num_parameters_));
  const double target = Down(Down(max_grad_norm_ * (options.grid_inflation - 1)) / Up(root));
  step_ = std::ldexp(1.0, std::ilogb(target));
  norm_in_steps_ = max_grad_norm_ / step_;
  max_square_ = norm_in_steps_ <= kMostNormInSteps ? FloorOfSquare(norm_in_steps_) : 0;
}

double Grid::ClipNorm(GridEncoding encoding) const {
  if (encoding == GridEncoding::kFast) return Down(max_grad_norm_ * (1 - kFloatMargin));
  const double root = Up(std::sqrt(static_cast<double>(num_parameters_)));
  return Down(max_grad_norm_ - Up(root * step_ / 2));
}

double Grid::Sensitivity(GridEncoding encoding) const {
  if (encoding == GridEncoding::kVerified) return norm_in_steps_;
  return Up(norm_in_steps_ + Up(std::sqrt(static_cast<double>(num_parameters_))));
}

PatientSum::PatientSum(const Grid& grid)
    : grid_(grid), sum_(grid.num_parameters()), rounded_(grid.num_parameters()) {}

bool PatientSum::Add(std::span<const float> vector) { return AddVector(vector); }
bool PatientSum::Add(std::span<const double> vector) { return AddVector(vector); }

template <typename Value>
bool PatientSum::AddVector(std::span<const Value> vector) {
  double square = 0;
  for (const Value value : vector) square += static_cast<double>(value) * value;
  if (!std::isfinite(square)) return false;
  const double norm = std::sqrt(square);
  const double clip = grid_.ClipNorm(GridEncoding::kVerified);
  // Nothing below has to be right for the bound to hold: the integers are checked.
  const double factor = std::min(1.0, clip / norm);  // 1 for the zero vector.
  const double steps = 1 / grid_.step();
  const double most = grid_.norm_in_steps();
  Uint128 total = 0;
  for (std::size_t begin = 0; begin < vector.size(); begin += kPieceSize) {
    const std::size_t size = std::min(kPieceSize, vector.size() - begin);
    bool is_good = true;
    for (std::size_t i = begin; i < begin + size; ++i) {
      const double scaled = static_cast<double>(vector[i]) * factor * steps;
      is_good &= std::abs(scaled) <= most;
      rounded_[i] = Nearest(scaled);
    }
    if (!is_good) return false;  // Also NaN; what is left in `rounded_` is not used.
    total += SumOfSquares(std::span(rounded_).subspan(begin, size), most < kSmallNorm);
    if (total > grid_.max_square()) return false;
  }
  for (std::size_t i = 0; i < sum_.size(); ++i) {
    sum_[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(sum_[i]) +
                                        static_cast<std::uint64_t>(rounded_[i]));
  }
  return true;
}

Status RoundSum(const Grid& grid, std::span<const float> sum, std::span<std::int64_t> out) {
  return RoundSumOf(grid, sum, out);
}
Status RoundSum(const Grid& grid, std::span<const double> sum, std::span<std::int64_t> out) {
  return RoundSumOf(grid, sum, out);
}

namespace {

Status CheckOptions(const NoiseShareOptions& options) {
  if (!(options.noise_multiplier >= 0.01 && options.noise_multiplier <= 1e6)) {
    return OutOfBounds("noise_multiplier", "[0.01, 1e6]", options.noise_multiplier);
  }
  if (options.num_sites < 1 || options.num_sites > 10'000) {
    return OutOfBounds("num_sites", "[1, 10000]", options.num_sites);
  }
  if (std::uint64_t{options.tolerated_dropouts} + options.tolerated_colluders >=
      options.num_sites) {
    return OutOfBounds("tolerated_dropouts + tolerated_colluders",
                       "[0, " + std::to_string(options.num_sites - 1) + "], below num_sites",
                       std::uint64_t{options.tolerated_dropouts} + options.tolerated_colluders);
  }
  if (options.max_batch < 1 || options.max_batch > std::uint64_t{1} << 32) {
    return OutOfBounds("max_batch", "[1, 2^32]", options.max_batch);
  }
  if (options.ring_bits != 32 && options.ring_bits != 64) {
    return InvalidArgument("ring_bits must be 32 or 64, got " + std::to_string(options.ring_bits));
  }
  return OkStatus();
}

// One bit is the sign's. A wrong sum would be no leak, but it would be no model either.
Status CheckRing(const Grid& grid, const NoiseShareOptions& options, double share_sigma) {
  const double sites = options.num_sites;
  const double most =
      sites * (static_cast<double>(options.max_batch) * (grid.norm_in_steps() + 1)) +
      kTailSigmas * std::sqrt(sites) * share_sigma;
  if (most < std::ldexp(1.0, options.ring_bits - 1)) return OkStatus();
  std::ostringstream text;
  text << "ring_bits " << options.ring_bits << " is too small: sums of " << options.num_sites
       << " sites with up to " << options.max_batch << " patients and their noise need "
       << std::ilogb(most) + 2 << " bits; use " << (options.ring_bits == 32 ? "ring_bits 64, " : "")
       << "a larger grid_inflation or a smaller "
       << "max_batch";
  return InvalidArgument(text.str());
}

}  // namespace

StatusOr<NoiseShare> PlanNoiseShare(const Grid& grid, const NoiseShareOptions& options) {
  CHORALE_RETURN_IF_ERROR(CheckOptions(options));
  NoiseShare share;
  share.num_honest = options.num_sites - options.tolerated_dropouts - options.tolerated_colluders;
  share.sensitivity = grid.Sensitivity(options.encoding);
  const double sigma = Up(options.noise_multiplier * share.sensitivity);
  const double variance = Up(Up(sigma * sigma) / share.num_honest);
  const double share_sigma = std::sqrt(variance);
  if (share_sigma < kMinShareSigma) {
    std::ostringstream text;
    text << "the grid is too coarse: a site's noise would have a standard deviation of "
         << share_sigma << " steps, and at least " << kMinShareSigma
         << " are needed; use a smaller grid_inflation, fewer sites or more noise";
    return InvalidArgument(text.str());
  }
  if (share_sigma > DiscreteGaussian::kMaxSigma) {
    return InvalidArgument(
        "a site's noise would have a standard deviation of more than 2^40 steps; use a larger "
        "grid_inflation");
  }
  CHORALE_RETURN_IF_ERROR(CheckRing(grid, options, share_sigma));
  share.variance = DyadicOf(variance);
  return share;
}

}  // namespace chorale::privacy
