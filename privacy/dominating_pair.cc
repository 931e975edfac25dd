#include "privacy/dominating_pair.h"

#include <cmath>
#include <memory>
#include <numbers>
#include <utility>
#include <vector>

#include "privacy/truncation.h"

namespace chorale::privacy {
namespace {

std::vector<Contribution> Sampled(double rate, double size) {
  return {{.size = 0, .probability = 1 - rate}, {.size = size, .probability = rate}};
}

void AddWhole(std::shared_ptr<const MonotonePair> pair, double weight, DominatingPair& result) {
  const double from = pair->low();
  const double to = pair->high();
  result.stretches.push_back({.pair = std::move(pair), .from = from, .to = to, .weight = weight});
}

DominatingPair Whole(Direction direction, std::vector<Contribution> contributions, double noise) {
  DominatingPair result;
  AddWhole(std::make_shared<NormalPair>(direction, std::move(contributions), noise), 1, result);
  return result;
}

// Replace one with batches of fixed size: the unit's batch moves by 2 C. Losses of at least 0 are
// those of removing it, others those of adding it (Zhu, Dong and Wang, proposition 30: the profile
// H_a((1-q) Q + q P || Q) for a >= 1 and H_a(P || (1-q) P + q Q) below); where both leave mass over
// the loss is 0.
DominatingPair FixedSizeReplace(double share, double noise) {
  DominatingPair result;
  const auto remove = std::make_shared<NormalPair>(Direction::kRemove, Sampled(share, 2), noise);
  const auto add = std::make_shared<NormalPair>(Direction::kAdd, Sampled(share, 2), noise);
  const double from = remove->PointOf(0, remove->low());
  const double to = add->PointOf(0, add->low());
  result.stretches.push_back({.pair = remove, .from = from, .to = remove->high(), .weight = 1});
  result.stretches.push_back({.pair = add, .from = add->low(), .to = to, .weight = 1});
  result.atoms.push_back(
      {.loss = 0, .mass = (1 - share) * std::erf(1 / (noise * std::numbers::sqrt2))});
  return result;
}

DominatingPair LaplaceOf(Direction direction, double rate, double scale) {
  DominatingPair result;
  const auto pair = std::make_shared<LaplacePair>(direction, rate, scale);
  result.atoms.push_back({.loss = pair->At(pair->low()).loss, .mass = pair->MassBelow()});
  result.atoms.push_back({.loss = pair->At(pair->high()).loss, .mass = pair->MassAbove()});
  AddWhole(pair, 1, result);
  return result;
}

struct PairOf {
  NeighboringRelation relation;
  Direction direction;  // kReplace under replace one.

  [[nodiscard]] bool is_replace() const { return direction == Direction::kReplace; }

  StatusOr<DominatingPair> operator()(const Gaussian& e) const {
    return Whole(direction, {{.size = 1, .probability = 1}}, e.noise_multiplier);
  }
  StatusOr<DominatingPair> operator()(const Laplace& e) const {
    return LaplaceOf(Direction::kRemove, 1, e.noise_multiplier / (is_replace() ? 2 : 1));
  }
  StatusOr<DominatingPair> operator()(const SampledGaussian& e) const {
    if (e.sampling == Sampling::kFixedSize) {
      return is_replace() ? FixedSizeReplace(e.sample_rate, e.noise_multiplier)
                          : Whole(direction, Sampled(e.sample_rate, 2), e.noise_multiplier);
    }
    return Whole(direction, Sampled(e.sample_rate, 1), e.noise_multiplier);
  }
  StatusOr<DominatingPair> operator()(const SampledLaplace& e) const {
    if (is_replace()) {
      return InvalidArgument(
          "there is no rule for Laplace noise on sampled batches under replace; use add-remove");
    }
    return LaplaceOf(direction, e.sample_rate, e.noise_multiplier);
  }
  StatusOr<DominatingPair> operator()(const TruncatedPoissonGaussian& e) const {
    const Truncation cut = TruncationOf(e);
    DominatingPair result;
    if (cut.cut_probability < 1) {
      AddWhole(
          std::make_shared<NormalPair>(direction, Sampled(e.sample_rate, 1), e.noise_multiplier),
          1 - cut.cut_probability, result);
    }
    if (cut.cut_probability > 0) {
      AddWhole(std::make_shared<NormalPair>(Direction::kReplace, Sampled(cut.rate_when_cut, 1),
                                            e.noise_multiplier / 2),
               cut.cut_probability, result);
    }
    return result;
  }
  StatusOr<DominatingPair> operator()(const GaussianMixture& e) const {
    std::vector<Contribution> contributions;
    for (std::size_t i = 0; i < e.contributions.size(); ++i) {
      contributions.push_back({.size = e.contributions[i], .probability = e.probabilities[i]});
    }
    return Whole(direction, std::move(contributions), e.noise_multiplier);
  }
  StatusOr<DominatingPair> operator()(const RepeatAndSelect&) const {
    return InvalidArgument("accountant pld has no rule for repeat-and-select; use rdp");
  }
};

}  // namespace

StatusOr<DominatingPair> DominatingPairOf(const CountedLeaf& leaf, NeighboringRelation relation,
                                          Direction direction) {
  const bool is_replace = relation == NeighboringRelation::kReplaceOne;
  return std::visit(
      PairOf{.relation = relation, .direction = is_replace ? Direction::kReplace : direction},
      leaf.kind);
}

}  // namespace chorale::privacy
