#include "jobs/adaptive_clipping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "secagg/mask_stream.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kNumParameters = 50;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A batch of 100 patients is expected.
v1::JobSpec AdaptiveJob(double noise_multiplier = 2) {
  v1::JobSpec spec = support::PrivateJob();
  spec.mutable_privacy()->set_clipping(v1::CLIPPING_ADAPTIVE);
  spec.mutable_privacy()->set_target_epsilon(100);
  spec.mutable_privacy()->set_noise_multiplier(noise_multiplier);
  return spec;
}

v1::AdaptiveClipping& ClippingOf(v1::JobSpec& spec) {
  return *spec.mutable_privacy()->mutable_adaptive_clipping();
}

privacy::Grid GridFor(const v1::JobSpec& spec, std::uint64_t num_parameters = kNumParameters) {
  return GridOf(spec.privacy(), num_parameters).value();
}
ClippingScale ScaleFor(const v1::JobSpec& spec, std::uint64_t num_parameters = kNumParameters) {
  return ClippingScaleOf(spec.privacy(), GridFor(spec, num_parameters)).value();
}

TEST(AdaptiveClippingTest, AcceptsAJobWithAndWithoutBoundsOfItsOwn) {
  v1::JobSpec spec = AdaptiveJob();
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  ClippingOf(spec).set_initial_norm(0.1);
  ClippingOf(spec).set_target_quantile(0.7);
  ClippingOf(spec).set_learning_rate(0.5);
  ClippingOf(spec).set_count_stddev(3);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  spec.mutable_privacy()->set_encoding(v1::GRID_ENCODING_FAST);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
}

TEST(AdaptiveClippingTest, NamesWhatIsWrong) {
  const auto message = [](const std::function<void(v1::JobSpec&)>& change) {
    v1::JobSpec spec = AdaptiveJob();
    change(spec);
    const Status status = Validate(spec);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };
  const std::string field = "privacy.adaptive_clipping.";
  for (const double wrong : {kNan, -1.0, 1e-7, 1e7}) {
    EXPECT_THAT(message([&](auto& spec) { ClippingOf(spec).set_initial_norm(wrong); }),
                HasSubstr(field + "initial_norm"));
    EXPECT_THAT(message([&](auto& spec) { ClippingOf(spec).set_target_quantile(wrong); }),
                HasSubstr(field + "target_quantile"));
    EXPECT_THAT(message([&](auto& spec) { ClippingOf(spec).set_learning_rate(wrong); }),
                HasSubstr(field + "learning_rate"));
  }
  for (const double wrong : {kNan, -1.0, 1e13}) {
    EXPECT_THAT(message([&](auto& spec) { ClippingOf(spec).set_count_stddev(wrong); }),
                HasSubstr(field + "count_stddev"));
  }
  EXPECT_THAT(message([](auto& spec) {
                spec.mutable_privacy()->mutable_local();
                spec.mutable_training()->set_local_steps(2);
              }),
              HasSubstr("privacy.clipping must not be adaptive with local"));
  EXPECT_THAT(message([](auto& spec) {
                ClippingOf(spec).set_initial_norm(1);
                spec.mutable_privacy()->set_clipping(v1::CLIPPING_FLAT);
              }),
              HasSubstr("privacy.adaptive_clipping needs clipping: adaptive"));
}

TEST(AdaptiveClippingTest, RefusesACountThatWouldTakeMostOfTheNoise) {
  v1::JobSpec spec = AdaptiveJob(2);
  ClippingOf(spec).set_count_stddev(1.41);
  EXPECT_THAT(MessageOf(Validate(spec)),
              HasSubstr("must be at least 0.7072 times noise_multiplier, "
                        "1.4144, or more"));
  ClippingOf(spec).set_count_stddev(1.4144);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  // Nobody knows before the noise is known; then everybody who is going to use it does.
  spec.mutable_privacy()->set_noise_multiplier(0);
  ClippingOf(spec).set_count_stddev(1e-3);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  ASSERT_TRUE(CalibrateNoise(spec).ok());
  EXPECT_FALSE(Validate(spec).ok());
  EXPECT_FALSE(ClippingScaleOf(spec.privacy(), GridFor(spec)).ok());
  EXPECT_FALSE(MaskedLayout::Create(spec, MaskedKind::kUpdate, kNumParameters, 4).ok());
}

