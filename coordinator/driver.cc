#include "coordinator/driver.h"

#include <utility>

#include "core/log.h"

namespace chorale::coordinator {
namespace {

// Posts a command that answers later and waits for the answer.
template <typename Answer, typename Start>
Answer PostAndWait(Mailbox& mailbox, Start start) {
  // Shared: a std::function must be copyable.
  auto promise = std::make_shared<std::promise<Answer>>();
  std::future<Answer> answer = promise->get_future();
  const bool is_posted = mailbox.Post([promise, start = std::move(start)](Engine& engine) {
    start(engine, [promise](Answer result) { promise->set_value(std::move(result)); });
  });
  if (!is_posted) return Unavailable("the coordinator is stopping");
  return answer.get();
}

}  // namespace

Driver::Driver(const EngineParts& parts, Mailbox& mailbox, std::function<void(Status)> on_fatal)
    : mailbox_(mailbox), engine_(parts), on_fatal_(std::move(on_fatal)) {}

StatusOr<std::unique_ptr<Driver>> Driver::Start(const EngineParts& parts, Mailbox& mailbox,
                                                std::function<void(Status)> on_fatal) {
  std::unique_ptr<Driver> driver(new Driver(parts, mailbox, std::move(on_fatal)));
  CHORALE_RETURN_IF_ERROR(driver->engine_.Recover());
  driver->thread_ = std::thread([raw = driver.get()] { raw->Run(); });
  return driver;
}

Driver::~Driver() { Stop(); }

void Driver::Run() {
  bool is_last = false;
  while (!is_last) {
    const Mailbox::Mail mail = mailbox_.Take(engine_.UntilNextTimer());
    is_last = mail.is_last;
    for (const Mailbox::Command& command : mail.commands) command(engine_);
    engine_.OnTimers();
    const Status committed = engine_.Commit();
    for (const Mailbox::Command& question : mail.questions) question(engine_);
    if (committed.code() != StatusCode::kInternal || is_last) continue;
    log::Error("coordinator.store_lost", {{"why", MessageOf(committed)}});
    mailbox_.Close();  // The next mail is the last.
    on_fatal_(committed);
  }
}

StatusOr<JobId> Driver::Submit(const Submission& submission) {
  return PostAndWait<StatusOr<JobId>>(mailbox_, [submission](Engine& engine, auto done) {
    engine.Submit(submission, std::move(done));
  });
}

StatusOr<v1::JobSummary> Driver::Cancel(const JobId& id, const ResearcherId& by) {
  return PostAndWait<StatusOr<v1::JobSummary>>(
      mailbox_, [id, by](Engine& engine, auto done) { engine.Cancel(id, by, std::move(done)); });
}

Status Driver::Report(const OpenTask& task, const coordinator::Report& report,
                      HeldPayload payload) {
  auto held = std::make_shared<HeldPayload>(std::move(payload));
  return PostAndWait<Status>(mailbox_, [task, report, held](Engine& engine, auto done) {
    engine.Reported(task, report, std::move(*held), std::move(done));
  });
}

void Driver::Drain() {
  const StatusOr<bool> told = Ask<bool>([](Engine& engine) -> StatusOr<bool> {
    engine.Drain();
    return true;
  });
  if (!told.ok()) log::Warning("coordinator.not_drained", {{"why", MessageOf(told.status())}});
}

void Driver::Stop() {
  mailbox_.Close();
  if (thread_.joinable()) thread_.join();
}

}  // namespace chorale::coordinator
