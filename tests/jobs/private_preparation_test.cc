#include "jobs/private_preparation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "core/random.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "secagg/vector_spec.h"
#include "tests/support/patient_table.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Two numeric features: age in [0, 120], and pressure in [80, 200], which may be missing.
v1::JobSpec PreparedJob() {
  v1::JobSpec spec = support::PrivateJob();
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  v1::FeatureSpec& pressure = *spec.mutable_data()->add_features();
  pressure.set_column("pressure");
  pressure.mutable_numeric()->set_impute(v1::IMPUTATION_MEAN);
  pressure.mutable_numeric()->mutable_range()->set_low(80);
  pressure.mutable_numeric()->mutable_range()->set_high(200);
  return spec;
}

std::string MessageFor(const std::function<void(v1::JobSpec&)>& change) {
  v1::JobSpec spec = PreparedJob();
  change(spec);
  const Status status = Validate(spec);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

std::vector<double> VectorOf(const v1::DataSpec& spec, const std::string& rows) {
  const data::Dataset dataset = support::PatientTable(spec, rows);
  std::vector<std::size_t> all(dataset.num_training_rows());
  std::iota(all.begin(), all.end(), 0);
  PatientColumns columns(dataset);
  const std::span<const double> vector = columns.VectorOf(all);
  return {vector.begin(), vector.end()};
}

double LengthOf(std::span<const double> vector) {
  return std::sqrt(std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0));
}

TEST(PrivatePreparationTest, NamesTheBoundThatIsBroken) {
  EXPECT_TRUE(Validate(PreparedJob()).ok()) << Validate(PreparedJob());
  EXPECT_THAT(MessageFor([](auto& s) {
                s.mutable_privacy()->mutable_preparation()->set_noise_multiplier(1e7);
              }),
              HasSubstr("privacy.preparation.noise_multiplier"));
  EXPECT_THAT(MessageFor([](auto& s) {
                s.mutable_privacy()->mutable_preparation()->set_epsilon_share(-0.1);
              }),
              HasSubstr("privacy.preparation.epsilon_share"));
  EXPECT_THAT(
      MessageFor([](auto& s) { s.mutable_privacy()->mutable_preparation()->set_spares(10001); }),
      HasSubstr("privacy.preparation.spares"));
  EXPECT_THAT(MessageFor([](auto& s) {
                s.mutable_data()->mutable_features(2)->mutable_numeric()->clear_range();
              }),
              HasSubstr("range is required"));
  EXPECT_THAT(
      MessageFor([](auto& s) {
        s.mutable_data()->mutable_features(2)->mutable_numeric()->set_impute(v1::IMPUTATION_MEDIAN);
      }),
      HasSubstr("must be mean or middle"));
  EXPECT_THAT(MessageFor([](auto& s) { s.clear_privacy(); }), HasSubstr("data.standardization"));
}

TEST(PrivatePreparationTest, IsForJobsThatHaveSomethingToPrepare) {
  v1::JobSpec spec = PreparedJob();
  EXPECT_TRUE(HasPrivatePreparation(spec));
  spec.mutable_privacy()->mutable_preparation();
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_RANGE);
  spec.mutable_data()->mutable_features(2)->mutable_numeric()->set_impute(v1::IMPUTATION_MIDDLE);
  EXPECT_FALSE(HasPrivatePreparation(spec));
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("federated_private"));
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  spec.mutable_data()->mutable_features()->DeleteSubrange(2, 1);
  spec.mutable_data()->mutable_features()->DeleteSubrange(0, 1);
  EXPECT_FALSE(HasPrivatePreparation(spec));
}

TEST(PrivatePreparationTest, APatientAddsMeansOverItsRowsWithinTheRanges) {
  const v1::DataSpec spec = PreparedJob().data();
  // 60 is the middle of age, 90 half way up; 140 is the middle of pressure.
  EXPECT_THAT(VectorOf(spec, "60,none,140,1,p,train\n90,mild,,0,p,train\n"),
              ElementsAre(1, 0.25, 0.125 - 0.5, 0, -0.25, 0.5));
  // Beyond either end stands for the end.
  EXPECT_THAT(VectorOf(spec, "1e30,none,-1e30,1,p,train\n"), ElementsAre(1, 1, 0.5, -1, 0.5, 1));
  EXPECT_THAT(VectorOf(spec, "0,none,,1,p,train\n"), ElementsAre(1, -1, 0.5, 0, 0, 0));
}

