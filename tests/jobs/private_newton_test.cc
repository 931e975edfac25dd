#include "jobs/private_newton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/random.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "privacy/accountant.h"
#include "tests/support/valid_job.h"
#include "training/newton_sums.h"

namespace chorale::jobs {
namespace {

using testing::HasSubstr;

v1::JobSpec SolvedJob() { return support::PrivateNewtonJob(); }

std::string MessageFor(const std::function<void(v1::JobSpec&)>& change) {
  v1::JobSpec spec = SolvedJob();
  change(spec);
  const Status status = Validate(spec);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

TEST(PrivateNewtonTest, TakesTheModelsWhoseSumsItCanBound) {
  EXPECT_TRUE(Validate(SolvedJob()).ok()) << Validate(SolvedJob());
  v1::JobSpec spec = SolvedJob();
  spec.mutable_model()->mutable_linear_regression();
  spec.mutable_data()->mutable_target()->clear_positive();
  spec.mutable_data()->mutable_target()->mutable_numeric();
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  spec.mutable_model()->mutable_poisson_regression();
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("linear_regression alone"));
  v1::JobSpec cox = SolvedJob();
  cox.mutable_model()->mutable_cox();
  cox.mutable_data()->mutable_target()->mutable_survival()->set_time_column("days");
  EXPECT_THAT(MessageOf(Validate(cox)), HasSubstr("linear_regression alone"));
}

TEST(PrivateNewtonTest, NamesTheFieldThatDoesNotFit) {
  const auto in_privacy = [](const std::function<void(v1::PrivacySpec&)>& change) {
    return MessageFor([&](v1::JobSpec& spec) { change(*spec.mutable_privacy()); });
  };
  EXPECT_THAT(in_privacy([](auto& p) { p.mutable_local(); }), HasSubstr("privacy.local"));
  EXPECT_THAT(in_privacy([](auto& p) { p.set_sample_rate(0.5); }),
              HasSubstr("privacy.sample_rate must be left out"));
  EXPECT_THAT(in_privacy([](auto& p) { p.set_clipping(v1::CLIPPING_AUTOMATIC); }),
              HasSubstr("privacy.clipping must be flat"));
  EXPECT_THAT(in_privacy([](auto& p) { p.set_max_physical_batch_size(4); }),
              HasSubstr("max_physical_batch_size"));
  EXPECT_THAT(in_privacy([](auto& p) { p.set_grad_sample_mode(v1::GRAD_SAMPLE_MODE_MICRO); }),
              HasSubstr("privacy.grad_sample_mode"));
  EXPECT_THAT(in_privacy([](auto& p) { p.set_encoding(v1::GRID_ENCODING_FAST); }),
              HasSubstr("privacy.encoding"));
  EXPECT_THAT(in_privacy([](auto& p) {
                p.mutable_metrics()->add_kinds(v1::METRIC_KIND_LOSS);
                p.mutable_metrics()->set_split(v1::SPLIT_TRAIN);
              }),
              HasSubstr("privacy.metrics"));
  EXPECT_THAT(in_privacy([](auto& p) { p.mutable_newton()->set_max_hessian_norm(-1); }),
              HasSubstr("privacy.newton.max_hessian_norm must be in"));
  EXPECT_THAT(in_privacy([](auto& p) { p.mutable_newton()->set_max_hessian_norm(std::nan("")); }),
              HasSubstr("privacy.newton.max_hessian_norm must be in"));
  EXPECT_THAT(in_privacy([](auto& p) { p.mutable_newton()->set_hessian_share(1); }),
              HasSubstr("privacy.newton.hessian_share must be in"));
  EXPECT_THAT(in_privacy([](auto& p) { p.set_max_grad_norm(0); }), HasSubstr("max_grad_norm"));
  EXPECT_THAT(in_privacy([](auto& p) { p.set_expected_patients(0); }),
              HasSubstr("expected_patients"));
  EXPECT_THAT(MessageFor([](auto& spec) { spec.mutable_newton()->set_tolerance(1e-6); }),
              HasSubstr("newton.tolerance must be left out"));
  EXPECT_THAT(MessageFor([](auto& spec) {
                spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
                spec.mutable_data()->mutable_features(0)->mutable_numeric()->clear_range();
              }),
              HasSubstr("data.standardization"));
  EXPECT_THAT(MessageFor([](auto& spec) { spec.mutable_secure_aggregation()->mutable_none(); }),
              HasSubstr("secure_aggregation"));
}

TEST(PrivateNewtonTest, ItsBoundsAreOfNoJobOfSteps) {
  v1::JobSpec spec = support::PrivateJob();
  spec.mutable_privacy()->mutable_newton();
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("privacy.newton is of a job with newton"));
}

TEST(PrivateNewtonTest, ARoundIsOneSumOverAllPatients) {
  v1::JobSpec spec = SolvedJob();
  spec.mutable_privacy()->set_noise_multiplier(7);
  EXPECT_EQ(StepsPerRound(spec), 1);
  EXPECT_EQ(std::get<privacy::Gaussian>(StepOf(spec).kind).noise_multiplier, 7);
  const privacy::Event all = EventOfRounds(spec, {.rounds = 5});
  EXPECT_EQ(all.count, 5);
  EXPECT_EQ(std::get<privacy::Gaussian>(all.kind).noise_multiplier, 7);
}

TEST(PrivateNewtonTest, NoiseIsTheLeastThatKeepsTheTargetsOverAllRounds) {
  for (const auto relation :
       {v1::NEIGHBORING_RELATION_ADD_OR_REMOVE_ONE, v1::NEIGHBORING_RELATION_REPLACE_ONE}) {
    v1::JobSpec spec = SolvedJob();
    spec.mutable_privacy()->set_neighboring_relation(relation);
    ASSERT_TRUE(CalibrateNoise(spec).ok());
    EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
    const RoundsRun most = MostRounds(spec);
    EXPECT_EQ(most.rounds, spec.rounds().count() + 1);
    const privacy::Statement statement = StatementOf(spec, most).value();
    EXPECT_LE(statement.guarantee.epsilon, 1);
    EXPECT_GT(statement.guarantee.epsilon, 1 - 1e-4);
    EXPECT_EQ(statement.sampling, "none");
    EXPECT_THAT(statement.holds_for, HasSubstr("4 sums over the consortium's patients"));
    // Sums are Gaussian mechanisms, so four of them are one with half of the noise.
    const double factor = relation == v1::NEIGHBORING_RELATION_REPLACE_ONE ? 2 : 1;
    const double noise = spec.privacy().noise_multiplier() / factor / 2;
    const auto alone = privacy::EpsilonFor({.kind = privacy::Gaussian{.noise_multiplier = noise}},
                                           1e-4, AccountingOf(SolvedJob().privacy()));
    EXPECT_NEAR(alone->epsilon, statement.guarantee.epsilon, 1e-9);

    spec.mutable_privacy()->set_noise_multiplier(0.99 * spec.privacy().noise_multiplier());
    EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("privacy.noise_multiplier must be larger"));
  }
}

