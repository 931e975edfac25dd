#include "jobs/private_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/random.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

v1::JobSpec JobWithMetrics() {
  v1::JobSpec spec = support::PrivateJob();
  v1::PrivateMetrics& metrics = *spec.mutable_privacy()->mutable_metrics();
  metrics.add_kinds(v1::METRIC_KIND_LOSS);
  metrics.add_kinds(v1::METRIC_KIND_ACCURACY);
  metrics.add_kinds(v1::METRIC_KIND_AUROC);
  metrics.set_split(v1::SPLIT_TEST);
  return spec;
}

std::string MessageFor(const std::function<void(v1::PrivateMetrics&)>& change) {
  v1::JobSpec spec = JobWithMetrics();
  change(*spec.mutable_privacy()->mutable_metrics());
  const Status status = Validate(spec);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

TEST(PrivateMetricsTest, NamesTheBoundThatIsBroken) {
  EXPECT_TRUE(Validate(JobWithMetrics()).ok()) << Validate(JobWithMetrics());
  EXPECT_THAT(MessageFor([](auto& m) { m.clear_kinds(); }), HasSubstr("privacy.metrics.kinds"));
  EXPECT_THAT(MessageFor([](auto& m) { m.add_kinds(v1::METRIC_KIND_LOSS); }),
              HasSubstr("comes twice"));
  EXPECT_THAT(MessageFor([](auto& m) { m.set_kinds(1, v1::METRIC_KIND_UNSPECIFIED); }),
              HasSubstr("kinds[1]"));
  EXPECT_THAT(MessageFor([](auto& m) { m.clear_split(); }), HasSubstr("metrics.split"));
  EXPECT_THAT(MessageFor([](auto& m) { m.set_every_rounds(10001); }), HasSubstr("every_rounds"));
  EXPECT_THAT(MessageFor([](auto& m) { m.set_noise_multiplier(std::nan("")); }),
              HasSubstr("metrics.noise_multiplier"));
  EXPECT_THAT(MessageFor([](auto& m) { m.set_epsilon_share(0.95); }), HasSubstr("epsilon_share"));
  EXPECT_THAT(MessageFor([](auto& m) { m.set_max_loss(-1); }), HasSubstr("max_loss"));
  EXPECT_THAT(MessageFor([](auto& m) { m.set_auroc_bins(1); }), HasSubstr("auroc_bins"));
  EXPECT_THAT(MessageFor([](auto& m) {
                m.mutable_kinds()->RemoveLast();
                m.set_auroc_bins(10);
              }),
              HasSubstr("needs auroc"));
  EXPECT_THAT(MessageFor([](auto& m) {
                m.mutable_kinds()->erase(m.kinds().begin());
                m.set_max_loss(2);
              }),
              HasSubstr("needs loss"));
}

TEST(PrivateMetricsTest, RefusesMetricsThatTheModelDoesNotHave) {
  v1::JobSpec spec = JobWithMetrics();
  spec.mutable_data()->mutable_target()->clear_positive();
  spec.mutable_data()->mutable_target()->mutable_numeric();
  spec.mutable_model()->mutable_linear_regression();
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("without accuracy"));
  spec.mutable_privacy()->mutable_metrics()->mutable_kinds()->erase(
      spec.privacy().metrics().kinds().begin() + 1);
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("without auroc"));
  spec.mutable_privacy()->mutable_metrics()->mutable_kinds()->RemoveLast();
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  spec.mutable_model()->mutable_poisson_regression();
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("without loss"));
}

// A job without privacy.metrics cannot ask for an area: means over sites make none.
TEST(PrivateMetricsTest, AnAreaIsForSumsAlone) {
  v1::JobSpec spec = support::ValidJob();
  spec.mutable_training()->mutable_metrics(0)->set_kind(v1::METRIC_KIND_AUROC);
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("privacy.metrics"));
}

TEST(PrivateMetricsTest, MayEndTheJobEarly) {
  v1::JobSpec spec = JobWithMetrics();
  v1::EarlyStop& stop = *spec.mutable_rounds()->mutable_early_stop();
  stop.set_patience(2);
  stop.mutable_metric()->set_kind(v1::METRIC_KIND_AUROC);
  stop.mutable_metric()->set_split(v1::SPLIT_TEST);
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  stop.mutable_metric()->set_split(v1::SPLIT_TRAIN);
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("or of privacy.metrics"));
}

