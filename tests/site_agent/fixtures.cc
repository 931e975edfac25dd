#include "tests/site_agent/fixtures.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "core/crypto/digest.h"
#include "jobs/job_spec.h"

namespace chorale::site_agent {

v1::JobSpec MakeJobSpec() {
  v1::JobSpec spec;
  spec.set_name("first-try");
  spec.set_dataset("heart");
  v1::FeatureSpec& age = *spec.mutable_data()->add_features();
  age.set_column("age");
  age.mutable_numeric();
  v1::FeatureSpec& sex = *spec.mutable_data()->add_features();
  sex.set_column("sex");
  sex.mutable_categorical()->add_levels("f");
  sex.mutable_categorical()->add_levels("m");
  spec.mutable_data()->mutable_target()->set_column("sick");
  spec.mutable_data()->mutable_target()->add_positive("yes");
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
  spec.mutable_model()->mutable_logistic_regression();
  v1::TrainingSpec& training = *spec.mutable_training();
  training.mutable_optimizer()->mutable_sgd()->set_learning_rate(0.1);
  training.set_local_epochs(2);
  training.set_batch_size(16);
  v1::MetricSpec& loss = *training.add_metrics();
  loss.set_kind(v1::METRIC_KIND_LOSS);
  loss.set_split(v1::SPLIT_TRAIN);
  v1::MetricSpec& accuracy = *training.add_metrics();
  accuracy.set_kind(v1::METRIC_KIND_ACCURACY);
  accuracy.set_split(v1::SPLIT_TEST);
  spec.mutable_rounds()->set_count(10);
  spec.mutable_rounds()->set_min_reports(2);
  spec.mutable_rounds()->mutable_deadline()->set_seconds(60);
  spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_EXAMPLES);
  spec.mutable_secure_aggregation()->mutable_none();
  spec.set_seed(7);
  return spec;
}

v1::JobSpec MakeNewtonSpec() {
  v1::JobSpec spec = MakeJobSpec();
  spec.clear_training();
  spec.clear_aggregation();
  spec.mutable_newton()->set_l2_penalty(1);
  return spec;
}

v1::JobSpec MakeScaffoldSpec() {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_training()->mutable_scaffold();
  return spec;
}

v1::JobSpec MakePersonalSpec() {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_personalization()->set_local_epochs(2);
  return spec;
}

v1::JobSpec MakeNormSpec() {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_training()->set_local_normalization(true);
  v1::ModelGraph& graph = *spec.mutable_model()->mutable_graph();
  graph.add_inputs()->set_name("x");
  graph.mutable_inputs(0)->add_shape(2);
  const auto add = [&graph](const char* name, const char* input) -> v1::GraphNode& {
    v1::GraphNode& node = *graph.add_nodes();
    node.set_name(name);
    node.add_inputs(input);
    return node;
  };
  add("hidden", "x").mutable_linear()->set_units(2);
  add("norm", "hidden").mutable_batch_norm();
  add("out", "norm").mutable_linear()->set_units(1);
  graph.set_output("out");
  graph.mutable_loss()->mutable_binary_cross_entropy();
  return spec;
}

models::GraphPlan MakePlan(const v1::JobSpec& spec) {
  StatusOr<models::GraphPlan> plan = jobs::PlanOf(spec);
  if (!plan.ok()) {
    std::fprintf(stderr, "MakePlan: %s\n", MessageOf(plan.status()).c_str());
    std::abort();
  }
  return *std::move(plan);
}

v1::SiteConfig MakeSiteConfig(const std::filesystem::path& directory) {
  v1::SiteConfig config;
  config.set_coordinator("localhost:1");
  config.set_state_directory((directory / "state").string());
  config.set_identity_directory((directory / "identity").string());
  config.set_device("cpu");
  config.set_threads(1);
  config.set_max_memory_bytes(1u << 30);
  v1::DatasetConfig& dataset = *config.add_datasets();
  dataset.set_id("heart");
  dataset.set_split_column("split");
  v1::CsvConnector& csv = *dataset.mutable_csv();
  csv.set_path("heart.csv");
  csv.set_delimiter(",");
  csv.set_decimal(".");
  csv.set_encoding("utf-8");
  for (const char* marker : {"", "?"}) csv.add_missing(marker);
  csv.set_on_missing(v1::MISSING_ROWS_REFUSE);
  v1::PolicyRule& rule = *config.mutable_policy()->add_allow();
  rule.add_researchers("ada");
  rule.add_datasets("heart");
  rule.add_models("logistic_regression");
  rule.add_metrics(v1::METRIC_KIND_LOSS);
  rule.add_metrics(v1::METRIC_KIND_ACCURACY);
  rule.add_sums(v1::SUM_KIND_NEWTON);
  rule.set_unmasked(true);
  rule.add_sums(v1::SUM_KIND_HISTOGRAM);
  rule.set_max_parameters(3);
  rule.set_max_rounds(10);
  rule.set_max_local_epochs(2);
  rule.set_min_examples(10);
  return config;
}

