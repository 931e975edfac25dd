#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "core/time.h"
#include "tests/support/temporary_directory.h"

namespace chorale::cli {

// Stands still at a fixed day.
class FixedClock final : public Clock {
 public:
  [[nodiscard]] Time Now() const override { return now; }
  [[nodiscard]] Time WallNow() const override { return now; }
  Time now{std::chrono::seconds(1'800'000'000)};
};

// Runs `chorale` in this process, as in a pipe.
class CommandLineTest : public testing::Test {
 protected:
  struct Result {
    ExitCode code;
    std::string out;
    std::string err;
  };

  Result Run(const std::vector<std::string>& arguments, const std::string& input = "") {
    std::ostringstream out;
    std::ostringstream err;
    std::istringstream in(input);
    const Terminal terminal{
        .out = out, .err = err, .in = in, .out_is_terminal = false, .clock = clock_};
    const ExitCode code = RunCommandLine(arguments, terminal);
    return {.code = code, .out = out.str(), .err = err.str()};
  }
  // For steps that a test builds on.
  std::string MustRun(const std::vector<std::string>& arguments, const std::string& input = "") {
    Result result = Run(arguments, input);
    EXPECT_EQ(result.code, ExitCode::kOk) << result.err;
    return result.out;
  }

  [[nodiscard]] std::string Path(const std::string& name) const {
    return (directory_.path() / name).string();
  }
  [[nodiscard]] std::string Read(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
  }
  // Without the line end.
  std::string Invite(const std::vector<std::string>& who) {
    std::vector<std::string> arguments = {"federation", "invite", "--dir", Path("authority")};
    arguments.insert(arguments.end(), who.begin(), who.end());
    std::string token = MustRun(arguments);
    if (!token.empty()) token.pop_back();
    return token;
  }
  void MakeAuthority() {
    MustRun({"federation", "init", "--dir", Path("authority"), "--name", "choir"});
  }

  support::TemporaryDirectory directory_;
  FixedClock clock_;
};

}  // namespace chorale::cli
