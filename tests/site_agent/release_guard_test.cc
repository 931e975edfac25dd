#include "site_agent/release_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <type_traits>

#include "core/crypto/blob_digest.h"
#include "core/crypto/secret_bytes.h"
#include "core/version.h"
#include "secagg/mask_stream.h"
#include "secagg/refusal.h"
#include "tests/site_agent/fixtures.h"
#include "tests/support/temporary_directory.h"

namespace chorale::site_agent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const TaskId kTask("job-1/1/1/north");

// Nothing but the guard makes something that an outlet takes.
static_assert(!std::is_constructible_v<Released<v1::SiteMessage>, v1::SiteMessage>);
static_assert(!std::is_constructible_v<Released<OutgoingReport>, OutgoingReport>);
static_assert(!std::is_default_constructible_v<ReleaseTerms>);

// A journal that can fail, and tells whether something was sent before it was recorded.
class FailingJournal final : public Journal {
 public:
  explicit FailingJournal(const RecordingOutlet& outlet) : outlet_(outlet) {}
  Status RecordTask(const TaskRecord&) override { return answer; }
  Status RecordRelease(const ReleaseRecord& record) override {
    sent_before = outlet_.messages.size();
    last = record;
    return answer;
  }
  Status RecordCoordinators(const KnownCoordinators&) override { return answer; }
  StatusOr<KnownCoordinators> LoadCoordinators() override { return KnownCoordinators(); }
  Status RecordReport(const ReleaseRecord&, const v1::ReportHeader&, ByteSpan) override {
    return answer;
  }
  StatusOr<ReportState> FindReport(const TaskId&) override { return ReportState::kNone; }
  StatusOr<std::vector<TaskId>> PendingReports() override { return std::vector<TaskId>(); }
  StatusOr<OutgoingReport> LoadReport(const TaskId&) override { return NotFound("none"); }
  Status SettleReport(const TaskId&, std::string_view, Time) override { return answer; }

  Status answer;
  std::size_t sent_before = 0;
  ReleaseRecord last;

 private:
  const RecordingOutlet& outlet_;
};

class ReleaseGuardTest : public testing::Test {
 protected:
  ReleaseGuardTest() : journal_(*Journal::Open(directory_.path() / "state")) {
    report_.payload = std::vector<float>{0.5f, -1, 2};
    report_.num_examples = 40;
    report_.training_time = Duration(1'234'567);
    report_.metrics.push_back(Metric(v1::METRIC_KIND_LOSS, v1::SPLIT_TRAIN, 0.7, 40));
    report_.metrics.push_back(Metric(v1::METRIC_KIND_ACCURACY, v1::SPLIT_TEST, 0.8, 20));
  }
  static v1::MetricValue Metric(v1::MetricKind kind, v1::Split split, double value,
                                std::uint64_t rows) {
    v1::MetricValue metric;
    metric.set_kind(kind);
    metric.set_split(split);
    metric.set_value(value);
    metric.set_num_examples(rows);
    return metric;
  }

  support::TemporaryDirectory directory_;
  std::unique_ptr<Journal> journal_;
  FakeClock clock_{kStart};
  RecordingOutlet outlet_;
  ReleaseGuard guard_{outlet_, *journal_, clock_, {"heart"}};
  ReleaseTerms terms_ =
      MakeTerms(MakeJobSpec(), ReportKind::kUpdate, {.num_training_rows = 40, .num_test_rows = 20});
  Report report_;
};

TEST_F(ReleaseGuardTest, LetsASoundReportPassAndSendsItsVeryBytes) {
  ASSERT_TRUE(guard_.Release(terms_, report_).ok());
  EXPECT_THAT(outlet_.reports, IsEmpty());  // Journaled; sending is another step.

  ASSERT_TRUE(guard_.Deliver(kTask).ok());
  ASSERT_TRUE(guard_.Deliver(kTask).ok());

  ASSERT_THAT(outlet_.reports, SizeIs(2));
  const v1::ReportHeader& header = outlet_.reports[0].header;
  EXPECT_EQ(header.task_id(), kTask.value());
  EXPECT_EQ(header.num_examples(), 40u);
  EXPECT_EQ(header.metrics_size(), 2);
  EXPECT_EQ(header.training_time().seconds(), 1);
  EXPECT_EQ(header.training_time().nanos(), 234'000'000);
  EXPECT_EQ(header.payload().size_bytes(), 12u);
  EXPECT_EQ(header.payload().digest(),
            ToString(crypto::IdentifyBlob(AsBytes(outlet_.reports[0].payload)).digest));
  EXPECT_EQ(outlet_.reports[1].header.SerializeAsString(), header.SerializeAsString());
  EXPECT_EQ(outlet_.reports[1].payload, outlet_.reports[0].payload);
}

