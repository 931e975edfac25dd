#include "privacy/loss_distribution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

struct Node {
  double position;  // In [0, 1].
  double weight;
};
constexpr std::array<Node, 2> kTwoNodes = {
    {{0.21132486540518713, 0.5}, {0.78867513459481287, 0.5}}};
constexpr std::array<Node, 5> kFiveNodes = {{{0.046910077030668004, 0.11846344252809454},
                                             {0.23076534494715845, 0.23931433524968324},
                                             {0.5, 0.28444444444444444},
                                             {0.76923465505284155, 0.23931433524968324},
                                             {0.953089922969332, 0.11846344252809454}}};
// Panels in units of the pair's scale: two nodes are as good as exact below the first, five below
// the second.
constexpr double kNarrow = 0.005;
constexpr double kPanel = 0.25;

// Calls visit(weight * density, loss) over the nodes of [from, to].
template <typename Visit>
void Integrate(const MonotonePair& pair, double from, double to, Visit visit) {
  const double width = (to - from) / pair.length_scale();
  const std::span<const Node> nodes =
      width < kNarrow ? std::span<const Node>(kTwoNodes) : std::span<const Node>(kFiveNodes);
  const auto num_panels = static_cast<std::int64_t>(std::max(1.0, std::ceil(width / kPanel)));
  const double step = (to - from) / static_cast<double>(num_panels);
  for (std::int64_t panel = 0; panel < num_panels; ++panel) {
    const double start = from + static_cast<double>(panel) * step;
    for (const Node& node : nodes) {
      const MonotonePair::Point point = pair.At(start + node.position * step);
      visit(node.weight * step * point.density, point.loss);
    }
  }
}

struct Bounds {
  double least = kInfinity;
  double largest = -kInfinity;
};
Bounds BoundsOf(const DominatingPair& pair) {
  Bounds bounds;
  const auto include = [&](double loss) {
    bounds.least = std::min(bounds.least, loss);
    bounds.largest = std::max(bounds.largest, loss);
  };
  for (const DominatingPair::Stretch& stretch : pair.stretches) {
    include(stretch.pair->At(stretch.from).loss);
    include(stretch.pair->At(stretch.to).loss);
  }
  for (const DominatingPair::Atom& atom : pair.atoms) include(atom.loss);
  return bounds;
}

// The grid's masses while they are filled.
class Grid {
 public:
  Grid(double interval, const Bounds& bounds)
      : interval_(interval),
        one_minus_exp_(OneMinusExp(interval)),
        first_(static_cast<std::int64_t>(std::floor(bounds.least / interval))),
        masses_(static_cast<std::size_t>(
                    static_cast<std::int64_t>(std::ceil(bounds.largest / interval)) - first_) +
                2) {}

  [[nodiscard]] std::int64_t CellOf(double loss) const {
    const auto cell = static_cast<std::int64_t>(std::floor(loss / interval_)) - first_;
    return std::clamp<std::int64_t>(cell, 0, static_cast<std::int64_t>(masses_.size()) - 2);
  }
  [[nodiscard]] double LossAt(std::int64_t cell) const {
    return static_cast<double>(first_ + cell) * interval_;
  }
  // Shares a mass out to both ends of its cell, so that a + b = mass and
  // a e^-upper + b e^-lower = mass e^-loss.
  void Add(std::int64_t cell, double mass, double loss) {
    const double share = OneMinusExp(loss - LossAt(cell)) / one_minus_exp_;
    const double upper = std::clamp(share, 0.0, 1.0) * mass;
    masses_[static_cast<std::size_t>(cell)] += mass - upper;
    masses_[static_cast<std::size_t>(cell) + 1] += upper;
  }
  void AddStretch(const DominatingPair::Stretch& stretch) {
    std::int64_t cell = CellOf(stretch.pair->At(stretch.from).loss);
    const auto last = static_cast<std::int64_t>(masses_.size()) - 2;
    for (double x = stretch.from; x < stretch.to; ++cell) {
      const double end = cell >= last
                             ? stretch.to
                             : std::min(stretch.to, stretch.pair->PointOf(LossAt(cell + 1), x));
      const std::int64_t here = std::min(cell, last);
      if (end > x) {
        Integrate(*stretch.pair, x, end,
                  [&](double mass, double loss) { Add(here, stretch.weight * mass, loss); });
        x = end;
      }
    }
    masses_.front() += stretch.weight * kTailMass;
  }
  [[nodiscard]] LossDistribution Take(double infinite_mass) && {
    return {interval_, first_, std::move(masses_), infinite_mass};
  }