TEST(AdaptiveClippingTest, CostsWhatAJobWithFixedClippingCosts) {
  const v1::JobSpec adaptive = AdaptiveJob();
  v1::JobSpec fixed = adaptive;
  fixed.mutable_privacy()->set_clipping(v1::CLIPPING_FLAT);
  EXPECT_EQ(StatementOf(adaptive, MostRounds(adaptive))->guarantee.epsilon,
            StatementOf(fixed, MostRounds(fixed))->guarantee.epsilon);
  // The grid is that of a model with a parameter more.
  EXPECT_EQ(GridFor(adaptive).num_parameters(), kNumParameters + 1);
  EXPECT_EQ(GridFor(adaptive).step(), GridFor(fixed, kNumParameters + 1).step());
  const auto share = NoiseShareOf(adaptive, kNumParameters, 2);
  const auto share_of_one_more = NoiseShareOf(fixed, kNumParameters + 1, 2);
  EXPECT_EQ(ToDouble(share->variance), ToDouble(share_of_one_more->variance));
}

TEST(AdaptiveClippingTest, GradientAndVoteTogetherAreAsLongAsTheGridAllows) {
  for (const v1::GridEncoding encoding : {v1::GRID_ENCODING_VERIFIED, v1::GRID_ENCODING_FAST}) {
    for (const double inflation : {1.00001, 1.001, 1.1}) {
      for (const std::uint64_t num_parameters : {1, 50, 10'000'000}) {
        for (const double deviation : {0.0, 1.5, 1e9}) {
          v1::JobSpec spec = AdaptiveJob();
          spec.mutable_privacy()->set_encoding(encoding);
          spec.mutable_privacy()->set_grid_inflation(inflation);
          spec.mutable_privacy()->set_max_grad_norm(0.3);
          ClippingOf(spec).set_count_stddev(deviation);
          const privacy::Grid grid = GridFor(spec, num_parameters);
          const ClippingScale scale = ScaleFor(spec, num_parameters);
          const double clip = grid.ClipNorm(EncodingOf(spec.privacy()));
          EXPECT_NEAR(std::hypot(scale.gradient_norm, scale.count_norm), clip, 1e-12 * clip);
          EXPECT_GT(scale.gradient_norm, 0.7 * clip);
          // Whole steps, so that rounding leaves a vote of 1 as it is.
          const double steps = scale.count_norm / grid.step();
          EXPECT_EQ(steps, std::floor(steps));
          EXPECT_GE(steps, 8);
        }
      }
    }
  }
}

TEST(AdaptiveClippingTest, DividesTheNoiseAsThePaperDoes) {
  v1::JobSpec spec = AdaptiveJob(2);
  spec.mutable_privacy()->set_grid_inflation(1.00001);
  ClippingOf(spec).set_count_stddev(4);
  const ClippingScale scale = ScaleFor(spec);
  // z_delta = (z^-2 - (2 s)^-2)^(-1/2), equation 1 of arXiv 1905.03871.
  EXPECT_NEAR(NoiseMultiplierOfGradients(spec.privacy(), scale), 1 / std::sqrt(1.0 / 4 - 1.0 / 64),
              1e-4);
  EXPECT_NEAR(CountDeviation(spec.privacy(), scale, 2, 2), 4, 1e-3);
  EXPECT_NEAR(CountDeviation(spec.privacy(), scale, 4, 2), 4 * std::sqrt(2), 1e-3);
}

TEST(AdaptiveClippingTest, TheCountTakesAHundredthOfTheSquaredNormAtMostUnlessAsked) {
  // Of 100 expected patients a twentieth is 5.
  EXPECT_EQ(AdaptiveClippingOf(AdaptiveJob(2).privacy()).count_stddev(), 10);
  EXPECT_EQ(AdaptiveClippingOf(AdaptiveJob(0.5).privacy()).count_stddev(), 5);
  EXPECT_NEAR(NoiseMultiplierOfGradients(AdaptiveJob(2).privacy(), ScaleFor(AdaptiveJob(2))),
              2 / std::sqrt(0.99), 2e-3);
}

