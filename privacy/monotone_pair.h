#pragma once

#include <memory>
#include <vector>

// Pairs of distributions (P, Q) on the line whose privacy loss ln p(x)/q(x) never falls with x:
// what a mechanism's output looks like on two neighbouring datasets in the worst case.
namespace chorale::privacy {

// P has at most this mass on either side of what a pair keeps (about e^-50). Whoever leaves the
// sides out accounts for it.
inline constexpr double kTailMass = 1e-22;

class MonotonePair {
 public:
  virtual ~MonotonePair() = default;
  struct Point {
    double density = 0;  // Of P.
    double loss = 0;
  };
  [[nodiscard]] virtual Point At(double x) const = 0;
  // The x in [from, high()] where the loss passes `loss`, to 1e-12 of loss, or the end that is
  // nearest. REQUIRES: low() <= from <= high(); near x is fastest.
  [[nodiscard]] virtual double PointOf(double loss, double from) const = 0;
  [[nodiscard]] virtual double low() const = 0;
  [[nodiscard]] virtual double high() const = 0;
  // Distance over which density and loss change by a factor of about e.
  [[nodiscard]] virtual double length_scale() const = 0;

 protected:
  MonotonePair() = default;
  MonotonePair(const MonotonePair&) = default;
  MonotonePair& operator=(const MonotonePair&) = default;
};

// Which dataset P belongs to.
enum class Direction {
  kRemove,   // To the one with the unit; Q to the one without.
  kAdd,      // To the one without. Mirrored, so that the loss rises.
  kReplace,  // Both have a unit, with opposite contributions.
};

// A contribution of the unit, in units of the clipping bound, and how likely it is.
struct Contribution {
  double size = 0;
  double probability = 0;
};

// Normal noise of deviation `noise` around a random contribution s_i >= 0 with probability w_i:
//   remove   P = sum w_i N(s_i), Q = N(0)
//   add      P = N(0),           Q = sum w_i N(-s_i)
//   replace  P = sum w_i N(s_i), Q = sum w_i N(-s_i)
// With contributions 0 and s this is Poisson sampling (Zhu, Dong and Wang, arXiv 2106.08567,
// theorem 11; for replace Lebeda et al., arXiv 2405.20769).
class NormalPair final : public MonotonePair {
 public:
  // REQUIRES: noise > 0; at least one contribution; probabilities sum to 1.
  NormalPair(Direction direction, std::vector<Contribution> contributions, double noise);
  [[nodiscard]] Point At(double x) const override;
  [[nodiscard]] double PointOf(double loss, double from) const override;
  [[nodiscard]] double low() const override { return low_; }
  [[nodiscard]] double high() const override { return high_; }
  [[nodiscard]] double length_scale() const override { return length_scale_; }

  // ln of P's and Q's densities over that of N(0).
  [[nodiscard]] double LogRatioP(double x) const;
  [[nodiscard]] double LogRatioQ(double x) const;
  [[nodiscard]] double noise() const { return noise_; }
  [[nodiscard]] double largest() const { return largest_; }
  [[nodiscard]] Direction direction() const { return direction_; }
  [[nodiscard]] const std::vector<Contribution>& contributions() const { return contributions_; }

 private:
  [[nodiscard]] double PointByFormula(double loss) const;
  [[nodiscard]] double PointBySearch(double loss, double from) const;

  Direction direction_;
  std::vector<Contribution> contributions_;
  double noise_;
  double largest_;
  double low_;
  double high_;
  double largest_loss_;
  double length_scale_;
};

// Laplace noise of the given scale around 0 with probability 1 - rate and 1 (mirrored: -1) with
// probability `rate`: the part between the two, where the loss rises. It is constant outside, so
// that the rest of P has two losses only.
class LaplacePair final : public MonotonePair {
 public:
  // REQUIRES: direction is not kReplace; 0 < rate <= 1; scale > 0.
  LaplacePair(Direction direction, double rate, double scale);
  [[nodiscard]] Point At(double x) const override;
  [[nodiscard]] double PointOf(double loss, double from) const override;
  [[nodiscard]] double low() const override { return is_remove_ ? 0 : -1; }
  [[nodiscard]] double high() const override { return is_remove_ ? 1 : 0; }
  [[nodiscard]] double length_scale() const override { return scale_ / 2; }
  // Mass of P below low() and above high(), where the losses are those at the ends.
  [[nodiscard]] double MassBelow() const;
  [[nodiscard]] double MassAbove() const;

 private:
  bool is_remove_;
  double rate_;
  double scale_;
};

}  // namespace chorale::privacy
