#include <gmock/gmock.h>

#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

using UsageTest = CommandLineTest;

TEST_F(UsageTest, PrintsItsVersion) { EXPECT_THAT(MustRun({"--version"}), StartsWith("chorale ")); }

TEST_F(UsageTest, PrintsHelpForEveryGroupAndVerb) {
  const std::vector<std::vector<std::string>> verbs = {
      {"federation", "init"},   {"federation", "invite"},   {"federation", "sign"},
      {"federation", "revoke"}, {"federation", "members"},  {"site", "init"},
      {"site", "enrol"},        {"site", "dataset", "add"}, {"site", "dataset", "list"},
      {"site", "allow"},        {"site", "check"},          {"coordinator", "init"},
      {"coordinator", "enrol"}, {"coordinator", "sites"},   {"researcher", "enrol"},
      {"job", "submit"},        {"job", "watch"},           {"job", "list"},
      {"job", "show"},          {"job", "cancel"},          {"model", "pull"},
      {"data", "synthetic"},    {"privacy", "epsilon"},     {"privacy", "noise"},
      {"privacy", "steps"},     {"privacy", "rdp"},         {"secagg", "explain"},
      {"site", "budget"}};
  for (std::vector<std::string> arguments : verbs) {
    arguments.push_back("--help");
    EXPECT_THAT(MustRun(arguments), HasSubstr("Usage")) << arguments[0] << ' ' << arguments[1];
  }
}

TEST_F(UsageTest, EndsWithTwoWhenTheCommandLineIsWrong) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"federation"},
      {"federation", "init"},
      {"federation", "init", "--dir", "x", "--name", "y", "--unknown"},
      {"federation", "invite", "--dir", "x"},
      {"federation", "invite", "--dir", "x", "--site", "a", "--researcher", "b"},
      {"federation", "members", "--dir", "x", "--format", "xml"},
      {"site", "allow", "--dir", "x", "--researcher", "a", "--dataset", "b", "--model", "resnet"},
      {"site", "dataset", "add", "--dir", "x", "--id", "a", "--csv", "f", "--decimal", ";"},
      {"job", "list", "--limit", "0"}};
  for (const auto& arguments : wrong) {
    const Result result = Run(arguments);
    EXPECT_EQ(result.code, ExitCode::kUsage) << testing::PrintToString(arguments) << result.err;
    EXPECT_THAT(result.err, StartsWith("chorale: "));
    EXPECT_TRUE(result.out.empty());
  }
}

TEST_F(UsageTest, KeepsEscapeSequencesOutOfItsErrors) {
  EXPECT_EQ(Run({"\x1b[2Jfrobnicate"}).err.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace chorale::cli
