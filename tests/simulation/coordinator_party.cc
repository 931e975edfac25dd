#include "tests/simulation/coordinator_party.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <variant>

#include "coordinator/site_messages.h"
#include "coordinator/sqlite_store.h"
#include "core/chunking.h"
#include "core/crypto/digest.h"
#include "core/rpc/chunks.h"
#include "core/storage/file.h"
#include "tests/support/forwarding_job_store.h"

namespace chorale::simulation {
namespace {

using coordinator::Engine;

constexpr Duration kPauseBeforeRestart = std::chrono::seconds(2);
constexpr std::size_t kMaxTransfers = 64;

coordinator::CoordinatorMetrics& Metrics() {
  static auto* const registry = new metrics::Registry;
  static auto* const metrics = new coordinator::CoordinatorMetrics(*registry);
  return *metrics;
}

}  // namespace

// One site's stream.
class CoordinatorParty::Channel final : public coordinator::SiteChannel {
 public:
  Channel(CoordinatorParty& party, StreamId id)
      : party_(party), id_(id), last_heard_(party.machine_.Now()) {}
  void Send(v1::CoordinatorMessage message) override {
    if (party_.machine_.disk().is_dead()) return;
    party_.network_.SendDown(id_, message.SerializeAsString());
  }
  void Close(const Status& why) override {
    if (party_.machine_.disk().is_dead()) return;
    party_.network_.CloseDown(id_, why);
  }
  void Kill() override { Close(Unavailable("the session was cut off")); }
  [[nodiscard]] Time last_heard() const override { return last_heard_; }
  void Hear() { last_heard_ = party_.machine_.Now(); }

 private:
  CoordinatorParty& party_;
  const StreamId id_;
  Time last_heard_;
};

// Tells the witness what has become durable.
class CoordinatorParty::WatchedStore final : public support::ForwardingJobStore {
 public:
  WatchedStore(std::unique_ptr<coordinator::JobStore> store, CoordinatorParty& party)
      : ForwardingJobStore(std::move(store)), party_(party) {}
  StatusOr<std::vector<crypto::BlobId>> Append(const coordinator::Batch& batch) override {
    auto released = ForwardingJobStore::Append(batch);
    if (!released.ok())
      party_.world_.Tell("coordinator", "cannot store: ", MessageOf(released.status()));
    if (released.ok() && !party_.machine_.disk().is_dead()) party_.witness_.Stored(batch);
    return released;
  }

 private:
  CoordinatorParty& party_;
};

class CoordinatorParty::Queue final : public coordinator::WorkQueue {
 public:
  explicit Queue(CoordinatorParty& party) : party_(party) {}
  void Start(coordinator::Work work) override {
    works.push_back(std::move(work));
    party_.machine_.After(party_.world_.Between(Duration(0), party_.pace_.longest_work),
                          [this] { party_.DoWork(); });
  }
  std::deque<coordinator::Work> works;

 private:
  CoordinatorParty& party_;
};

// All that is gone when the process ends. In order of dependence.
struct CoordinatorParty::Process {
  explicit Process(CoordinatorParty& party) : queue(party) {}

  std::unique_ptr<WatchedStore> store;
  std::unique_ptr<coordinator::PayloadStore> payloads;
  std::unique_ptr<coordinator::Members> members;
  coordinator::TaskTable tasks{kMaxTransfers};
  coordinator::Uploads uploads;
  Queue queue;
  std::map<StreamId, std::shared_ptr<Channel>> channels;
  std::map<StreamId, std::string> sites;
  std::set<StreamId> greeted;
  std::vector<Command> mailbox;
  std::unique_ptr<Engine> engine;
  std::optional<Time> timer;
  bool has_turn = false;
  bool is_stopping = false;
};

CoordinatorParty::CoordinatorParty(World& world, Network& network, Witness& witness,
                                   Parties& parties, const std::filesystem::path& directory)
    : world_(world),
      network_(network),
      witness_(witness),
      parties_(parties),
      machine_(world, "coordinator", directory) {}

CoordinatorParty::~CoordinatorParty() {
  machine_.disk().Kill();  // What is left of the process writes nothing.
  process_.reset();
}

// ---------------------------------------------------------------------------- life

void CoordinatorParty::Start() {
  if (IsUp()) return;
  machine_.Boot();
  const Status started = TryStart();
  if (started.ok() && !machine_.disk().is_dead()) {
    world_.Tell("coordinator", "starts");
    PlanTimer();
    return;
  }
  world_.Tell("coordinator", "cannot start: ", MessageOf(started));
  if (started.code() == StatusCode::kDataLoss || started.code() == StatusCode::kInternal) {
    world_.Violate("the coordinator cannot read what it stored: " + MessageOf(started));
  }
  Crash(/*power_was_cut=*/false);
  world_.After(kPauseBeforeRestart, [this] { Start(); });
}

Status CoordinatorParty::TryStart() {
  process_ = std::make_unique<Process>(*this);
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(machine_.directory()));
  CHORALE_ASSIGN_OR_RETURN(
      std::unique_ptr<coordinator::JobStore> store,
      coordinator::SqliteJobStore::Open(machine_.directory() / "coordinator.db"));
  process_->store = std::make_unique<WatchedStore>(std::move(store), *this);
  CHORALE_ASSIGN_OR_RETURN(process_->payloads,
                           coordinator::PayloadStore::Open(machine_.directory() / "payloads"));
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t version, process_->store->RosterVersion());
  CHORALE_ASSIGN_OR_RETURN(process_->members, coordinator::Members::Open(parties_.roster_path(),
                                                                         parties_.root(), version));
  process_->engine = std::make_unique<Engine>(
      coordinator::EngineParts{.store = *process_->store,
                               .payloads = *process_->payloads,
                               .members = *process_->members,
                               .tasks = process_->tasks,
                               .uploads = process_->uploads,
                               .work = process_->queue,
                               .clock = machine_,
                               .random = world_.random(),
                               .metrics = Metrics(),
                               .identity = parties_.coordinator(),
                               .limits = {.rounds_of_session = rounds_of_session_}});
  CHORALE_RETURN_IF_ERROR(process_->engine->Recover());
  witness_.Recovered(*process_->store, *process_->engine);
  return OkStatus();
}

