#include "coordinator/coordinator.h"

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "coordinator/callers.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/driver.h"
#include "coordinator/federation_service.h"
#include "coordinator/jobs_service.h"
#include "coordinator/mailbox.h"
#include "coordinator/members.h"
#include "coordinator/payload_store.h"
#include "coordinator/sqlite_store.h"
#include "coordinator/task_table.h"
#include "coordinator/time_codec.h"
#include "coordinator/uploads.h"
#include "coordinator/worker.h"
#include "core/bytes.h"
#include "core/crypto/random.h"
#include "core/log.h"
#include "core/rpc/server.h"
#include "core/storage/file.h"
#include "identity/identity.h"

namespace chorale::coordinator {
namespace {

constexpr std::size_t kMaxTransfers = 128;
constexpr Duration kDrainGrace = std::chrono::seconds(5);

// The coordinator's own certificate must say that it is one.
StatusOr<identity::Identity> LoadIdentity(const std::filesystem::path& directory, Time now) {
  CHORALE_ASSIGN_OR_RETURN(identity::Identity loaded, identity::Identity::Load(directory, now));
  if (loaded.party().role != v1::PARTY_ROLE_COORDINATOR) {
    return PermissionDenied(directory.string() + " holds the identity of a " +
                            identity::RoleName(loaded.party().role) + ", not of a coordinator");
  }
  return loaded;
}

StatusOr<std::unique_ptr<JobStore>> OpenStore(const std::filesystem::path& state,
                                              const Coordinator::Outside& outside) {
  if (outside.open_store) return outside.open_store(state);
  return SqliteJobStore::Open(state / "coordinator.db");
}

// Raises the state's epoch before anybody hears of it.
StatusOr<StateIdentity> BeginState(const std::filesystem::path& directory, JobStore& store,
                                   RandomSource& random, const Clock& clock) {
  StateIdentity state;
  CHORALE_ASSIGN_OR_RETURN(state.mark, storage::BeginEpoch(directory, random));
  std::array<std::uint8_t, 16> instance{};
  random.Fill(instance);
  state.instance = ToHex(instance);
  CHORALE_RETURN_IF_ERROR(store.RecordStart(clock.Now()));
  CHORALE_ASSIGN_OR_RETURN(state.num_events, store.NumEvents());
  CHORALE_ASSIGN_OR_RETURN(state.starts, store.LoadStarts());
  return state;
}

}  // namespace

// In the order of construction; destroyed from the end.
struct Coordinator::Parts {
  Parts(storage::DirectoryLock directory_lock, identity::Identity own, metrics::Registry& registry)
      : lock(std::move(directory_lock)), identity(std::move(own)), metrics(registry) {}

  storage::DirectoryLock lock;
  identity::Identity identity;
  CoordinatorMetrics metrics;
  crypto::SecureRandom random;
  Mailbox mailbox;
  TaskTable tasks{kMaxTransfers};
  std::unique_ptr<JobStore> store;
  std::unique_ptr<PayloadStore> payloads;
  Uploads uploads;
  std::unique_ptr<Members> members;
  std::unique_ptr<Driver> driver;
  std::unique_ptr<Worker> worker;  // Made before the driver; stopped before it too.
  std::optional<Callers> callers;
  std::unique_ptr<FederationService> federation;
  std::unique_ptr<JobsService> jobs;
  std::unique_ptr<rpc::Server> server;
  bool is_stopped = false;
};

Coordinator::Coordinator(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(const v1::CoordinatorConfig& config,
                                                          const Outside& outside) {
  const std::filesystem::path state = config.state_directory();
  CHORALE_ASSIGN_OR_RETURN(identity::Identity own,
                           LoadIdentity(config.identity_directory(), outside.clock.WallNow()));
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(state));
  CHORALE_ASSIGN_OR_RETURN(storage::DirectoryLock lock, storage::DirectoryLock::Acquire(state));
  auto parts = std::make_unique<Parts>(std::move(lock), std::move(own), outside.metrics);
  CHORALE_ASSIGN_OR_RETURN(parts->store, OpenStore(state, outside));
  CHORALE_ASSIGN_OR_RETURN(StateIdentity begun,
                           BeginState(state, *parts->store, parts->random, outside.clock));
  CHORALE_ASSIGN_OR_RETURN(parts->payloads, PayloadStore::Open(state / "payloads"));
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t roster_version, parts->store->RosterVersion());
  CHORALE_ASSIGN_OR_RETURN(parts->members,
                           Members::Open(config.roster(), parts->identity.root(), roster_version));