TEST_F(ReleaseGuardTest, RefusesEverySpoiledField) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  struct Case {
    const char* problem;
    std::function<void(Report&)> spoil;
  };
  const Case cases[] = {
      {"another kind", [](Report& r) { r.payload = std::vector<double>(3); }},
      {"of 2 values where the task has 3", [](Report& r) { r.payload = std::vector<float>(2); }},
      {"of 4 values where the task has 3", [](Report& r) { r.payload = std::vector<float>(4); }},
      {"of 0 values", [](Report& r) { r.payload = std::vector<float>(); }},
      {"not finite",
       [](Report& r) {
         r.payload = std::vector<float>{1, kNan, 2};
       }},
      {"not finite",
       [](Report& r) {
         r.payload = std::vector<float>{1, 2, HUGE_VALF};
       }},
      {"number of examples", [](Report& r) { r.num_examples = 41; }},
      {"number of examples", [](Report& r) { r.num_examples = 0; }},
      {"training time", [](Report& r) { r.training_time = Duration(-1); }},
      {"training time", [](Report& r) { r.training_time = std::chrono::hours(24 * 31); }},
      {"asked for", [](Report& r) { r.metrics[0].set_split(v1::SPLIT_TEST); }},
      {"asked for", [](Report& r) { r.metrics[1].set_kind(v1::METRIC_KIND_LOSS); }},
      {"asked for", [](Report& r) { r.metrics[0].set_kind(v1::METRIC_KIND_UNSPECIFIED); }},
      {"other rows", [](Report& r) { r.metrics[0].set_num_examples(39); }},
      {"metric that is not finite", [](Report& r) { r.metrics[0].set_value(kInfinity); }},
      {"outside [0, 1]", [](Report& r) { r.metrics[1].set_value(-0.1); }},
      {"outside [0, 1]", [](Report& r) { r.metrics[1].set_value(1.01); }},
      {"twice", [](Report& r) { r.metrics[1] = r.metrics[0]; }},
  };
  for (const Case& spoiled : cases) {
    Report report = report_;
    spoiled.spoil(report);

    const Status status = guard_.Release(terms_, report);

    EXPECT_EQ(status.code(), StatusCode::kPermissionDenied) << spoiled.problem;
    EXPECT_THAT(MessageOf(status), HasSubstr(spoiled.problem));
    EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
  }
  EXPECT_THAT(outlet_.reports, IsEmpty());
}

TEST_F(ReleaseGuardTest, RefusesAMetricOverTooFewRows) {
  const ReleaseTerms terms =
      MakeTerms(MakeJobSpec(), ReportKind::kUpdate, {.num_training_rows = 40, .num_test_rows = 9});
  report_.metrics[1].set_num_examples(9);

  EXPECT_THAT(MessageOf(guard_.Release(terms, report_)), HasSubstr("too few rows"));
}

TEST_F(ReleaseGuardTest, AMeanLossMayBeNegative) {
  report_.metrics[0].set_value(-0.1);  // Poisson leaves out a term.

  EXPECT_TRUE(guard_.Release(terms_, report_).ok());
}

// Payloads of float64, each of 40 training and 20 test rows.
class SumsGuardTest : public ReleaseGuardTest {
 protected:
  static constexpr DatasetFacts kFacts{.num_training_rows = 40, .num_test_rows = 20};

