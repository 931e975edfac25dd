#include "privacy/loss_composition.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <optional>
#include <unsupported/Eigen/FFT>
#include <utility>
#include <vector>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// What a window may leave out: of the tilted sum, this mass on either side, and, above, of the sum
// itself this share of the answer.
constexpr double kTiltedTail = 1e-14;
constexpr double kShareAbove = 1e-12;
// An answer is precise where the tilted sum falls short of it with at least this probability or so:
// transforms resolve 1e-16.
constexpr double kReliableTail = 1e-6;
// A window is worth narrowing above so many points; sums of fewer steps than these are seldom near
// enough to normal.
constexpr double kCheapPoints = 1 << 18;
constexpr double kManySteps = 50;

// The least multiple of 4 with no prime factor above 5 that is not below n: what transforms of real
// numbers do fast.
std::size_t TransformSize(std::size_t n) {
  std::size_t best = 16;
  while (best < n) best *= 2;
  for (std::size_t fives = 4; fives < best; fives *= 5) {
    for (std::size_t threes = fives; threes < best; threes *= 3) {
      std::size_t size = threes;
      while (size < n) size *= 2;
      best = std::min(best, size);
    }
  }
  return best;
}

using Complex = std::complex<double>;

// value^count; 0 where its size is below e^-90.
Complex Power(Complex value, double count) {
  const double norm = std::norm(value);
  if (!(norm > 0)) return 0;
  const double log_size = 0.5 * count * std::log(norm);
  if (log_size < -90) return 0;
  return std::polar(std::exp(log_size), count * std::arg(value));
}

std::size_t Wrap(std::int64_t index, std::size_t size) {
  const std::int64_t rest = index % static_cast<std::int64_t>(size);
  return static_cast<std::size_t>(rest < 0 ? rest + static_cast<std::int64_t>(size) : rest);
}

double InfiniteMass(std::span<const RepeatedLoss> parts) {
  double log_finite = 0;
  for (const RepeatedLoss& part : parts) {
    log_finite += static_cast<double>(part.count) * std::log1p(-part.distribution->infinite_mass());
  }
  return -std::expm1(log_finite);
}

// The grid indices that a transform covers. A sum outside of them comes out one length of the
// window further down or up; with it goes the mass, times e^(t length) or e^(-t length) once the
// tilt is taken back.
struct Window {
  double low = 0;
  double high = 0;
  [[nodiscard]] double length() const { return high - low + 1; }
};

// Grid indices between which things happen.
struct Extent {
  double largest = 0;      // The sum is never more.
  double tilted_low = 0;   // The tilted sum is outside with kTiltedTail at most,
  double tilted_high = 0;  // either side,
  double reliable = 0;     // and below this with kReliableTail at most.
  double mean = 0;         // Of the tilted sum.
  double deviation = 0;
  double high = 0;       // The sum is above with e^log_above at most.
  double log_above = 0;  // Of kShareAbove times about the answer.
};

Extent ExtentOf(std::span<const RepeatedLoss> parts, const SumSummary& sum,
                const SumSummary& tilted, const TailQuestion& question, double t) {
  const double interval = parts.front().distribution->interval();
  double least = 0;
  double largest = 0;
  for (const RepeatedLoss& part : parts) {
    const auto first = static_cast<double>(part.distribution->first());
    const auto count = static_cast<double>(part.count);
    least += count * first;
    largest += count * (first + static_cast<double>(part.distribution->masses().size()) - 1);
  }
  const auto index_of = [&](double loss) { return std::clamp(loss / interval, least, largest); };
  const double log_answer = question.kind == TailQuestion::Kind::kEpsilonAtDelta
                                ? std::log(question.value)
                                : sum.LogMoment(t) - t * question.value;
  const double log_above = std::min(0.0, log_answer) + std::log(kShareAbove);
  return {.largest = largest,
          .tilted_low = std::floor(index_of(tilted.TailLoss(-1, std::log(kTiltedTail)))),
          .tilted_high = std::ceil(index_of(tilted.TailLoss(1, std::log(kTiltedTail)))),
          .reliable = index_of(tilted.TailLoss(-1, std::log(kReliableTail))),
          .mean = tilted.Mean() / interval,
          .deviation = tilted.Deviation() / interval,
          .high = std::ceil(index_of(sum.TailLoss(1, log_above))),
          .log_above = log_above};
}