TEST(PrivateMetricsTest, TheLastRoundHasMetricsAndEverySoManyBefore) {
  v1::JobSpec spec = JobWithMetrics();
  for (const std::uint32_t count : {1u, 7u, 20u}) {
    for (const std::uint32_t every : {0u, 1u, 2u, 3u, 7u, 50u}) {
      spec.mutable_rounds()->set_count(count);
      spec.mutable_privacy()->mutable_metrics()->set_every_rounds(every);
      std::vector<std::uint32_t> numbers;
      for (std::uint32_t round = 1; round <= count; ++round) numbers.push_back(round);
      EXPECT_TRUE(HasMetricsIn(spec, count));
      EXPECT_FALSE(HasMetricsIn(spec, 0));
      EXPECT_FALSE(HasMetricsIn(spec, count + 1));
      EXPECT_EQ(CountRounds(spec, numbers).with_metrics, NumMetricRounds(spec));
      EXPECT_EQ(CountRounds(spec, numbers).rounds, count);
      // Any round may have to be begun again.
      EXPECT_EQ(MostRounds(spec).with_metrics, NumMetricRounds(spec) + MaxRounds(spec) - count);
    }
  }
  spec.mutable_privacy()->clear_metrics();
  EXPECT_FALSE(HasMetricsIn(spec, 20));
  EXPECT_EQ(MostRounds(spec).with_metrics, 0u);
  EXPECT_EQ(NumMetricSums(spec), 0u);
}

TEST(PrivateMetricsTest, NoiseIsFoundForTheWholeJobMetricsIncluded) {
  v1::JobSpec without = support::PrivateJob();
  ASSERT_TRUE(CalibrateNoise(without).ok());
  for (const double share : {0.0, 0.05, 0.5}) {
    v1::JobSpec spec = JobWithMetrics();
    v1::PrivateMetrics& metrics = *spec.mutable_privacy()->mutable_metrics();
    metrics.set_epsilon_share(share);
    EXPECT_FALSE(HasNoise(spec));
    ASSERT_TRUE(CalibrateNoise(spec).ok());
    EXPECT_TRUE(HasNoise(spec));
    EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

    const double total = StatementOf(spec, MostRounds(spec))->guarantee.epsilon;
    EXPECT_LE(total, 1);
    EXPECT_GT(total, 1 - 1e-3);
    privacy::Event sums = EventOf(MetricSumOf(metrics));
    sums.count = MostRounds(spec).with_metrics;
    const double alone = privacy::EpsilonFor(sums, 1e-4, AccountingOf(spec.privacy()))->epsilon;
    const double asked = share == 0 ? 0.2 : share;
    EXPECT_LE(alone, asked);
    EXPECT_GT(alone, 0.99 * asked);
    EXPECT_GT(spec.privacy().noise_multiplier(), without.privacy().noise_multiplier());

    // Less noise on the metrics breaks the target of the whole.
    metrics.set_noise_multiplier(0.9 * metrics.noise_multiplier());
    EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("must be larger for target_epsilon"));
  }
}

TEST(PrivateMetricsTest, AStatementSaysHowManySumsItHoldsFor) {
  v1::JobSpec spec = JobWithMetrics();
  ASSERT_TRUE(CalibrateNoise(spec).ok());
  const auto statement = StatementOf(spec, {.rounds = 3, .with_metrics = 1});
  ASSERT_TRUE(statement.ok());
  EXPECT_THAT(statement->holds_for, HasSubstr("3 steps and 1 sum of metrics over"));
  EXPECT_EQ(statement->sampling, "poisson (none for metrics)");
  const auto steps_alone = StatementOf(spec, {.rounds = 3});
  EXPECT_LT(steps_alone->guarantee.epsilon, statement->guarantee.epsilon);
  EXPECT_EQ(steps_alone->sampling, "poisson");
}

// ---------------------------------------------------------------------------- patients' vectors