 private:
  // 1 - e^-x; the series is as exact there, and this is the inner loop.
  static double OneMinusExp(double x) {
    if (!(x >= 0 && x < 1e-3)) return -std::expm1(-x);
    return x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5))));
  }

  double interval_;
  double one_minus_exp_;
  std::int64_t first_;
  std::vector<double> masses_;
};

}  // namespace

double LossDeviation(const DominatingPair& pair) {
  double mass = 0;
  double sum = 0;
  double squares = 0;
  const auto add = [&](double m, double loss) {
    mass += m;
    sum += m * loss;
    squares += m * loss * loss;
  };
  for (const DominatingPair::Stretch& s : pair.stretches) {
    Integrate(*s.pair, s.from, s.to, [&](double m, double loss) { add(s.weight * m, loss); });
  }
  for (const DominatingPair::Atom& atom : pair.atoms) add(atom.mass, atom.loss);
  if (mass <= 0) return 0;
  return std::sqrt(std::max(0.0, squares / mass - (sum / mass) * (sum / mass)));
}

double LossRange(const DominatingPair& pair) {
  const Bounds bounds = BoundsOf(pair);
  return std::max(0.0, bounds.largest - bounds.least);
}

LossDistribution Discretize(const DominatingPair& pair, double interval) {
  Grid grid(interval, BoundsOf(pair));
  double infinite_mass = pair.infinite_mass;
  for (const DominatingPair::Stretch& stretch : pair.stretches) {
    grid.AddStretch(stretch);
    infinite_mass += stretch.weight * kTailMass;
  }
  for (const DominatingPair::Atom& atom : pair.atoms) {
    grid.Add(grid.CellOf(atom.loss), atom.mass, atom.loss);
  }
  return std::move(grid).Take(infinite_mass);
}

LossDistribution::LossDistribution(double interval, std::int64_t first, std::vector<double> masses,
                                   double infinite_mass)
    : interval_(interval),
      first_(first),
      masses_(std::move(masses)),
      infinite_mass_(infinite_mass) {}

// Both walk down the grid with tilted = sum over losses above of mass e^-(loss - here) and
// delta = delta(here), which add positive terms only.
double LossDistribution::DeltaAt(double epsilon) const {
  double delta = infinite_mass_;
  double tilted = 0;
  const double decay = std::exp(-interval_);
  for (std::size_t i = masses_.size(); i-- > 0;) {
    const double loss = static_cast<double>(first_ + static_cast<std::int64_t>(i)) * interval_;
    if (loss <= epsilon) {
      return std::min(1.0, delta - std::expm1(epsilon - loss - interval_) * tilted);
    }
    delta -= std::expm1(-interval_) * tilted;
    tilted = masses_[i] + decay * tilted;
  }
  return 1;
}

double LossDistribution::EpsilonAt(double delta) const {
  if (infinite_mass_ > delta) return kInfinity;
  double here = infinite_mass_;
  double tilted = 0;
  const double decay = std::exp(-interval_);
  for (std::size_t i = masses_.size(); i-- > 0;) {
    const double loss = static_cast<double>(first_ + static_cast<std::int64_t>(i)) * interval_;
    const double next = here - std::expm1(-interval_) * tilted;
    if (next > delta || loss <= 0) {
      // The answer lies between this grid point and the one above, or below 0.
      const double share = tilted > 0 ? std::min(1.0, (delta - here) / tilted) : 1;
      return std::max(0.0, loss + interval_ + std::log1p(-share));
    }
    here = next;
    tilted = masses_[i] + decay * tilted;
  }
  return std::max(0.0, static_cast<double>(first_) * interval_);
}

}  // namespace chorale::privacy