  Status Release(const ReleaseTerms& terms, std::vector<double> payload) {
    return guard_.Release(terms, {.payload = std::move(payload), .num_examples = 40});
  }
  // Every one of `payloads` is refused with what stands beside it, and nothing leaves.
  void ExpectRefused(const ReleaseTerms& terms,
                     const std::vector<std::pair<const char*, std::vector<double>>>& payloads) {
    for (const auto& [problem, payload] : payloads) {
      const Status status = Release(terms, payload);

      EXPECT_EQ(status.code(), StatusCode::kPermissionDenied) << problem;
      EXPECT_THAT(MessageOf(status), HasSubstr(problem));
      EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound) << problem;
    }
  }
  std::vector<double> With(std::vector<double> payload, std::size_t i, double value) {
    payload[i] = value;
    return payload;
  }
  // `sound` passes and is sent as it is; metrics beside it do not.
  void ExpectSent(const ReleaseTerms& terms, const std::vector<double>& sound) {
    EXPECT_THAT(
        MessageOf(guard_.Release(
            terms, {.payload = sound, .num_examples = 40, .metrics = {report_.metrics[0]}})),
        HasSubstr("beside a payload that has none"));
    ASSERT_TRUE(Release(terms, sound).ok());
    ASSERT_TRUE(guard_.Deliver(kTask).ok());
    EXPECT_EQ(outlet_.reports.at(0).payload, ToString(AsBytes(std::span<const double>(sound))));
    EXPECT_EQ(outlet_.reports.at(0).header.metrics_size(), 0);
  }

  static constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
};

TEST_F(SumsGuardTest, APreparationLeavesIfItCouldBeOfTheTrainingRows) {
  const ReleaseTerms terms = MakeTerms(MakeJobSpec(), ReportKind::kPreparation, kFacts);
  // Of age: rows, sum, sum of squares, missing; of sex: rows of each level, missing.
  const std::vector<double> sound = {40, 2400, 150000, 0, 15, 25, 0};
  ExpectRefused(terms, {{"of 6 values where the task has 7", std::vector<double>(6)},
                        {"of 0 values", {}},
                        {"not finite", With(sound, 1, kNan)},
                        {"cannot be of the training rows", With(sound, 0, 41)},
                        {"cannot be of the training rows", With(sound, 2, -1)},
                        {"cannot be of the training rows", With(sound, 4, 41)},
                        {"cannot be of the training rows", With(sound, 5, 0.5)}});
  EXPECT_THAT(MessageOf(Release(terms, With(sound, 0, 41))), Not(HasSubstr("41")));

  ExpectSent(terms, sound);
}

TEST_F(SumsGuardTest, SumsOfNewtonLeaveIfTheyAreOverTheTrainingRows) {
  const ReleaseTerms terms = MakeTerms(MakeNewtonSpec(), ReportKind::kNewtonSums, kFacts);
  const std::vector<double> sound = {27.7, 40, 1, 2, 3, 10, 1, 1, 10, 1, 10};
  ExpectRefused(terms, {{"of 10 values where the task has 11", std::vector<double>(10)},
                        {"of 12 values where the task has 11", std::vector<double>(12)},
                        {"not finite", With(sound, 10, kNan)},
                        {"not finite", With(sound, 0, HUGE_VAL)},
                        {"over other rows", With(sound, 1, 39)},
                        {"over other rows", With(sound, 1, 0)}});
  EXPECT_THAT(MessageOf(guard_.Release(terms, report_)), HasSubstr("another kind"));

  ExpectSent(terms, sound);
}

TEST_F(SumsGuardTest, OnlyTheMetricsOfAPersonalizedModelLeave) {
  const ReleaseTerms terms = MakeTerms(MakePersonalSpec(), ReportKind::kPersonalMetrics, kFacts);
  const std::vector<double> sound = {0.7 * 40, 40, 0.8 * 20,
                                     20};  // Loss on train, accuracy on test.
  ExpectRefused(terms, {{"of 3 values where the task has 4", std::vector<double>(3)},
                        {"not finite", With(sound, 0, kNan)},
                        {"other rows than its split's", With(sound, 1, 39)},
                        {"other rows than its split's", With(sound, 3, 40)},
                        {"other rows than its split's", With(sound, 1, 0)},
                        {"outside [0, 1]", With(sound, 2, 21)},
                        {"outside [0, 1]", With(sound, 2, -1)}});
  // The model itself is of another kind.
  EXPECT_THAT(MessageOf(guard_.Release(terms, report_)), HasSubstr("another kind"));

  ExpectSent(terms, sound);
}

TEST_F(SumsGuardTest, AMetricOverFewRowsOfAPersonalizedModelStays) {
  const ReleaseTerms terms = MakeTerms(MakePersonalSpec(), ReportKind::kPersonalMetrics,
                                       {.num_training_rows = 40, .num_test_rows = 9});
  ExpectRefused(terms, {{"too few rows", {28, 40, 7.2, 9}}});

  ExpectSent(terms, {28, 40, 0, 0});
}

