#include "data/synthetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/values.h"

namespace chorale::data {
namespace {

constexpr SyntheticHospital kAverage = {.name = "average", .num_rows = 3000, .shift = 0};

CsvTable Table(const SyntheticHospital& hospital, std::uint64_t seed) {
  StatusOr<CsvTable> table = ParseCsv(MakeSyntheticHospital(hospital, seed), {}, "s.csv");
  EXPECT_TRUE(table.ok()) << table.status();
  return *std::move(table);
}

std::vector<double> Column(const CsvTable& table, std::size_t column) {
  std::vector<double> values;
  for (const auto& row : table.rows) values.push_back(*ParseNumber(row[column], '.'));
  return values;
}

double Prevalence(const CsvTable& table) {
  double positive = 0;
  for (const double num : Column(table, 10)) positive += num > 0 ? 1 : 0;
  return positive / static_cast<double>(table.rows.size());
}

v1::DataSpec Spec() {
  v1::DataSpec spec;
  for (const char* column :
       {"age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"}) {
    spec.add_features()->set_column(column);
    spec.mutable_features(spec.features_size() - 1)->mutable_numeric();
  }
  const auto add_categorical = [&](const char* column, const std::vector<std::string>& levels) {
    v1::FeatureSpec& feature = *spec.add_features();
    feature.set_column(column);
    for (const std::string& level : levels) feature.mutable_categorical()->add_levels(level);
  };
  add_categorical("cp", {"1", "2", "3", "4"});
  add_categorical("restecg", {"0", "1", "2"});
  spec.mutable_target()->set_column("num");
  for (const char* positive : {"1", "2", "3", "4"}) spec.mutable_target()->add_positive(positive);
  spec.set_standardization(v1::STANDARDIZATION_PER_SITE);
  return spec;
}

StatusOr<Dataset> Load(const SyntheticHospital& hospital, std::uint64_t seed) {
  v1::DatasetConfig config;
  config.set_split_column("split");
  return Dataset::Create(Table(hospital, seed), config, "/nowhere", Spec());
}

TEST(SyntheticTest, GivesTheSameBytesForTheSameSeed) {
  EXPECT_EQ(MakeSyntheticHospital(kAverage, 1), MakeSyntheticHospital(kAverage, 1));
  EXPECT_NE(MakeSyntheticHospital(kAverage, 1), MakeSyntheticHospital(kAverage, 2));
}

// Pins the values: the table of a demonstration is the same on every machine and in every version.
TEST(SyntheticTest, GivesKnownRows) {
  EXPECT_EQ(MakeSyntheticHospital({.name = "north", .num_rows = 3, .shift = 0.5}, 1),
            "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,num,split\n"
            "50,1,3,144,223,0,0,112,1,0.0,2,train\n"
            "49,1,1,122,245,0,1,182,1,0.8,0,train\n"
            "56,1,3,152,197,0,0,130,1,2.2,4,test\n");
}

TEST(SyntheticTest, GivesHospitalsOfOneSeedDifferentPatients) {
  SyntheticHospital other = kAverage;
  other.name = "other";

  EXPECT_NE(MakeSyntheticHospital(kAverage, 1), MakeSyntheticHospital(other, 1));
}

TEST(SyntheticTest, StaysInClinicalRangesEvenFarFromTheAverage) {
  struct Range {
    std::size_t column;
    double least;
    double most;
  };
  for (const double shift : {-50.0, 0.0, 3.0}) {
    const CsvTable table = Table({.name = "h", .num_rows = 2000, .shift = shift}, 4);
    for (const Range& range :
         {Range{0, 28, 79}, Range{1, 0, 1}, Range{2, 1, 4}, Range{3, 92, 200}, Range{4, 115, 560},
          Range{5, 0, 1}, Range{6, 0, 2}, Range{7, 70, 202}, Range{8, 0, 1}, Range{9, 0, 6.2},
          Range{10, 0, 4}}) {
      for (const double value : Column(table, range.column)) {
        ASSERT_GE(value, range.least) << table.columns[range.column];
        ASSERT_LE(value, range.most) << table.columns[range.column];
      }
    }
  }
}

TEST(SyntheticTest, IsReadByTheHeartDiseaseSpecification) {
  const StatusOr<Dataset> dataset = Load(kAverage, 9);

  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->num_training_rows(), 2000u);
  EXPECT_EQ(dataset->num_test_rows(), 1000u);
  EXPECT_EQ(dataset->PerSite(v1::SPLIT_TRAIN).num_inputs, 13u);
}

// Fixed seed; the differences are over ten standard errors.
TEST(SyntheticTest, ShiftMovesAgeAndPrevalence) {
  const CsvTable low = Table({.name = "h", .num_rows = 3000, .shift = -1}, 6);
  const CsvTable high = Table({.name = "h", .num_rows = 3000, .shift = 1}, 6);

  EXPECT_GT(MomentsOf(Column(high, 0)).mean, MomentsOf(Column(low, 0)).mean + 5);
  EXPECT_GT(Prevalence(high), Prevalence(low) + 0.15);
}

TEST(SyntheticTest, DefaultHospitalsDifferInNameSizeAndPrevalence) {
  std::set<std::string> names;
  std::set<std::size_t> sizes;
  std::set<int> prevalences_percent;
  for (const SyntheticHospital& hospital : DefaultSyntheticHospitals()) {
    const StatusOr<Dataset> dataset = Load(hospital, 1);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    names.insert(hospital.name);
    sizes.insert(hospital.num_rows);
    prevalences_percent.insert(static_cast<int>(100 * Prevalence(Table(hospital, 1))));
  }
  EXPECT_EQ(names.size(), 4u);
  EXPECT_EQ(sizes.size(), 4u);
  EXPECT_EQ(prevalences_percent.size(), 4u);
}

// AUROC: how often a positive row scores above a negative one (Mann-Whitney).
double Auroc(const std::vector<double>& scores, const std::vector<float>& targets) {
  double wins = 0;
  double pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (targets[i] != 1 || targets[j] != 0) continue;
      pairs += 1;
      wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  }
  return wins / pairs;
}

