#include "jobs/privacy_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "privacy/noise/discrete_gaussian_rdp.h"
#include "privacy/rdp_curve.h"
#include "secagg/refusal.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using testing::HasSubstr;

v1::JobSpec PrivateJob() { return support::PrivateJob(); }

std::string MessageFor(const std::function<void(v1::JobSpec&)>& change) {
  v1::JobSpec spec = PrivateJob();
  change(spec);
  const Status status = Validate(spec);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

TEST(PrivacySpecTest, AcceptsNoiseOnTheSumAndNoiseAtEverySite) {
  EXPECT_TRUE(Validate(PrivateJob()).ok()) << Validate(PrivateJob());
  v1::JobSpec local = PrivateJob();
  local.mutable_privacy()->mutable_local();
  local.mutable_training()->set_local_steps(20);
  EXPECT_TRUE(Validate(local).ok()) << Validate(local);
}

TEST(PrivacySpecTest, NamesTheBoundThatIsBroken) {
  const auto message = [](const std::function<void(v1::PrivacySpec&)>& change) {
    return MessageFor([&](v1::JobSpec& spec) { change(*spec.mutable_privacy()); });
  };
  const double nan = std::nan("");
  EXPECT_THAT(message([&](auto& p) { p.set_target_epsilon(nan); }),
              HasSubstr("privacy.target_epsilon"));
  EXPECT_THAT(message([](auto& p) { p.set_target_delta(0); }), HasSubstr("privacy.target_delta"));
  EXPECT_THAT(message([](auto& p) { p.set_target_delta(0.01); }),
              HasSubstr("below 1 / expected_patients"));
  EXPECT_THAT(message([&](auto& p) { p.set_sample_rate(nan); }), HasSubstr("privacy.sample_rate"));
  EXPECT_THAT(message([](auto& p) { p.set_max_grad_norm(0); }), HasSubstr("privacy.max_grad_norm"));
  EXPECT_THAT(message([](auto& p) { p.set_expected_patients(0); }),
              HasSubstr("privacy.expected_patients"));
  EXPECT_THAT(message([](auto& p) { p.set_noise_multiplier(0.001); }),
              HasSubstr("privacy.noise_multiplier"));
  EXPECT_THAT(message([](auto& p) { p.set_grid_inflation(2); }),
              HasSubstr("privacy.grid_inflation"));
  EXPECT_THAT(message([](auto& p) { p.set_spare_rounds(20000); }),
              HasSubstr("privacy.spare_rounds"));
  EXPECT_THAT(message([](auto& p) { p.clear_placement(); }), HasSubstr("distributed: {}"));
  EXPECT_THAT(message([](auto& p) { p.set_grad_sample_mode(v1::GRAD_SAMPLE_MODE_BK); }),
              HasSubstr("encoding: fast"));
}

TEST(PrivacySpecTest, RefusesWhateverElseWouldTellOfRows) {
  EXPECT_THAT(MessageFor([](auto& spec) {
                v1::MetricSpec& metric = *spec.mutable_training()->add_metrics();
                metric.set_kind(v1::METRIC_KIND_LOSS);
                metric.set_split(v1::SPLIT_TRAIN);
              }),
              HasSubstr("training.metrics"));
  EXPECT_THAT(MessageFor([](auto& spec) {
                spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
                spec.mutable_data()->mutable_features(0)->mutable_numeric()->clear_range();
              }),
              HasSubstr("data.standardization"));
  EXPECT_THAT(MessageFor([](auto& spec) {
                spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_EXAMPLES);
              }),
              HasSubstr("weighting: uniform"));
  EXPECT_THAT(MessageFor([](auto& spec) { spec.mutable_secure_aggregation()->mutable_none(); }),
              HasSubstr("secure_aggregation"));
  EXPECT_THAT(MessageFor([](auto& spec) { spec.mutable_personalization()->set_local_epochs(1); }),
              HasSubstr("personalization"));
  EXPECT_THAT(MessageFor([](auto& spec) { spec.mutable_training()->set_local_epochs(1); }),
              HasSubstr("local_steps"));
  EXPECT_THAT(MessageFor([](auto& spec) { spec.mutable_training()->set_batch_size(8); }),
              HasSubstr("sample_rate"));
  EXPECT_THAT(MessageFor([](auto& spec) { spec.mutable_training()->set_local_steps(2); }),
              HasSubstr("a round is a step"));
  EXPECT_THAT(MessageFor([](auto& spec) {
                spec.mutable_training()->mutable_optimizer()->mutable_sgd()->set_momentum(0.9);
              }),
              HasSubstr("training.optimizer"));
}

TEST(PrivacySpecTest, FindsTheLeastNoiseThatKeepsTheTargets) {
  v1::JobSpec spec = PrivateJob();
  ASSERT_TRUE(CalibrateNoise(spec).ok());
  const double noise = spec.privacy().noise_multiplier();

  const StatusOr<privacy::Statement> enough = StatementOf(spec, MostRounds(spec));
  ASSERT_TRUE(enough.ok()) << enough.status();
  EXPECT_LE(enough->guarantee.epsilon, 1);
  EXPECT_GT(enough->guarantee.epsilon, 1 - 1e-3);
  EXPECT_EQ(enough->guarantee.delta, 1e-4);
  EXPECT_TRUE(Validate(spec).ok());

  ASSERT_TRUE(CalibrateNoise(spec).ok());
  EXPECT_EQ(spec.privacy().noise_multiplier(), noise);  // What is there stays.
  spec.mutable_privacy()->set_noise_multiplier(noise * 0.99);
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("must be larger for target_epsilon"));
}

