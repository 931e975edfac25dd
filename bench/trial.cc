#include "bench/trial.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "cli/jobs_client.h"
#include "core/bytes.h"
#include "core/config/yaml.h"
#include "core/config/yaml_writer.h"
#include "core/crypto/random.h"
#include "core/log.h"
#include "core/parameters.h"
#include "core/rpc/tls.h"
#include "core/shutdown.h"
#include "core/storage/file.h"
#include "data/synthetic.h"
#include "jobs/signed_job.h"
#include "site_agent/agent.h"
#include "site_agent/config.h"
#include "training/local_trainer.h"

namespace chorale::bench {
namespace {

// Trains nothing: the update is zero.
class InstantTrainer final : public training::LocalTrainer {
 public:
  StatusOr<training::TrainResult> Train(const training::TrainRequest& request) override {
    return training::TrainResult{.update = ParameterVector(request.start.size()),
                                 .control_change = {},
                                 .num_examples = request.train.size()};
  }
  StatusOr<std::vector<float>> Predict(const models::GraphPlan&, std::span<const float>,
                                       const data::Examples& examples) override {
    return std::vector<float>(examples.size(), 0.5F);
  }
  StatusOr<training::EvaluationResult> Evaluate(const models::GraphPlan&, std::span<const float>,
                                                const data::Examples&,
                                                const std::atomic<bool>*) override {
    return training::EvaluationResult{};
  }
  [[nodiscard]] std::string device() const override { return "none"; }
};

StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return Unavailable("cannot fork");
  if (pid == 0) {
    ::execv(argv[0], argv.data());
    _exit(127);
  }
  return pid;
}

void End(pid_t pid) {
  if (pid <= 0) return;
  ::kill(pid, SIGTERM);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
}

// The coordinator writes its address into `pipe`'s log; reading blocks until it has.
StatusOr<std::string> ReadListenPort(int pipe) {
  std::string text;
  char buffer[4096];
  for (ssize_t size = 0; (size = ::read(pipe, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(size));
    const std::size_t event = text.find("coordinator.listening");
    const std::size_t port = event == std::string::npos ? event : text.find("\"port\":", event);
    const std::size_t end = port == std::string::npos ? port : text.find_first_of(",}", port);
    if (end != std::string::npos) return text.substr(port + 7, end - port - 7);
  }
  return Unavailable("the coordinator ended before it listened: " + text);
}

Status WriteYaml(const std::filesystem::path& path, const google::protobuf::Message& message) {
  return storage::WriteFileAtomically(path, AsBytes(std::string_view(config::ToYaml(message))),
                                      storage::FileMode::kPrivate);
}

Status RunAgent(const std::filesystem::path& config_path) {
  CHORALE_ASSIGN_OR_RETURN(v1::SiteConfig config, site_agent::LoadSiteConfig(config_path));
  CHORALE_ASSIGN_OR_RETURN(const log::Options log_options,
                           log::ParseOptions(config.log().level(), config.log().format(), ""));
  CHORALE_RETURN_IF_ERROR(log::Configure(log_options));
  CHORALE_ASSIGN_OR_RETURN(
      identity::Identity identity,
      identity::Identity::Load(config.identity_directory(), SystemClock().WallNow()));
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<ShutdownSignal> shutdown,
                           ShutdownSignal::Create());
  rpc::InitializeRpc();
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<site_agent::Agent> agent,
      site_agent::Agent::Create({.config = std::move(config),
                                 .config_directory = config_path.parent_path(),
                                 .identity = std::move(identity),
                                 .trainer = std::make_unique<InstantTrainer>()}));
  agent->Start();
  shutdown->Wait();
  agent->Drain();
  agent->Wait();
  return OkStatus();
}

}  // namespace

Trial::Trial(std::filesystem::path program, int num_sites, Places places)
    : program_(std::move(program)),
      num_sites_(num_sites),
      coordinator_directory_(places.coordinator),
      agents_directory_(places.agents) {}

Trial::~Trial() {
  for (const pid_t pid : agents_) ::kill(pid, SIGTERM);
  for (const pid_t pid : agents_) End(pid);
  End(coordinator_);
}

