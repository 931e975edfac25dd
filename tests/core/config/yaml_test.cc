#include "core/config/yaml.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/identity.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/config/yaml_writer.h"
#include "core/random.h"

namespace chorale::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kJob = R"(# A job.
name: heart-disease
dataset: heart
data:
  features:
    - column: age
      numeric: {}
    - column: chest_pain
      categorical: {levels: ["1", 2, '3']}
    - column: sex
      numeric:
  target: {column: num, positive: [1, 2]}
  standardization: federated
model:
  mlp: {hidden_units: [16, 8], activation: relu}
training:
  optimizer: {sgd: {learning_rate: 0.05, momentum: .9}}
  local_epochs: 2
  l2_penalty: 1e-3
  metrics: [{kind: loss, split: train}]
rounds: {count: 10, min_reports: 3, deadline: 5min}
aggregation: {fedavg: {weighting: examples}}
seed: 18446744073709551615
)";

template <typename Message>
std::string Problem(std::string_view text) {
  Message message;
  const Status status = ParseYaml(text, "f.yaml", message);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

std::string JobProblem(std::string_view text) { return Problem<v1::JobSpec>(text); }

TEST(ParseYamlTest, ReadsAWholeJob) {
  v1::JobSpec job;

  const Status status = ParseYaml(kJob, "job.yaml", job);

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(job.name(), "heart-disease");
  ASSERT_EQ(job.data().features_size(), 3);
  EXPECT_TRUE(job.data().features(0).has_numeric());
  EXPECT_THAT(job.data().features(1).categorical().levels(), ElementsAre("1", "2", "3"));
  EXPECT_TRUE(job.data().features(2).has_numeric());
  EXPECT_EQ(job.data().standardization(), v1::STANDARDIZATION_FEDERATED);
  EXPECT_THAT(job.model().mlp().hidden_units(), ElementsAre(16u, 8u));
  EXPECT_EQ(job.model().mlp().activation(), v1::ACTIVATION_RELU);
  EXPECT_EQ(job.training().optimizer().sgd().learning_rate(), 0.05);
  EXPECT_EQ(job.training().optimizer().sgd().momentum(), 0.9);
  EXPECT_EQ(job.training().length_case(), v1::TrainingSpec::kLocalEpochs);
  EXPECT_EQ(job.training().metrics(0).split(), v1::SPLIT_TRAIN);
  EXPECT_EQ(job.rounds().deadline().seconds(), 300);
  EXPECT_EQ(job.seed(), 18446744073709551615u);
}

TEST(ParseYamlTest, ReadsTimestamps) {
  v1::Roster roster;

  const Status status = ParseYaml("issued_at: 2026-11-20T09:15:45.5+01:00", "roster.yaml", roster);

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(roster.issued_at().seconds(), 1'795'162'545);
  EXPECT_EQ(roster.issued_at().nanos(), 500'000'000);
}

TEST(ParseYamlTest, AnEmptyFileIsAnEmptyMessage) {
  v1::JobSpec job;
  job.set_name("left over");

  ASSERT_TRUE(ParseYaml("# nothing yet\n", "job.yaml", job).ok());

  EXPECT_EQ(job.ByteSizeLong(), 0u);
}

TEST(ParseYamlTest, ANumberMayBeText) {
  v1::CsvConnector csv;

  ASSERT_TRUE(ParseYaml("{missing: [-9, no, 1.50, true, \"\"], decimal: ','}", "f.yaml", csv).ok());

  EXPECT_THAT(csv.missing(), ElementsAre("-9", "no", "1.50", "true", ""));
  EXPECT_EQ(csv.decimal(), ",");
}

TEST(ParseYamlTest, AListWithNothingBelowItIsEmpty) {
  v1::PolicyConfig policy;

  ASSERT_TRUE(ParseYaml("allow:\n  # - researchers: [ana]\n", "f.yaml", policy).ok());

  EXPECT_EQ(policy.allow_size(), 0);
}

TEST(ParseYamlTest, AnUnknownKeyNamesTheNearest) {
  EXPECT_EQ(JobProblem("name: a\nrounds:\n  min_report: 3\n"),
            "f.yaml:3: rounds.min_report is no valid key; did you mean min_reports?");
  EXPECT_EQ(JobProblem("data:\n  features:\n    - colum: age\n"),
            "f.yaml:3: data.features[0].colum is no valid key; did you mean column?");
}

TEST(ParseYamlTest, AnUnknownKeyNearToNothingNamesThemAll) {
  EXPECT_EQ(JobProblem("rounds:\n  epsilon: 3\n"),
            "f.yaml:2: rounds.epsilon is no valid key; valid keys: count, min_reports, "
            "cohort_size, deadline, "
            "max_abandoned, early_stop");
  EXPECT_EQ(
      JobProblem("model: {logistic_regression: {depth: 1}}"),
      "f.yaml:1: model.logistic_regression.depth is no valid key; no key may stand here, write {}");
}

TEST(ParseYamlTest, AKeyCannotDriveATerminal) {
  EXPECT_THAT(JobProblem("\"\\e[2J\": 1"), StartsWith("f.yaml:1: ?[2J is no valid key"));
}

TEST(ParseYamlTest, KeysAreNamesAndNotNumbersOrOtherSpellings) {
  for (const std::string_view text :
       {"1: a", "Name: a", "NAME: a", "minReports: 1", "<<: {name: a}"}) {
    EXPECT_THAT(JobProblem(text), HasSubstr("is no valid key"));
  }
}

TEST(ParseYamlTest, ADuplicateKeyNamesBothLines) {
  EXPECT_EQ(JobProblem("rounds:\n  count: 1\n  deadline: 1s\n  count: 2\n"),
            "f.yaml:4: rounds.count occurs twice, first at line 2; remove one");
}

TEST(ParseYamlTest, TwoMembersOfOneOneofNameBothLines) {
  EXPECT_EQ(
      JobProblem("training:\n  local_epochs: 1\n  local_steps: 2\n"),
      "f.yaml:3: training.local_steps cannot stand beside local_epochs (line 2); keep one of them");
  EXPECT_THAT(JobProblem("model: {mlp: {}, logistic_regression: {}}"),
              HasSubstr("cannot stand beside mlp (line 1)"));
}

TEST(ParseYamlTest, WholeNumbersNameTheBoundsOfTheirType) {
  for (const std::string_view value :
       {"-1", "4294967296", "1.0", "1e3", "ten", "0x10", "' 1'", "1_000", "''"}) {
    EXPECT_THAT(
        JobProblem("rounds:\n  count: " + std::string(value)),
        StartsWith("f.yaml:2: rounds.count must be a whole number in [0, 4294967295], got \""))
        << value;
  }
  EXPECT_THAT(JobProblem("seed: 18446744073709551616"), HasSubstr("[0, 18446744073709551615]"));
}

TEST(ParseYamlTest, AValueOfTheWrongShapeIsDescribed) {
  EXPECT_THAT(JobProblem("seed:"),
              HasSubstr("seed must be a whole number in [0, 18446744073709551615], got nothing"));
  EXPECT_THAT(JobProblem("seed: [1]"), HasSubstr("got a list"));
  EXPECT_THAT(JobProblem("seed: {a: 1}"), HasSubstr("got keys below it"));
  EXPECT_EQ(JobProblem("name: [a]"), "f.yaml:1: name must be a text, got a list");
  EXPECT_EQ(JobProblem("name:"), "f.yaml:1: name has no value; write \"\" for an empty text");
  EXPECT_EQ(JobProblem("rounds: 3"), "f.yaml:1: rounds must hold keys, got \"3\"");
  EXPECT_EQ(JobProblem("rounds: [3]"), "f.yaml:1: rounds must hold keys, got a list");
  EXPECT_EQ(JobProblem("data: {features: age}"),
            "f.yaml:1: data.features must be a list, like [a, b], got \"age\"");
  EXPECT_EQ(JobProblem("- a"), "f.yaml:1: the file must hold keys, got a list");
  EXPECT_EQ(JobProblem("just words"), "f.yaml:1: the file must hold keys, got \"just words\"");
}

TEST(ParseYamlTest, RealNumbersAreFinite) {
  for (const std::string_view value :
       {".nan", "nan", "inf", "-.inf", "1e999", "fast", "'1,5'", "0x1p3", "true"}) {
    EXPECT_THAT(JobProblem("training: {l2_penalty: " + std::string(value) + "}"),
                HasSubstr("training.l2_penalty must be a finite number, like 0.01, got"))
        << value;
  }
}

TEST(ParseYamlTest, EnumsListTheirValues) {
  EXPECT_EQ(
      JobProblem("model:\n  mlp:\n    activation: swish\n"),
      "f.yaml:3: model.mlp.activation must be one of relu, tanh, gelu, silu, sigmoid, softmax, got "
      "\"swish\"");
  EXPECT_THAT(JobProblem("model: {mlp: {activation: unspecified}}"),
              HasSubstr("must be one of relu"));
  EXPECT_THAT(JobProblem("model: {mlp: {activation: 1}}"), HasSubstr("must be one of relu"));
}

TEST(ParseYamlTest, DurationsNeedAUnit) {
  EXPECT_EQ(JobProblem("rounds: {deadline: 90}"),
            "f.yaml:1: rounds.deadline must be a whole number and a unit (ms, s, min, h, d), like "
            "90s, got \"90\"");
  EXPECT_THAT(JobProblem("rounds: {deadline: {seconds: 5}}"), HasSubstr("got keys below it"));
}

TEST(ParseYamlTest, TimestampsAreRfc3339) {
  EXPECT_EQ(Problem<v1::Roster>("issued_at: yesterday"),
            "f.yaml:1: issued_at must be a time, like 2026-01-31T08:00:00Z, got \"yesterday\"");
}

TEST(ParseYamlTest, BytesAreBase64Url) {
  v1::EnrolmentRequest request;

  ASSERT_TRUE(ParseYaml("csr: -_8", "f.yaml", request).ok());

  EXPECT_EQ(request.csr(), "\xfb\xff");
  EXPECT_THAT(Problem<v1::EnrolmentRequest>("csr: '+/8='"), HasSubstr("csr must be base64url"));
}

TEST(ParseYamlTest, TextHoldsNoNul) {
  EXPECT_EQ(JobProblem("name: \"a\\0b\""),
            "f.yaml:1: name must not hold a NUL character, got \"a?b\"");
}

TEST(ParseYamlTest, ALongValueIsShownInPart) {
  const std::string problem = JobProblem("seed: " + std::string(10'000, 'x'));

  EXPECT_LT(problem.size(), 200u);
  EXPECT_THAT(problem, HasSubstr("xxx...\""));
}

TEST(ParseYamlTest, BadYamlNamesFileAndLine) {
  EXPECT_THAT(JobProblem("name: a\n  b: [\n"), StartsWith("f.yaml:"));
  EXPECT_THAT(JobProblem("name: &a x\ndataset: *a\n"), HasSubstr("anchors are not supported"));
}

TEST(ParseYamlTest, NoMutationOfAFileDoesHarm) {
  SeededRandom random(9);
  for (int i = 0; i < 1500; ++i) {
    std::string text(kJob);
    for (std::uint64_t left = random.NextBelow(4) + 1; left > 0; --left) {
      const std::size_t at = random.NextBelow(text.size());
      switch (random.NextBelow(4)) {
        case 0:
          text[at] = static_cast<char>(random.NextBelow(256));
          break;
        case 1:
          text.insert(at, 1, "{}[]:,-&*!|>'\"#%@`\n\t"[random.NextBelow(20)]);
          break;
        case 2:
          text.erase(at, random.NextBelow(10) + 1);
          break;
        default:
          text.resize(at + 1);
      }
    }
    v1::JobSpec job;

    const Status status = ParseYaml(text, "f.yaml", job);

    if (!status.ok()) {
      EXPECT_THAT(MessageOf(status), StartsWith("f.yaml:"));
      continue;
    }
    v1::JobSpec again;
    ASSERT_TRUE(ParseYaml(ToYaml(job), "f.yaml", again).ok()) << text;
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(job, again)) << text;
  }
}

class LoadYamlTest : public ::testing::Test {
 protected:
  LoadYamlTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "chorale-yaml-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~LoadYamlTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string Save(std::string_view text) const {
    const std::string path = (folder_ / "job.yaml").string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  std::filesystem::path folder_;
  v1::JobSpec job_;
};

TEST_F(LoadYamlTest, ReadsAFile) {
  ASSERT_TRUE(LoadYaml(Save(kJob), job_).ok());

  EXPECT_EQ(job_.dataset(), "heart");
}

TEST_F(LoadYamlTest, NamesTheFileInErrors) {
  const std::string path = Save("nam: a");

  EXPECT_EQ(MessageOf(LoadYaml(path, job_)), path + ":1: nam is no valid key; did you mean name?");
}

TEST_F(LoadYamlTest, AMissingFileIsNotFound) {
  const Status status = LoadYaml((folder_ / "none.yaml").string(), job_);

  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status), HasSubstr("none.yaml"));
}

TEST_F(LoadYamlTest, AFolderIsUnavailable) {
  EXPECT_EQ(LoadYaml(folder_.string(), job_).code(), StatusCode::kUnavailable);
}

TEST_F(LoadYamlTest, AFileOverOneMebibyteIsRefused) {
  const Status status = LoadYaml(Save("name: " + std::string(1 << 20, 'x')), job_);

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("over 1 MiB"));
}

}  // namespace
}  // namespace chorale::config