TEST(PrivateNewtonTest, BoundsHaveTheirDefaults) {
  v1::JobSpec spec = SolvedJob();
  spec.mutable_privacy()->set_max_grad_norm(1.5);
  spec.mutable_privacy()->set_noise_multiplier(6);
  EXPECT_EQ(NewtonBoundsOf(spec, 16).gradient, 1.5);
  EXPECT_EQ(NewtonBoundsOf(spec, 16).hessian, 3);
  EXPECT_EQ(NewtonBoundsOf(spec, 16).hessian_share, 0.25);
  EXPECT_DOUBLE_EQ(NewtonDeviationsOf(spec, 16).gradient, 6 * 1.5 / std::sqrt(0.75));
  EXPECT_DOUBLE_EQ(NewtonDeviationsOf(spec, 16).hessian, 6 * 3 / 0.5);
  spec.mutable_privacy()->mutable_newton()->set_max_hessian_norm(2);
  spec.mutable_privacy()->mutable_newton()->set_hessian_share(0.5);
  EXPECT_EQ(NewtonBoundsOf(spec, 16).hessian, 2);
  EXPECT_EQ(NewtonBoundsOf(spec, 16).hessian_share, 0.5);
  v1::JobSpec linear = SolvedJob();
  linear.mutable_model()->mutable_linear_regression();
  EXPECT_EQ(NewtonBoundsOf(linear, 16).hessian, 16);
}

TEST(PrivateNewtonTest, TheNoiseOfASumFitsItsGridForAnySizeOfModel) {
  v1::JobSpec spec = SolvedJob();
  for (const std::uint64_t num_coefficients : {1u, 5u, 100u, 2048u}) {
    for (const double noise : {0.01, 1.0, 1e5}) {
      spec.mutable_privacy()->set_noise_multiplier(noise);
      const NoisySum sum = NewtonSumOf(spec, num_coefficients);
      EXPECT_EQ(sum.num_values, num_coefficients + num_coefficients * (num_coefficients + 1) / 2);
      const auto share = NoiseShareOf(sum, spec.privacy(), 2);
      ASSERT_TRUE(share.ok()) << share.status() << " for " << num_coefficients << ", " << noise;
      // Two shares have the variance that the accounting is for.
      EXPECT_GE(2 * privacy::ToDouble(share->variance),
                noise * noise * share->sensitivity * share->sensitivity * (1 - 1e-12));
    }
  }
}