TEST(AdaptiveClippingTest, TheNormGrowsWhereFewGradientsAreShorterAndShrinksWhereMostAre) {
  v1::JobSpec spec = AdaptiveJob();
  ClippingOf(spec).set_target_quantile(0.7);
  const v1::PrivacySpec& privacy = spec.privacy();
  // Of 100 patients 20, 70 and 90 are shorter: 80, 30 and 10 vote against.
  EXPECT_DOUBLE_EQ(NextClippingNorm(privacy, 3, 20 - 80), 3 * std::exp(0.2 * 0.5));
  EXPECT_DOUBLE_EQ(NextClippingNorm(privacy, 3, 70 - 30), 3);
  EXPECT_DOUBLE_EQ(NextClippingNorm(privacy, 3, 90 - 10), 3 * std::exp(-0.2 * 0.2));
  // What noise makes of it moves the norm no further than all patients could.
  EXPECT_DOUBLE_EQ(NextClippingNorm(privacy, 3, -1e9), 3 * std::exp(0.2 * 0.7));
  EXPECT_DOUBLE_EQ(NextClippingNorm(privacy, 3, 1e9), 3 * std::exp(-0.2 * 0.3));
  EXPECT_EQ(NextClippingNorm(privacy, 1e6, -1e9), 1e6);
  EXPECT_EQ(NextClippingNorm(privacy, 1e-6, 1e9), 1e-6);
}

TEST(AdaptiveClippingTest, TakesEveryNormThatRoundsCanHaveComeToAndNoOther) {
  v1::JobSpec spec = AdaptiveJob();
  ClippingOf(spec).set_initial_norm(0.5);
  ClippingOf(spec).set_target_quantile(0.8);
  const v1::PrivacySpec& privacy = spec.privacy();
  EXPECT_TRUE(CheckClippingNorm(privacy, 1, 0.5).ok());
  for (const double wrong : {0.0, -0.5, 0.5000001, kNan, 1 / 0.0}) {
    EXPECT_FALSE(CheckClippingNorm(privacy, 1, wrong).ok()) << wrong;
  }
  for (const double direction : {-1e9, 1e9}) {
    double norm = 0.5;
    for (std::uint32_t round = 2; round <= 300; ++round) {
      norm = NextClippingNorm(privacy, norm, direction);
      EXPECT_TRUE(CheckClippingNorm(privacy, round, norm).ok()) << round;
      const double beyond = direction < 0 ? 1.001 : 0.999;
      EXPECT_FALSE(CheckClippingNorm(privacy, round, norm * beyond).ok()) << round;
    }
  }
  EXPECT_THAT(MessageOf(CheckClippingNorm(privacy, 2, 0.7)),
              HasSubstr("must be in [0.480395, 0.586755] in round 2, got 0.7"));
  ClippingOf(spec).set_learning_rate(10);
  EXPECT_TRUE(CheckClippingNorm(privacy, 10000, 1e6).ok());
  EXPECT_FALSE(CheckClippingNorm(privacy, 10000, 1.1e6).ok());
  EXPECT_FALSE(CheckClippingNorm(privacy, 10000, 0.9e-6).ok());
}

// ---------------------------------------------------------------------------- on the wire

class AdaptiveLayoutTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  AdaptiveLayoutTest() {
    spec_.mutable_secure_aggregation()->mutable_masking()->set_ring_bits(GetParam());
    spec_.mutable_privacy()->set_grid_inflation(1.1);
  }
  MaskedLayout Layout() const {
    return MaskedLayout::Create(spec_, MaskedKind::kUpdate, 3, 4).value();
  }
  v1::JobSpec spec_ = AdaptiveJob();
};

