#include "site_agent/task_policy.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "core/bytes.h"
#include "data/preparation.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_metrics.h"
#include "jobs/private_preparation.h"
#include "models/model.h"
#include "training/batch_schedule.h"
#include "training/newton_patients.h"
#include "training/newton_sums.h"

namespace chorale::site_agent {
namespace {

// The parts of a job that a rule must allow, in the order in which they are told.
enum Part {
  kResearcher,
  kDataset,
  kModel,
  kParameters,
  kMetrics,
  kSums,
  kMasks,
  kRounds,
  kLocalEpochs,
  kExamples,
  kNumParts
};

struct Question {
  const jobs::VerifiedJob& job;
  const models::GraphPlan& plan;
  std::optional<DatasetFacts> dataset;  // Not yet known before the data are read.
};

// What one rule says to each part: nothing when it allows it.
using Answer = std::array<std::optional<Refusal>, kNumParts>;

template <typename List, typename Value>
bool Contains(const List& list, const Value& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string MetricName(v1::MetricKind kind) {
  switch (kind) {
    case v1::METRIC_KIND_LOSS:
      return "loss";
    case v1::METRIC_KIND_ACCURACY:
      return "accuracy";
    case v1::METRIC_KIND_AUROC:
      return "auroc";
    default:
      return "unknown";
  }
}

std::uint64_t MinExamples(const v1::PolicyRule& rule) {
  return rule.min_examples() == 0 ? kDefaultMinExamples : rule.min_examples();
}

// Hexadecimal digits, as people write them.
bool IsSameDigest(std::string_view written, std::string_view digest) {
  return std::ranges::equal(written, digest, [](char a, char b) {
    return (a >= 'A' && a <= 'F' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

std::optional<Refusal> CheckModel(const v1::PolicyRule& rule, const Question& question) {
  const v1::ModelSpec& model = question.job.spec.model();
  const std::string digest = ToHex(question.plan.digest());
  const std::string name = model.has_graph() ? digest : models::KindName(model);
  const bool is_allowed = std::ranges::any_of(rule.models(), [&](const std::string& allowed) {
    return allowed == name || IsSameDigest(allowed, digest);
  });
  if (is_allowed) return std::nullopt;
  return Refusal{.code = ReasonCode::kModelNotAllowed, .subject = name};
}

// The passes of a round, as far as they are known; a step of newton is one, and the training after
// the last round counts like any other.
std::optional<Refusal> CheckLocalEpochs(const v1::PolicyRule& rule, const Question& question) {
  const v1::JobSpec& spec = question.job.spec;
  const v1::TrainingSpec& training = spec.training();
  std::uint64_t epochs = spec.personalization().local_epochs();
  if (spec.has_newton()) {
    epochs = std::max<std::uint64_t>(epochs, 1);
  } else if (training.length_case() == v1::TrainingSpec::LENGTH_NOT_SET) {
    return Refusal{.code = ReasonCode::kJobInvalid};
  } else if (jobs::IsPrivate(spec)) {
    // A step takes every patient with this probability.
    const double passes = spec.privacy().sample_rate() * training.local_steps();
    epochs = std::max(epochs, static_cast<std::uint64_t>(std::ceil(passes)));
  } else if (training.has_local_epochs()) {
    epochs = std::max<std::uint64_t>(epochs, training.local_epochs());
  } else if (question.dataset.has_value()) {
    epochs = std::max(epochs, LocalEpochsOf(training, question.dataset->num_training_patients));
  }
  if (epochs <= rule.max_local_epochs()) return std::nullopt;
  return Refusal{.code = ReasonCode::kLocalEpochsLimit, .limit = rule.max_local_epochs()};
}

std::optional<Refusal> CheckMetrics(const v1::PolicyRule& rule, const v1::JobSpec& spec) {
  const auto refusal_of = [&rule](v1::MetricKind kind) -> std::optional<Refusal> {
    if (kind != v1::METRIC_KIND_UNSPECIFIED && Contains(rule.metrics(), kind)) return std::nullopt;
    return Refusal{.code = ReasonCode::kMetricNotAllowed, .subject = MetricName(kind)};
  };
  for (const v1::MetricSpec& metric : spec.training().metrics()) {
    if (auto refusal = refusal_of(metric.kind())) return refusal;
  }
  for (const int kind : spec.privacy().metrics().kinds()) {
    if (auto refusal = refusal_of(static_cast<v1::MetricKind>(kind))) return refusal;
  }
  return std::nullopt;
}

std::optional<Refusal> CheckSums(const v1::PolicyRule& rule, const v1::JobSpec& spec) {
  if (spec.has_newton() && !Contains(rule.sums(), v1::SUM_KIND_NEWTON)) {
    return Refusal{.code = ReasonCode::kSumsNotAllowed, .subject = "newton"};
  }
  if (data::NeedsQuantiles(spec.data()) && !Contains(rule.sums(), v1::SUM_KIND_HISTOGRAM)) {
    return Refusal{.code = ReasonCode::kSumsNotAllowed, .subject = "histogram"};
  }
  return std::nullopt;
}

Answer Ask(const v1::PolicyRule& rule, const Question& question) {
  const v1::JobSpec& spec = question.job.spec;
  const std::string& researcher = question.job.researcher.name;
  Answer answer;
  if (!Contains(rule.researchers(), researcher)) {
    answer[kResearcher] = Refusal{.code = ReasonCode::kResearcherNotAllowed, .subject = researcher};
  }
  if (!Contains(rule.datasets(), spec.dataset())) {
    answer[kDataset] = Refusal{.code = ReasonCode::kDatasetNotAllowed, .subject = spec.dataset()};
  }
  answer[kModel] = CheckModel(rule, question);
  const std::uint64_t num_parameters = question.plan.layout().num_parameters();
  if (num_parameters > rule.max_parameters()) {
    answer[kParameters] = Refusal{.code = ReasonCode::kModelTooLarge,
                                  .asked = num_parameters,
                                  .limit = rule.max_parameters()};
  }
  answer[kMetrics] = CheckMetrics(rule, spec);
  answer[kSums] = CheckSums(rule, spec);
  if (!jobs::IsMasked(spec) && !rule.unmasked()) {
    answer[kMasks] = Refusal{.code = ReasonCode::kUnmaskedNotAllowed};
  }
  if (spec.rounds().count() > rule.max_rounds()) {
    answer[kRounds] = Refusal{.code = ReasonCode::kRoundsLimit,
                              .asked = spec.rounds().count(),
                              .limit = rule.max_rounds()};
  }
  answer[kLocalEpochs] = CheckLocalEpochs(rule, question);
  if (question.dataset.has_value() && question.dataset->num_training_rows < MinExamples(rule)) {
    answer[kExamples] = Refusal{.code = ReasonCode::kCohortMin, .limit = MinExamples(rule)};
  }
  return answer;
}

std::size_t NumLacking(const Answer& answer) {
  return static_cast<std::size_t>(
      std::ranges::count_if(answer, [](const auto& part) { return part.has_value(); }));
}

Refusal MostHelpful(const std::vector<Answer>& answers) {
  if (answers.empty()) return Refusal{.code = ReasonCode::kPolicyNoMatch};
  const Answer& closest = *std::ranges::min_element(answers, {}, NumLacking);
  const bool lacks_one = NumLacking(closest) == 1;
  for (std::size_t part = 0; part < kNumParts; ++part) {
    if (!closest[part].has_value()) continue;
    const bool nobody_allows = std::ranges::all_of(
        answers, [part](const Answer& answer) { return answer[part].has_value(); });
    if (lacks_one || nobody_allows) return *closest[part];
  }
  return Refusal{.code = ReasonCode::kPolicyNoMatch};
}

// The rule that allows everything asked so far, or why there is none.
std::variant<const v1::PolicyRule*, Refusal> FindRule(const v1::PolicyConfig& policy,
                                                      const Question& question) {
  std::vector<Answer> answers;
  for (const v1::PolicyRule& rule : policy.allow()) {
    answers.push_back(Ask(rule, question));
    if (NumLacking(answers.back()) == 0) return &rule;
  }
  return MostHelpful(answers);
}

std::uint64_t NumValues(ReportKind kind, const PlannedJob& planned) {
  const v1::JobSpec& spec = planned.job.spec;
  const std::uint64_t num_parameters = planned.plan.layout().num_parameters();
  switch (kind) {
    case ReportKind::kPreparation:
      return jobs::HasPrivatePreparation(spec) ? jobs::PreparationSumOf(spec).num_values
                                               : data::PreparationSize(spec.data());
    case ReportKind::kUpdate:
      if (spec.training().has_scaffold()) return 2 * num_parameters;
      return num_parameters + (jobs::HasAdaptiveClipping(spec.privacy()) ? 1 : 0);  // Votes.
    case ReportKind::kNewtonSums:
      return jobs::IsPrivate(spec) ? training::NewtonVectorSize(num_parameters)
                                   : training::NewtonSumsSize(num_parameters);
    case ReportKind::kPersonalMetrics:
      return 2 * static_cast<std::uint64_t>(spec.training().metrics_size());
  }
  return 0;
}

}  // namespace

std::uint64_t LocalEpochsOf(const v1::TrainingSpec& training, std::uint64_t num_patients) {
  const auto divide_up = [](std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; };
  const std::uint64_t batches_per_epoch =
      divide_up(num_patients, training::BatchPatients(training, num_patients));
  return divide_up(training::NumBatches(training, num_patients), batches_per_epoch);
}

std::vector<std::string> ZooNames() {
  std::vector<std::string> names;
  const google::protobuf::OneofDescriptor& kinds =
      *v1::ModelSpec::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds.field_count(); ++i) {
    if (kinds.field(i)->number() == v1::ModelSpec::kGraphFieldNumber) continue;
    names.push_back(kinds.field(i)->name());
  }
  return names;
}

std::optional<Refusal> RefusalBeforeData(const PlannedJob& job, const v1::PolicyConfig& policy) {
  const auto found = FindRule(policy, {.job = job.job, .plan = job.plan, .dataset = std::nullopt});
  if (const auto* refusal = std::get_if<Refusal>(&found)) return *refusal;
  return std::nullopt;
}

Decision Decide(const PlannedJob& job, const TaskFacts& task, const v1::PolicyConfig& policy,
                const DatasetFacts& dataset) {
  const auto found = FindRule(policy, {.job = job.job, .plan = job.plan, .dataset = dataset});
  if (const auto* refusal = std::get_if<Refusal>(&found)) return *refusal;
  const v1::PolicyRule& rule = *std::get<const v1::PolicyRule*>(found);

  ReleaseTerms terms;
  terms.task_id_ = task.task_id;
  terms.kind_ = task.kind;
  terms.num_values_ = NumValues(task.kind, job);
  terms.num_parameters_ = job.plan.layout().num_parameters();
  terms.data_ = job.job.spec.data();
  terms.dataset_ = dataset;
  terms.min_rows_per_metric_ = MinExamples(rule);
  terms.is_masked_ = jobs::IsMasked(job.job.spec);
  terms.is_private_ = jobs::IsPrivate(job.job.spec);
  terms.has_noisy_sum_ = terms.is_private_ && (task.kind == ReportKind::kPreparation ||
                                               job.job.spec.privacy().has_distributed());
  if (task.kind == ReportKind::kUpdate && jobs::HasMetricsIn(job.job.spec, task.round)) {
    terms.num_metric_sums_ = jobs::NumMetricSums(job.job.spec);
  }
  if (task.kind == ReportKind::kUpdate || task.kind == ReportKind::kPersonalMetrics) {
    const auto& metrics = job.job.spec.training().metrics();
    terms.metrics_.assign(metrics.begin(), metrics.end());
  }
  return terms;
}

}  // namespace chorale::site_agent