TEST_F(ReleaseGuardTest, UnderScaffoldAnUpdateHasTwoParts) {
  const ReleaseTerms terms = MakeTerms(MakeScaffoldSpec(), ReportKind::kUpdate,
                                       {.num_training_rows = 40, .num_test_rows = 20});
  EXPECT_THAT(MessageOf(guard_.Release(terms, report_)),
              HasSubstr("of 3 values where the task has 6"));

  report_.payload = std::vector<float>{1, 2, 3, 4, 5, HUGE_VALF};
  EXPECT_THAT(MessageOf(guard_.Release(terms, report_)), HasSubstr("not finite"));

  report_.payload = std::vector<float>{1, 2, 3, 4, 5, 6};
  EXPECT_TRUE(guard_.Release(terms, report_).ok());
}

TEST_F(ReleaseGuardTest, UnknownFieldsOfAMetricStayBehind) {
  std::string bytes = report_.metrics[0].SerializeAsString() + "\x9a\x06\x06secret";
  ASSERT_TRUE(report_.metrics[0].ParseFromString(bytes));

  ASSERT_TRUE(guard_.Release(terms_, report_).ok());
  ASSERT_TRUE(guard_.Deliver(kTask).ok());

  EXPECT_EQ(outlet_.reports[0].header.SerializeAsString().find("secret"), std::string::npos);
}

TEST_F(ReleaseGuardTest, ASecondReportOfATaskNeverReplacesTheFirst) {
  ASSERT_TRUE(guard_.Release(terms_, report_).ok());
  Report other = report_;
  other.payload = std::vector<float>{9, 9, 9};

  EXPECT_EQ(guard_.Release(terms_, other).code(), StatusCode::kAlreadyExists);
  ASSERT_TRUE(guard_.Deliver(kTask).ok());

  EXPECT_EQ(outlet_.reports[0].payload, ToString(AsBytes(std::vector<float>{0.5f, -1, 2})));
}

TEST_F(ReleaseGuardTest, RefusalsCarryOnlyTheFixedTexts) {
  ASSERT_TRUE(guard_
                  .Release(RefusedRelease{kTask,
                                          {.code = ReasonCode::kModelTooLarge,
                                           .subject = "free text!",
                                           .asked = 5,
                                           .limit = 3}})
                  .ok());

  ASSERT_THAT(outlet_.messages, SizeIs(1));
  EXPECT_EQ(outlet_.messages[0].refused().code(), "MODEL_TOO_LARGE");
  EXPECT_EQ(outlet_.messages[0].refused().message(),
            "the model has 5 parameters; this site allows at most 3");
}

TEST_F(ReleaseGuardTest, AHelloTellsConfiguredDatasetsAndTakenTasks) {
  ASSERT_TRUE(guard_.Release(HelloRelease{{"heart"}, {kTask}}).ok());

  const v1::SiteHello& hello = outlet_.messages.at(0).hello();
  EXPECT_EQ(hello.agent_version(), Version());
  EXPECT_EQ(hello.datasets_size(), 1);
  EXPECT_EQ(hello.active_tasks(0), kTask.value());
  EXPECT_EQ(hello.clock().seconds(), 24 * 365 * 50 * 3600);
}

TEST_F(ReleaseGuardTest, AHelloTellsTheStateDirectoryAndWhereTheLedgerStands) {
  const std::string lineage(32, 'a');
  ASSERT_TRUE(guard_
                  .Release(HelloRelease{.datasets = {},
                                        .active_tasks = {},
                                        .state = {.lineage = lineage, .epoch = 4},
                                        .ledger = privacy::LedgerHead{.seq = 7, .digest = {1}},
                                        .open_jobs = {JobId("job-1")}})
                  .ok());
  ASSERT_TRUE(guard_.Release(HeartbeatRelease{privacy::LedgerHead{.seq = 8, .digest = {}}}).ok());

  const v1::SiteHello& hello = outlet_.messages.at(0).hello();
  EXPECT_EQ(hello.state().lineage(), lineage);
  EXPECT_EQ(hello.state().epoch(), 4u);
  EXPECT_EQ(hello.ledger().seq(), 7u);
  EXPECT_EQ(hello.ledger().digest().size(), 32u);
  ASSERT_EQ(hello.open_jobs_size(), 1);
  EXPECT_EQ(hello.open_jobs(0), "job-1");
  EXPECT_EQ(outlet_.messages.at(1).heartbeat().ledger().seq(), 8u);
}