TEST(PrivateMetricsTest, NoRowMakesAPatientsVectorLongerThanItsBound) {
  const v1::JobSpec spec = JobWithMetrics();
  const v1::PrivateMetrics& metrics = spec.privacy().metrics();
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> values = {0,     -0.0,   1,   -1,   0.5,          1e-300,
                                      1e300, -1e300, inf, -inf, std::nan(""), 1 + 1e-12};
  double longest = 0;
  for (const double loss : values) {
    for (const double right : values) {
      for (const double score : values) {
        for (const int rows : {1, 40}) {
          std::vector<double> vector(NumMetricSums(spec));
          for (int row = 0; row < rows; ++row) {
            AddRow(metrics, {loss, right, score, row % 2 == 0}, 1.0 / rows, vector);
          }
          double square = 0;
          for (const double value : vector) square += value * value;
          ASSERT_LE(square, 4 * (1 + 1e-12)) << loss << " " << right << " " << score;
          longest = std::max(longest, square);
        }
      }
    }
  }
  EXPECT_DOUBLE_EQ(std::sqrt(longest),
                   MetricSumOf(metrics).norm);  // Or the bound would be too wide.
}

TEST(PrivateMetricsTest, SumsWithoutNoiseGiveTheMetricsThemselves) {
  v1::JobSpec spec = JobWithMetrics();
  v1::PrivateMetrics& metrics = *spec.mutable_privacy()->mutable_metrics();
  metrics.set_auroc_bins(50);
  metrics.set_max_loss(2);
  SeededRandom random(11);
  std::vector<double> sums(NumMetricSums(spec));
  std::vector<RowScore> rows;
  double loss = 0;
  double right = 0;
  for (int i = 0; i < 300; ++i) {
    // Scores in the middle of bins, so that ties are those of the bins.
    const double score = (static_cast<double>(random.NextBelow(50)) + 0.5) / 50;
    const bool is_positive = random.NextDouble() < score;
    rows.push_back({.loss = 3 * random.NextDouble(),
                    .right = static_cast<double>(random.NextBelow(2)),
                    .score = score,
                    .is_positive = is_positive});
    AddRow(metrics, rows.back(), 1, sums);
    loss += std::min(rows.back().loss, 2.0) / 300;
    right += rows.back().right / 300;
  }
  double ordered = 0;
  double pairs = 0;
  for (const RowScore& a : rows) {
    for (const RowScore& b : rows) {
      if (!a.is_positive || b.is_positive) continue;
      ordered += a.score > b.score ? 1 : a.score == b.score ? 0.5 : 0;
      pairs += 1;
    }
  }
  const std::vector<v1::MetricValue> values = MetricsOf(metrics, sums);
  ASSERT_EQ(values.size(), 3u);
  EXPECT_NEAR(values[0].value(), loss, 1e-9);
  EXPECT_NEAR(values[1].value(), right, 1e-9);
  EXPECT_EQ(values[2].kind(), v1::METRIC_KIND_AUROC);
  EXPECT_NEAR(values[2].value(), ordered / pairs, 1e-9);
  for (const v1::MetricValue& value : values) {
    EXPECT_EQ(value.num_examples(), 300u);
    EXPECT_EQ(value.split(), v1::SPLIT_TEST);
  }
}

TEST(PrivateMetricsTest, NoiseAloneGivesNoMetricAndNoneThatIsImpossible) {
  const v1::JobSpec spec = JobWithMetrics();
  const v1::PrivateMetrics& metrics = spec.privacy().metrics();
  std::vector<double> sums(NumMetricSums(spec));
  EXPECT_THAT(MetricsOf(metrics, sums), IsEmpty());  // A round without metrics.
  sums[0] = -5;
  EXPECT_THAT(MetricsOf(metrics, sums), IsEmpty());
  sums[0] = 10;
  EXPECT_EQ(MetricsOf(metrics, sums).size(), 2u);  // Nobody is positive or negative: no area.
  SeededRandom random(5);
  for (int i = 0; i < 200; ++i) {
    for (double& value : sums) value = 200 * (random.NextDouble() - 0.5);
    for (const v1::MetricValue& value : MetricsOf(metrics, sums)) {
      EXPECT_GE(value.value(), 0);
      EXPECT_LE(value.value(), value.kind() == v1::METRIC_KIND_LOSS ? 4 : 1);
      EXPECT_GE(value.num_examples(), 1u);
    }
  }
}

