#include "evaluation/run_record.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "core/random.h"
#include "tests/support/temporary_directory.h"

namespace chorale::evaluation {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

void AddSite(v1::RoundRecord& round, const std::string& name, v1::SiteState state) {
  v1::SiteProgress* site = round.add_sites();
  site->set_site(name);
  site->set_state(state);
}

// A preparation round, a published round without one of three sites, an abandoned one.
v1::ShowJobResponse MakeResponse() {
  v1::JobSpec spec;
  spec.set_name("heart");
  v1::ShowJobResponse response;
  response.mutable_job()->set_job_id("job-7");
  response.mutable_job()->set_researcher("ada");
  response.mutable_job()->set_state(v1::JOB_STATE_COMPLETED);
  response.set_spec(spec.SerializeAsString());

  v1::RoundRecord* preparation = response.add_rounds();
  preparation->set_phase("preparation");
  preparation->set_published(true);
  preparation->set_model_digest("p");

  v1::RoundRecord* published = response.add_rounds();
  published->set_round(1);
  published->set_phase("training");
  published->set_published(true);
  published->set_model_digest("\x01\xff");
  published->mutable_started_at()->set_seconds(100);
  published->mutable_started_at()->set_nanos(900000000);
  published->mutable_ended_at()->set_seconds(103);
  published->mutable_ended_at()->set_nanos(400000000);
  published->set_bytes_down(300);
  published->set_bytes_up(200);
  AddSite(*published, "a", v1::SITE_STATE_REPORTED);
  AddSite(*published, "b", v1::SITE_STATE_STRAGGLER);
  AddSite(*published, "c", v1::SITE_STATE_REPORTED);
  v1::MetricValue* metric = published->add_metrics();
  metric->set_kind(v1::METRIC_KIND_LOSS);
  metric->set_split(v1::SPLIT_TRAIN);
  metric->set_value(0.69);

  v1::RoundRecord* abandoned = response.add_rounds();
  abandoned->set_round(2);
  abandoned->set_phase("training");
  abandoned->set_reason("1 of 2 reports");
  abandoned->set_bytes_down(200);
  AddSite(*abandoned, "a", v1::SITE_STATE_DROPPED);
  AddSite(*abandoned, "c", v1::SITE_STATE_REFUSED);
  return response;
}

std::string ToJson(const v1::ShowJobResponse& response) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(response, &json, options).ok());
  return json;
}

TEST(RunRecordTest, ReadsRoundsTimesAndMetrics) {
  const RunRecord run = ParseRunRecord(ToJson(MakeResponse())).value();

  EXPECT_EQ(run.job_id, "job-7");
  EXPECT_EQ(run.researcher, "ada");
  EXPECT_EQ(run.state, "completed");
  EXPECT_EQ(run.spec.name(), "heart");
  EXPECT_EQ(run.model_digest, "01ff");
  ASSERT_EQ(run.rounds.size(), 3u);
  EXPECT_EQ(run.rounds[0].phase, "preparation");
  EXPECT_DOUBLE_EQ(run.rounds[1].seconds, 2.5);
  EXPECT_EQ(run.rounds[1].num_asked, 3u);
  EXPECT_EQ(run.rounds[1].num_reported, 2u);
  EXPECT_EQ(run.rounds[1].metrics[0].value(), 0.69);
  EXPECT_FALSE(run.rounds[2].is_published);
  EXPECT_EQ(run.rounds[2].reason, "1 of 2 reports");
}

TEST(RunRecordTest, GivesEverySiteItsShareOfTheBytes) {
  const RunRecord run = ParseRunRecord(ToJson(MakeResponse())).value();

  ASSERT_EQ(run.sites.size(), 3u);
  EXPECT_EQ(run.sites[0].site, "a");
  EXPECT_EQ(run.sites[0].rounds_asked, 2u);
  EXPECT_EQ(run.sites[0].rounds_reported, 1u);
  EXPECT_EQ(run.sites[0].bytes_down, 200u);  // 300 / 3 + 200 / 2.
  EXPECT_EQ(run.sites[0].bytes_up, 100u);    // 200 / 2.
  EXPECT_EQ(run.sites[1].bytes_down, 100u);
  EXPECT_EQ(run.sites[1].bytes_up, 0u);
}

TEST(RunRecordTest, ReadsAJobThatHasNoRoundYet) {
  v1::ShowJobResponse response = MakeResponse();
  response.clear_rounds();

  const RunRecord run = ParseRunRecord(ToJson(response)).value();

  EXPECT_TRUE(run.rounds.empty() && run.sites.empty() && run.model_digest.empty());
}

