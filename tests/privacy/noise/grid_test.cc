#include "privacy/noise/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/random.h"

namespace chorale::privacy {
namespace {

using ::testing::HasSubstr;

Grid MakeGrid(double norm, std::uint64_t size, double inflation = 1.001) {
  return *Grid::Create(
      {.max_grad_norm = norm, .num_parameters = size, .grid_inflation = inflation});
}

TEST(GridTest, TheStepIsAPowerOfTwoThatCostsAtMostTheInflation) {
  for (const double norm : {1e-20, 0.3, 1.0, 1.1, 7e10}) {
    for (const std::uint64_t size : {1u, 14u, 1000u, 1u << 20}) {
      const Grid grid = MakeGrid(norm, size);
      const double root = std::sqrt(static_cast<double>(size));

      EXPECT_EQ(std::ldexp(1.0, std::ilogb(grid.step())), grid.step());
      EXPECT_LE(1 + grid.step() * root / norm, 1.001);
      EXPECT_GT(1 + 2 * grid.step() * root / norm, 1.0009999);
      EXPECT_EQ(grid.norm_in_steps() * grid.step(), norm);
    }
  }
}

TEST(GridTest, TheBoundOnTheSquareIsItsFloor) {
  // 1.1 / gamma in steps is m 2^e for a 53-bit m; the square by hand in 128 bits.
  const Grid grid = MakeGrid(1.1, 100);
  const auto mantissa = static_cast<Uint128>(std::ldexp(1.1, 52));
  const int steps = -std::ilogb(grid.step());

  EXPECT_EQ(grid.max_square(), mantissa * mantissa >> (2 * (52 - steps)));
  EXPECT_EQ(MakeGrid(1, 1, 2).max_square(), Uint128{4});
}

TEST(GridTest, DeclaresBoundsInTheSafeDirection) {
  const Grid grid = MakeGrid(1, 1000);
  const double root = std::sqrt(1000.0);

  EXPECT_LT(grid.ClipNorm(GridEncoding::kVerified), 1 - root * grid.step() / 2);
  EXPECT_GT(grid.ClipNorm(GridEncoding::kVerified), 1 - 1.0001 * root * grid.step() / 2);
  EXPECT_EQ(grid.Sensitivity(GridEncoding::kVerified), 1 / grid.step());
  EXPECT_GT(grid.Sensitivity(GridEncoding::kFast), 1 / grid.step() + root);
  EXPECT_LE(grid.Sensitivity(GridEncoding::kFast), (1 / grid.step()) * 1.001000001);
  EXPECT_LT(grid.ClipNorm(GridEncoding::kFast), 1 - 0x1p-8);
}

TEST(GridTest, RefusesWhatIsNoGrid) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto refused = [](const GridOptions& options, const char* field) {
    const Status status = Grid::Create(options).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(status), HasSubstr(field));
  };

  for (const double norm : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    refused({.max_grad_norm = norm, .num_parameters = 10}, "max_grad_norm");
  }
  refused({.max_grad_norm = 1, .num_parameters = 0}, "num_parameters");
  refused({.max_grad_norm = 1, .num_parameters = std::uint64_t{1} << 41}, "num_parameters");
  for (const double inflation : {1.0, 0.5, 2.1, nan}) {
    refused({.max_grad_norm = 1, .num_parameters = 10, .grid_inflation = inflation},
            "grid_inflation");
  }
  refused({.max_grad_norm = 1, .num_parameters = 1 << 20, .grid_inflation = 1 + 1e-15},
          "grid_inflation");
}

// The square of the Euclidean norm of what a vector adds to a sum, in steps.
template <typename Value>
Uint128 SquareOfContribution(PatientSum& sum, const std::vector<Value>& vector, bool* is_added) {
  const std::vector<std::int64_t> before(sum.sum().begin(), sum.sum().end());
  *is_added = sum.Add(vector);
  Uint128 square = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::int64_t moved = sum.sum()[i] - before[i];
    square += static_cast<Uint128>(moved < 0 ? -moved : moved) *
              static_cast<Uint128>(moved < 0 ? -moved : moved);
  }
  return square;
}