// All that the tilted sum can be: nothing comes out elsewhere.
Window WideWindow(const Extent& extent) {
  return {.low = extent.tilted_low,
          .high = std::max({extent.tilted_low, extent.tilted_high, extent.high})};
}

// Where the answer is if the sum is nearly normal, which is shorter by half: it then lies about 4/t
// below the tilted mean, the Chernoff bound for it. What comes from below adds to the answer less
// than kShareAbove; what comes from above arrives below the answer, or IsInside does not hold.
Window NarrowWindow(const Extent& extent, double t_per_point) {
  const double low = std::floor(extent.mean - std::max(4 * extent.deviation, 12 / t_per_point));
  const double from_below = low - extent.log_above / t_per_point;
  const double from_above = extent.tilted_high + low - (extent.mean - 2 * extent.deviation);
  return {.low = std::max(low, extent.tilted_low),
          .high = std::ceil(std::max({low, extent.high, from_below, from_above}))};
}

// Whether a window answers: the answer, as a grid index, has something below it in the window, and
// what the tilted sum can be above arrives below it.
bool IsInside(const Window& window, const Extent& extent, double answer) {
  return answer > window.low + 1 && answer >= extent.reliable &&
         extent.tilted_high <= answer + window.length();
}

// The tilted masses' sum over the window: result[i] belongs to index low + i.
std::vector<double> SumBySpectra(std::span<const RepeatedLoss> parts,
                                 const std::vector<std::vector<double>>& tilted, std::int64_t low,
                                 std::size_t size) {
  Eigen::FFT<double> fft;
  fft.SetFlag(Eigen::FFT<double>::HalfSpectrum);
  std::vector<Complex> product;
  std::vector<double> folded(size);
  for (std::size_t k = 0; k < parts.size(); ++k) {
    std::fill(folded.begin(), folded.end(), 0.0);
    // Loss 0 stands at place 0: phases are then small where spectra are large.
    std::size_t place = Wrap(parts[k].distribution->first(), size);
    for (const double mass : tilted[k]) {
      folded[place] += mass;
      if (++place == size) place = 0;
    }
    std::vector<Complex> spectrum;
    fft.fwd(spectrum, folded);
    const auto count = static_cast<double>(parts[k].count);
    if (product.empty()) product.assign(spectrum.size(), 1);
    for (std::size_t i = 0; i < spectrum.size(); ++i) {
      if (product[i] != Complex(0)) product[i] *= Power(spectrum[i], count);
    }
  }
  fft.inv(folded, product, static_cast<Eigen::Index>(size));
  std::rotate(folded.begin(), folded.begin() + static_cast<std::ptrdiff_t>(Wrap(low, size)),
              folded.end());
  return folded;
}

// A composition under one tilt.
class TiltedSum {
 public:
  TiltedSum(std::span<const RepeatedLoss> parts, const SumSummary& sum,
            const TailQuestion& question, double t)
      : parts_(parts), question_(question), t_(t) {
    SumSummary summary;
    for (const RepeatedLoss& part : parts) {
      tilted_.push_back(Tilt(part, t, log_norm_));
      summary.Add(Summarize(*part.distribution, tilted_.back()), part.count);
    }
    extent_ = ExtentOf(parts, sum, summary, question, t);
  }