void CoordinatorParty::Crash(bool power_was_cut) {
  if (!IsUp()) return;
  world_.Tell("coordinator", power_was_cut ? "loses power" : "dies");
  machine_.disk().Kill();
  process_.reset();
  machine_.ShutDown(power_was_cut);
  network_.CoordinatorDied(/*is_silent=*/power_was_cut);
}

void CoordinatorParty::Stop() {
  if (!IsUp()) return;
  world_.Tell("coordinator", "stops");
  Post([](Engine& engine) { engine.Drain(); });
  process_->is_stopping = true;
}

// ---------------------------------------------------------------------------- the driver

void CoordinatorParty::Post(Command command) {
  process_->mailbox.push_back(std::move(command));
  if (std::exchange(process_->has_turn, true)) return;
  machine_.After(world_.Between(Duration(0), std::chrono::milliseconds(2)), [this] { Turn(); });
}

bool CoordinatorParty::Turn() {
  process_->has_turn = false;
  for (const Command& command : std::exchange(process_->mailbox, {})) command(*process_->engine);
  process_->engine->OnTimers();
  const Status committed = process_->engine->Commit();
  const bool is_lost = committed.code() == StatusCode::kInternal;
  if (machine_.disk().is_dead() || is_lost || process_->is_stopping) {
    if (is_lost) world_.Tell("coordinator", "gives up: ", MessageOf(committed));
    // Who stops in an orderly way closes its files first; nothing depends on it.
    Crash(/*power_was_cut=*/false);
    world_.After(kPauseBeforeRestart, [this] { Start(); });
    return false;
  }
  PlanTimer();
  return true;
}

void CoordinatorParty::PlanTimer() {
  const Duration wait = process_->engine->UntilNextTimer();
  const Time due = world_.now() + wait;
  if (process_->timer.has_value() && *process_->timer <= due) return;
  process_->timer = due;
  machine_.After(wait, [this, due] {
    if (process_->timer != due) return;
    process_->timer.reset();
    Turn();
  });
}

void CoordinatorParty::DoWork() {
  if (process_->queue.works.empty()) return;
  const coordinator::Work work = std::move(process_->queue.works.front());
  process_->queue.works.pop_front();
  const std::atomic<bool> never = false;
  auto product = coordinator::DoWork(*process_->payloads, work, 1, never);
  if (!product.ok()) world_.Tell("coordinator", "work fails: ", MessageOf(product.status()));
  // Shared: a std::function must be copyable.
  auto done =
      std::make_shared<coordinator::WorkDone>(coordinator::WorkDone{work.job, std::move(product)});
  Post([done](Engine& engine) { engine.WorkIsDone(std::move(*done)); });
}

// ---------------------------------------------------------------------------- streams

void CoordinatorParty::StreamOpened(StreamId id, const std::string& site) {
  auto channel = std::make_shared<Channel>(*this, id);
  process_->channels[id] = channel;
  process_->sites[id] = site;
  coordinator::SiteSession session{.site = SiteId(site),
                                   .certificate = parties_.CertificateOf(site),
                                   .channel = channel,
                                   .greeting = {}};
  Post(
      [id, session](Engine& engine) { engine.SessionOpened(coordinator::SessionId(id), session); });
}

void CoordinatorParty::StreamReceived(StreamId id, const std::string& bytes) {
  const auto channel = process_->channels.find(id);
  if (channel == process_->channels.end()) return;
  channel->second->Hear();
  v1::SiteMessage message;
  if (!message.ParseFromString(bytes)) return world_.Violate("a site sent what is no message");
  StatusOr<coordinator::SiteStatement> statement = coordinator::Decode(message);
  if (!statement.ok()) return channel->second->Close(statement.status());
  const coordinator::SessionId session(id);
  if (auto* greeting = std::get_if<coordinator::SiteGreeting>(&*statement)) {
    process_->greeted.insert(id);
    return Post(
        [session, hello = *greeting](Engine& engine) { engine.SessionGreeted(session, hello); });
  }
  if (!process_->greeted.contains(id)) {
    return channel->second->Close(InvalidArgument("the first message must be a hello"));
  }
  if (auto* refused = std::get_if<coordinator::SiteTaskRefused>(&*statement)) {
    Post([session, refusal = *refused](Engine& engine) {
      engine.TaskRefused(session, refusal.task, refusal.refusal);
    });
  }
}

