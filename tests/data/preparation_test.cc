#include "data/preparation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/random.h"
#include "data/dataset.h"

namespace chorale::data {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pointwise;

constexpr double kTolerance = 0.005;  // The promise of preparation.h.

// A number x, a category with the levels a and b, an array, a number z.
v1::DataSpec Spec(v1::Standardization standardization) {
  v1::DataSpec spec;
  for (const char* column : {"x", "level", "image", "z"}) {
    spec.add_features()->set_column(column);
  }
  spec.mutable_features(0)->mutable_numeric();
  spec.mutable_features(1)->mutable_categorical()->add_levels("a");
  spec.mutable_features(1)->mutable_categorical()->add_levels("b");
  spec.mutable_features(2)->mutable_array()->add_shape(2);
  spec.mutable_features(3)->mutable_numeric()->set_impute(v1::IMPUTATION_MEAN);
  spec.mutable_target()->set_column("y");
  spec.mutable_target()->add_positive("1");
  spec.set_standardization(standardization);
  return spec;
}

// One numeric feature.
v1::DataSpec ColumnSpec(v1::Standardization standardization, v1::Imputation impute) {
  v1::DataSpec spec;
  spec.add_features()->set_column("x");
  spec.mutable_features(0)->mutable_numeric()->set_impute(impute);
  spec.mutable_target()->set_column("y");
  spec.mutable_target()->add_positive("1");
  spec.set_standardization(standardization);
  return spec;
}

// The payload of a site whose rows have these values; NaN: none.
std::vector<double> SumsFor(const std::vector<double>& values, const v1::DataSpec& spec) {
  CsvTable table{.columns = {"x", "y"}, .rows = {}, .lines = {}, .file_name = "t.csv"};
  for (const double value : values) {
    char text[40];
    std::snprintf(text, sizeof(text), "%.17g", value);
    table.rows.push_back({std::isnan(value) ? "" : text, "1"});
    table.lines.push_back(table.lines.size() + 2);
  }
  return Dataset::Create(table, {}, "", spec).value().PreparationSums();
}

// Definition 1 of Hyndman and Fan.
double ExactQuantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()) - 1e-9);
  return values[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

// Approximately normal.
double NextDeviate(RandomSource& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random.NextDouble();
  return sum;
}

TEST(PreparationBinTest, IsNeverFurtherFromAValueThanPromised) {
  SeededRandom random(11);
  for (int i = 0; i < 100'000; ++i) {
    const double size = 1e-7 * std::pow(5e17, random.NextDouble());
    for (const double value : {size, -size}) {
      const std::size_t bin = BinOf(value);
      ASSERT_LT(bin, kNumBins);
      ASSERT_LE(std::abs(MiddleOfBin(bin) - value), kTolerance * size) << value;
    }
  }
}

TEST(PreparationBinTest, IsInTheOrderOfValues) {
  const std::vector<double> rising = {-1e300, -1e9, -1, -0.99, -1e-6, 0, 1e-6, 0.99, 1, 1e9, 1e300};
  for (std::size_t i = 1; i < rising.size(); ++i) {
    EXPECT_LT(BinOf(rising[i - 1]), BinOf(rising[i])) << rising[i];
  }
  for (std::size_t bin = 1; bin < kNumBins; ++bin) {
    ASSERT_LT(MiddleOfBin(bin - 1), MiddleOfBin(bin));
    ASSERT_EQ(BinOf(MiddleOfBin(bin)), bin);
  }
}

TEST(PreparationBinTest, HoldsWhateverTheValue) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(BinOf(0), kNumBins / 2);
  EXPECT_EQ(BinOf(-0.0), kNumBins / 2);
  EXPECT_EQ(BinOf(9e-8), kNumBins / 2);
  EXPECT_EQ(BinOf(-std::numeric_limits<double>::denorm_min()), kNumBins / 2);
  EXPECT_EQ(BinOf(std::numeric_limits<double>::quiet_NaN()), kNumBins / 2);
  EXPECT_EQ(BinOf(kInfinity), kNumBins - 1);
  EXPECT_EQ(BinOf(-kInfinity), 0u);
  EXPECT_EQ(BinOf(3.4e38), kNumBins - 1);
  EXPECT_EQ(MiddleOfBin(kNumBins / 2), 0);
  EXPECT_GT(MiddleOfBin(kNumBins - 1), 5e10);
}

