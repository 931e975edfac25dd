#include "site_agent/agent.h"

#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/random.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/storage/state_mark.h"
#include "core/version.h"
#include "site_agent/agent_metrics.h"
#include "site_agent/driver.h"
#include "site_agent/federation_client.h"
#include "site_agent/release_guard.h"
#include "site_agent/secure_sessions.h"
#include "site_agent/work.h"

namespace chorale::site_agent {
namespace {

std::vector<std::string> DatasetIds(const v1::SiteConfig& config) {
  std::vector<std::string> ids;
  for (const v1::DatasetConfig& dataset : config.datasets()) ids.push_back(dataset.id());
  return ids;
}

// Names this process: whoever hears another name knows that its secrets are gone.
std::string DrawInstance(RandomSource& random) {
  std::array<std::uint8_t, 16> bytes{};
  random.Fill(bytes);
  return ToHex(bytes);
}

secagg::GroupPolicy GroupPolicyOf(const v1::GroupPolicy& config) {
  secagg::GroupPolicy policy{.colluders = config.colluders()};
  if (config.min_sites() != 0) policy.min_group = config.min_sites();
  policy.min_members = policy.min_group;
  return policy;
}

}  // namespace

// In order of dependence: destruction goes backwards.
struct Agent::State {
  State(AgentParts made, AgentStores opened)
      : parts(std::move(made)),
        stores(std::move(opened)),
        metrics(registry),
        client({.coordinator = parts.config.coordinator(),
                .proxy = parts.config.proxy(),
                .keepalive_interval = parts.keepalive_interval},
               parts.identity, *stores.clock),
        guard(client, *stores.journal, *stores.clock,
              [this] {
                const std::vector<std::string> ids = DatasetIds(parts.config);
                return std::set<std::string>(ids.begin(), ids.end());
              }()),
        sessions({.identity = parts.identity,
                  .clock = *stores.clock,
                  .random = random,
                  .policy = GroupPolicyOf(parts.config.policy().secure_aggregation()),
                  .state_directory = parts.config.state_directory(),
                  .promises = stores.promises}),
        accounts(*stores.ledger, parts.config.state_directory()),
        work({.config = parts.config,
              .config_directory = parts.config_directory,
              .root = parts.identity.root(),
              .site = parts.identity.party().name,
              .trainer = parts.trainer.get(),
              .blobs = client,
              .clock = *stores.clock,
              .random = random,
              .journal = *stores.journal,
              .sessions = &sessions,
              .accounts = &accounts}) {}

  AgentParts parts;
  AgentStores stores;
  crypto::SecureRandom random;
  metrics::Registry registry;
  AgentMetrics metrics;
  FederationClient client;
  ReleaseGuard guard;
  SecureSessions sessions;
  PrivacyAccounts accounts;
  Work work;
  std::unique_ptr<Driver> driver;
};

StatusOr<AgentStores> AgentStores::Open(const v1::SiteConfig& config) {
  const std::filesystem::path directory = config.state_directory();
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(directory));
  StatusOr<storage::DirectoryLock> lock = storage::DirectoryLock::Acquire(directory);
  if (!lock.ok()) {
    return Annotate(lock.status(), "another site agent uses state_directory " + directory.string());
  }
  crypto::SecureRandom random;
  CHORALE_ASSIGN_OR_RETURN(storage::StateMark mark, storage::BeginEpoch(directory, random));
  CHORALE_ASSIGN_OR_RETURN(std::unique_ptr<Journal> journal, Journal::Open(directory));
  CHORALE_ASSIGN_OR_RETURN(Promises promises, Promises::Open(directory));
  auto clock = std::make_unique<const SystemClock>();
  CHORALE_ASSIGN_OR_RETURN(
      std::unique_ptr<privacy::Ledger> ledger,
      privacy::Ledger::Open(privacy::LedgerFilesIn(directory, config.identity_directory()),
                            *clock));
  return AgentStores{.lock = *std::move(lock),
                     .mark = std::move(mark),
                     .clock = std::move(clock),
                     .journal = std::move(journal),
                     .promises = std::move(promises),
                     .ledger = std::move(ledger)};
}

StatusOr<std::unique_ptr<Agent>> Agent::Create(AgentParts parts) {
  CHORALE_ASSIGN_OR_RETURN(AgentStores stores, AgentStores::Open(parts.config));
  return Create(std::move(parts), std::move(stores));
}

StatusOr<std::unique_ptr<Agent>> Agent::Create(AgentParts parts, AgentStores stores) {
  if (parts.identity.party().role != v1::PARTY_ROLE_SITE) {
    return PermissionDenied("the identity is that of a " +
                            identity::RoleName(parts.identity.party().role) +
                            "; a site agent needs a site's");
  }
  auto state = std::make_unique<State>(std::move(parts), std::move(stores));
  CHORALE_ASSIGN_OR_RETURN(
      state->driver, Driver::Create(SessionOptions{}, {.link = state->client,
                                                       .guard = state->guard,
                                                       .journal = *state->stores.journal,
                                                       .work = state->work,
                                                       .metrics = state->metrics,
                                                       .clock = *state->stores.clock,
                                                       .random = state->random,
                                                       .datasets = DatasetIds(state->parts.config),
                                                       .instance = DrawInstance(state->random),
                                                       .state = state->stores.mark,
                                                       .accounts = &state->accounts}));
  if (!state->parts.config.metrics_listen().empty()) {
    CHORALE_RETURN_IF_ERROR(state->registry.Serve(state->parts.config.metrics_listen()));
  }
  return std::unique_ptr<Agent>(new Agent(std::move(state)));
}

Agent::Agent(std::unique_ptr<State> state) : state_(std::move(state)) {}
Agent::~Agent() = default;

void Agent::Start() {
  const training::LocalTrainer* trainer = state_->parts.trainer.get();
  log::Info("agent.started",
            {{"version", Version()},
             {"site", state_->parts.identity.party().name},
             {"federation", state_->parts.identity.party().federation},
             {"coordinator", state_->parts.config.coordinator()},
             {"datasets", state_->parts.config.datasets_size()},
             {"rules", state_->parts.config.policy().allow_size()},
             {"device", trainer == nullptr ? std::string("none") : trainer->device()}});
  state_->driver->Start();
}

void Agent::Drain() { state_->driver->Drain(); }

void Agent::Wait() {
  state_->driver->Wait();
  log::Info("agent.stopped");
}

}  // namespace chorale::site_agent
