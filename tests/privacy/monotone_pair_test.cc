#include "privacy/monotone_pair.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace chorale::privacy {
namespace {

std::vector<Contribution> Sampled(double rate, double size = 1) {
  return {{.size = 0, .probability = 1 - rate}, {.size = size, .probability = rate}};
}

double NormalDensity(double x, double mean, double noise) {
  const double z = (x - mean) / noise;
  return std::exp(-z * z / 2) / (noise * std::sqrt(2 * 3.14159265358979324));
}

TEST(NormalPairTest, HasTheDensityAndTheLossOfItsMixtures) {
  const NormalPair remove(Direction::kRemove, Sampled(0.3), 0.8);
  const NormalPair add(Direction::kAdd, Sampled(0.3), 0.8);
  const NormalPair replace(Direction::kReplace, Sampled(0.3), 0.8);
  for (const double x : {-2.5, -0.4, 0.5, 1.0, 3.2}) {
    const double centred = NormalDensity(x, 0, 0.8);
    const double up = 0.7 * centred + 0.3 * NormalDensity(x, 1, 0.8);
    const double down = 0.7 * centred + 0.3 * NormalDensity(x, -1, 0.8);
    EXPECT_NEAR(remove.At(x).density, up, 1e-14);
    EXPECT_NEAR(remove.At(x).loss, std::log(up / centred), 1e-13);
    EXPECT_NEAR(add.At(x).density, centred, 1e-14);
    EXPECT_NEAR(add.At(x).loss, std::log(centred / down), 1e-13);
    EXPECT_NEAR(replace.At(x).density, up, 1e-14);
    EXPECT_NEAR(replace.At(x).loss, std::log(up / down), 1e-13);
  }
}

TEST(NormalPairTest, FindsThePointOfALoss) {
  for (const double noise : {0.1, 0.6, 1.0, 30.0}) {
    for (const double rate : {1e-5, 0.01, 0.5, 0.999, 1.0}) {
      for (const Direction direction : {Direction::kRemove, Direction::kAdd, Direction::kReplace}) {
        const NormalPair pair(direction, Sampled(rate), noise);
        for (int i = 1; i < 20; ++i) {
          const double x = pair.low() + (pair.high() - pair.low()) * i / 20;
          const double loss = pair.At(x).loss;
          const double found = pair.At(pair.PointOf(loss, pair.low())).loss;
          EXPECT_NEAR(found, loss, 1e-11 * std::max(1.0, std::abs(loss)))
              << noise << ' ' << rate << ' ' << i;
        }
      }
    }
  }
}

TEST(NormalPairTest, FindsTheSamePointByFormulaAndBySearch) {
  // A third contribution that hardly ever happens makes it search.
  std::vector<Contribution> searched = Sampled(0.2);
  searched.push_back({.size = 0.5, .probability = 1e-17});
  for (const Direction direction : {Direction::kRemove, Direction::kAdd, Direction::kReplace}) {
    const NormalPair by_formula(direction, Sampled(0.2), 0.9);
    const NormalPair by_search(direction, searched, 0.9);
    double from = by_search.low();
    for (double loss = -0.21; loss < 0.22; loss += 0.01) {
      const double x = by_search.PointOf(loss, from);
      EXPECT_GE(x, from);
      EXPECT_NEAR(by_search.At(x).loss, by_search.At(by_formula.PointOf(loss, from)).loss, 1e-11);
      from = x;
    }
  }
}

TEST(NormalPairTest, NeverLeavesItsEnds) {
  const NormalPair pair(Direction::kRemove, {{0, 0.5}, {1, 0.3}, {2, 0.2}}, 1);
  EXPECT_EQ(pair.PointOf(-50, pair.low()), pair.low());
  EXPECT_EQ(pair.PointOf(1e6, pair.low()), pair.high());
  EXPECT_EQ(pair.PointOf(-0.1, 3), 3);
}

TEST(LaplacePairTest, HasAllOfItsMass) {
  for (const Direction direction : {Direction::kRemove, Direction::kAdd}) {
    for (const double rate : {0.05, 0.5, 1.0}) {
      for (const double scale : {0.3, 1.0, 10.0}) {
        const LaplacePair pair(direction, rate, scale);
        double mass = pair.MassBelow() + pair.MassAbove();
        constexpr int kSteps = 20'000;
        for (int i = 0; i < kSteps; ++i) {
          mass += pair.At(pair.low() + (i + 0.5) / kSteps).density / kSteps;
        }
        EXPECT_NEAR(mass, 1, 1e-7) << rate << ' ' << scale;
        const double middle = pair.low() + 0.3;
        EXPECT_NEAR(pair.PointOf(pair.At(middle).loss, pair.low()), middle, 1e-12);
      }
    }
  }
}

}  // namespace
}  // namespace chorale::privacy