TEST(PreparationTest, HasFourNumbersAFeatureWithoutQuantilesAndCategories) {
  const v1::DataSpec spec = ColumnSpec(v1::STANDARDIZATION_FEDERATED, v1::IMPUTATION_MEAN);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

  EXPECT_FALSE(NeedsQuantiles(spec));
  EXPECT_EQ(PreparationSize(spec), 4u);
  EXPECT_THAT(SumsFor({2, kNan, -5, 4}, spec), ElementsAre(3, 1, 45, 1));
}

TEST(PreparationTest, HasCountsBySizeWhereTheJobNeedsQuantiles) {
  EXPECT_EQ(PreparationSize(Spec(v1::STANDARDIZATION_FEDERATED)), 4u + 3 + 4);
  EXPECT_EQ(PreparationSize(Spec(v1::STANDARDIZATION_FEDERATED_ROBUST)), 4u + 3 + 4 + 2 * kNumBins);
  EXPECT_EQ(PreparationSize(ColumnSpec(v1::STANDARDIZATION_FEDERATED, v1::IMPUTATION_MEDIAN)),
            4u + kNumBins);
}

TEST(PreparationTest, SumsOverSitesAreThoseOfAllRows) {
  SeededRandom random(5);
  const v1::DataSpec spec = ColumnSpec(v1::STANDARDIZATION_FEDERATED_ROBUST, v1::IMPUTATION_MEDIAN);
  std::vector<std::vector<double>> sites(7);
  std::vector<double> pooled;
  for (std::size_t site = 0; site < sites.size(); ++site) {
    for (std::size_t row = 0; row < 20 + 30 * site; ++row) {
      const double value = random.NextBelow(9) == 0 ? std::numeric_limits<double>::quiet_NaN()
                                                    : 40 * NextDeviate(random) - 5;
      sites[site].push_back(value);
      pooled.push_back(value);
    }
  }

  std::vector<double> total(PreparationSize(spec));
  for (const std::vector<double>& site : sites) {
    const std::vector<double> sums = SumsFor(site, spec);
    EXPECT_TRUE(CheckPreparation(sums, spec, site.size()).ok());
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += sums[i];
  }
  const std::vector<double> of_all = SumsFor(pooled, spec);

  EXPECT_TRUE(CheckPreparation(total, spec, pooled.size()).ok());
  EXPECT_THAT(total, Pointwise(DoubleNear(1e-6), of_all));
  // Counts are whole numbers: they are the same, not near.
  EXPECT_TRUE(std::equal(total.begin() + 3, total.end(), of_all.begin() + 3));
  const Moments federated = PreparationOf(StatisticsOf(total, spec), spec)[0];
  const Moments central = PreparationOf(StatisticsOf(of_all, spec), spec)[0];
  EXPECT_EQ(federated.mean, central.mean);
  EXPECT_EQ(federated.standard_deviation, central.standard_deviation);
  EXPECT_EQ(federated.imputed, central.imputed);
}

TEST(PreparationTest, FindsQuantilesOnDataOfEveryScaleAndSign) {
  SeededRandom random(20261120);
  const v1::DataSpec spec = ColumnSpec(v1::STANDARDIZATION_FEDERATED_ROBUST, {});
  for (int i = 0; i < 60; ++i) {
    const double scale = std::pow(10, -5 + 13 * random.NextDouble());
    const double offset = static_cast<double>(i % 3 - 1) * 3 * scale * random.NextDouble();
    const bool is_skewed = i % 2 == 0;
    std::vector<double> values(100 + random.NextBelow(400));
    for (double& value : values) {
      const double deviate = NextDeviate(random);
      value = offset + scale * (is_skewed ? std::exp(2 * deviate) : deviate);
    }

    const ColumnStatistics column = StatisticsOf(SumsFor(values, spec), spec)[0];

    ASSERT_EQ(column.quantiles.size(), 5u);
    constexpr double kShares[] = {0.05, 0.25, 0.5, 0.75, 0.95};
    for (std::size_t k = 0; k < 5; ++k) {
      const double exact = ExactQuantile(values, kShares[k]);
      // Values nearer to 0 than 1e-7 count as 0.
      EXPECT_NEAR(column.quantiles[k], exact, kTolerance * std::abs(exact) + 1e-7)
          << i << " at " << kShares[k];
    }
  }
}