// Vectors that a clipping in floating point may get wrong.
template <typename Value>
std::vector<std::vector<Value>> HostileVectors(std::size_t size) {
  using Limits = std::numeric_limits<Value>;
  SeededRandom random(1);
  std::vector<std::vector<Value>> vectors;
  for (const Value value : {Value(0), Value(1e30), Value(-1e30), Value(1), Value(-1e-3),
                            Limits::max(), Limits::lowest(), Limits::denorm_min(), Limits::min(),
                            Limits::epsilon(), Limits::infinity(), Limits::quiet_NaN()}) {
    vectors.emplace_back(size, value);  // All equal,
    vectors.emplace_back(size, Value(0.25));
    vectors.back()[random.NextBelow(size)] = value;  // one alone,
    vectors.emplace_back(size, Value(0));
    vectors.back()[0] = value;  // nothing else.
  }
  for (int i = 0; i < 300; ++i) {
    std::vector<Value> vector(size);
    const int spread = static_cast<int>(random.NextBelow(60));
    for (Value& value : vector) {
      const int exponent = static_cast<int>(random.NextBelow(spread + 1)) - spread / 2;
      value = static_cast<Value>(std::ldexp(random.NextDouble() - 0.5, exponent));
    }
    vectors.push_back(vector);
  }
  // All coordinates on the middle between two steps, which rounding moves the most.
  for (int i = 1; i < 40; ++i) vectors.emplace_back(size, static_cast<Value>(i * 0x1p-14));
  return vectors;
}

template <typename Value>
void ExpectBounded(double norm, std::size_t size, double inflation) {
  const Grid grid = MakeGrid(norm, size, inflation);
  PatientSum sum(grid);
  const double sensitivity = grid.Sensitivity(GridEncoding::kVerified);
  int num_added = 0;
  for (const auto& vector : HostileVectors<Value>(size)) {
    bool is_added = false;
    const Uint128 square = SquareOfContribution(sum, vector, &is_added);
    EXPECT_LE(square, grid.max_square());
    EXPECT_LE(std::sqrt(static_cast<double>(square)), sensitivity);
    if (!is_added) {
      EXPECT_EQ(square, Uint128{0});
    }
    num_added += is_added ? 1 : 0;
  }
  EXPECT_GE(num_added, 330);  // Only what is not finite, or whose square is not, adds nothing.
}