  [[nodiscard]] const Extent& extent() const { return extent_; }
  [[nodiscard]] double interval() const { return parts_.front().distribution->interval(); }
  // The answer's epsilon as a grid index: where its precision matters.
  [[nodiscard]] double IndexOf(double answer) const {
    return (IsEpsilonAsked() ? answer : question_.value) / interval();
  }
  [[nodiscard]] double AnswerOver(const Window& window) const {
    const auto low = static_cast<std::int64_t>(window.low);
    const std::size_t size = TransformSize(static_cast<std::size_t>(window.length()));
    // Rounding leaves tiny masses of either sign, which cancel; cut at 0 they would add up.
    std::vector<double> masses = SumBySpectra(parts_, tilted_, low, size);
    for (std::size_t i = 0; i < masses.size(); ++i) {
      const double loss = (window.low + static_cast<double>(i)) * interval();
      masses[i] *= std::exp(std::min(600.0, log_norm_ - t_ * loss));
    }
    const double above = window.high < extent_.largest ? std::exp(extent_.log_above) : 0;
    const LossDistribution sum(interval(), low, std::move(masses),
                               std::min(1.0, InfiniteMass(parts_) + above));
    return IsEpsilonAsked() ? sum.EpsilonAt(question_.value) : sum.DeltaAt(question_.value);
  }
  // By a narrow window where that is worth it and holds.
  [[nodiscard]] std::optional<double> QuickAnswer() const {
    double num_steps = 0;
    for (const RepeatedLoss& part : parts_) num_steps += static_cast<double>(part.count);
    const double wide = WideWindow(extent_).length();
    const Window narrow = NarrowWindow(extent_, t_ * interval());
    if (wide <= kCheapPoints || num_steps < kManySteps || narrow.length() > 0.9 * wide ||
        narrow.length() > static_cast<double>(kMaxGridPoints)) {
      return std::nullopt;
    }
    const double answer = AnswerOver(narrow);
    if (!IsInside(narrow, extent_, IndexOf(answer))) return std::nullopt;
    return answer;
  }

 private:
  [[nodiscard]] bool IsEpsilonAsked() const {
    return question_.kind == TailQuestion::Kind::kEpsilonAtDelta;
  }

  std::span<const RepeatedLoss> parts_;
  TailQuestion question_;
  double t_;
  double log_norm_ = 0;
  std::vector<std::vector<double>> tilted_;
  Extent extent_;
};

double AnswerOfOne(const LossDistribution& distribution, const TailQuestion& question) {
  return question.kind == TailQuestion::Kind::kEpsilonAtDelta
             ? distribution.EpsilonAt(question.value)
             : distribution.DeltaAt(question.value);
}

}  // namespace

StatusOr<double> AnswerOfSum(std::span<const RepeatedLoss> parts, const TailQuestion& question,
                             double& points_wanted) {
  points_wanted = 0;
  if (parts.size() == 1 && parts.front().count == 1) {
    return AnswerOfOne(*parts.front().distribution, question);
  }
  SumSummary summary;
  for (const RepeatedLoss& part : parts) {
    summary.Add(Summarize(*part.distribution, part.distribution->masses()), part.count);
  }
  // Where the Chernoff bound is far from the truth, as for losses with a largest one, its tilt
  // leads too far up: less of it finds the answer.
  const double least_tilt = summary.Reach().first;
  double t = question.kind == TailQuestion::Kind::kEpsilonAtDelta
                 ? summary.BestTiltForTail(std::log(question.value))
                 : summary.BestTiltForLoss(question.value);
  while (true) {
    const TiltedSum sum(parts, summary, question, t);
    if (const std::optional<double> answer = sum.QuickAnswer()) return *answer;
    const Window window = WideWindow(sum.extent());
    points_wanted = window.length();
    if (!(points_wanted <= static_cast<double>(kMaxGridPoints))) {
      return ResourceExhausted("the composition's losses spread over too many grid points");
    }
    const double answer = sum.AnswerOver(window);
    if (sum.IndexOf(answer) >= sum.extent().reliable || t <= least_tilt) return answer;
    t /= 8;
  }
}

}  // namespace chorale::privacy