TEST(RunRecordTest, ReadsWhatThePreparationOfAPrivateJobTold) {
  v1::JobSpec spec;
  v1::DataSpec& data = *spec.mutable_data();
  data.set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  for (const char* column : {"age", "pressure"}) {
    v1::FeatureSpec& feature = *data.add_features();
    feature.set_column(column);
    feature.mutable_numeric()->set_impute(v1::IMPUTATION_MEAN);
    feature.mutable_numeric()->mutable_range()->set_high(120);
  }
  data.mutable_features(1)->mutable_numeric()->set_impute(v1::IMPUTATION_MIDDLE);
  spec.mutable_privacy()->mutable_distributed();
  v1::ShowJobResponse response = MakeResponse();
  response.set_spec(spec.SerializeAsString());
  for (const char* column : {"age", "pressure"}) {
    v1::ColumnStatistics& told = *response.mutable_rounds(0)->add_statistics();
    told.set_column(column);
    told.set_mean(54.321);
    told.set_standard_deviation(0.1 + 0.2);
  }
  const auto parsed = [&response] {
    std::string json;
    EXPECT_TRUE(google::protobuf::util::MessageToJsonString(response, &json).ok());
    return ParseRunRecord(json);
  };

  const StatusOr<RunRecord> run = parsed();
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->noisy_moments.size(), 2u);
  EXPECT_EQ(run->noisy_moments[0].mean, 54.321);
  EXPECT_EQ(run->noisy_moments[0].standard_deviation, 0.1 + 0.2);
  EXPECT_EQ(run->noisy_moments[0].imputed, 54.321);
  EXPECT_EQ(run->noisy_moments[1].imputed, 60);

  response.mutable_rounds(0)->mutable_statistics(1)->set_standard_deviation(0);
  EXPECT_THAT(MessageOf(parsed().status()), HasSubstr("standard_deviation above 0"));
  response.mutable_rounds(0)->mutable_statistics()->RemoveLast();
  EXPECT_THAT(MessageOf(parsed().status()), HasSubstr("lacks a numeric column"));
}

TEST(RunRecordTest, RefusesWhatIsNotThatJson) {
  for (const char* text :
       {"", "[]", "{", "null x", "{\"job\": 3}", "{\"rounds\": [{\"round\": -1}]}",
        "{\"no_such_key\": 1}", "{\"spec\": \"////\"}", "{\"spec\": \"*\"}"}) {
    EXPECT_EQ(ParseRunRecord(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(RunRecordTest, RefusesMetricsThatAreNotFiniteAndRoundsThatEndBeforeTheyStart) {
  v1::ShowJobResponse response = MakeResponse();
  response.mutable_rounds(1)->mutable_metrics(0)->set_value(
      std::numeric_limits<double>::infinity());
  EXPECT_THAT(MessageOf(ParseRunRecord(ToJson(response)).status()),
              HasSubstr("round 1 has a metric"));

  response = MakeResponse();
  response.mutable_rounds(1)->mutable_ended_at()->set_seconds(1);
  EXPECT_THAT(MessageOf(ParseRunRecord(ToJson(response)).status()),
              HasSubstr("ends before it starts"));
}

TEST(RunRecordTest, MessagesCannotActOnATerminal) {
  const Status status = ParseRunRecord("{\"rounds\": \"\x1b[2J\n\"}").status();

  EXPECT_EQ(MessageOf(status).find('\x1b'), std::string::npos);
}

TEST(RunRecordTest, ReadsAFileAndNamesItWhenItIsUnsound) {
  const support::TemporaryDirectory directory;
  const auto path = directory.path() / "run.json";
  EXPECT_EQ(LoadRunRecord(path).status().code(), StatusCode::kNotFound);

  std::ofstream(path) << ToJson(MakeResponse());
  EXPECT_TRUE(LoadRunRecord(path).ok());

  std::ofstream(path) << "{";
  EXPECT_THAT(MessageOf(LoadRunRecord(path).status()), StartsWith(path.string()));
}

TEST(RunRecordTest, SurvivesMutatedAndTruncatedFiles) {
  const std::string sound = ToJson(MakeResponse());
  SeededRandom random(4);
  for (int i = 0; i < 2000; ++i) {
    std::string text = sound.substr(0, random.NextBelow(sound.size() + 1));
    for (std::uint64_t change = random.NextBelow(4); change > 0 && !text.empty(); --change) {
      text[random.NextBelow(text.size())] = static_cast<char>(random.NextBelow(256));
    }
    const auto run = ParseRunRecord(text);
    EXPECT_EQ(run.ok(), run.status().message().empty());
  }
}

}  // namespace
}  // namespace chorale::evaluation
