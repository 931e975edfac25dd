#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/verbs.h"

namespace chorale::cli {
namespace {

constexpr char kProgram[] = "chorale-evaluate";

// Evaluation runs models, so it links LibTorch, which takes a second to load: a program of its own,
// which replaces this one and gives its own exit code.
Status Run(const std::vector<std::string>& arguments, const Terminal& terminal) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return Internal("cannot find this program's own directory: " + error.message());
  const std::filesystem::path program = self.parent_path() / kProgram;
  if (!std::filesystem::exists(program, error)) {
    return FailedPrecondition("there is no " + program.string() +
                              ": this build is without LibTorch; build with CHORALE_WITH_TORCH=ON, "
                              "or install the package "
                              "that has it");
  }
  const std::string path = program.string();
  std::vector<std::string> owned = arguments;
  owned.insert(owned.begin(), path);
  std::vector<char*> argv;
  for (std::string& argument : owned) argv.push_back(argument.data());
  argv.push_back(nullptr);
  terminal.out.flush();
  ::execv(path.c_str(), argv.data());
  return Unavailable("cannot run " + path + ": " + std::strerror(errno));
}

}  // namespace

void AddEvaluate(CLI::App& program, Command& command) {
  CLI::App* verb = program.add_subcommand("evaluate",
                                          "Compares local, federated and centralized training on "
                                          "one split; see `chorale evaluate --help`");
  // Everything behind the verb is for the other program, --help included.
  verb->prefix_command();
  verb->set_help_flag();
  verb->callback([verb, &command] {
    command.Choose(
        [arguments = verb->remaining(), &command] { return Run(arguments, command.terminal()); });
  });
}

}  // namespace chorale::cli