void CoordinatorParty::StreamClosed(StreamId id) {
  if (!IsUp() || process_->channels.erase(id) == 0) return;
  Post([id](Engine& engine) { engine.SessionClosed(coordinator::SessionId(id)); });
}

// ---------------------------------------------------------------------------- calls

Status CoordinatorParty::Report(const std::string& site, const v1::ReportHeader& header,
                                ByteSpan payload) {
  const TaskId task_id(header.task_id());
  coordinator::Report report;
  coordinator::OpenTask task;
  std::optional<coordinator::HeldPayload> held;
  {
    CHORALE_ASSIGN_OR_RETURN(const coordinator::TaskTable::Transfer transfer,
                             process_->tasks.Begin(task_id, SiteId(site),
                                                   coordinator::TaskTable::Direction::kUp, [] {}));
    task = transfer.task();
    CHORALE_ASSIGN_OR_RETURN(report, coordinator::DecodeReportHeader(header, task));
    CHORALE_RETURN_IF_ERROR(coordinator::CheckPayloadPiece(task, 0, payload));
    CHORALE_ASSIGN_OR_RETURN(coordinator::PayloadWriter writer,
                             process_->payloads->Create(report.payload.size_bytes));
    CHORALE_RETURN_IF_ERROR(writer.Append(payload));
    CHORALE_ASSIGN_OR_RETURN(held, std::move(writer).Commit(report.payload));
  }
  if (coordinator::IsCheckedAsWhole(task)) {
    CHORALE_RETURN_IF_ERROR(coordinator::CheckWholePayload(task, report.num_examples, payload));
  }
  auto answer = std::make_shared<std::optional<Status>>();
  process_->engine->Reported(task, report, *std::move(held),
                             [answer](Status status) { *answer = std::move(status); });
  if (!Turn() || !answer->has_value()) return Unavailable("the connection was reset");
  return **answer;
}

bool CoordinatorParty::SaysTryAgain(const std::string& site, const std::string& task_id) const {
  return process_->tasks.Find(TaskId(task_id), SiteId(site)).status().code() ==
         StatusCode::kUnavailable;
}

Status CoordinatorParty::Fetch(const std::string& site, const TaskId& task_id,
                               const crypto::BlobId& blob, std::uint64_t offset_bytes,
                               const std::function<Status(const v1::Chunk&)>& accept) {
  if (!IsUp()) return Unavailable("connection refused");
  CHORALE_ASSIGN_OR_RETURN(coordinator::TaskTable::Transfer transfer,
                           process_->tasks.Begin(task_id, SiteId(site),
                                                 coordinator::TaskTable::Direction::kDown, [] {}));
  const std::vector<crypto::BlobId>& blobs = transfer.task().blobs;
  if (std::find(blobs.begin(), blobs.end(), blob) == blobs.end()) {
    return PermissionDenied("the task does not name this blob");
  }
  if (offset_bytes % kChunkBytes != 0) return InvalidArgument("a chunk does not begin there");
  CHORALE_ASSIGN_OR_RETURN(const coordinator::PayloadReader reader, process_->payloads->Find(blob));
  Bytes bytes(blob.size_bytes);
  CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, bytes));
  transfer.AddBytesDown(bytes.size());
  Status refused;
  CHORALE_RETURN_IF_ERROR(rpc::SendBytes(
      bytes,
      [&](v1::Chunk&& chunk) {
        refused = accept(chunk);
        return refused.ok();
      },
      offset_bytes));
  return refused;
}

StatusOr<JobId> CoordinatorParty::Submit(const coordinator::Submission& submission) {
  auto answer = std::make_shared<std::optional<StatusOr<JobId>>>();
  process_->engine->Submit(submission, [answer](StatusOr<JobId> id) { *answer = std::move(id); });
  if (!Turn() || !answer->has_value()) return Unavailable("the connection was reset");
  return **answer;
}

Status CoordinatorParty::Cancel(const JobId& job) {
  auto answer = std::make_shared<std::optional<Status>>();
  process_->engine->Cancel(
      job, ResearcherId(parties_.researcher().party().name),
      [answer](const StatusOr<v1::JobSummary>& summary) { *answer = summary.status(); });
  if (!Turn() || !answer->has_value()) return Unavailable("the connection was reset");
  return **answer;
}

std::optional<v1::ShowJobResponse> CoordinatorParty::Show(const JobId& job) {
  if (!IsUp()) return std::nullopt;
  StatusOr<v1::ShowJobResponse> shown = process_->engine->Show(job);
  if (!shown.ok()) return std::nullopt;
  return *std::move(shown);
}

}  // namespace chorale::simulation
