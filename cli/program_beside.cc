#include "cli/program_beside.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <ostream>

namespace chorale::cli {

Status RunProgramBeside(const std::string& name, const std::vector<std::string>& arguments,
                        const Terminal& terminal) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return Internal("cannot find this program's own directory: " + error.message());
  const std::filesystem::path program = self.parent_path() / name;
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

}  // namespace chorale::cli
