#include "site_agent/patient_vectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/random.h"
#include "jobs/private_preparation.h"
#include "tests/site_agent/noisy_steps.h"
#include "tests/support/patient_table.h"
#include "tests/support/valid_job.h"

// The sum of a private preparation, from a table to whole numbers. Keys are fixed: a test passes or
// fails the same way every time.
namespace chorale::site_agent {
namespace {

using privacy::Uint128;
using testing::ElementsAre;

class PatientVectorsTest : public testing::Test {
 protected:
  PatientVectorsTest() {
    v1::DataSpec& data = *spec_.mutable_data();
    data.set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
    data.mutable_features(0)->mutable_numeric()->set_impute(v1::IMPUTATION_MEAN);
    v1::FeatureSpec& pressure = *data.add_features();
    pressure.set_column("pressure");
    pressure.mutable_numeric()->mutable_range()->set_high(200);
    spec_.mutable_privacy()->mutable_preparation()->set_noise_multiplier(1);
  }
  Steps Sum(const std::string& rows, std::uint32_t key = 1,
            privacy::PrivacyUnit unit = privacy::PrivacyUnit::kPatient) {
    const data::Dataset table = support::PatientTable(spec_.data(), rows);
    return SumPatientVectors({.sum = jobs::PreparationSumOf(spec_),
                              .privacy = spec_.privacy(),
                              .honest_sites = honest_sites_,
                              .purpose = "preparation"},
                             KeyOf(key),
                             [&](privacy::PatientSum& sum) {
                               AddColumns(table, unit, sum);
                               return OkStatus();
                             })
        .value();
  }
  privacy::Grid Grid() {
    return jobs::GridOf(jobs::PreparationSumOf(spec_), spec_.privacy()).value();
  }

  v1::JobSpec spec_ = support::PrivateJob();
  std::uint32_t honest_sites_ = 3;
  const std::string rows_ = "60,none,100,1,a,train\n,mild,150,0,a,train\n30,none,0,0,b,train\n";
};

TEST_F(PatientVectorsTest, OnePatientMoreMovesTheSumByNoMoreThanTheSensitivity) {
  const Steps sum = Sum(rows_);
  double largest = 0;
  const auto expect_bounded = [&](const std::string& more) {
    const Uint128 square = SquareOf(Minus(Sum(rows_ + more), sum));
    EXPECT_TRUE(square <= Grid().max_square()) << more;
    largest = std::max(largest, std::sqrt(static_cast<double>(square)));
  };
  const std::vector<std::string> cells = {"1e30", "-1e30", "3e38",  "-3e38",  "120",
                                          "0",    "60",    "1e-40", "119.999"};
  for (const std::string& age : cells) {
    for (const std::string& pressure : cells) {
      const std::string row = age + ",none," + pressure + ",1,p,train\n";
      expect_bounded(row);
      std::string many;
      for (int i = 0; i < 40; ++i) many += row;
      expect_bounded(many + ",mild," + pressure + ",0,p,train\n");
    }
  }
  SeededRandom random(3);
  for (int i = 0; i < 200; ++i) {
    std::string more;
    for (std::uint64_t row = 0; row <= random.NextBelow(5); ++row) {
      const double size = std::pow(10.0, 60 * random.NextDouble() - 30);
      more += std::to_string((random.NextDouble() - 0.5) * size) + ",none," + std::to_string(size) +
              ",1,p,train\n";
    }
    expect_bounded(more);
  }
  EXPECT_GT(largest, 0.99 * Grid().norm_in_steps());  // Or the test would see nothing.
}

TEST_F(PatientVectorsTest, PatientsCountOnceAndRecordsEach) {
  const auto count = [this](privacy::PrivacyUnit unit) {
    const Steps of_all = Sum(rows_, 1, unit);
    const Steps of_one = Sum("30,none,0,0,b,train\n", 1, unit);
    return static_cast<double>(Minus(of_all, of_one)[0]) * Grid().step();
  };
  EXPECT_NEAR(count(privacy::PrivacyUnit::kPatient), 1, 0.001);
  EXPECT_NEAR(count(privacy::PrivacyUnit::kRecord), 2, 0.001);
}

TEST_F(PatientVectorsTest, TheNoiseIsOneShareOfWhatTheSumNeedsAndOfItsKeyAlone) {
  const auto noise = [&](std::uint32_t key) {
    return SumPatientVectors({.sum = jobs::PreparationSumOf(spec_),
                              .privacy = spec_.privacy(),
                              .honest_sites = honest_sites_,
                              .purpose = "preparation"},
                             KeyOf(key), [](privacy::PatientSum&) { return OkStatus(); })
        .value();
  };
  EXPECT_EQ(noise(1), noise(1));
  EXPECT_NE(noise(1), noise(2));
  for (const std::uint32_t honest : {1u, 4u}) {
    honest_sites_ = honest;
    double square = 0;
    double numbers = 0;
    for (std::uint32_t key = 0; key < 600; ++key) {
      for (const std::int64_t value : noise(key)) {
        square += static_cast<double>(value) * static_cast<double>(value);
        numbers += 1;
      }
    }
    const double sigma = Grid().norm_in_steps() / std::sqrt(honest);
    // Six standard deviations of the estimate: once in 10^9.
    EXPECT_NEAR(square / numbers / (sigma * sigma), 1, 6 * std::sqrt(2 / numbers));
  }
}

TEST_F(PatientVectorsTest, AFailureOfAddingIsTheResult) {
  const auto failed = SumPatientVectors(
      {.sum = jobs::PreparationSumOf(spec_), .privacy = spec_.privacy(), .purpose = "preparation"},
      KeyOf(1), [](privacy::PatientSum&) { return Cancelled("stopped"); });
  EXPECT_EQ(failed.status().code(), StatusCode::kCancelled);
}

TEST(RowsByPatientTest, KeepsTheOrderOfRows) {
  const std::vector<std::uint32_t> patients = {0, 1, 0, 2, 1};
  EXPECT_THAT(RowsByPatient(patients),
              ElementsAre(ElementsAre(0, 2), ElementsAre(1, 4), ElementsAre(3)));
}

}  // namespace
}  // namespace chorale::site_agent
