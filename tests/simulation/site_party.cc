#include "tests/simulation/site_party.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <variant>

#include "core/bytes.h"
#include "core/storage/file.h"
#include "privacy/ledger/ledger.h"
#include "site_agent/agent_metrics.h"
#include "site_agent/driver.h"
#include "site_agent/journal.h"
#include "site_agent/promises.h"
#include "site_agent/release_guard.h"
#include "site_agent/secure_sessions.h"
#include "site_agent/work.h"
#include "tests/simulation/trainer.h"

namespace chorale::simulation {
namespace {

constexpr Duration kPauseBeforeRestart = std::chrono::seconds(2);
constexpr int kMostStepsOfAMoment = 1000;

site_agent::AgentMetrics& Metrics() {
  static auto* const registry = new metrics::Registry;
  static auto* const metrics = new site_agent::AgentMetrics(*registry);
  return *metrics;
}

std::string DrawInstance(RandomSource& random) {
  std::array<std::uint8_t, 16> bytes{};
  random.Fill(bytes);
  return ToHex(bytes);
}

bool Trains(const v1::Task& task) { return task.has_training(); }

}  // namespace

// All that is gone when the process ends, put together as site_agent/agent.cc does.
struct SiteParty::Process {
  Process(SiteParty& party, std::unique_ptr<site_agent::Journal> opened_journal,
          site_agent::Promises opened_promises, std::unique_ptr<privacy::Ledger> opened_ledger)
      : journal(std::move(opened_journal)),
        promises(std::move(opened_promises)),
        ledger(std::move(opened_ledger)),
        random(party.world_.random().NextUint64()),
        guard(party, *journal, party.machine_, {party.config_.datasets(0).id()}),
        sessions({.identity = party.parties_.site(party.name_),
                  .clock = party.machine_,
                  .random = random,
                  .policy = {},
                  .state_directory = party.machine_.directory(),
                  .promises = promises}),
        accounts(*ledger, party.machine_.directory()),
        trainer([&party] { party.witness_.ComputationBegins(party.name_, party.machine_); }),
        work({.config = party.config_,
              .config_directory = party.parties_.table_directory(),
              .root = party.parties_.root(),
              .site = party.name_,
              .trainer = &trainer,
              .blobs = party,
              .clock = party.machine_,
              .random = random,
              .journal = *journal,
              .sessions = &sessions,
              .accounts = &accounts}) {}

  std::unique_ptr<site_agent::Journal> journal;
  site_agent::Promises promises;
  std::unique_ptr<privacy::Ledger> ledger;
  SeededRandom random;
  site_agent::ReleaseGuard guard;
  site_agent::SecureSessions sessions;
  site_agent::PrivacyAccounts accounts;
  PureTrainer trainer;
  site_agent::Work work;
  std::unique_ptr<site_agent::Driver> driver;