StatusOr<std::unique_ptr<Trial>> Trial::Start(int num_sites, Places places) {
  std::unique_ptr<Trial> trial(
      new Trial(std::filesystem::canonical("/proc/self/exe"), num_sites, places));
  trial->Enrol();
  CHORALE_RETURN_IF_ERROR(trial->StartCoordinator("127.0.0.1:0"));
  for (int site = 0; site < num_sites; ++site) {
    CHORALE_RETURN_IF_ERROR(trial->StartAgent("site-" + std::to_string(1000 + site)));
  }
  return trial;
}

void Trial::Enrol() {
  pki_.Enrol(v1::PARTY_ROLE_COORDINATOR, "main");
  pki_.Enrol(v1::PARTY_ROLE_RESEARCHER, "alice");
  for (int site = 0; site < num_sites_; ++site) {
    pki_.Enrol(v1::PARTY_ROLE_SITE, "site-" + std::to_string(1000 + site));
  }
}

std::filesystem::path Trial::state_directory() const {
  return coordinator_directory_.path() / "coordinator";
}

Status Trial::StartCoordinator(const std::string& listen) {
  v1::CoordinatorConfig config;
  config.set_listen(listen);
  config.set_state_directory(state_directory().string());
  config.set_identity_directory(pki_.DirectoryOf(v1::PARTY_ROLE_COORDINATOR, "main").string());
  config.set_roster(pki_.roster_path().string());
  config.mutable_log()->set_format("json");
  const std::filesystem::path path = directory_.path() / "coordinator.yaml";
  CHORALE_RETURN_IF_ERROR(WriteYaml(path, config));
  int log[2];
  if (::pipe2(log, 0) != 0) return Unavailable("cannot make a pipe");
  const pid_t pid = ::fork();
  if (pid < 0) return Unavailable("cannot fork");
  if (pid == 0) {
    ::dup2(log[1], STDERR_FILENO);
    ::close(log[0]);
    ::close(log[1]);
    const std::string binary = (program_.parent_path() / "chorale-coordinator").string();
    ::execl(binary.c_str(), binary.c_str(), "--config", path.c_str(), nullptr);
    _exit(127);
  }
  ::close(log[1]);
  coordinator_ = pid;
  CHORALE_ASSIGN_OR_RETURN(const std::string port, ReadListenPort(log[0]));
  address_ = "127.0.0.1:" + port;
  // Drained by a child that outlives nothing: the pipe must never fill.
  CHORALE_ASSIGN_OR_RETURN(const pid_t reader,
                           Spawn({"/bin/sh", "-c",
                                  "exec cat </dev/fd/" + std::to_string(log[0]) + " >>" +
                                      (directory_.path() / "coordinator.log").string()}));
  agents_.push_back(reader);
  ::close(log[0]);
  return OkStatus();
}

Status Trial::RestartCoordinator() {
  ::kill(coordinator_, SIGKILL);
  End(std::exchange(coordinator_, -1));
  return StartCoordinator(address_);
}

Status Trial::StartAgent(const std::string& name) {
  const std::filesystem::path csv = directory_.path() / (name + ".csv");
  std::ofstream(csv) << data::MakeSyntheticHospital({.name = name, .num_rows = 60, .shift = 0}, 1);
  v1::SiteConfig config;
  config.set_coordinator(address_);
  config.set_state_directory((agents_directory_.path() / name).string());
  config.set_identity_directory(pki_.DirectoryOf(v1::PARTY_ROLE_SITE, name).string());
  config.set_device("cpu");
  config.set_threads(1);
  config.set_proxy("none");
  config.mutable_log()->set_level("error");
  v1::DatasetConfig& dataset = *config.add_datasets();
  dataset.set_id("heart");
  dataset.mutable_csv()->set_path(csv.string());
  dataset.set_split_column("split");
  v1::PolicyRule& rule = *config.mutable_policy()->add_allow();
  rule.add_researchers("alice");
  rule.add_datasets("heart");
  rule.add_models("mlp");
  rule.set_max_parameters(1ULL << 32);
  rule.set_max_rounds(10000);
  rule.set_max_local_epochs(1000);
  rule.set_unmasked(true);
  const std::filesystem::path path = directory_.path() / (name + ".yaml");
  CHORALE_RETURN_IF_ERROR(WriteYaml(path, config));
  CHORALE_ASSIGN_OR_RETURN(const pid_t pid, Spawn({program_.string(), "--agent", path.string()}));
  agents_.push_back(pid);
  return OkStatus();
}

