#include "cli/interrupt.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>

#include "cli/exit_code.h"

namespace chorale::cli {
namespace {

// A signal handler is given nothing: what it prints has to stand here.
std::array<char, 500> g_message;
std::size_t g_message_size = 0;

extern "C" void EndWithNotice(int) {
  // Nothing but async-signal-safe calls.
  const ssize_t ignored = ::write(STDERR_FILENO, g_message.data(), g_message_size);
  static_cast<void>(ignored);
  ::_exit(static_cast<int>(ExitCode::kInterrupted));
}

void Handle(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

InterruptNotice::InterruptNotice(std::string_view message) {
  g_message_size = std::min(message.size(), g_message.size());
  std::copy_n(message.begin(), g_message_size, g_message.begin());
  Handle(EndWithNotice);
}

InterruptNotice::~InterruptNotice() { Handle(SIG_DFL); }

}  // namespace chorale::cli