std::vector<std::uint64_t> Words(const Bytes& bytes) {
  std::vector<std::uint64_t> words(bytes.size() / 8);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    words[i / 8] |= std::uint64_t{bytes[i]} << (8 * (i % 8));
  }
  return words;
}

TEST(PrivateNewtonTest, SumsOverSitesTravelAsWholeNumbersInARingOf64Bits) {
  constexpr std::uint64_t kCoefficients = 4;
  const v1::JobSpec spec = SolvedJob();
  const auto layout = MaskedLayout::Create(spec, MaskedKind::kNewtonSums, kCoefficients, 3);
  ASSERT_TRUE(layout.ok()) << layout.status();
  const std::uint64_t size = training::NewtonVectorSize(kCoefficients);
  EXPECT_EQ(layout->vector().size_bytes(), 8 * size);
  EXPECT_EQ(layout->exact_bytes(), 8 * size);
  EXPECT_EQ(layout->num_update_values(), 0);

  SeededRandom random(1);
  std::vector<std::uint64_t> total(size);
  std::vector<std::int64_t> expected(size);
  for (int site = 0; site < 3; ++site) {
    std::vector<std::int64_t> noisy(size);
    for (std::int64_t& number : noisy) {
      number = static_cast<std::int64_t>(random.NextBelow(std::uint64_t{1} << 60)) -
               (std::int64_t{1} << 59);
    }
    const StatusOr<Bytes> bytes = layout->Encode({.noisy_sums = noisy});
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const std::vector<std::uint64_t> words = Words(*bytes);
    for (std::size_t i = 0; i < size; ++i) {
      total[i] += words[i];
      expected[i] += noisy[i];
    }
  }
  Bytes sum;
  for (const std::uint64_t word : total) {
    for (int shift = 0; shift < 64; shift += 8) {
      sum.push_back(static_cast<std::uint8_t>(word >> shift));
    }
  }
  const auto summed = layout->Summed(sum, 3);
  ASSERT_TRUE(summed.ok()) << summed.status();
  EXPECT_EQ(summed->num_examples, 0);
  ASSERT_EQ(summed->sums.size(), size);
  const double step = GridOf(NewtonSumOf(spec, kCoefficients), spec.privacy())->step();
  for (std::size_t i = 0; i < size; ++i) {
    EXPECT_EQ(summed->sums[i], static_cast<double>(expected[i]) * step);
  }
}

TEST(PrivateNewtonTest, NothingElseTravels) {
  const v1::JobSpec spec = SolvedJob();
  for (const MaskedKind kind :
       {MaskedKind::kUpdate, MaskedKind::kPreparation, MaskedKind::kPersonalMetrics}) {
    EXPECT_FALSE(MaskedLayout::Create(spec, kind, 4, 3).ok());
  }
  EXPECT_FALSE(MaskedLayout::Create(support::PrivateJob(), MaskedKind::kNewtonSums, 4, 3).ok());
  const auto layout = MaskedLayout::Create(spec, MaskedKind::kNewtonSums, 4, 3).value();
  const std::vector<std::int64_t> noisy(training::NewtonVectorSize(4));
  const std::vector<double> sums(training::NewtonSumsSize(4));
  EXPECT_TRUE(layout.Encode({.noisy_sums = noisy}).ok());
  EXPECT_FALSE(layout.Encode({.sums = sums}).ok());
  EXPECT_FALSE(layout.Encode({.noisy_sums = noisy, .sums = sums}).ok());
  EXPECT_FALSE(layout.Encode({.metric_sum = noisy}).ok());
  EXPECT_FALSE(layout.Encode({.noisy_sums = std::span(noisy).first(3)}).ok());
}

TEST(PrivateNewtonTest, WhoReadsASumInAnotherWayHasAnotherDigest) {
  const auto digest_of = [](const std::function<void(v1::PrivacySpec&)>& change) {
    v1::JobSpec spec = SolvedJob();
    change(*spec.mutable_privacy());
    return MaskedLayout::Create(spec, MaskedKind::kNewtonSums, 4, 3).value().digest();
  };
  const crypto::Digest plain = digest_of([](auto&) {});
  EXPECT_EQ(plain, digest_of([](auto&) {}));
  EXPECT_NE(plain, digest_of([](auto& p) { p.set_max_grad_norm(2); }));
  EXPECT_NE(plain, digest_of([](auto& p) { p.mutable_newton()->set_hessian_share(0.3); }));
  EXPECT_NE(plain, digest_of([](auto& p) { p.mutable_newton()->set_max_hessian_norm(9); }));
}

}  // namespace
}  // namespace chorale::jobs
