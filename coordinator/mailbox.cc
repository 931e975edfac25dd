#include "coordinator/mailbox.h"

#include <utility>

namespace chorale::coordinator {

bool Mailbox::Post(Command command) {
  {
    const std::scoped_lock lock(mutex_);
    if (mail_.is_last) return false;
    mail_.commands.push_back(std::move(command));
  }
  has_mail_.notify_one();
  return true;
}

bool Mailbox::PostQuestion(Command question) {
  {
    const std::scoped_lock lock(mutex_);
    if (mail_.is_last) return false;
    mail_.questions.push_back(std::move(question));
  }
  has_mail_.notify_one();
  return true;
}

Mailbox::Mail Mailbox::Take(Duration timeout) {
  std::unique_lock lock(mutex_);
  has_mail_.wait_for(lock, timeout, [this] {
    return mail_.is_last || !mail_.commands.empty() || !mail_.questions.empty();
  });
  return std::exchange(mail_, Mail{.commands = {}, .questions = {}, .is_last = mail_.is_last});
}

void Mailbox::Close() {
  {
    const std::scoped_lock lock(mutex_);
    mail_.is_last = true;
  }
  has_mail_.notify_one();
}

}  // namespace chorale::coordinator