  std::optional<StreamId> stream;
  site_agent::LinkObserver* observer = nullptr;
  std::optional<Time> timer;
  const v1::Task* planned_work = nullptr;
  bool has_planned_report = false;
};

SiteParty::SiteParty(World& world, Network& network, Witness& witness, Parties& parties,
                     CoordinatorParty& coordinator, const std::string& name,
                     const std::filesystem::path& directory, v1::SiteConfig config)
    : world_(world),
      network_(network),
      witness_(witness),
      parties_(parties),
      coordinator_(coordinator),
      name_(name),
      machine_(world, name, directory),
      config_(std::move(config)) {
  config_.set_state_directory(directory.string());
  config_.set_identity_directory(directory.string());
}

SiteParty::~SiteParty() {
  machine_.disk().Kill();
  process_.reset();
}

// ---------------------------------------------------------------------------- life

void SiteParty::Start() {
  if (IsUp()) return;
  machine_.Boot();
  const Status started = TryStart();
  if (started.ok() && !machine_.disk().is_dead()) {
    world_.Tell(name_, "starts");
    witness_.Started(name_, machine_);
    return Run();
  }
  world_.Tell(name_, "cannot start: ", MessageOf(started));
  if (started.code() == StatusCode::kDataLoss || started.code() == StatusCode::kInternal) {
    world_.Violate("site " + name_ + " cannot read what it stored: " + MessageOf(started));
  }
  Crash(/*power_was_cut=*/false);
  world_.After(kPauseBeforeRestart, [this] { Start(); });
}

Status SiteParty::TryStart() {
  const std::filesystem::path& directory = machine_.directory();
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(directory));
  CHORALE_ASSIGN_OR_RETURN(std::unique_ptr<site_agent::Journal> journal,
                           site_agent::Journal::Open(directory));
  CHORALE_ASSIGN_OR_RETURN(site_agent::Promises promises, site_agent::Promises::Open(directory));
  CHORALE_ASSIGN_OR_RETURN(
      std::unique_ptr<privacy::Ledger> ledger,
      privacy::Ledger::Open(privacy::LedgerFilesIn(directory, directory), machine_));
  process_ =
      std::make_unique<Process>(*this, std::move(journal), std::move(promises), std::move(ledger));
  CHORALE_ASSIGN_OR_RETURN(process_->driver, site_agent::Driver::Create(
                                                 {}, {.link = *this,
                                                      .guard = process_->guard,
                                                      .journal = *process_->journal,
                                                      .work = process_->work,
                                                      .metrics = Metrics(),
                                                      .clock = machine_,
                                                      .random = process_->random,
                                                      .datasets = {config_.datasets(0).id()},
                                                      .instance = DrawInstance(process_->random)}));
  return OkStatus();
}

void SiteParty::Crash(bool power_was_cut) {
  if (!machine_.is_up()) return;
  world_.Tell(name_, power_was_cut ? "loses power" : "dies");
  machine_.disk().Kill();
  process_.reset();
  machine_.ShutDown(power_was_cut);
  network_.SiteDied(name_, /*is_silent=*/power_was_cut);
}

void SiteParty::Stop() {
  if (!IsUp()) return;
  world_.Tell(name_, "is asked to stop");
  process_->driver->Drain();
  Run();
}

bool SiteParty::HasUnsettledReports() const {
  return IsUp() && !process_->driver->session().state().reports.empty();
}

bool SiteParty::HasDied() {
  if (!machine_.disk().is_dead()) return false;
  Crash(/*power_was_cut=*/world_.Chance(0.5));
  world_.After(kPauseBeforeRestart, [this] { Start(); });
  return true;
}

// ---------------------------------------------------------------------------- the driver

void SiteParty::Run() {
  int num_steps = 0;
  while (process_->driver->StepSession()) {
    if (HasDied()) return;
    if (++num_steps == kMostStepsOfAMoment) {
      return world_.Violate("the session of site " + name_ + " does not come to rest");
    }
  }
  if (HasDied()) return;
  const site_agent::Session& session = process_->driver->session();
  if (std::holds_alternative<site_agent::Stopped>(session.state().link)) {
    Crash(/*power_was_cut=*/false);
    world_.After(kPauseBeforeRestart, [this] { Start(); });
    return;
  }
  if (const std::optional<Time> due = session.NextDeadline();
      due.has_value() && (!process_->timer.has_value() || *due < *process_->timer)) {
    process_->timer = due;
    machine_.After(std::max(Duration(0), *due - machine_.Now()), [this, due] {
      if (process_->timer != due) return;
      process_->timer.reset();
      Run();
    });
  }
  PlanWork();
  PlanReport();
}

bool SiteParty::CanReachCoordinator() const {
  return coordinator_.IsUp() && !network_.IsCut(name_);
}

void SiteParty::PlanWork() {
  const auto& work = process_->driver->session().state().work;
  if (!work.has_value() || process_->planned_work == work->task.task.get()) return;
  process_->planned_work = work->task.task.get();
  const Duration longest =
      Trains(*process_->planned_work) ? pace_.longest_training : pace_.longest_step;
  machine_.After(world_.Between(Duration(0), longest), [this] { DoWork(); });
}

