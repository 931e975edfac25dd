#pragma once

#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "coordinator/engine.h"
#include "coordinator/mailbox.h"
#include "core/status.h"

namespace chorale::coordinator {

// The one thread that owns the engine. Whatever waits in the mailbox when the thread looks becomes
// one transaction; a call that needs an answer gets it when the transaction is durable. Safe for
// concurrent use.
class Driver {
 public:
  // Recovers, then starts. `on_fatal` is told, once and from the driver's thread, when the store
  // can neither be written nor read back: the program should end. Parts and mailbox must outlive
  // the driver.
  [[nodiscard]] static StatusOr<std::unique_ptr<Driver>> Start(
      const EngineParts& parts, Mailbox& mailbox, std::function<void(Status)> on_fatal);
  ~Driver();  // Stops.
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Changes something; returns at once. Nothing happens once the driver has stopped.
  void Post(Mailbox::Command command) { mailbox_.Post(std::move(command)); }
  // Asks something when nothing is staged; returns at once. False once the driver has stopped.
  bool PostQuestion(Mailbox::Command question) {
    return mailbox_.PostQuestion(std::move(question));
  }

  // Post and wait until it is durable. UNAVAILABLE once the driver has stopped.
  [[nodiscard]] StatusOr<JobId> Submit(const Submission& submission);
  [[nodiscard]] StatusOr<v1::JobSummary> Cancel(const JobId& id, const ResearcherId& by);
  [[nodiscard]] Status Report(const OpenTask& task, const coordinator::Report& report,
                              HeldPayload payload);

  // Asks and waits. UNAVAILABLE once the driver has stopped. T: what `question` puts into a
  // StatusOr.
  template <typename T>
  [[nodiscard]] StatusOr<T> Ask(std::function<StatusOr<T>(Engine&)> question);

  // Tells every session and watcher that the coordinator stops; returns when that is on its way.
  void Drain();
  // Does what is in the mailbox, then ends the thread.
  void Stop();

 private:
  Driver(const EngineParts& parts, Mailbox& mailbox, std::function<void(Status)> on_fatal);
  void Run();

  Mailbox& mailbox_;
  Engine engine_;  // Of the thread, once it runs.
  const std::function<void(Status)> on_fatal_;
  std::thread thread_;
};

template <typename T>
StatusOr<T> Driver::Ask(std::function<StatusOr<T>(Engine&)> question) {
  // Shared: a std::function must be copyable.
  auto promise = std::make_shared<std::promise<StatusOr<T>>>();
  std::future<StatusOr<T>> answer = promise->get_future();
  const bool is_posted =
      mailbox_.PostQuestion([promise, question = std::move(question)](Engine& engine) {
        promise->set_value(question(engine));
      });
  if (!is_posted) return Unavailable("the coordinator is stopping");
  return answer.get();
}

}  // namespace chorale::coordinator