TEST(PrivacySpecTest, PaysForSpareRoundsInAdvance) {
  v1::JobSpec spec = PrivateJob();
  spec.mutable_rounds()->set_count(100);
  EXPECT_EQ(MaxRounds(spec), 105u);
  spec.mutable_rounds()->set_count(1);
  EXPECT_EQ(MaxRounds(spec), 2u);
  spec.mutable_privacy()->set_spare_rounds(7);
  EXPECT_EQ(MaxRounds(spec), 8u);
}

TEST(PrivacySpecTest, CountsOnTheFewestHonestSitesThatASumMayHave) {
  const v1::JobSpec spec = PrivateJob();
  // 4 sites: threshold and least group 3, one colluder.
  EXPECT_EQ(HonestSites(spec, secagg::DefaultGroup(4)), 2u);
  EXPECT_EQ(HonestSites(spec, {.num_members = 10, .colluders = 2, .threshold = 7, .min_group = 9}),
            7u);
  v1::JobSpec local = spec;
  local.mutable_privacy()->mutable_local();
  EXPECT_EQ(HonestSites(local, secagg::DefaultGroup(4)), 1u);
}

TEST(PrivacySpecTest, TheNoiseThatIsPlannedCostsNoMoreThanWhatIsClaimed) {
  for (const v1::GridEncoding encoding : {v1::GRID_ENCODING_VERIFIED, v1::GRID_ENCODING_FAST}) {
    for (const std::uint32_t honest : {1u, 2u, 13u}) {
      v1::JobSpec spec = PrivateJob();
      spec.mutable_privacy()->set_encoding(encoding);
      ASSERT_TRUE(CalibrateNoise(spec).ok());
      const StatusOr<privacy::Grid> grid = GridOf(spec.privacy(), 1000);
      const StatusOr<privacy::NoiseShare> share = NoiseShareOf(spec, 1000, honest);
      ASSERT_TRUE(grid.ok() && share.ok()) << share.status();

      // The discrete noise of the shares, by a way of its own.
      StatusOr<privacy::RdpCurve> curve = privacy::SampledDiscreteGaussianRdp(
          privacy::SumOf(*grid, *share), spec.privacy().sample_rate(),
          AccountingOf(spec.privacy()).orders);
      ASSERT_TRUE(curve.ok()) << curve.status();
      for (double& value : curve->values) value *= static_cast<double>(MaxRounds(spec));
      const double planned = privacy::EpsilonOf(*curve, spec.privacy().target_delta()).epsilon;

      const double claimed = StatementOf(spec, MostRounds(spec))->guarantee.epsilon;
      EXPECT_LE(planned, claimed * (1 + 1e-9)) << honest;
      EXPECT_GT(planned, claimed * 0.999) << honest;
    }
  }
}

// ---------------------------------------------------------------------------- on the wire

TEST(PrivacySpecTest, ASumOfGradientsBecomesTheStepOfOneBatchOverAllSites) {
  v1::JobSpec spec = PrivateJob();  // Rate 0.25 of 400 patients, learning rate 0.5.
  ASSERT_TRUE(CalibrateNoise(spec).ok());
  const StatusOr<MaskedLayout> layout = MaskedLayout::Create(spec, MaskedKind::kUpdate, 3, 4);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->exact_bytes(), 0u);

  Bytes sum(layout->vector().size_bytes());
  for (const std::int64_t site : {1, 10, 100, 1000}) {
    const std::vector<std::int64_t> gradients = {site, -site, 0};
    const StatusOr<Bytes> vector = layout->Encode({.gradient_sum = gradients});
    ASSERT_TRUE(vector.ok()) << vector.status();
    ASSERT_TRUE(secagg::AddVectors(layout->vector(), 0, *vector, sum, 1).ok());
  }
  const StatusOr<SummedNumbers> numbers = layout->Summed({}, 4);
  ASSERT_TRUE(numbers.ok());
  EXPECT_EQ(numbers->num_examples, 0u);
  std::vector<float> step(3);
  layout->DecodeUpdates(0, sum, *numbers, 4, step);

  const double grid = GridOf(spec.privacy(), 3)->step();
  EXPECT_FLOAT_EQ(step[0], static_cast<float>(-0.5 * 1111 * grid / 100));
  EXPECT_FLOAT_EQ(step[1], static_cast<float>(0.5 * 1111 * grid / 100));
  EXPECT_EQ(step[2], 0);
}

TEST(PrivacySpecTest, AnUpdateOfPrivateStepsTellsNoNumberOfRows) {
  v1::JobSpec spec = PrivateJob();
  spec.mutable_privacy()->mutable_local();
  const StatusOr<MaskedLayout> layout = MaskedLayout::Create(spec, MaskedKind::kUpdate, 2, 4);
  ASSERT_TRUE(layout.ok()) << layout.status();
  const std::vector<float> update = {0.5F, -1};

  const StatusOr<Bytes> vector = layout->Encode({.update = update, .num_examples = 12345});
  const StatusOr<Bytes> other = layout->Encode({.update = update, .num_examples = 1});

  ASSERT_TRUE(vector.ok() && other.ok());
  EXPECT_EQ(*vector, *other);
  EXPECT_FALSE(MaskedLayout::Create(spec, MaskedKind::kPreparation, 2, 4).ok());
}

TEST(PrivacySpecTest, RefusesAGridTooCoarseForItsNoise) {
  v1::JobSpec spec = PrivateJob();
  spec.mutable_privacy()->set_noise_multiplier(0.5);
  spec.mutable_privacy()->set_grid_inflation(1.1);
  EXPECT_TRUE(NoiseShareOf(spec, 1000000, 1).ok());
  EXPECT_THAT(MessageOf(NoiseShareOf(spec, 4, 100).status()), HasSubstr("privacy"));
}

}  // namespace
}  // namespace chorale::jobs
