#include "coordinator/job_event_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "core/random.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

const Time kNow{std::chrono::microseconds(1'234'567'890'123'456)};
const RoundKey kRound{RoundNumber(3), 2};

crypto::BlobId Blob() { return {.size_bytes = 77, .digest = {9, 8, 7}}; }

std::vector<JobEvent> OneOfEach() {
  v1::MetricValue metric;
  metric.set_kind(v1::METRIC_KIND_LOSS);
  metric.set_split(v1::SPLIT_TEST);
  metric.set_value(0.5);
  v1::FeatureMoments moments;
  moments.set_mean(1.5);
  moments.set_standard_deviation(2);
  moments.set_imputed(1.25);
  v1::ColumnStatistics statistics;
  statistics.set_column("age");
  statistics.set_count(3);
  statistics.add_quantiles(1.5);
  statistics.add_level_counts(2);
  return {
      JobStarted{Blob()},
      StartFailed{"why"},
      CohortSelected{{SiteId("north"), SiteId("south")}},
      NoCohort{"why"},
      QuorumImpossible{"why"},
      SiteReported{kRound, SiteId("north"), {Blob(), 12, {metric}, 34}},
      SiteRefused{kRound, SiteId("north"), {"BUSY", "later"}},
      SiteDropped{SiteId("north")},
      SiteReturned{SiteId("north")},
      DeadlinePassed{},
      RoundAggregated{Blob()},
      RoundAggregated{
          .result = Blob(), .server_state = Blob(), .converged = "enough", .note = "odd"},
      RoundAggregated{Preparation{.moments = {moments}, .statistics = {statistics}}},
      RoundAggregated{RoundMetrics{metric}},
      RoundAggregated{
          .result = Blob(),
          .masked = MaskedSums{.num_examples = 77, .metrics = {metric}, .session = {5}}},
      RoundAggregated{.result = Blob(),
                      .masked = MaskedSums{.session = {5}, .next_clipping_norm = 0.1}},
      CohortSelected{.sites = {SiteId("north")},
                     .begins_session = true,
                     .wall_time = kNow,
                     .manifest = Blob()},
      SiteReported{{RoundNumber(3), 2, RoundStep::kUnmasking}, SiteId("north"), {Blob()}},
      SiteReported{kRound, SiteId("north"), {.payload = Blob(), .masked_input = "signed"}},
      SiteRefused{{RoundNumber(3), 2, RoundStep::kShareKeys}, SiteId("north"), {"BUSY", "later"}},
      StepDone{
          {RoundNumber(3), 2, RoundStep::kShareKeys}, {SiteId("north"), SiteId("south")}, kNow},
      SessionLost{"why"},
      Interrupted{std::chrono::hours(3)},
      AggregationFailed{"why"},
      CancelRequested{ResearcherId("ada")}};
}

TEST(JobEventCodecTest, GivesBackEveryKindOfEvent) {
  for (const JobEvent& event : OneOfEach()) {
    const v1::JobEvent encoded = Encode(event, kNow);

    const StatusOr<TimedEvent> decoded = Decode(encoded);

    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->time, kNow);
    EXPECT_EQ(decoded->event.index(), event.index());
    EXPECT_EQ(Encode(decoded->event, decoded->time).SerializeAsString(),
              encoded.SerializeAsString());
  }
}

TEST(JobEventCodecTest, RefusesAStepThatThisVersionDoesNotKnow) {
  v1::JobEvent event = Encode(StepDone{kRound, {SiteId("north")}}, kNow);
  event.mutable_step_done()->set_step(6);
  EXPECT_EQ(Decode(event).status().code(), StatusCode::kDataLoss);
}

// Deadlines are added to times.
TEST(JobEventCodecTest, RefusesATimeThatNoClockTells) {
  for (const std::int64_t micros : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max()}) {
    v1::JobEvent event = Encode(DeadlinePassed{}, kNow);
    event.set_time_us(micros);
    EXPECT_EQ(Decode(event).status().code(), StatusCode::kDataLoss);
    event = Encode(CohortSelected{{SiteId("north")}}, kNow);
    event.mutable_cohort_selected()->set_wall_us(micros);
    EXPECT_EQ(Decode(event).status().code(), StatusCode::kDataLoss);
    event = Encode(StepDone{kRound, {SiteId("north")}}, kNow);
    event.mutable_step_done()->set_wall_us(micros);
    EXPECT_EQ(Decode(event).status().code(), StatusCode::kDataLoss);
  }
}

TEST(JobEventCodecTest, RefusesAnEventOfNoKind) {
  EXPECT_EQ(Decode(v1::JobEvent()).status().code(), StatusCode::kDataLoss);
}

TEST(JobEventCodecTest, RefusesADigestOfAWrongLength) {
  v1::JobEvent event = Encode(JobStarted{Blob()}, kNow);
  event.mutable_started()->mutable_initial_model()->set_digest("short");

  EXPECT_EQ(Decode(event).status().code(), StatusCode::kDataLoss);
}

TEST(JobEventCodecTest, GivesBackEverythingOfAnAggregate) {
  const RoundAggregated event{
      .result = Blob(), .server_state = Blob(), .converged = "enough", .note = "odd"};

  const auto decoded = Decode(Encode(event, kNow));

  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto& aggregated = std::get<RoundAggregated>(decoded->event);
  EXPECT_EQ(std::get<crypto::BlobId>(aggregated.result), Blob());
  EXPECT_EQ(aggregated.server_state, Blob());
  EXPECT_EQ(aggregated.converged, "enough");
  EXPECT_EQ(aggregated.note, "odd");
}

TEST(JobEventCodecTest, RefusesAServerStateOfAWrongDigest) {
  v1::JobEvent event = Encode(RoundAggregated{Blob()}, kNow);
  event.mutable_aggregated()->mutable_server_state()->set_digest("short");

  EXPECT_EQ(Decode(event).status().code(), StatusCode::kDataLoss);
}

TEST(JobEventCodecTest, RefusesAnAggregateWithoutAResult) {
  v1::JobEvent event;
  event.mutable_aggregated();

  EXPECT_EQ(Decode(event).status().code(), StatusCode::kDataLoss);
}

TEST(JobEventCodecTest, TellsWhichStoredEventDoesNotFollow) {
  const std::vector<v1::JobEvent> events = {Encode(JobStarted{Blob()}, kNow),
                                            Encode(JobStarted{Blob()}, kNow)};

  const StatusOr<Job> job = Replay({}, events);

  EXPECT_EQ(job.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(MessageOf(job.status()), HasSubstr("stored event 2 of 2"));
}

TEST(JobEventCodecTest, SurvivesDamagedBytes) {
  SeededRandom random(5);
  for (const JobEvent& event : OneOfEach()) {
    const std::string good = Encode(event, kNow).SerializeAsString();
    for (int i = 0; i < 100; ++i) {
      std::string bytes = good;
      bytes[random.NextBelow(bytes.size())] = static_cast<char>(random.NextBelow(256));
      if (i % 2 == 0) bytes.resize(random.NextBelow(bytes.size() + 1));
      v1::JobEvent damaged;
      if (damaged.ParseFromString(bytes)) (void)Decode(damaged);
    }
  }
}

}  // namespace
}  // namespace chorale::coordinator
