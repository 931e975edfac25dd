#include "privacy/ledger/entry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chorale/v1/privacy.pb.h"
#include "privacy/ledger/event_codec.h"
#include "tests/privacy/ledger/fixtures.h"

namespace chorale::privacy {
namespace {

using testing::HasSubstr;

std::vector<Event> EveryKind() {
  const Event gaussian{.kind = Gaussian{2}, .count = 3};
  return {gaussian,
          {.kind = Laplace{1.5}},
          NoisySteps(Sampling::kFixedSize, 0.1, 2, 7),
          NoisySteps(Sampling::kShuffled, 0.1, 2, 7),
          {.kind = SampledLaplace{.sample_rate = 0.1, .noise_multiplier = 2}},
          {.kind =
               TruncatedPoissonGaussian{
                   .num_units = 100, .sample_rate = 0.1, .max_batch = 20, .noise_multiplier = 2}},
          {.kind = RecordsOfOnePatient(3, 0.1, 2)},
          {.kind = Composed{{gaussian, {.kind = Composed{{gaussian}}, .count = 2}}}},
          {.kind = RepeatAndSelect{.run = {gaussian},
                                   .repetitions = RepeatAndSelect::Repetitions::kLogarithmic,
                                   .mean = 10}}};
}

Entry ReserveEntry() {
  Reserved job = ValidRequest().job;
  job.dataset_order = 3;
  job.researcher_order = 2.5;
  return {.time = Time(std::chrono::microseconds(1'800'000'000'123'456)), .kind = std::move(job)};
}

TEST(EventCodecTest, EveryKindOfEventSurvives) {
  for (const Event& event : EveryKind()) {
    const v1::PrivacyEvent message = EncodeEvent(event);

    const StatusOr<Event> decoded = DecodeEvent(message);

    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->kind.index(), event.kind.index());
    EXPECT_EQ(decoded->count, event.count);
    EXPECT_EQ(EncodeEvent(*decoded).SerializeAsString(), message.SerializeAsString());
  }
}

TEST(EventCodecTest, RefusesWhatIsNoEvent) {
  v1::PrivacyEvent deep;
  v1::PrivacyEvent* inner = &deep;
  for (int i = 0; i < 40; ++i) inner = inner->mutable_composed()->add_parts();
  inner->mutable_gaussian()->set_noise_multiplier(1);
  v1::PrivacyEvent no_sampling;
  no_sampling.mutable_sampled_gaussian()->set_sample_rate(0.1);
  v1::PrivacyEvent unknown_sampling = EncodeEvent(NoisySteps(Sampling::kPoisson, 0.1, 1, 1));
  unknown_sampling.mutable_sampled_gaussian()->set_sampling(static_cast<v1::PrivacySampling>(9));
  v1::PrivacyEvent rate = EncodeEvent(NoisySteps(Sampling::kPoisson, 0.1, 1, 1));
  rate.mutable_sampled_gaussian()->set_sample_rate(1.5);
  v1::PrivacyEvent law = EncodeEvent(EveryKind().back());
  law.mutable_repeat_and_select()->set_repetitions(v1::REPETITION_LAW_UNSPECIFIED);

  EXPECT_EQ(DecodeEvent(deep).status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(DecodeEvent({}).status()), HasSubstr("must have a kind"));
  EXPECT_THAT(MessageOf(DecodeEvent(no_sampling).status()), HasSubstr("sampling must be"));
  EXPECT_THAT(MessageOf(DecodeEvent(unknown_sampling).status()), HasSubstr("sampling must be"));
  EXPECT_THAT(MessageOf(DecodeEvent(rate).status()), HasSubstr("sample_rate must be in [0, 1]"));
  EXPECT_THAT(MessageOf(DecodeEvent(law).status()), HasSubstr("repetitions must be"));
}

TEST(LedgerEntryTest, EveryKindOfRowSurvives) {
  const Entry reserve = ReserveEntry();
  const Entry entries[] = {reserve,
                           {reserve.time, StepsOf(ReservationId(1), "task", 7)},
                           {Time(std::chrono::microseconds(-1)), Committed{"task"}},
                           {reserve.time, Released{ReservationId(1)}}};
  for (const Entry& entry : entries) {
    const Bytes bytes = EncodeEntry(entry);

    const StatusOr<Entry> decoded = DecodeEntry(bytes);

    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->time, entry.time);
    EXPECT_EQ(decoded->kind.index(), entry.kind.index());
    EXPECT_EQ(EncodeEntry(*decoded), bytes);
  }
}

TEST(LedgerEntryTest, ARequestOutsideItsBoundsIsToldWhich) {
  const auto spoil = [](const auto& change) {
    Reserved job = ValidRequest().job;
    change(job);
    const Status status = Validate(job);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return MessageOf(status);
  };

  EXPECT_THAT(spoil([](Reserved& j) { j.dataset = DatasetId("He art"); }), HasSubstr("dataset"));
  EXPECT_THAT(spoil([](Reserved& j) { j.researcher = ResearcherId(""); }), HasSubstr("researcher"));
  EXPECT_THAT(spoil([](Reserved& j) { j.job_id = JobId("\xff"); }), HasSubstr("job id"));
  EXPECT_THAT(spoil([](Reserved& j) { j.parts.clear(); }), HasSubstr("1 to 16 parts"));
  EXPECT_THAT(spoil([](Reserved& j) { j.parts.resize(17, j.parts[0]); }), HasSubstr("got 17"));
  EXPECT_THAT(spoil([](Reserved& j) { j.parts[0].steps = 0; }), HasSubstr("steps must be in [1,"));
  EXPECT_THAT(spoil([](Reserved& j) { j.parts[0].step.count = 1'000'000'000; }),
              HasSubstr("the number of steps must be at most"));
}

TEST(LedgerEntryTest, TheDigestStandsForTheRowItsNumberAndAllBefore) {
  const Bytes entry = EncodeEntry(ReserveEntry());
  const LedgerHead first = Extend({}, entry);
  const LedgerHead second = Extend(first, entry);
  LedgerHead other_number = first;
  ++other_number.seq;

  EXPECT_EQ(first.seq, 1u);
  EXPECT_EQ(second.seq, 2u);
  EXPECT_NE(first.digest, second.digest);
  EXPECT_NE(Extend(other_number, entry).digest, second.digest);
  EXPECT_NE(Extend(second, entry).digest, Extend(first, entry).digest);
}

TEST(LedgerEntryTest, AStepKeyIsOneTo256BytesOfText) {
  EXPECT_TRUE(ValidateStepKey("task-1").ok());
  EXPECT_TRUE(ValidateStepKey(std::string(256, 'a')).ok());
  for (const std::string& key : {std::string(), std::string(257, 'a'), std::string("\xc0\x80")}) {
    EXPECT_EQ(ValidateStepKey(key).code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace chorale::privacy
