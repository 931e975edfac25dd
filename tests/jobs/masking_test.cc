#include "jobs/masking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "jobs/job_spec.h"
#include "secagg/refusal.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using testing::HasSubstr;

v1::JobSpec MaskedJob() {
  v1::JobSpec spec = support::ValidJob();
  spec.clear_secure_aggregation();
  return spec;
}

MaskedLayout LayoutOf(const v1::JobSpec& spec, MaskedKind kind = MaskedKind::kUpdate,
                      std::uint64_t num_parameters = 5, std::uint32_t num_members = 4) {
  StatusOr<MaskedLayout> layout = MaskedLayout::Create(spec, kind, num_parameters, num_members);
  EXPECT_TRUE(layout.ok()) << layout.status();
  return *std::move(layout);
}

// What comes out of summing these vectors.
struct Summed {
  SummedNumbers numbers;
  std::vector<float> updates;
};
Summed SumOf(const MaskedLayout& layout, const std::vector<SiteNumbers>& sites) {
  Bytes sum(layout.vector().size_bytes());
  for (const SiteNumbers& site : sites) {
    const StatusOr<Bytes> vector = layout.Encode(site);
    EXPECT_TRUE(vector.ok()) << vector.status();
    EXPECT_TRUE(secagg::AddVectors(layout.vector(), 0, *vector, sum, 1).ok());
  }
  const ByteSpan bytes(sum);
  const auto num_sites = static_cast<std::uint32_t>(sites.size());
  const StatusOr<SummedNumbers> numbers =
      layout.Summed(bytes.first(layout.exact_bytes()), num_sites);
  EXPECT_TRUE(numbers.ok()) << numbers.status();
  Summed result{.numbers = *numbers, .updates = std::vector<float>(layout.num_update_values())};
  if (!result.updates.empty()) {
    layout.DecodeUpdates(layout.exact_bytes(), bytes.subspan(layout.exact_bytes()), *numbers,
                         num_sites, result.updates);
  }
  return result;
}