TEST_P(AdaptiveLayoutTest, GivesTheStepAtTheRoundsNormAndTheNextNorm) {
  for (const bool has_metrics : {false, true}) {
    if (has_metrics) {
      v1::PrivateMetrics& metrics = *spec_.mutable_privacy()->mutable_metrics();
      metrics.add_kinds(v1::METRIC_KIND_LOSS);
      metrics.set_split(v1::SPLIT_TRAIN);
      metrics.set_noise_multiplier(1);
    }
    const MaskedLayout layout = Layout().WithClippingNorm(0.25);
    const privacy::Grid grid = GridFor(spec_, 3);
    const ClippingScale scale = ScaleFor(spec_, 3);
    const auto vote = static_cast<std::int64_t>(scale.count_norm / grid.step());

    // Each site has 5 patients more for than against.
    Bytes sum(layout.vector().size_bytes());
    for (const std::int64_t site : {1, 10, 100, 1000}) {
      const std::vector<std::int64_t> gradients = {site, -site, 0, 5 * vote};
      const StatusOr<Bytes> vector = layout.Encode({.gradient_sum = gradients});
      ASSERT_TRUE(vector.ok()) << vector.status();
      ASSERT_TRUE(secagg::AddVectors(layout.vector(), 0, *vector, sum, 1).ok());
    }
    const ByteSpan bytes(sum);
    const StatusOr<SummedNumbers> numbers = layout.Summed(bytes.first(layout.exact_bytes()), 4);
    ASSERT_TRUE(numbers.ok()) << numbers.status();
    ASSERT_TRUE(numbers->next_clipping_norm.has_value());
    EXPECT_DOUBLE_EQ(*numbers->next_clipping_norm, NextClippingNorm(spec_.privacy(), 0.25, 20));
    std::vector<float> step(3);
    layout.DecodeUpdates(layout.exact_bytes(), bytes.subspan(layout.exact_bytes()), *numbers, 4,
                         step);
    const double expected = 0.5 * 1111 * grid.step() / 100 * 0.25 / scale.gradient_norm;
    EXPECT_FLOAT_EQ(step[0], static_cast<float>(-expected));
    EXPECT_FLOAT_EQ(step[1], static_cast<float>(expected));
    EXPECT_EQ(step[2], 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Rings, AdaptiveLayoutTest, testing::Values(32u, 64u));

TEST(AdaptiveClippingTest, AVectorWithoutVotesIsNoneOfTheJob) {
  const v1::JobSpec spec = AdaptiveJob();
  const MaskedLayout layout = MaskedLayout::Create(spec, MaskedKind::kUpdate, 3, 4).value();
  EXPECT_FALSE(layout.Encode({.gradient_sum = std::vector<std::int64_t>(3)}).ok());
  EXPECT_TRUE(layout.Encode({.gradient_sum = std::vector<std::int64_t>(4)}).ok());
  v1::JobSpec fixed = spec;
  fixed.mutable_privacy()->set_clipping(v1::CLIPPING_FLAT);
  const MaskedLayout without = MaskedLayout::Create(fixed, MaskedKind::kUpdate, 3, 4).value();
  EXPECT_FALSE(without.Encode({.gradient_sum = std::vector<std::int64_t>(4)}).ok());
  EXPECT_FALSE(without.Summed({}, 4)->next_clipping_norm.has_value());
}

TEST(AdaptiveClippingTest, PartiesThatReadVotesInTwoWaysHaveTwoDigests) {
  const auto digest = [](const v1::JobSpec& spec) {
    return MaskedLayout::Create(spec, MaskedKind::kUpdate, 3, 4)->digest();
  };
  v1::JobSpec other = AdaptiveJob();
  ClippingOf(other).set_count_stddev(50);
  EXPECT_NE(digest(AdaptiveJob()), digest(other));
}

TEST(AdaptiveClippingTest, SitesThatWereToldTwoNormsHaveTwoTasks) {
  const MaskedTask fixed{.job = {1}, .round = 3};
  MaskedTask task = fixed;
  task.clipping_norm = 0.5;
  EXPECT_NE(DigestOf(task), DigestOf(fixed));
  MaskedTask other = task;
  other.clipping_norm = std::nextafter(0.5, 1);
  EXPECT_NE(DigestOf(other), DigestOf(task));
}

}  // namespace
}  // namespace chorale::jobs