// ---------------------------------------------------------------------------- on the wire

TEST(PrivateMetricsTest, SumsOverSitesTravelBesideWhatIsTrained) {
  for (const bool is_distributed : {true, false}) {
    v1::JobSpec spec = JobWithMetrics();
    if (!is_distributed) spec.mutable_privacy()->mutable_local();
    ASSERT_TRUE(CalibrateNoise(spec).ok());
    const StatusOr<MaskedLayout> layout = MaskedLayout::Create(spec, MaskedKind::kUpdate, 2, 4);
    ASSERT_TRUE(layout.ok()) << layout.status();
    EXPECT_EQ(layout->exact_bytes(), NumMetricSums(spec) * 8);
    const double step = GridOf(MetricSumOf(spec.privacy().metrics()), spec.privacy())->step();
    std::vector<std::int64_t> metric_sum(NumMetricSums(spec));
    metric_sum[0] = std::llround(10 / step);
    metric_sum[1] = std::llround(2.5 / step);  // Of losses over 4.
    metric_sum[2] = std::llround(5 / step);
    metric_sum[3] = -77;
    const std::vector<std::int64_t> gradients = {100, -7};
    const std::vector<float> update = {0.25F, -1};
    const auto encode = [&](std::span<const std::int64_t> metrics) {
      return is_distributed ? layout->Encode({.gradient_sum = gradients, .metric_sum = metrics})
                            : layout->Encode({.update = update, .metric_sum = metrics});
    };

    Bytes sum(layout->vector().size_bytes());
    for (int site = 0; site < 3; ++site) {
      const StatusOr<Bytes> vector = encode(metric_sum);
      ASSERT_TRUE(vector.ok()) << vector.status();
      ASSERT_TRUE(secagg::AddVectors(layout->vector(), 0, *vector, sum, 1).ok());
    }
    const ByteSpan bytes(sum);
    const auto numbers = layout->Summed(bytes.first(layout->exact_bytes()), 3);
    ASSERT_TRUE(numbers.ok()) << numbers.status();
    ASSERT_EQ(numbers->metrics.size(), 2u);
    EXPECT_NEAR(numbers->metrics[0].value(), 1, 0.01);
    EXPECT_NEAR(numbers->metrics[1].value(), 0.5, 0.01);
    EXPECT_EQ(numbers->metrics[0].num_examples(), 30u);
    EXPECT_EQ(numbers->num_examples, 0u);
    std::vector<float> decoded(2);
    layout->DecodeUpdates(layout->exact_bytes(), bytes.subspan(layout->exact_bytes()), *numbers, 3,
                          decoded);
    const double factor =
        is_distributed ? -0.5 * 3 * 100 * GridOf(spec.privacy(), 2)->step() / 100 : 0.25;
    EXPECT_NEAR(decoded[0], factor, 1e-6);

    // A round without: zeros, and nothing is told.
    const StatusOr<Bytes> plain = encode({});
    ASSERT_TRUE(plain.ok());
    EXPECT_THAT(layout->Summed(ByteSpan(*plain).first(layout->exact_bytes()), 3)->metrics,
                IsEmpty());
    EXPECT_FALSE(encode(gradients).ok());  // Another size.
  }
}

TEST(PrivateMetricsTest, WhoReadsSumsInAnotherWayHasAnotherDigest) {
  const auto digest = [](const std::function<void(v1::PrivateMetrics&)>& change) {
    v1::JobSpec spec = JobWithMetrics();
    change(*spec.mutable_privacy()->mutable_metrics());
    return MaskedLayout::Create(spec, MaskedKind::kUpdate, 2, 4)->digest();
  };
  const crypto::Digest same = digest([](auto&) {});
  EXPECT_EQ(digest([](auto&) {}), same);
  EXPECT_NE(digest([](auto& m) { m.set_auroc_bins(21); }), same);
  EXPECT_NE(digest([](auto& m) { m.set_max_loss(3); }), same);
  EXPECT_NE(digest([](auto& m) { m.mutable_kinds()->RemoveLast(); }), same);
}

}  // namespace
}  // namespace chorale::jobs
