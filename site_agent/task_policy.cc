#include "site_agent/task_policy.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "data/dataset.h"
#include "jobs/job_spec.h"
#include "models/model.h"

namespace chorale::site_agent {
namespace {

// The parts of a job that a rule must allow, in the order in which they are told.
enum Part {
  kResearcher,
  kDataset,
  kModel,
  kParameters,
  kMetrics,
  kRounds,
  kLocalEpochs,
  kExamples,
  kNumParts
};

struct Question {
  const jobs::VerifiedJob& job;
  std::string model_kind;
  std::uint64_t num_parameters;
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
    default:
      return "unknown";
  }
}

std::uint64_t MinExamples(const v1::PolicyRule& rule) {
  return rule.min_examples() == 0 ? kDefaultMinExamples : rule.min_examples();
}

std::optional<Refusal> CheckLocalEpochs(const v1::PolicyRule& rule, const Question& question) {
  const v1::TrainingSpec& training = question.job.spec.training();
  if (training.length_case() == v1::TrainingSpec::LENGTH_NOT_SET) {
    return Refusal{.code = ReasonCode::kJobInvalid};
  }
  const bool needs_rows = training.has_local_steps();
  if (needs_rows && !question.dataset.has_value()) return std::nullopt;
  const std::uint64_t num_rows =
      question.dataset.has_value() ? question.dataset->num_training_rows : 1;
  if (num_rows == 0) return std::nullopt;  // kExamples refuses it.
  if (LocalEpochsOf(training, num_rows) <= rule.max_local_epochs()) return std::nullopt;
  return Refusal{.code = ReasonCode::kLocalEpochsLimit, .limit = rule.max_local_epochs()};
}

std::optional<Refusal> CheckMetrics(const v1::PolicyRule& rule, const v1::TrainingSpec& training) {
  for (const v1::MetricSpec& metric : training.metrics()) {
    if (metric.kind() == v1::METRIC_KIND_UNSPECIFIED || !Contains(rule.metrics(), metric.kind())) {
      return Refusal{.code = ReasonCode::kMetricNotAllowed, .subject = MetricName(metric.kind())};
    }
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
  if (!Contains(rule.models(), question.model_kind)) {
    answer[kModel] = Refusal{.code = ReasonCode::kModelNotAllowed, .subject = question.model_kind};
  }
  if (question.num_parameters > rule.max_parameters()) {
    answer[kParameters] = Refusal{.code = ReasonCode::kModelTooLarge,
                                  .asked = question.num_parameters,
                                  .limit = rule.max_parameters()};
  }
  answer[kMetrics] = CheckMetrics(rule, spec.training());
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

// Nothing for a job whose model has no layout.
std::optional<Question> QuestionOf(const jobs::VerifiedJob& job,
                                   const std::optional<DatasetFacts>& dataset) {
  const StatusOr<ParameterLayout> layout = jobs::LayoutOf(job.spec);
  if (!layout.ok()) return std::nullopt;
  return Question{.job = job,
                  .model_kind = models::KindName(job.spec.model()),
                  .num_parameters = layout->num_parameters(),
                  .dataset = dataset};
}

}  // namespace

std::uint64_t LocalEpochsOf(const v1::TrainingSpec& training, std::uint64_t num_rows) {
  if (training.has_local_epochs()) return training.local_epochs();
  const std::uint64_t batch = training.batch_size() == 0
                                  ? num_rows
                                  : std::min<std::uint64_t>(training.batch_size(), num_rows);
  const std::uint64_t rows_seen = std::uint64_t{training.local_steps()} * batch;
  return rows_seen / num_rows + (rows_seen % num_rows != 0 ? 1 : 0);
}

std::optional<Refusal> RefusalBeforeData(const jobs::VerifiedJob& job,
                                         const v1::PolicyConfig& policy) {
  const std::optional<Question> question = QuestionOf(job, std::nullopt);
  if (!question.has_value()) return Refusal{.code = ReasonCode::kJobInvalid};
  const auto found = FindRule(policy, *question);
  if (const auto* refusal = std::get_if<Refusal>(&found)) return *refusal;
  return std::nullopt;
}

Decision Decide(const jobs::VerifiedJob& job, const TaskFacts& task, const v1::PolicyConfig& policy,
                const DatasetFacts& dataset) {
  const std::optional<Question> question = QuestionOf(job, dataset);
  if (!question.has_value()) return Refusal{.code = ReasonCode::kJobInvalid};
  const auto found = FindRule(policy, *question);
  if (const auto* refusal = std::get_if<Refusal>(&found)) return *refusal;
  const v1::PolicyRule& rule = *std::get<const v1::PolicyRule*>(found);

  ReleaseTerms terms;
  terms.task_id_ = task.task_id;
  terms.kind_ = task.kind;
  terms.dataset_ = dataset;
  terms.min_rows_per_metric_ = MinExamples(rule);
  switch (task.kind) {
    case ReportKind::kMoments:
      terms.num_values_ = 3 * data::NumNumericFeatures(job.spec.data());
      break;
    case ReportKind::kUpdate:
      terms.num_values_ = question->num_parameters;
      terms.metrics_.assign(job.spec.training().metrics().begin(),
                            job.spec.training().metrics().end());
      break;
  }
  return terms;
}

}  // namespace chorale::site_agent
