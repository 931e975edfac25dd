#include <gtest/gtest.h>

#include "core/config/yaml.h"

namespace chorale::config {
namespace {

constexpr std::string_view kText = R"(name: heart
data:
  features:
    - column: age
      numeric: {}
    - {column: sex}
    -
      column: chest_pain
rounds: {count: 10}
grid: [[1, 2], [3,
  4]]
)";

TEST(LineOfTest, FindsKeysAndItems) {
  EXPECT_EQ(LineOf(kText, "name"), 1);
  EXPECT_EQ(LineOf(kText, "data.features"), 3);
  EXPECT_EQ(LineOf(kText, "data.features[0]"), 4);
  EXPECT_EQ(LineOf(kText, "data.features[0].numeric"), 5);
  EXPECT_EQ(LineOf(kText, "data.features[1].column"), 6);
  EXPECT_EQ(LineOf(kText, "data.features[2].column"), 8);
  EXPECT_EQ(LineOf(kText, "rounds.count"), 9);
  EXPECT_EQ(LineOf(kText, "grid[1][1]"), 11);
}

TEST(LineOfTest, IsZeroForWhatIsNotThere) {
  for (const std::string_view path :
       {"", "nam", "data.feature", "data.features[3]", "rounds[0]", "name.x", "rounds.",
        "data.features[", "data.features[x]", "data.features[0", "..", "[0]", "a..b",
        "data.features[99999999999999999999]"}) {
    EXPECT_EQ(LineOf(kText, path), 0) << path;
  }
}

TEST(LineOfTest, IsZeroForTextThatIsNotYaml) { EXPECT_EQ(LineOf("a: [", "a"), 0); }

TEST(FieldErrorTest, ReadsOnFromThePath) {
  const Status status = FieldError("rounds.min_reports", "must be in [1, 1024], got 0");

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status), "rounds.min_reports must be in [1, 1024], got 0");
}

TEST(LocateTest, AddsFileAndLine) {
  const Status status =
      Locate(FieldError("rounds.count", "must be at least 20, got 10"), kText, "job.yaml");

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(status), "job.yaml:9: rounds.count must be at least 20, got 10");
}

TEST(LocateTest, PointsAboveAFieldThatIsNotThere) {
  EXPECT_EQ(MessageOf(Locate(FieldError("rounds.min_reports", "must be in [1, 1024], got 0"), kText,
                             "job.yaml")),
            "job.yaml:9: rounds.min_reports must be in [1, 1024], got 0");
  EXPECT_EQ(MessageOf(Locate(FieldError("training.optimizer", "is missing"), kText, "job.yaml")),
            "job.yaml: training.optimizer is missing");
}

TEST(LocateTest, FindsThePathBehindAnAnnotation) {
  const Status status = Annotate(FieldError("name", "is taken"), "cannot submit");

  EXPECT_EQ(MessageOf(Locate(status, kText, "job.yaml")),
            "job.yaml:1: cannot submit: name is taken");
}

TEST(LocateTest, OtherErrorsGetTheFileAlone) {
  const Status status = Locate(ResourceExhausted("the queue is full"), kText, "job.yaml");

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(MessageOf(status), "job.yaml: the queue is full");
}

TEST(LocateTest, OkStaysOk) { EXPECT_TRUE(Locate(OkStatus(), kText, "job.yaml").ok()); }

}  // namespace
}  // namespace chorale::config