StatusOr<v1::ShowJobResponse> Trial::Run(const v1::JobSpec& spec) {
  CHORALE_ASSIGN_OR_RETURN(const std::string job_id, Submit(spec));
  return WaitFor(job_id);
}

StatusOr<std::string> Trial::Submit(const v1::JobSpec& spec) {
  const identity::Identity researcher = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "alice");
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<cli::JobsClient> client,
                           cli::JobsClient::Create(address_, "none", researcher));
  v1::SubmitJobRequest request;
  *request.mutable_job() = jobs::SignJob(spec, researcher);
  Bytes key(16);
  crypto::SecureRandom().Fill(key);
  request.set_idempotency_key(ToHex(key));
  CHORALE_ASSIGN_OR_RETURN(const v1::SubmitJobResponse submitted, client->SubmitJob(request));
  return submitted.job_id();
}

StatusOr<v1::ShowJobResponse> Trial::WaitFor(const std::string& job_id) {
  const identity::Identity researcher = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "alice");
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<cli::JobsClient> client,
                           cli::JobsClient::Create(address_, "none", researcher));
  v1::WatchJobRequest watch;
  watch.set_job_id(job_id);
  CHORALE_RETURN_IF_ERROR(client->WatchJob(
      watch, [](const v1::WatchJobResponse&) {}, [] {}));
  v1::ShowJobRequest show;
  show.set_job_id(job_id);
  CHORALE_ASSIGN_OR_RETURN(v1::ShowJobResponse shown, client->ShowJob(show));
  if (shown.job().state() != v1::JOB_STATE_COMPLETED) return Aborted(shown.job().reason());
  return shown;
}

Status Trial::Cancel(const std::string& job_id) {
  const identity::Identity researcher = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "alice");
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<cli::JobsClient> client,
                           cli::JobsClient::Create(address_, "none", researcher));
  v1::CancelJobRequest request;
  request.set_job_id(job_id);
  return client->CancelJob(request).status();
}

StatusOr<std::uint64_t> Trial::CoordinatorPeakBytes() const {
  std::ifstream status("/proc/" + std::to_string(coordinator_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) {
      return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
    }
  }
  return NotFound("no VmHWM in /proc/<coordinator>/status");
}

v1::JobSpec MakeJob(int num_sites, std::uint32_t num_rounds,
                    const std::vector<std::uint32_t>& hidden_units, Reports reports) {
  v1::JobSpec spec;
  spec.set_name("bench");
  spec.set_dataset("heart");
  for (const char* column : {"age", "sex", "trestbps", "chol", "thalach"}) {
    v1::FeatureSpec& feature = *spec.mutable_data()->add_features();
    feature.set_column(column);
    feature.mutable_numeric();
  }
  spec.mutable_data()->mutable_target()->set_column("num");
  for (const char* level : {"1", "2", "3", "4"}) {
    spec.mutable_data()->mutable_target()->add_positive(level);
  }
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_PER_SITE);
  v1::MultilayerPerceptron& mlp = *spec.mutable_model()->mutable_mlp();
  for (const std::uint32_t units : hidden_units) mlp.add_hidden_units(units);
  mlp.set_activation(v1::ACTIVATION_RELU);
  spec.mutable_training()->mutable_optimizer()->mutable_sgd()->set_learning_rate(0.1);
  spec.mutable_training()->set_local_steps(1);
  spec.mutable_rounds()->set_count(num_rounds);
  spec.mutable_rounds()->set_min_reports(static_cast<std::uint32_t>(num_sites));
  spec.mutable_rounds()->mutable_deadline()->set_seconds(600);
  spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_UNIFORM);
  if (reports == Reports::kInTheClear) spec.mutable_secure_aggregation()->mutable_none();
  spec.set_seed(1);
  return spec;
}

int Main(int argc, char** argv, Status (*run)(const Options& options)) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "--agent") return Finish(RunAgent(arguments[1]));
  const StatusOr<Options> options = ParseOptions(arguments);
  if (!options.ok()) return Finish(options.status());
  rpc::InitializeRpc();
  return Finish(run(*options));
}

}  // namespace chorale::bench
