#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "core/time.h"

namespace chorale::coordinator {

class Engine;

// What is to be done with the engine, on its way to the engine's thread. Safe for concurrent use.
class Mailbox {
 public:
  using Command = std::function<void(Engine&)>;
  struct Mail {
    std::vector<Command> commands;   // To be committed together.
    std::vector<Command> questions;  // To be asked after that, when nothing is staged.
    bool is_last = false;            // The mailbox was closed: nothing follows.
  };

  // False, and nothing is kept, once the mailbox is closed.
  bool Post(Command command);
  bool PostQuestion(Command question);
  // Everything that is there; waits for something for at most `timeout`.
  [[nodiscard]] Mail Take(Duration timeout);
  void Close();

 private:
  std::mutex mutex_;  // Guards mail_.
  std::condition_variable has_mail_;
  Mail mail_;
};

}  // namespace chorale::coordinator
