#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kGraph[] =
    "inputs:\n"
    "  - {name: x, shape: [3], unit: mmol/l}\n"
    "nodes:\n"
    "  - {name: y, inputs: [x], linear: {units: 1}}\n"
    "output: y\n";

class ModelShowTest : public CommandLineTest {};

TEST_F(ModelShowTest, ShowsAGraphAlone) {
  Write("graph.yaml", kGraph);

  const Result result = Run({"model", "show", Path("graph.yaml")});

  EXPECT_EQ(result.code, ExitCode::kOk) << result.err;
  EXPECT_THAT(result.out, HasSubstr("input in mmol/l\n"));
  EXPECT_THAT(result.out, HasSubstr("\nparameters     4\n"));
  EXPECT_THAT(result.out, HasSubstr("\ndigest         "));
}

TEST_F(ModelShowTest, ShowsTheModelOfAJobForItsInputs) {
  Write("job.yaml",
        "name: trial\n"
        "data:\n"
        "  features:\n"
        "    - {column: age, numeric: {}}\n"
        "    - {column: pain, categorical: {levels: [a, b, c]}}\n"
        "  target: {column: sick, positive: [\"1\"]}\n"
        "  standardization: none\n"
        "model: {mlp: {hidden_units: [4], activation: relu}}\n");

  const std::string out = MustRun({"model", "show", Path("job.yaml")});

  // 3 inputs: 3 * 4 + 4, then 4 + 1.
  EXPECT_THAT(out, HasSubstr("\ninputs         3\n"));
  EXPECT_THAT(out, HasSubstr("\nparameters     21\n"));
  EXPECT_THAT(Run({"model", "show", Path("job.yaml"), "--inputs", "3"}).err,
              HasSubstr("leave --inputs out"));
}

TEST_F(ModelShowTest, ShowsAModelByNameForTheInputsAskedFor) {
  Write("model.yaml", "logistic_regression: {}\n");

  EXPECT_THAT(MustRun({"model", "show", Path("model.yaml"), "--inputs", "13"}),
              HasSubstr("\nparameters     14\n"));
  const Result without = Run({"model", "show", Path("model.yaml")});
  EXPECT_EQ(without.code, ExitCode::kInvalid);
  EXPECT_THAT(without.err, HasSubstr("say with --inputs"));
}

TEST_F(ModelShowTest, PrintsJsonWithTheSameDigest) {
  Write("graph.yaml", kGraph);

  const std::string text = MustRun({"model", "show", Path("graph.yaml")});
  const auto json =
      nlohmann::json::parse(MustRun({"model", "show", Path("graph.yaml"), "--format", "json"}));

  EXPECT_THAT(text, HasSubstr("digest         " + json["digest"].get<std::string>() + "\n"));
  EXPECT_EQ(json["model"], "graph");
  EXPECT_EQ(json["num_parameters"], 4);
  EXPECT_EQ(json["layers"][0]["parameters"][0]["name"], "y.weight");
  EXPECT_EQ(json["layers"][0]["parameters"][0]["shape"], nlohmann::json({1, 3}));
  EXPECT_EQ(json["graph"]["nodes"][0]["weight_initializer"], "INITIALIZER_FAN_IN_UNIFORM");
}

TEST_F(ModelShowTest, SaysWhichLineIsWrong) {
  Write("graph.yaml",
        "inputs:\n"
        "  - {name: x, shape: [3]}\n"
        "nodes:\n"
        "  - name: y\n"
        "    inputs: [z]\n"
        "    linear: {units: 1}\n"
        "output: y\n");
  Write("model.yaml", "graph:\n  inputs: []\n  output: y\n");

  const Result graph = Run({"model", "show", Path("graph.yaml")});
  const Result model = Run({"model", "show", Path("model.yaml")});

  EXPECT_EQ(graph.code, ExitCode::kInvalid);
  EXPECT_THAT(graph.out, IsEmpty());
  EXPECT_THAT(graph.err, HasSubstr("graph.yaml:5: nodes[0].inputs[0] must name an input"));
  EXPECT_THAT(model.err, HasSubstr("model.yaml:2: graph.inputs must have 1 to 64 entries"));
}

TEST_F(ModelShowTest, RefusesOtherInputsThanTheGraphHas) {
  Write("graph.yaml", kGraph);

  EXPECT_THAT(Run({"model", "show", Path("graph.yaml"), "--inputs", "4"}).err,
              HasSubstr("the graph takes 3 inputs, and --inputs says 4"));
}

}  // namespace
}  // namespace chorale::cli