TEST_F(ReleaseGuardTest, RefusesSpoiledControlMessages) {
  const ControlRelease spoiled[] = {
      HelloRelease{{"stroke"}, {}},
      HelloRelease{{}, {TaskId("a b")}},
      HelloRelease{{}, std::vector<TaskId>(65, kTask)},
      HelloRelease{std::vector<std::string>(257, "heart"), {}},
      HelloRelease{
          .datasets = {}, .active_tasks = {}, .state = {.lineage = "north ward", .epoch = 1}},
      HelloRelease{.datasets = {}, .active_tasks = {}, .open_jobs = {JobId("a b")}},
      HelloRelease{
          .datasets = {}, .active_tasks = {}, .open_jobs = std::vector<JobId>(65, JobId("job-1"))},
      AcceptedRelease{TaskId("")},
      AcceptedRelease{TaskId(std::string(129, 'a'))},
      RefusedRelease{TaskId("a\nb"), {.code = ReasonCode::kBusy}},
      ProgressRelease{TaskId("a b"), 1},
      ProgressRelease{kTask, 1001}};
  for (const ControlRelease& release : spoiled) {
    EXPECT_EQ(guard_.Release(release).code(), StatusCode::kPermissionDenied) << release.index();
  }
  EXPECT_THAT(outlet_.messages, IsEmpty());
}

