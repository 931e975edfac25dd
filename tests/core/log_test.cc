#include "core/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace chorale::log {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LogTest : public ::testing::Test {
 protected:
  LogTest() {
    unsetenv("CHORALE_LOG");
    std::string pattern = (std::filesystem::temp_directory_path() / "chorale-log-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~LogTest() override {
    unsetenv("CHORALE_LOG");
    EXPECT_TRUE(Configure({}).ok());
    std::filesystem::remove_all(folder_);
  }

  [[nodiscard]] std::string File() const { return (folder_ / "log").string(); }
  [[nodiscard]] std::string Read() const {
    std::ifstream file(File());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  std::filesystem::path folder_;
};

TEST_F(LogTest, WritesRecordsOfItsLevelAndAbove) {
  ASSERT_TRUE(Configure({.level = Level::kWarning, .format = Format::kText, .file = File()}).ok());

  Info("job.started");
  Warning("site.dropped", {{"site", "north"}});
  Error("store.failed");

  EXPECT_THAT(Read(), Not(HasSubstr("job.started")));
  EXPECT_THAT(Read(), HasSubstr("Z WARNING site.dropped site=north\n"));
  EXPECT_THAT(Read(), HasSubstr("Z ERROR store.failed\n"));
}

TEST_F(LogTest, AppendsToTheFileThatIsThere) {
  ASSERT_TRUE(Configure({.level = Level::kInfo, .format = Format::kJson, .file = File()}).ok());
  Info("first");
  ASSERT_TRUE(Configure({.level = Level::kInfo, .format = Format::kJson, .file = File()}).ok());
  Info("second");

  EXPECT_THAT(Read(), HasSubstr("\"event\":\"first\""));
  EXPECT_THAT(Read(), HasSubstr("\"event\":\"second\""));
}

TEST_F(LogTest, OthersCannotReadTheFile) {
  ASSERT_TRUE(Configure({.level = Level::kInfo, .format = Format::kText, .file = File()}).ok());

  struct stat info = {};
  ASSERT_EQ(stat(File().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07, 0u);
}

TEST_F(LogTest, AFileThatCannotBeOpenedIsUnavailableAndChangesNothing) {
  ASSERT_TRUE(Configure({.level = Level::kInfo, .format = Format::kText, .file = File()}).ok());

  const Status status = Configure({.file = (folder_ / "missing" / "log").string()});
  Info("still.here");

  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(status), HasSubstr("No such file or directory"));
  EXPECT_THAT(Read(), HasSubstr("still.here"));
}

TEST_F(LogTest, ThreadsDoNotMixTheirLines) {
  ASSERT_TRUE(Configure({.level = Level::kInfo, .format = Format::kText, .file = File()}).ok());

  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 50; ++i) Info("tick", {{"thread", t}, {"end", "here"}});
    });
  }
  for (std::thread& thread : threads) thread.join();

  std::ifstream file(File());
  int num_lines = 0;
  for (std::string line; std::getline(file, line); ++num_lines)
    EXPECT_TRUE(line.ends_with(" end=here")) << line;
  EXPECT_EQ(num_lines, 200);
}

TEST_F(LogTest, OptionsHaveDefaults) {
  const StatusOr<Options> options = ParseOptions("", "", "");

  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->level, Level::kInfo);
  EXPECT_EQ(options->format, Format::kText);
  EXPECT_EQ(options->file, "");
}

TEST_F(LogTest, OptionsAreReadByName) {
  const StatusOr<Options> options = ParseOptions("debug", "json", "/tmp/log");

  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->level, Level::kDebug);
  EXPECT_EQ(options->format, Format::kJson);
  EXPECT_EQ(options->file, "/tmp/log");
}

TEST_F(LogTest, OptionsNameTheBadValue) {
  EXPECT_EQ(MessageOf(ParseOptions("loud", "", "").status()),
            "log.level must be debug, info, warning or error, got \"loud\"");
  EXPECT_EQ(MessageOf(ParseOptions("", "xml", "").status()),
            "log.format must be text or json, got \"xml\"");
}

TEST_F(LogTest, TheEnvironmentWinsOverTheLevel) {
  setenv("CHORALE_LOG", "error", 1);

  EXPECT_EQ(ParseOptions("debug", "", "")->level, Level::kError);
}

TEST_F(LogTest, ABadEnvironmentIsNamed) {
  setenv("CHORALE_LOG", "verbose", 1);

  EXPECT_THAT(MessageOf(ParseOptions("", "", "").status()), HasSubstr("CHORALE_LOG must be debug"));
}

}  // namespace
}  // namespace chorale::log
