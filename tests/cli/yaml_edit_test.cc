#include "cli/yaml_edit.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "chorale/v1/config.pb.h"

namespace chorale::cli {
namespace {

constexpr std::array<std::string_view, 1> kDatasets = {"datasets"};
constexpr std::array<std::string_view, 2> kAllow = {"policy", "allow"};

TEST(YamlEditTest, AppendsAfterTheLastItemAndKeepsComments) {
  const auto text = AppendListItem(
      "# mine\n"
      "datasets:  # tables\n"
      "  - id: a  # first\n"
      "    csv: {path: a.csv}\n"
      "\n"
      "# policy follows\n"
      "policy: {}\n",
      kDatasets, "- id: b\n  csv:\n    path: b.csv\n");

  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text,
            "# mine\n"
            "datasets:  # tables\n"
            "  - id: a  # first\n"
            "    csv: {path: a.csv}\n"
            "  - id: b\n"
            "    csv:\n"
            "      path: b.csv\n"
            "\n"
            "# policy follows\n"
            "policy: {}\n");
}

TEST(YamlEditTest, OpensAnEmptyList) {
  const auto text = AppendListItem("datasets: []  # none yet\nlog: {}\n", kDatasets, "- id: a\n");

  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "datasets: # none yet\n  - id: a\nlog: {}\n");
}

TEST(YamlEditTest, FollowsAListThatIsNotIndented) {
  const auto text =
      AppendListItem("datasets:\n- id: a\n- id: b\nlog: {}\n", kDatasets, "- id: c\n");

  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "datasets:\n- id: a\n- id: b\n- id: c\nlog: {}\n");
}

TEST(YamlEditTest, CreatesAMissingListAtTheEnd) {
  const auto text = AppendListItem("coordinator: \"h:1\"", kDatasets, "- id: a\n");

  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "coordinator: \"h:1\"\ndatasets:\n  - id: a\n");
}

TEST(YamlEditTest, GoesDownToANestedList) {
  const auto text = AppendListItem("policy:\n    allow:\n      - max_rounds: 1\nlog: {}\n", kAllow,
                                   "- max_rounds: 2\n");

  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "policy:\n    allow:\n      - max_rounds: 1\n      - max_rounds: 2\nlog: {}\n");
}

TEST(YamlEditTest, CreatesANestedListInAnEmptyMapping) {
  for (const char* empty : {"policy: {}\n", "policy:\n", ""}) {
    const auto text = AppendListItem(empty, kAllow, "- max_rounds: 2\n");

    ASSERT_TRUE(text.ok()) << empty;
    EXPECT_EQ(*text, "policy:\n  allow:\n    - max_rounds: 2\n") << empty;
  }
}

TEST(YamlEditTest, IgnoresKeysInCommentsAndDeeperDown) {
  const auto text =
      AppendListItem("# datasets:\nlog:\n  datasets: x\ndatasets: []\n", kDatasets, "- id: a\n");

  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "# datasets:\nlog:\n  datasets: x\ndatasets:\n  - id: a\n");
}

TEST(YamlEditTest, LeavesAListOnOneLineToAPerson) {
  const auto text = AppendListItem("datasets: [{id: a}]\n", kDatasets, "- id: b\n");

  EXPECT_EQ(text.status().code(), StatusCode::kFailedPrecondition);
}

TEST(YamlEditTest, WritesAMessageAsAListItem) {
  v1::DatasetConfig dataset;
  dataset.set_id("heart");
  dataset.mutable_csv()->set_path("/srv/heart.csv");

  EXPECT_EQ(ToListItem(dataset), "- id: heart\n  csv:\n    path: /srv/heart.csv\n");
}

}  // namespace
}  // namespace chorale::cli