TEST(ReleaseGuardJournalTest, NothingIsSentThatCouldNotBeRecorded) {
  RecordingOutlet outlet;
  FailingJournal journal(outlet);
  FakeClock clock(kStart);
  ReleaseGuard guard(outlet, journal, clock, {"heart"});
  journal.answer = ResourceExhausted("disk full");

  EXPECT_EQ(guard.Release(HeartbeatRelease{}).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(guard.Release(AcceptedRelease{kTask}).code(), StatusCode::kResourceExhausted);

  EXPECT_THAT(outlet.messages, IsEmpty());
}

TEST(ReleaseGuardJournalTest, RecordsBeforeItSends) {
  RecordingOutlet outlet;
  FailingJournal journal(outlet);
  FakeClock clock(kStart);
  ReleaseGuard guard(outlet, journal, clock, {});

  ASSERT_TRUE(guard.Release(ProgressRelease{kTask, 5}).ok());

  EXPECT_EQ(journal.sent_before, 0u);
  EXPECT_EQ(journal.last.kind, "progress");
  EXPECT_EQ(journal.last.task_id, kTask);
  EXPECT_EQ(journal.last.size_bytes, outlet.messages.at(0).ByteSizeLong());
  EXPECT_EQ(journal.last.sha256,
            crypto::Sha256(AsBytes(outlet.messages.at(0).SerializeAsString())));
}

// ---------------------------------------------------------------------------- secure aggregation

class MaskedReleaseTest : public ReleaseGuardTest {
 protected:
  MaskedReleaseTest() {
    for (std::size_t i = 0; i < key_.size(); ++i) {
      key_.MutableReveal()[i] = static_cast<std::uint8_t>(i);
    }
  }
  static v1::JobSpec MaskedSpec() {
    v1::JobSpec spec = MakeJobSpec();
    spec.clear_secure_aggregation();
    return spec;
  }
  Masking MakeMasking() {
    std::vector<secagg::OwnedMaskTerm> terms;
    terms.push_back({crypto::SecretBytes(key_.Reveal()), false});
    return {.layout = layout_, .terms = std::move(terms), .sign = [this](const crypto::Digest& d) {
              signed_digest_ = d;
              return StatusOr<Bytes>(Bytes{1, 2, 3});
            }};
  }

  crypto::SecretBytes key_{std::size_t{16}};
  jobs::MaskedLayout layout_ =
      *jobs::MaskedLayout::Create(MaskedSpec(), jobs::MaskedKind::kUpdate, 3, 4);
  ReleaseTerms masked_terms_ =
      MakeTerms(MaskedSpec(), ReportKind::kUpdate, {.num_training_rows = 40, .num_test_rows = 20});
  std::optional<crypto::Digest> signed_digest_;
};

TEST_F(MaskedReleaseTest, WhatLeavesIsTheMaskedVectorAndNoNumber) {
  ASSERT_TRUE(guard_.Release(masked_terms_, report_, MakeMasking()).ok());
  ASSERT_TRUE(guard_.Deliver(kTask).ok());
  const auto& sent = outlet_.reports.at(0);
  EXPECT_EQ(sent.header.num_examples(), 0u);
  EXPECT_EQ(sent.header.metrics_size(), 0);
  EXPECT_EQ(sent.header.masked_input(), std::string("\1\2\3"));
  ASSERT_TRUE(signed_digest_.has_value());
  EXPECT_EQ(sent.header.payload().digest(), ToString(*signed_digest_));

  // Without the mask it is the report.
  Bytes vector(sent.payload.begin(), sent.payload.end());
  ASSERT_EQ(vector.size(), layout_.vector().size_bytes());
  const secagg::MaskTerm mask{.key = &key_, .is_subtracted = true};
  ASSERT_TRUE(secagg::ApplyMasks(layout_.vector(), 0, vector, {&mask, 1}, 1).ok());
  const auto numbers = layout_.Summed(ByteSpan(vector).first(layout_.exact_bytes()), 1);
  ASSERT_TRUE(numbers.ok()) << numbers.status();
  EXPECT_EQ(numbers->num_examples, 40u);
  EXPECT_EQ(numbers->metrics.size(), 2u);
}

TEST_F(MaskedReleaseTest, AMaskedJobsReportNeverLeavesInTheClear) {
  EXPECT_EQ(guard_.Release(masked_terms_, report_).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(guard_.Release(terms_, report_, MakeMasking()).code(), StatusCode::kPermissionDenied);
}

TEST_F(MaskedReleaseTest, WithoutAMaskNothingLeaves) {
  Masking masking = MakeMasking();
  masking.terms.clear();
  EXPECT_EQ(guard_.Release(masked_terms_, report_, masking).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
}

TEST_F(MaskedReleaseTest, TheChecksOfAReportComeBeforeItsMasks) {
  report_.num_examples = 39;
  EXPECT_EQ(guard_.Release(masked_terms_, report_, MakeMasking()).code(),
            StatusCode::kPermissionDenied);
  EXPECT_FALSE(signed_digest_.has_value());
}

TEST_F(MaskedReleaseTest, AnUpdateBeyondItsBoundDoesNotLeave) {
  report_.payload = std::vector<float>{0.5f, 17, 2};
  const Status status = guard_.Release(masked_terms_, report_, MakeMasking());
  EXPECT_EQ(secagg::RefusalOf(status), secagg::RefusalCode::kValueOutOfRange);
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
}

TEST_F(MaskedReleaseTest, AVectorThatCannotBeSignedDoesNotLeave) {
  Masking masking = MakeMasking();
  masking.sign = [](const crypto::Digest&) {
    return StatusOr<Bytes>(secagg::Refused(secagg::RefusalCode::kSessionExpired, "too late"));
  };
  EXPECT_EQ(secagg::RefusalOf(guard_.Release(masked_terms_, report_, masking)),
            secagg::RefusalCode::kSessionExpired);
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
}

TEST_F(MaskedReleaseTest, MessagesOfASitePassAndOthersDoNot) {
  MessageRelease message{
      .task_id = kTask, .kind = secagg::MessageKind::kShareKeysAck, .message = {1, 2, 3}};
  EXPECT_TRUE(guard_.Release(message).ok());
  ASSERT_TRUE(guard_.Deliver(kTask).ok());
  EXPECT_EQ(outlet_.reports.at(0).payload, std::string("\1\2\3"));
  EXPECT_EQ(outlet_.reports.at(0).header.num_examples(), 0u);

  message.task_id = TaskId("job-1/1/1/other");
  message.kind = secagg::MessageKind::kSurvivors;
  EXPECT_EQ(guard_.Release(message).code(), StatusCode::kPermissionDenied);
  message.kind = secagg::MessageKind::kConsistencySignature;
  message.message.resize(secagg::MaxBytes(message.kind) + 1);
  EXPECT_EQ(guard_.Release(message).code(), StatusCode::kPermissionDenied);
  message.message.clear();
  EXPECT_EQ(guard_.Release(message).code(), StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace chorale::site_agent
