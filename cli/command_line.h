#pragma once

#include <functional>
#include <iosfwd>
#include <span>
#include <string>

#include "cli/exit_code.h"
#include "core/status.h"
#include "core/time.h"

namespace CLI {
class App;
}

namespace chorale::cli {

// What a verb may touch of the world, so that tests can give it another one.
struct Terminal {
  std::ostream& out;
  std::ostream& err;
  std::istream& in;
  bool out_is_terminal = false;
  const Clock& clock;
};

// Collects the verb that the command line chose: parsing sets it, Run() carries it out afterwards.
class Command {
 public:
  explicit Command(Terminal terminal) : terminal_(terminal) {}
  [[nodiscard]] const Terminal& terminal() const { return terminal_; }
  void Choose(std::function<Status()> action) { action_ = std::move(action); }
  [[nodiscard]] Status Run() const;

 private:
  Terminal terminal_;
  std::function<Status()> action_;
};

// Parses the arguments (without the program's name) and carries the verb out. Errors go to
// terminal.err as "chorale: what; where; what to do".
[[nodiscard]] ExitCode RunCommandLine(std::span<const std::string> arguments,
                                      const Terminal& terminal);

}  // namespace chorale::cli
