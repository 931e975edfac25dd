#include "privacy/audit/draw_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <string>

#include "core/random.h"

namespace chorale::privacy {
namespace {

using testing::Contains;
using testing::IsEmpty;

// With two tests, chance fails 400 runs of correct code once in 25 times at most; seeds are fixed.
constexpr double kSignificance = 1e-3;
constexpr std::uint64_t kNumRuns = 20;
constexpr std::size_t kNumCanaries = 2000;

// Fills in who is drawn in the next step.
using Loader = std::function<void(std::vector<std::uint8_t>& is_drawn)>;

// The names of the tests that fail in one run.
std::vector<std::string> FailuresOf(double rate, std::size_t num_steps, const Loader& loader) {
  DrawScores scores = DrawScores::Create(kNumCanaries, rate).value();
  for (std::size_t step = 0; step < num_steps; ++step) {
    std::vector<std::uint8_t> is_drawn(kNumCanaries);
    loader(is_drawn);
    scores.AddStep(is_drawn);
  }
  std::vector<std::string> failures;
  for (const AuditTest& test : scores.Tests()) {
    if (test.p_value * 2 < kSignificance) failures.push_back(test.name);
  }
  return failures;
}

Loader Poisson(RandomSource& random, double rate) {
  return [&random, rate](std::vector<std::uint8_t>& is_drawn) {
    for (std::uint8_t& drawn : is_drawn) drawn = random.NextDouble() < rate ? 1 : 0;
  };
}

// Batches of a shuffled pass, one after the other; a new pass is shuffled anew.
Loader Shuffled(RandomSource& random, double rate) {
  return [&random, order = std::vector<std::size_t>(),
          rate](std::vector<std::uint8_t>& is_drawn) mutable {
    const auto batch = static_cast<std::size_t>(rate * kNumCanaries);
    if (order.size() < batch) {
      order.resize(kNumCanaries);
      std::iota(order.begin(), order.end(), std::size_t{0});
      for (std::size_t i = order.size() - 1; i > 0; --i) {
        std::swap(order[i], order[random.NextBelow(i + 1)]);
      }
    }
    for (std::size_t i = 0; i < batch; ++i) {
      is_drawn[order.back()] = 1;
      order.pop_back();
    }
  };
}

class DrawScoresTest : public testing::TestWithParam<double> {
 protected:
  static std::size_t NumSteps() {
    return static_cast<std::size_t>(std::min(2 / GetParam(), 128.0));
  }
};

TEST_P(DrawScoresTest, PoissonSamplingPassesEveryTime) {
  for (std::uint64_t seed = 1; seed <= kNumRuns; ++seed) {
    SeededRandom random(seed);
    EXPECT_THAT(FailuresOf(GetParam(), NumSteps(), Poisson(random, GetParam())), IsEmpty())
        << "seed " << seed;
  }
}

TEST_P(DrawScoresTest, AShuffledLoaderBilledAsPoissonIsFound) {
  for (std::uint64_t seed = 1; seed <= kNumRuns; ++seed) {
    SeededRandom random(seed);
    const auto failures = FailuresOf(GetParam(), NumSteps(), Shuffled(random, GetParam()));
    EXPECT_THAT(failures, Contains("draw_sizes")) << "seed " << seed;
    EXPECT_THAT(failures, Contains("draw_counts")) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Rates, DrawScoresTest, testing::Values(0.02, 0.1, 0.25));

// Whoever is drawn, batches of random sizes give nothing away: only that nobody comes twice does.
TEST(DrawScoresRulesTest, DealingOutInBatchesOfRandomSizesIsFound) {
  for (std::uint64_t seed = 1; seed <= kNumRuns; ++seed) {
    SeededRandom random(seed);
    std::size_t next = 0;
    const Loader dealing = [&](std::vector<std::uint8_t>& is_drawn) {
      for (std::size_t i = 0; i < kNumCanaries; ++i) {
        if (random.NextDouble() >= 0.25) continue;
        is_drawn[next] = 1;
        next = (next + 1) % kNumCanaries;
      }
    };
    EXPECT_THAT(FailuresOf(0.25, 8, dealing), Contains("draw_counts")) << "seed " << seed;
  }
}

TEST(DrawScoresRulesTest, FindsAnotherRateAndPatientsThatComeTogether) {
  for (std::uint64_t seed = 1; seed <= kNumRuns; ++seed) {
    SeededRandom random(seed);
    EXPECT_THAT(FailuresOf(0.1, 20, Poisson(random, 0.13)), Contains("draw_sizes"));
    const Loader pairs = [&](std::vector<std::uint8_t>& is_drawn) {
      for (std::size_t i = 0; i < kNumCanaries; i += 10) {
        std::fill_n(is_drawn.begin() + static_cast<std::ptrdiff_t>(i), 10,
                    static_cast<std::uint8_t>(random.NextDouble() < 0.1 ? 1 : 0));
      }
    };
    EXPECT_THAT(FailuresOf(0.1, 20, pairs), Contains("draw_sizes")) << "seed " << seed;
    EXPECT_THAT(FailuresOf(0.1, 20,
                           [](std::vector<std::uint8_t>& is_drawn) {
                             std::fill_n(is_drawn.begin(), kNumCanaries / 10, 1);
                           }),
                Contains("draw_counts"));
  }
}

// The bounds are bounds: the share of correct runs at or below a p-value never exceeds it.
TEST(DrawScoresRulesTest, PValuesOfCorrectCodeAreRarelySmall) {
  constexpr int kRuns = 400;
  int small = 0;
  for (std::uint64_t seed = 1; seed <= kRuns; ++seed) {
    SeededRandom random(seed);
    DrawScores scores = DrawScores::Create(60, 0.3).value();
    for (int step = 0; step < 10; ++step) {
      std::vector<std::uint8_t> is_drawn(60);
      Poisson(random, 0.3)(is_drawn);
      scores.AddStep(is_drawn);
    }
    for (const AuditTest& test : scores.Tests()) small += test.p_value < 0.1 ? 1 : 0;
  }
  // 80 expected at most, six standard deviations of 8.5 above.
  EXPECT_LT(small, 131);
}

TEST(DrawScoresRulesTest, ARateOfOneTakesEverybody) {
  const Loader all = [](std::vector<std::uint8_t>& is_drawn) { std::ranges::fill(is_drawn, 1); };
  EXPECT_THAT(FailuresOf(1, 4, all), IsEmpty());
  const Loader most = [](std::vector<std::uint8_t>& is_drawn) {
    std::ranges::fill(is_drawn, 1);
    is_drawn[7] = 0;
  };
  EXPECT_THAT(FailuresOf(1, 4, most), Contains("draw_counts"));
}

TEST(DrawScoresRulesTest, RefusesRatesThatAreNone) {
  EXPECT_EQ(DrawScores::Create(0, 0.5).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(DrawScores::Create(9, 0).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(DrawScores::Create(9, std::nan("")).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::privacy