void SiteParty::DoWork() {
  const auto& work = process_->driver->session().state().work;
  if (!work.has_value()) return;
  // Fetching tries again until it succeeds or the work is withdrawn.
  if (!work->is_cancelled &&
      (!CanReachCoordinator() || coordinator_.SaysTryAgain(name_, work->task.task->task_id()))) {
    machine_.After(world_.Between(std::chrono::milliseconds(100), std::chrono::seconds(10)),
                   [this] { DoWork(); });
    return;
  }
  const std::shared_ptr<const v1::Task> task = work->task.task;
  witness_.TaskBegins(name_, *task);
  world_.Tell(name_, "works on ", task->task_id());
  (void)process_->driver->StepWorker();
  witness_.TaskEnds(name_);
  if (HasDied()) return;
  process_->planned_work = nullptr;
  Run();
}

void SiteParty::PlanReport() {
  const auto& reports = process_->driver->session().state().reports;
  const bool is_asked = std::any_of(reports.begin(), reports.end(),
                                    [](const auto& report) { return report.second.is_in_flight; });
  if (!is_asked || process_->has_planned_report) return;
  process_->has_planned_report = true;
  machine_.After(network_.Latency(), [this] {
    process_->has_planned_report = false;
    if (!process_->driver->StepReporter()) return;
    if (!HasDied()) Run();
  });
}

// ---------------------------------------------------------------------------- the stream

void SiteParty::Dial(site_agent::LinkObserver& observer) {
  process_->observer = &observer;
  process_->stream = network_.Dial(name_);
}

void SiteParty::HangUp() {
  if (process_->stream.has_value()) network_.HangUp(*process_->stream);
}

void SiteParty::StreamOpened(StreamId id) {
  if (!IsUp() || process_->stream != id) return;
  process_->observer->OnOpened();
  Run();
}

void SiteParty::StreamReceived(StreamId id, const std::string& bytes) {
  if (!IsUp() || process_->stream != id) return;
  v1::CoordinatorMessage message;
  if (!message.ParseFromString(bytes)) return world_.Violate("the coordinator sent no message");
  process_->observer->OnMessage(std::move(message));
  Run();
}

void SiteParty::StreamClosed(StreamId id, const Status& why) {
  if (!IsUp() || process_->stream != id) return;
  process_->stream.reset();
  process_->observer->OnClosed(why);
  Run();
}

Status SiteParty::Send(site_agent::Released<v1::SiteMessage> message) {
  if (machine_.disk().is_dead()) return Unavailable("the process is dead");
  if (!process_->stream.has_value()) return Unavailable("there is no session");
  witness_.Leaves(name_, message.value());
  network_.SendUp(*process_->stream, message.value().SerializeAsString());
  return OkStatus();
}

// ---------------------------------------------------------------------------- calls

Status SiteParty::Report(site_agent::Released<site_agent::OutgoingReport> report) {
  if (machine_.disk().is_dead()) return Unavailable("the process is dead");
  const v1::ReportHeader header = report.value().header;
  const Bytes payload = std::get<Bytes>(report.value().payload);
  witness_.Leaves(name_, header, payload, machine_);
  world_.Tell(name_, "reports ", header.task_id());
  const auto deliver = [this, header, payload]() -> Status {
    if (!coordinator_.IsUp()) return Unavailable("connection refused");
    const Status answer = coordinator_.Report(name_, header, payload);
    witness_.Answered(name_, header.task_id(), answer);
    return answer;
  };
  if (const std::optional<Duration> later = network_.Repetition()) {
    world_.After(*later, [this, deliver] {
      if (!network_.IsCut(name_)) (void)deliver();
    });
  }
  switch (network_.FateOfCall(name_)) {
    case Network::Fate::kIsLost:
      return Unavailable("the connection is lost");
    case Network::Fate::kAnswerIsLost:
      (void)deliver();
      return Unavailable("the connection is lost");
    case Network::Fate::kArrives:
      break;
  }
  return deliver();
}

Status SiteParty::Fetch(const TaskId& task, const crypto::BlobId& blob, std::uint64_t offset_bytes,
                        const std::function<Status(const v1::Chunk&)>& accept,
                        site_agent::Cancellation&) {
  CHORALE_RETURN_IF_ERROR(coordinator_.Fetch(name_, task, blob, offset_bytes, accept));
  return network_.LosesAnswer() ? Unavailable("the connection is lost") : OkStatus();
}

}  // namespace chorale::simulation