jobs::VerifiedJob MakeVerifiedJob(const v1::JobSpec& spec) {
  jobs::VerifiedJob job;
  job.spec = spec;
  job.researcher = {.federation = "choir", .role = v1::PARTY_ROLE_RESEARCHER, .name = "ada"};
  job.spec_digest = crypto::Sha256(AsBytes(spec.SerializeAsString()));
  return job;
}

ReleaseTerms MakeTerms(const v1::JobSpec& spec, ReportKind kind, DatasetFacts facts,
                       std::string_view task_id, std::uint32_t round) {
  const jobs::VerifiedJob job = MakeVerifiedJob(spec);
  const models::GraphPlan plan = MakePlan(spec);
  Decision decision =
      Decide({job, plan}, {.task_id = TaskId(std::string(task_id)), .kind = kind, .round = round},
             MakeSiteConfig("/").policy(), facts);
  if (const auto* refusal = std::get_if<Refusal>(&decision)) {
    std::fprintf(stderr, "MakeTerms: %s\n", TextOf(*refusal).c_str());
    std::abort();
  }
  return std::get<ReleaseTerms>(std::move(decision));
}

std::string MakeCsv(int num_train, int num_test) {
  std::string text = "age,sex,sick,split\n";
  for (int i = 0; i < num_train + num_test; ++i) {
    text += std::to_string(40 + i) + (i % 2 == 0 ? ",f," : ",m,") + (i % 3 == 0 ? "yes," : "no,") +
            (i < num_train ? "train" : "test") + "\n";
  }
  return text;
}

void WriteFile(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string ReadWholeFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

StatusOr<training::TrainResult> FakeTrainer::Train(const training::TrainRequest& request) {
  ++num_trainings;
  last_start.assign(request.start.begin(), request.start.end());
  last_server_variate.assign(request.control.server.begin(), request.control.server.end());
  last_site_variate.assign(request.control.site.begin(), request.control.site.end());
  last_training = request.training;
  last_place = request.place;
  last_seed = request.seed;
  last_resume = request.resume == nullptr ? std::nullopt : std::optional(*request.resume);
  if (during_training) during_training();
  if (request.wants_checkpoint && request.wants_checkpoint()) request.on_checkpoint(checkpoint);
  if (!failure.ok()) return failure;
  if (request.on_progress) request.on_progress(1.0);
  const std::size_t num_changes =
      request.training.has_scaffold() ? request.start.size() - num_missing : 0;
  return training::TrainResult{.update = ParameterVector(request.start.size(), value),
                               .control_change = ParameterVector(num_changes, control_value),
                               .num_examples = request.train.size()};
}

StatusOr<std::vector<float>> FakeTrainer::Predict(const models::GraphPlan&, std::span<const float>,
                                                  const data::Examples& examples) {
  return std::vector<float>(examples.size(), 0.25f);
}

StatusOr<training::EvaluationResult> FakeTrainer::Evaluate(const models::GraphPlan&,
                                                           std::span<const float> parameters,
                                                           const data::Examples&,
                                                           const std::atomic<bool>* cancelled) {
  if (during_evaluation) during_evaluation();
  if (cancelled != nullptr && *cancelled) return Cancelled("as asked");
  last_evaluated.assign(parameters.begin(), parameters.end());
  return evaluation;
}

Status RecordingOutlet::Send(Released<v1::SiteMessage> message) {
  messages.push_back(message.value());
  return send_answer;
}

Status RecordingOutlet::Report(Released<OutgoingReport> report) {
  const OutgoingReport& value = report.value();
  std::string payload;
  if (const auto* bytes = std::get_if<Bytes>(&value.payload)) {
    payload = ToString(*bytes);
  } else {
    const auto& reader = std::get<storage::BlobReader>(value.payload);
    Bytes content(reader.size_bytes());
    CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, content));
    payload = ToString(content);
  }
  reports.push_back({value.header, std::move(payload)});
  return report_answer;
}

}  // namespace chorale::site_agent
