#ifndef CHORALE_TESTS_COORDINATOR_SCENARIO_FILE_H_
#define CHORALE_TESTS_COORDINATOR_SCENARIO_FILE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/source_directory.h"

// The files of tests/scenarios: blocks of commands, "----", and what they lead to.
namespace chorale::coordinator {

// Those whose name begins with prefix, by name.
inline std::vector<std::filesystem::path> ScenarioFiles(std::string_view prefix) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(support::SourceDirectory() / "tests" / "scenarios")) {
    if (entry.path().filename().string().starts_with(prefix)) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Gives every command to carry_out, which says what it led to, and expects of each block what is
// written below it; then calls after_block.
inline void ExpectAsWritten(
    const std::filesystem::path& path,
    const std::function<std::string(const std::string&)>& carry_out,
    const std::function<void()>& after_block = [] {}) {
  std::ifstream file(path);
  std::string told;
  std::string expected;
  bool expects = false;
  int number = 0;
  const auto compare = [&] {
    EXPECT_EQ(told, expected) << "before line " << number << " of " << path;
    told.clear();
    expected.clear();
    after_block();
  };
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.starts_with("#")) continue;
    if (line == "----") {
      expects = true;
    } else if (line.empty()) {
      if (expects) compare();
      expects = false;
    } else if (expects) {
      expected += line + "\n";
    } else {
      told += carry_out(line);
    }
  }
  compare();
}

}  // namespace chorale::coordinator

#endif  // CHORALE_TESTS_COORDINATOR_SCENARIO_FILE_H_