TEST(PatientSumTest, NoPatientMovesTheSumByMoreThanTheSensitivity) {
  for (const double norm : {0.01, 1.0, 1.1, 300.0}) {
    for (const std::size_t size : {1u, 14u, 1000u, 10'000u}) {
      ExpectBounded<float>(norm, size, 1.001);
      ExpectBounded<double>(norm, size, 1.001);
    }
  }
  ExpectBounded<double>(1, 1000, 1.9);        // A coarse grid,
  ExpectBounded<double>(1, 1000, 1 + 1e-10);  // and one of 2^38 steps.
}

TEST(PatientSumTest, AddsShortVectorsAsTheyAre) {
  const Grid grid = MakeGrid(1, 3, 1.5);  // Steps of 1/4.
  ASSERT_EQ(grid.step(), 0.25);
  PatientSum sum(grid);

  EXPECT_TRUE(sum.Add(std::vector<float>{0.25F, -0.5F, 0}));
  EXPECT_TRUE(sum.Add(std::vector<double>{0.3, -0.3, 0.3}));

  EXPECT_EQ(std::vector(sum.sum().begin(), sum.sum().end()), (std::vector<std::int64_t>{2, -3, 1}));
}

TEST(PatientSumTest, LongVectorsLoseNothingButTheGridsShare) {
  const Grid grid = MakeGrid(1, 4);
  PatientSum sum(grid);

  ASSERT_TRUE(sum.Add(std::vector<float>{30, 40, 0, 0}));

  EXPECT_NEAR(static_cast<double>(sum.sum()[0]) * grid.step(), 0.6, 0.001);
  EXPECT_NEAR(static_cast<double>(sum.sum()[1]) * grid.step(), 0.8, 0.001);
}

TEST(RoundSumTest, RoundsEachCoordinateToTheNearest) {
  const Grid grid = MakeGrid(1, 3, 1.5);
  std::vector<std::int64_t> out(5, 9);

  ASSERT_TRUE(RoundSum(grid, std::vector<double>{0.26, -10.13, 1000, 0.125, 0.375}, out).ok());

  EXPECT_EQ(out, (std::vector<std::int64_t>{1, -41, 4000, 0, 2}));
}

TEST(RoundSumTest, OnePatientMovesARoundedSumByAtMostTheSensitivity) {
  SeededRandom random(2);
  constexpr std::size_t kSize = 500;
  const Grid grid = MakeGrid(1, kSize, 1.3);
  const double clip = grid.ClipNorm(GridEncoding::kFast);
  for (int i = 0; i < 200; ++i) {
    std::vector<float> others(kSize);
    std::vector<float> patient(kSize);
    double square = 0;
    for (float& value : others) value = static_cast<float>(100 * (random.NextDouble() - 0.5));
    for (float& value : patient) {
      value = static_cast<float>(std::pow(random.NextDouble() - 0.5, 2 * (i % 4) + 1));
      square += static_cast<double>(value) * value;
    }
    std::vector<float> all(kSize);
    for (std::size_t k = 0; k < kSize; ++k) {
      all[k] = others[k] + static_cast<float>(patient[k] * clip / std::sqrt(square));
    }
    std::vector<std::int64_t> with(kSize);
    std::vector<std::int64_t> without(kSize);
    ASSERT_TRUE(RoundSum(grid, all, with).ok());
    ASSERT_TRUE(RoundSum(grid, others, without).ok());

    double moved = 0;
    for (std::size_t k = 0; k < kSize; ++k) {
      moved += std::pow(static_cast<double>(with[k] - without[k]), 2);
    }
    EXPECT_LE(std::sqrt(moved), grid.Sensitivity(GridEncoding::kFast));
  }
}

TEST(RoundSumTest, RefusesASumThatNobodyClipped) {
  const Grid grid = MakeGrid(1, 2);
  for (const double value : {1e30, -1e300, std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN()}) {
    std::vector<std::int64_t> out(2, 9);

    EXPECT_EQ(RoundSum(grid, std::vector<double>{1, value}, out).code(), StatusCode::kInternal);
    EXPECT_EQ(out, std::vector<std::int64_t>(2, 0));
  }
}

NoiseShareOptions ValidShare() {
  return {.noise_multiplier = 1,
          .num_sites = 10,
          .tolerated_dropouts = 1,
          .tolerated_colluders = 1,
          .max_batch = 128,
          .ring_bits = 32};
}

TEST(NoiseShareTest, TheHonestSitesThatStayMakeUpTheNoise) {
  const Grid grid = MakeGrid(1, 10'000);
  for (const double z : {0.5, 1.0, 3.3}) {
    NoiseShareOptions options = ValidShare();
    options.noise_multiplier = z;
    const auto share = PlanNoiseShare(grid, options);
    ASSERT_TRUE(share.ok()) << share.status();
    const double wanted = z * grid.Sensitivity(GridEncoding::kVerified);

    EXPECT_EQ(share->num_honest, 8u);
    EXPECT_GE(8 * ToDouble(share->variance), wanted * wanted);
    EXPECT_LE(8 * ToDouble(share->variance), wanted * wanted * (1 + 1e-14));
    EXPECT_TRUE(DiscreteGaussian::Create(share->variance).ok());
  }
}

TEST(NoiseShareTest, RefusesAGridThatIsTooCoarse) {
  NoiseShareOptions options = ValidShare();
  options.num_sites = 1000;
  const Status status = PlanNoiseShare(MakeGrid(1, 100, 1.5), options).status();

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("smaller grid_inflation"));
}

TEST(NoiseShareTest, RefusesSumsThatCouldLeaveTheRing) {
  const Grid grid = MakeGrid(1, 1 << 20);  // 2^20 steps.
  ASSERT_EQ(grid.norm_in_steps(), 0x1p20);
  NoiseShareOptions options = ValidShare();
  EXPECT_TRUE(PlanNoiseShare(grid, options).ok());

  options.max_batch = 256;
  const Status status = PlanNoiseShare(grid, options).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("ring_bits 64"));

  options.ring_bits = 64;
  EXPECT_TRUE(PlanNoiseShare(grid, options).ok());
}

TEST(NoiseShareTest, NamesTheFieldThatIsOutOfBounds) {
  const Grid grid = MakeGrid(1, 10'000);
  const auto refused = [&](auto change, const char* field) {
    NoiseShareOptions options = ValidShare();
    change(options);
    const Status status = PlanNoiseShare(grid, options).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(status), HasSubstr(field));
  };

  refused([](auto& options) { options.noise_multiplier = 0; }, "noise_multiplier");
  refused([](auto& options) { options.noise_multiplier = std::nan(""); }, "noise_multiplier");
  refused([](auto& options) { options.num_sites = 0; }, "num_sites");
  refused([](auto& options) { options.tolerated_dropouts = 9; }, "tolerated_dropouts");
  refused([](auto& options) { options.max_batch = 0; }, "max_batch");
  refused([](auto& options) { options.ring_bits = 16; }, "ring_bits");
}

}  // namespace
}  // namespace chorale::privacy