std::string MessageFor(const v1::JobSpec& spec) {
  const Status status = Validate(spec);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

// ---------------------------------------------------------------------------- the specification

TEST(MaskingTest, AJobIsMaskedUnlessItSaysOtherwise) {
  EXPECT_TRUE(IsMasked(MaskedJob()));
  EXPECT_FALSE(IsMasked(support::ValidJob()));
  EXPECT_TRUE(Validate(MaskedJob()).ok());
}

TEST(MaskingTest, ARuleThatLooksAtSingleUpdatesIsRefusedWithTheReason) {
  v1::JobSpec spec = MaskedJob();
  spec.mutable_aggregation()->mutable_median();
  EXPECT_THAT(MessageFor(spec),
              HasSubstr("aggregation.median looks at the updates of single sites"));
  EXPECT_THAT(MessageFor(spec), HasSubstr("secure_aggregation: {none: {}}"));
  spec.mutable_secure_aggregation()->mutable_none();
  EXPECT_TRUE(Validate(spec).ok());
}

TEST(MaskingTest, BoundsAreHeldAndNamed) {
  v1::JobSpec spec = MaskedJob();
  v1::Masking& masking = *spec.mutable_secure_aggregation()->mutable_masking();
  masking.set_min_group(2);
  EXPECT_THAT(MessageFor(spec), HasSubstr("masking.min_group must be in [3, 1000], got 2"));
  masking.set_min_group(3);
  masking.set_ring_bits(48);
  EXPECT_THAT(MessageFor(spec), HasSubstr("masking.ring_bits must be 32 or 64, got 48"));
  masking.set_ring_bits(32);
  masking.set_max_update(-1);
  EXPECT_THAT(MessageFor(spec), HasSubstr("masking.max_update must be above 0"));
  masking.set_max_update(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(MessageFor(spec), HasSubstr("masking.max_update must be above 0"));
  masking.set_max_update(1);
  masking.set_max_examples((std::uint64_t{1} << 40) + 1);
  EXPECT_THAT(MessageFor(spec), HasSubstr("masking.max_examples"));
}

TEST(MaskingTest, ACohortOfTwoIsRefused) {
  v1::JobSpec spec = MaskedJob();
  spec.mutable_rounds()->set_cohort_size(2);
  EXPECT_THAT(MessageFor(spec), HasSubstr("at least 3 under secure aggregation"));
}

TEST(MaskingTest, TheGroupTakesTheJobsNumbersAndKeepsTheFloors) {
  const secagg::GroupParameters four = GroupOf({}, 4);
  EXPECT_EQ(four.threshold, 3u);
  EXPECT_EQ(four.min_group, 3u);
  const secagg::GroupParameters strict = GroupOf({.colluders = 3, .min_group = 8}, 10);
  EXPECT_EQ(strict.threshold, 7u);
  EXPECT_EQ(strict.min_group, 8u);
}

// ---------------------------------------------------------------------------- updates

TEST(MaskedLayoutTest, UpdatesAddUpToTheirMeanWeightedByExamples) {
  const MaskedLayout layout = LayoutOf(MaskedJob());
  const std::vector<float> north = {1, -2, 0.5f, 15.75f, 0};
  const std::vector<float> south = {3, 4, -0.25f, -16, 1e-4f};
  const Summed summed = SumOf(
      layout, {{.update = north, .num_examples = 100}, {.update = south, .num_examples = 300}});
  EXPECT_EQ(summed.numbers.num_examples, 400u);
  for (std::size_t i = 0; i < north.size(); ++i) {
    const double expected = (100.0 * north[i] + 300.0 * south[i]) / 400;
    EXPECT_NEAR(summed.updates[i], expected, 1e-6 * std::abs(expected) + 1e-9) << i;
  }
}

TEST(MaskedLayoutTest, UpdatesThatCountTheSameAddUpToTheirMean) {
  v1::JobSpec spec = MaskedJob();
  spec.mutable_aggregation()->mutable_fedadam()->set_weighting(v1::WEIGHTING_UNIFORM);
  const std::vector<float> north(5, 1.0f), south(5, 4.0f);
  const Summed summed = SumOf(LayoutOf(spec), {{.update = north, .num_examples = 1},
                                               {.update = south, .num_examples = 99}});
  EXPECT_THAT(summed.updates, testing::Each(2.5f));
}

TEST(MaskedLayoutTest, ChangesOfControlVariatesAddUpToTheirSum) {
  v1::JobSpec spec = MaskedJob();
  spec.mutable_training()->mutable_scaffold();
  const std::vector<float> update(5, 1.0f), change(5, 100.0f);
  const Summed summed =
      SumOf(LayoutOf(spec), {{.update = update, .control_change = change, .num_examples = 10},
                             {.update = update, .control_change = change, .num_examples = 30}});
  ASSERT_EQ(summed.updates.size(), 10u);
  EXPECT_FLOAT_EQ(summed.updates[4], 1.0f);
  EXPECT_FLOAT_EQ(summed.updates[5], 200.0f);
}

TEST(MaskedLayoutTest, APieceInTheMiddleOfUpdatesIsReadByItself) {
  v1::JobSpec spec = MaskedJob();
  spec.mutable_training()->mutable_scaffold();
  const MaskedLayout layout = LayoutOf(spec);
  const std::vector<float> update = {1, 2, 3, 4, 5}, change = {6, 7, 8, 9, 10};
  const StatusOr<Bytes> sum =
      layout.Encode({.update = update, .control_change = change, .num_examples = 7});
  ASSERT_TRUE(sum.ok());
  const SummedNumbers numbers{.num_examples = 7};
  std::vector<float> piece(4);
  const std::uint64_t begin = layout.exact_bytes() + 3 * 8;
  layout.DecodeUpdates(begin, ByteSpan(*sum).subspan(begin, 4 * 8), numbers, 1, piece);
  EXPECT_THAT(piece, testing::Pointwise(testing::FloatNear(1e-5f), {4.0f, 5.0f, 6.0f, 7.0f}));
}

TEST(MaskedLayoutTest, MetricsComeOutAsMeansOverTheRowsBehindThem) {
  const std::vector<float> update(5);
  v1::MetricValue low, high;
  for (v1::MetricValue* metric : {&low, &high}) {
    metric->set_kind(v1::METRIC_KIND_LOSS);
    metric->set_split(v1::SPLIT_TRAIN);
  }
  low.set_value(0.25);
  low.set_num_examples(10);
  high.set_value(0.75);
  high.set_num_examples(30);
  const Summed summed =
      SumOf(LayoutOf(MaskedJob()),
            {{.update = update, .num_examples = 10, .metrics = {&low, 1}},
             {.update = update, .num_examples = 30, .metrics = {&high, 1}},
             {.update = update, .num_examples = 5}});  // Its policy lets none leave.
  ASSERT_EQ(summed.numbers.metrics.size(), 1u);
  EXPECT_DOUBLE_EQ(summed.numbers.metrics[0].value(), 0.625);
  EXPECT_EQ(summed.numbers.metrics[0].num_examples(), 40u);
}

TEST(MaskedLayoutTest, ANumberBeyondItsBoundIsRefusedAndNeverTold) {
  const MaskedLayout layout = LayoutOf(MaskedJob());
  for (const float bad : {17.0f, -1234567.0f, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    const std::vector<float> update = {0, 0, bad, 0, 0};
    const Status status = layout.Encode({.update = update, .num_examples = 3}).status();
    EXPECT_EQ(secagg::RefusalOf(status), secagg::RefusalCode::kValueOutOfRange);
    EXPECT_THAT(MessageOf(status), testing::Not(HasSubstr("1234567")));
    EXPECT_THAT(MessageOf(status), HasSubstr("max_update, 16"));
  }
}

TEST(MaskedLayoutTest, MoreRowsThanTheBoundAreRefused) {
  v1::JobSpec spec = MaskedJob();
  spec.mutable_secure_aggregation()->mutable_masking()->set_max_examples(100);
  const std::vector<float> update(5);
  const Status status = LayoutOf(spec).Encode({.update = update, .num_examples = 101}).status();
  EXPECT_EQ(secagg::RefusalOf(status), secagg::RefusalCode::kValueOutOfRange);
  EXPECT_TRUE(LayoutOf(spec).Encode({.update = update, .num_examples = 100}).ok());
}

TEST(MaskedLayoutTest, SizesThatAreNotThoseOfTheKindAreRefused) {
  const MaskedLayout layout = LayoutOf(MaskedJob());
  const std::vector<float> update(4);
  const std::vector<double> sums(3);
  EXPECT_FALSE(layout.Encode({.update = update, .num_examples = 1}).ok());
  EXPECT_FALSE(layout.Encode({.sums = sums, .num_examples = 1}).ok());
}

// ---------------------------------------------------------------------------- other kinds

TEST(MaskedLayoutTest, SumsOfDoublesAreExactWhateverTheirOrder) {
  v1::JobSpec spec = MaskedJob();
  spec.mutable_personalization()->set_local_epochs(1);
  const MaskedLayout layout = LayoutOf(spec, MaskedKind::kPersonalMetrics);
  const std::vector<double> a = {1e15, 0.1}, b = {-1e15, 0.2}, c = {0x1p-40, 0.3};
  const Summed one = SumOf(layout, {{.sums = a, .num_examples = 1},
                                    {.sums = b, .num_examples = 2},
                                    {.sums = c, .num_examples = 3}});
  const Summed other = SumOf(layout, {{.sums = c, .num_examples = 3},
                                      {.sums = a, .num_examples = 1},
                                      {.sums = b, .num_examples = 2}});
  EXPECT_EQ(one.numbers.sums, other.numbers.sums);
  EXPECT_EQ(one.numbers.sums[0], 0x1p-40);
  EXPECT_EQ(one.numbers.num_examples, 6u);
}

TEST(MaskedLayoutTest, ASumOfFewerRowsThanSitesIsRefused) {
  const MaskedLayout layout = LayoutOf(MaskedJob());
  const std::vector<float> update(5);
  const StatusOr<Bytes> vector = layout.Encode({.update = update, .num_examples = 2});
  ASSERT_TRUE(vector.ok());
  EXPECT_FALSE(layout.Summed(ByteSpan(*vector).first(layout.exact_bytes()), 3).ok());
}

TEST(MaskedLayoutTest, WhatIsReadInAnotherWayHasAnotherDigest) {
  const v1::JobSpec spec = MaskedJob();
  const crypto::Digest digest = LayoutOf(spec).digest();
  EXPECT_EQ(LayoutOf(spec).digest(), digest);
  EXPECT_NE(LayoutOf(spec, MaskedKind::kUpdate, 6).digest(), digest);
  EXPECT_NE(LayoutOf(spec, MaskedKind::kUpdate, 5, 400).digest(), digest);
  EXPECT_NE(LayoutOf(spec, MaskedKind::kNewtonSums).digest(), digest);
  v1::JobSpec other = spec;
  other.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_UNIFORM);
  EXPECT_NE(LayoutOf(other).digest(), digest);
  other = spec;
  other.mutable_secure_aggregation()->mutable_masking()->set_max_update(15);
  EXPECT_NE(LayoutOf(other).digest(), digest);
}

TEST(MaskedTaskTest, EveryPartOfATaskIsInItsDigest) {
  const MaskedTask task{.job = {1}, .kind = MaskedKind::kUpdate, .round = 3};
  const crypto::Digest digest = DigestOf(task);
  MaskedTask other = task;
  other.round = 4;
  EXPECT_NE(DigestOf(other), digest);
  other = task;
  other.job = {2};
  EXPECT_NE(DigestOf(other), digest);
  other = task;
  other.kind = MaskedKind::kPreparation;
  EXPECT_NE(DigestOf(other), digest);
  other = task;
  other.control_variate = {9};
  EXPECT_NE(DigestOf(other), digest);
  v1::FeatureMoments moments;
  moments.set_mean(0.5);
  other = task;
  other.moments = {&moments, 1};
  EXPECT_NE(DigestOf(other), digest);
}

}  // namespace
}  // namespace chorale::jobs