  parts->worker = std::make_unique<Worker>(
      *parts->payloads, static_cast<int>(config.threads()),
      [&mailbox = parts->mailbox](WorkDone done) {
        auto result = std::make_shared<WorkDone>(std::move(done));  // A command must be copyable.
        mailbox.Post([result](Engine& engine) { engine.WorkIsDone(std::move(*result)); });
      });
  const EngineParts engine_parts{
      .store = *parts->store,
      .payloads = *parts->payloads,
      .members = *parts->members,
      .tasks = parts->tasks,
      .uploads = parts->uploads,
      .work = *parts->worker,
      .clock = outside.clock,
      .random = parts->random,
      .metrics = parts->metrics,
      .identity = parts->identity,
      .limits = {.max_running_jobs = config.max_running_jobs(),
                 .max_queued_jobs = config.max_queued_jobs(),
                 .max_model_bytes = config.max_model_bytes(),
                 .heartbeat_interval = FromProto(config.heartbeat_interval())},
      .state = std::move(begun)};
  CHORALE_ASSIGN_OR_RETURN(parts->driver,
                           Driver::Start(engine_parts, parts->mailbox, outside.on_fatal));
  parts->callers.emplace(*parts->members, outside.clock);
  parts->federation =
      std::make_unique<FederationService>(*parts->callers, *parts->driver, parts->tasks,
                                          *parts->payloads, outside.clock, parts->metrics);
  parts->jobs = std::make_unique<JobsService>(
      JobsService::Parts{.callers = *parts->callers,
                         .driver = *parts->driver,
                         .payloads = *parts->payloads,
                         .uploads = parts->uploads,
                         .coordinator = parts->identity,
                         .clock = outside.clock,
                         .metrics = parts->metrics,
                         .max_model_bytes = config.max_model_bytes()});
  const rpc::TlsIdentity tls{.certificate_pem = parts->identity.certificate().pem(),
                             .key_pem = parts->identity.tls_key_pem(),
                             .root_pem = parts->identity.root().pem()};
  CHORALE_ASSIGN_OR_RETURN(
      parts->server,
      rpc::Server::Start(
          {.listen = config.listen(), .keepalive_interval = FromProto(config.heartbeat_interval())},
          tls, {parts->federation.get(), parts->jobs.get()}));
  const std::string address = config.listen().substr(0, config.listen().rfind(':') + 1) +
                              std::to_string(parts->server->port());
  CHORALE_RETURN_IF_ERROR(storage::WriteFileAtomically(state / "listen", AsBytes(address + "\n"),
                                                       storage::FileMode::kPrivate));
  log::Info("coordinator.listening", {{"address", address},
                                      {"port", parts->server->port()},
                                      {"federation", parts->identity.party().federation},
                                      {"roster_version", parts->members->roster()->version()}});
  return std::unique_ptr<Coordinator>(new Coordinator(std::move(parts)));
}

Coordinator::~Coordinator() { Stop(); }

int Coordinator::port() const { return parts_->server->port(); }

void Coordinator::Stop() {
  if (std::exchange(parts_->is_stopped, true)) return;
  log::Info("coordinator.stopping");
  parts_->driver->Drain();
  parts_->server->Stop(kDrainGrace);
  parts_->worker->Stop();
  parts_->driver->Stop();
  log::Info("coordinator.stopped");
}

}  // namespace chorale::coordinator