TEST(PrivatePreparationTest, NoPatientIsLongerThanTheBoundAndOneIsAsLong) {
  const v1::JobSpec spec = PreparedJob();
  const double bound = PreparationSumOf(spec).norm;
  EXPECT_DOUBLE_EQ(bound, std::sqrt(1 + 1.25 + 2.25));
  EXPECT_DOUBLE_EQ(LengthOf(VectorOf(spec.data(), "120,none,200,1,p,train\n")), bound);
  SeededRandom random(5);
  for (int patient = 0; patient < 300; ++patient) {
    std::string rows;
    const std::uint64_t num_rows = 1 + random.NextBelow(6);
    for (std::uint64_t row = 0; row < num_rows; ++row) {
      const auto cell = [&] {
        const double size = std::pow(10.0, 60 * random.NextDouble() - 30);
        return std::to_string(random.NextBelow(3) == 0 ? 120 : (random.NextDouble() - 0.5) * size);
      };
      rows += cell() + ",none," + (random.NextBelow(3) == 0 ? "" : cell()) + ",1,p,train\n";
    }
    EXPECT_LE(LengthOf(VectorOf(spec.data(), rows)), bound * (1 + 1e-12)) << rows;
  }
}

TEST(PrivatePreparationTest, ExactSumsTellMeansAndDeviationsOverPatients) {
  v1::JobSpec spec = PreparedJob();
  spec.mutable_privacy()->mutable_preparation()->set_noise_multiplier(0.01);
  std::vector<double> sums(PreparationSumOf(spec).num_values);
  for (int patient = 0; patient < 200; ++patient) {
    // Ages 30 and 60, pressures 100 and 140, half of them missing.
    const bool is_first = patient % 2 == 0;
    const std::string pressure = patient % 4 < 2 ? (is_first ? "100" : "140") : "";
    const std::vector<double> vector = VectorOf(
        spec.data(), std::string(is_first ? "30" : "60") + ",none," + pressure + ",1,p,train\n");
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += vector[i];
  }

  const NoisyMoments told = NoisyMomentsOf(spec, sums);

  ASSERT_EQ(told.moments.size(), 2u);
  EXPECT_NEAR(told.moments[0].mean, 45, 1e-9);
  EXPECT_NEAR(told.moments[0].standard_deviation, 15, 1e-9);
  EXPECT_NEAR(told.moments[1].mean, 120, 1e-9);
  EXPECT_NEAR(told.moments[1].standard_deviation, 20, 1e-9);
  EXPECT_EQ(told.moments[1].imputed, told.moments[1].mean);
  EXPECT_EQ(told.statistics[1].column, "pressure");
  EXPECT_EQ(told.statistics[1].count, 100);
  EXPECT_EQ(told.statistics[1].missing, 100);
}

TEST(PrivatePreparationTest, WhatNoiseCoversIsNotToldAndTheRangeStandsForIt) {
  v1::JobSpec spec = PreparedJob();
  v1::PrivatePreparation& preparation = *spec.mutable_privacy()->mutable_preparation();
  preparation.set_noise_multiplier(1);  // A deviation of 2.1 patients.
  // 400 patients of age 66 whose squares tell a deviation of 0.6 years: less than noise does.
  std::vector<double> sums = {400, 40, 400 * (0.01 + 1e-4 - 0.5), 0, 0, 3};

  NoisyMoments told = NoisyMomentsOf(spec, sums);
  EXPECT_NEAR(told.moments[0].mean, 66, 1e-9);
  EXPECT_EQ(told.moments[0].standard_deviation, 60);
  // Three patients have a pressure, as far as noise lets that be told.
  EXPECT_EQ(told.moments[1].mean, 140);
  EXPECT_EQ(told.moments[1].standard_deviation, 60);

  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double hostile : {0.0, -1e18, 1e18, -kInfinity, kInfinity, std::nan("")}) {
    told = NoisyMomentsOf(spec, std::vector<double>(sums.size(), hostile));
    EXPECT_TRUE(data::Validate(told.moments, spec.data()).ok()) << hostile;
    for (const data::Moments& moments : told.moments) {
      EXPECT_GE(moments.mean, 0);
      EXPECT_LE(moments.mean, 200);
      EXPECT_LE(moments.standard_deviation, 60);
    }
  }
}