TEST(PreparationTest, IsRobustAgainstOutliersWhereMeanAndDeviationAreNot) {
  SeededRandom random(3);
  std::vector<double> values(1000);
  for (double& value : values) value = 120 + 15 * NextDeviate(random);
  std::fill_n(values.begin(), 50, 99999);  // A marker that nobody declared.
  const v1::DataSpec robust = ColumnSpec(v1::STANDARDIZATION_FEDERATED_ROBUST, {});
  const v1::DataSpec plain = ColumnSpec(v1::STANDARDIZATION_FEDERATED, {});

  const Moments with_quantiles =
      PreparationOf(StatisticsOf(SumsFor(values, robust), robust), robust)[0];
  const Moments with_mean = PreparationOf(StatisticsOf(SumsFor(values, plain), plain), plain)[0];

  // Seeded; quartiles of 950 normal values lie within 2 of the true ones but for a chance below
  // 1e-4.
  EXPECT_NEAR(with_quantiles.mean, 121, 3);
  EXPECT_NEAR(with_quantiles.standard_deviation, 16, 3);
  EXPECT_GT(with_mean.standard_deviation, 10'000);
}

TEST(PreparationTest, OfAConstantColumnDividesByOne) {
  for (const double constant : {0.0, 7.0, -7.0}) {
    const v1::DataSpec spec = ColumnSpec(v1::STANDARDIZATION_FEDERATED_ROBUST, {});

    const Moments moments =
        PreparationOf(StatisticsOf(SumsFor({constant, constant, constant}, spec), spec), spec)[0];

    EXPECT_NEAR(moments.mean, constant, kTolerance * std::abs(constant));
    EXPECT_EQ(moments.standard_deviation, 1);
  }
}

TEST(PreparationTest, GivesWhatTheSpecificationAsksFor) {
  const std::vector<double> values = {1, 2, 3, 100};
  const auto prepared = [&](v1::Standardization standardization, v1::Imputation impute) {
    const v1::DataSpec spec = ColumnSpec(standardization, impute);
    return PreparationOf(StatisticsOf(SumsFor(values, spec), spec), spec)[0];
  };
  const double deviation = MomentsOf(values).standard_deviation;

  const Moments plain = prepared(v1::STANDARDIZATION_FEDERATED, v1::IMPUTATION_UNSPECIFIED);
  EXPECT_EQ(plain.mean, 26.5);
  EXPECT_NEAR(plain.standard_deviation, deviation, 1e-12);
  EXPECT_EQ(prepared(v1::STANDARDIZATION_FEDERATED, v1::IMPUTATION_MEAN).imputed, 26.5);
  EXPECT_NEAR(prepared(v1::STANDARDIZATION_FEDERATED, v1::IMPUTATION_MEDIAN).imputed, 2, 0.01);
  const Moments none = prepared(v1::STANDARDIZATION_NONE, v1::IMPUTATION_MEAN);
  EXPECT_EQ(none.mean, 0);
  EXPECT_EQ(none.standard_deviation, 1);
  EXPECT_EQ(none.imputed, 26.5);
  const Moments robust = prepared(v1::STANDARDIZATION_FEDERATED_ROBUST, v1::IMPUTATION_MEAN);
  EXPECT_NEAR(robust.mean, 2, 0.01);
  EXPECT_NEAR(robust.standard_deviation, (3 - 1) / 1.349, 0.02);
  EXPECT_EQ(robust.imputed, 26.5);
}

TEST(PreparationTest, TellsLevelsAndMissingValuesInTheOrderOfTheSpecification) {
  const v1::DataSpec spec = Spec(v1::STANDARDIZATION_FEDERATED);

  const std::vector<ColumnStatistics> statistics =
      StatisticsOf(std::vector<double>{3, 6, 14, 0, 1, 2, 0, 2, -8, 34, 1}, spec);

  ASSERT_EQ(statistics.size(), 3u);
  EXPECT_EQ(statistics[0].column, "x");
  EXPECT_EQ(statistics[0].moments.mean, 2);
  EXPECT_EQ(statistics[1].column, "level");
  EXPECT_EQ(statistics[1].count, 3);
  ASSERT_EQ(statistics[1].levels.size(), 2u);
  EXPECT_EQ(statistics[1].levels[1].level, "b");
  EXPECT_EQ(statistics[1].levels[1].count, 2);
  EXPECT_EQ(statistics[2].column, "z");
  EXPECT_EQ(statistics[2].missing, 1);
  const std::vector<Moments> moments = PreparationOf(statistics, spec);
  ASSERT_EQ(moments.size(), 2u);
  EXPECT_EQ(moments[1].mean, -4);
  EXPECT_EQ(moments[1].imputed, -4);
}

TEST(PreparationTest, AcceptsSumsOfRowsAndOfNone) {
  const v1::DataSpec spec = Spec(v1::STANDARDIZATION_FEDERATED_ROBUST);
  const v1::DataSpec column = ColumnSpec(v1::STANDARDIZATION_FEDERATED_ROBUST, {});

  EXPECT_TRUE(CheckPreparation(std::vector<double>(PreparationSize(spec)), spec, 0).ok());
  // Squares of such small numbers vanish, those of the largest almost overflow a float32's.
  EXPECT_TRUE(CheckPreparation(SumsFor({1e-200, 1e-200}, column), column, 2).ok());
  EXPECT_TRUE(CheckPreparation(SumsFor({3.4e38, 3.4e38}, column), column, 2).ok());
  EXPECT_TRUE(CheckPreparation(SumsFor({-0.1, -0.1, -0.1}, column), column, 3).ok());
}

TEST(PreparationTest, RefusesSumsThatNoRowsCanHave) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const v1::DataSpec spec = Spec(v1::STANDARDIZATION_FEDERATED_ROBUST);
  const std::size_t level = 4 + kNumBins;
  std::vector<double> sound(PreparationSize(spec));
  std::copy_n(std::vector<double>{3, 6, 14, 1}.begin(), 4, sound.begin());
  for (const double value : {1, 2, 3}) ++sound[4 + BinOf(value)];
  sound[level] = 4;
  sound[level + 3 + 3] = 4;  // Every row misses z.
  ASSERT_TRUE(CheckPreparation(sound, spec, 4).ok()) << CheckPreparation(sound, spec, 4);

  using Sums = std::vector<double>;
  const std::vector<std::function<void(Sums&)>> spoils = {
      [](Sums& s) { s.clear(); },
      [](Sums& s) { s.pop_back(); },
      [](Sums& s) { s.push_back(0); },
      [](Sums& s) { s[0] = 2.5; },
      [](Sums& s) { s[0] = -3; },
      [](Sums& s) { s[0] = 5; },
      [](Sums& s) { s[0] = kNan; },
      [](Sums& s) { s[1] = kNan; },
      [](Sums& s) { s[1] = -kInfinity; },
      [](Sums& s) { s[1] = 7; },  // More than sqrt(3 * 14).
      [](Sums& s) { s[1] = -7; },
      [](Sums& s) { s[2] = -1; },
      [](Sums& s) { s[2] = kInfinity; },
      [](Sums& s) { s[2] = 1e300; },  // Values beyond float32.
      [](Sums& s) { s[3] = -1; },
      [](Sums& s) { s[3] = 2; },  // Five rows in all.
      [](Sums& s) { s[3] = 0.5; },
      [](Sums& s) { s[4] = 1; },  // A fourth value in the bins.
      [](Sums& s) { s[4 + BinOf(1)] = 0; },
      [](Sums& s) { s[4 + BinOf(1)] = 0.5, s[4 + BinOf(2)] = 1.5; },
      [](Sums& s) { s[4 + BinOf(1)] = -1, s[4 + BinOf(2)] = 3; },
      [](Sums& s) { s[4] = kNan; },
      [level](Sums& s) { s[level] = 5; },
      [level](Sums& s) { s[level + 1] = 1; },
      [level](Sums& s) { s[level + 1] = -1; },
      [level](Sums& s) { s[level + 2] = kNan; },
      [](Sums& s) { s.back() = 1; },
      [level](Sums& s) { s[level + 4] = 1; },  // A sum of no values.
      [level](Sums& s) { s[level + 5] = 1; },
  };
  for (std::size_t i = 0; i < spoils.size(); ++i) {
    Sums spoiled = sound;
    spoils[i](spoiled);
    EXPECT_EQ(CheckPreparation(spoiled, spec, 4).code(), StatusCode::kInvalidArgument) << i;
  }
  Sums spoiled = sound;
  spoiled[level] = 5;
  EXPECT_THAT(MessageOf(CheckPreparation(spoiled, spec, 4)), HasSubstr("column 'level'"));
}

TEST(PreparationTest, StaysFiniteWhateverAcceptedSumsAddUpTo) {
  const v1::DataSpec spec = ColumnSpec(v1::STANDARDIZATION_FEDERATED_ROBUST, {});
  std::vector<double> sums(PreparationSize(spec));
  const std::uint64_t rows = std::numeric_limits<std::uint64_t>::max();
  sums[0] = static_cast<double>(rows);
  sums[2] = sums[0] * 1e76;
  sums[1] = sums[0] * 1e38;
  sums[4] = sums[0];
  ASSERT_TRUE(CheckPreparation(sums, spec, rows).ok()) << CheckPreparation(sums, spec, rows);
  for (double& sum : sums) sum *= 1024;

  const std::vector<Moments> moments = PreparationOf(StatisticsOf(sums, spec), spec);

  EXPECT_TRUE(Validate(moments, spec).ok());
}

}  // namespace
}  // namespace chorale::data
