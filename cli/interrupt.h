#pragma once

#include <string_view>

namespace chorale::cli {

// While it lives, Ctrl-C (and SIGTERM) prints a message to standard error and ends the program with
// exit code 130. One at a time: a second one's message replaces the first's.
class InterruptNotice {
 public:
  // Cut at 500 bytes.
  explicit InterruptNotice(std::string_view message);
  ~InterruptNotice();
  InterruptNotice(const InterruptNotice&) = delete;
  InterruptNotice& operator=(const InterruptNotice&) = delete;
};

}  // namespace chorale::cli