std::vector<double> Scores(const Examples& examples, const std::vector<double>& weights) {
  std::vector<double> scores(examples.size());
  for (std::size_t row = 0; row < examples.size(); ++row) {
    scores[row] = weights.back();
    for (std::size_t i = 0; i < examples.num_inputs; ++i) {
      scores[row] += weights[i] * double{examples.inputs[row * examples.num_inputs + i]};
    }
  }
  return scores;
}

// Logistic regression by full-batch gradient descent. [num_inputs + 1], the bias last
std::vector<double> Fit(const Examples& examples) {
  std::vector<double> weights(examples.num_inputs + 1, 0.0);
  for (int step = 0; step < 300; ++step) {
    const std::vector<double> scores = Scores(examples, weights);
    std::vector<double> gradient(weights.size(), 0.0);
    for (std::size_t row = 0; row < examples.size(); ++row) {
      const double error = 1 / (1 + std::exp(-scores[row])) - double{examples.targets[row]};
      for (std::size_t i = 0; i < examples.num_inputs; ++i) {
        gradient[i] += error * double{examples.inputs[row * examples.num_inputs + i]};
      }
      gradient.back() += error;
    }
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i] -= 0.5 * gradient[i] / static_cast<double>(examples.size());
    }
  }
  return weights;
}

// Fixed seed, hence no chance of failing by luck.
TEST(SyntheticTest, CanBeLearntByALogisticRegression) {
  const StatusOr<Dataset> dataset = Load({.name = "h", .num_rows = 600, .shift = 0}, 2);
  ASSERT_TRUE(dataset.ok()) << dataset.status();

  const std::vector<double> weights = Fit(dataset->PerSite(v1::SPLIT_TRAIN));
  const Examples test = dataset->PerSite(v1::SPLIT_TEST);
  const double auroc = Auroc(Scores(test, weights), test.targets);

  EXPECT_GT(auroc, 0.82);
  EXPECT_LT(auroc, 0.95);
}

}  // namespace
}  // namespace chorale::data