TEST(PrivatePreparationTest, NoiseIsFoundForTheWholeJobPreparationsIncluded) {
  v1::JobSpec without = support::PrivateJob();
  ASSERT_TRUE(CalibrateNoise(without).ok());
  for (const double share : {0.0, 0.05, 0.5}) {
    v1::JobSpec spec = PreparedJob();
    v1::PrivatePreparation& preparation = *spec.mutable_privacy()->mutable_preparation();
    preparation.set_epsilon_share(share);
    EXPECT_FALSE(HasNoise(spec));
    ASSERT_TRUE(CalibrateNoise(spec).ok());
    EXPECT_TRUE(HasNoise(spec));
    EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

    const privacy::Statement statement = StatementOf(spec, MostRounds(spec)).value();
    EXPECT_LE(statement.guarantee.epsilon, 1);
    EXPECT_GT(statement.guarantee.epsilon, 1 - 1e-3);
    EXPECT_THAT(statement.holds_for, HasSubstr("2 preparations"));
    EXPECT_EQ(statement.sampling, "poisson (none for preparations)");
    privacy::Event sums = EventOf(PreparationSumOf(spec));
    sums.count = MostPreparations(spec);
    const double alone =
        privacy::EpsilonFor(sums, 1e-4, AccountingOf(spec.privacy())).value().epsilon;
    const double asked = share == 0 ? 0.1 : share;
    EXPECT_LE(alone, asked);
    EXPECT_GT(alone, 0.99 * asked);
    EXPECT_GT(spec.privacy().noise_multiplier(), without.privacy().noise_multiplier());
  }
}

TEST(PrivatePreparationTest, ARoundZeroIsAPreparationAndNoStep) {
  const v1::JobSpec spec = PreparedJob();
  const RoundsRun run = CountRounds(spec, std::vector<std::uint32_t>{0, 0, 1, 2, 2});
  EXPECT_EQ(run.preparations, 2u);
  EXPECT_EQ(run.rounds, 3u);
  EXPECT_EQ(MostRounds(spec).preparations, 2u);
  EXPECT_EQ(MostRounds(support::PrivateJob()).preparations, 0u);
  v1::JobSpec patient = PreparedJob();
  patient.mutable_privacy()->mutable_preparation()->set_spares(4);
  EXPECT_EQ(MostRounds(patient).preparations, 5u);
}

TEST(PrivatePreparationTest, MaskedSumsOfSitesAddUpToTheSumOfPatients) {
  v1::JobSpec spec = PreparedJob();
  ASSERT_TRUE(CalibrateNoise(spec).ok());
  const MaskedLayout layout = MaskedLayout::Create(spec, MaskedKind::kPreparation, 4, 3).value();
  const double step = GridOf(PreparationSumOf(spec), spec.privacy())->step();
  const std::size_t size = PreparationSumOf(spec).num_values;
  EXPECT_EQ(layout.num_update_values(), 0u);
  EXPECT_EQ(layout.vector().size_bytes(), 8 * size);

  Bytes sum(layout.vector().size_bytes());
  const std::vector<std::int64_t> site(size, -7);
  for (int i = 0; i < 3; ++i) {
    const Bytes vector = layout.Encode({.noisy_sums = site}).value();
    ASSERT_TRUE(secagg::AddVectors(layout.vector(), 0, vector, sum, 1).ok());
  }
  const SummedNumbers summed = layout.Summed(sum, 3).value();
  EXPECT_EQ(summed.sums, std::vector<double>(size, -21 * step));
  EXPECT_EQ(summed.num_examples, 0u);

  EXPECT_FALSE(layout.Encode({}).ok());
  EXPECT_FALSE(layout.Encode({.metric_sum = site}).ok());
  EXPECT_FALSE(layout.Encode({.sums = std::vector<double>(size)}).ok());
  EXPECT_FALSE(MaskedLayout::Create(spec, MaskedKind::kPersonalMetrics, 4, 3).ok());
  EXPECT_FALSE(MaskedLayout::Create(support::PrivateJob(), MaskedKind::kPreparation, 4, 3).ok());
}

}  // namespace
}  // namespace chorale::jobs
