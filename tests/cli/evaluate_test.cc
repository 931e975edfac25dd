#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temporary_directory.h"

namespace chorale::cli {
namespace {

struct Ended {
  int code = -1;
  std::string output;
};

// A copy of the program, in a place where chorale-evaluate is what the test puts there.
class EvaluateTest : public testing::Test {
 protected:
  EvaluateTest() { std::filesystem::copy_file(CHORALE_PROGRAM, directory_.path() / "chorale"); }

  Ended Evaluate(const std::string& arguments) {
    const std::string command =
        (directory_.path() / "chorale").string() + " evaluate " + arguments + " 2>&1";
    FILE* pipe = ::popen(command.c_str(), "r");
    Ended ended;
    std::array<char, 4096> buffer{};
    while (const std::size_t size = ::fread(buffer.data(), 1, buffer.size(), pipe))
      ended.output.append(buffer.data(), size);
    const int status = ::pclose(pipe);
    ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ended;
  }

  support::TemporaryDirectory directory_;
};

TEST_F(EvaluateTest, SaysWhatIsMissingInABuildWithoutLibTorch) {
  const Ended ended = Evaluate("--job job.yaml --help");

  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.output, testing::HasSubstr("without LibTorch"));
}

TEST_F(EvaluateTest, GivesArgumentsAndExitCodeOfTheProgramBesideIt) {
  const std::filesystem::path program = directory_.path() / "chorale-evaluate";
  std::ofstream(program) << "#!/bin/sh\necho \"got:$*\"\nexit 7\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);

  const Ended ended = Evaluate("--job 'a b.yaml' --site x=y --help");

  EXPECT_EQ(ended.code, 7);
  EXPECT_EQ(ended.output, "got:--job a b.yaml --site x=y --help\n");
}

}  // namespace
}  // namespace chorale::cli
