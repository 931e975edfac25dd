#include "site_agent/release_guard.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/version.h"
#include "data/preparation.h"
#include "secagg/mask_stream.h"

namespace chorale::site_agent {
namespace {

constexpr std::size_t kMaxTaskId = 128;
constexpr std::size_t kMaxInstance = 64;
constexpr std::size_t kMaxDatasets = 256;
constexpr std::size_t kMaxActiveTasks = 64;
constexpr std::size_t kMaxOpenJobs = 64;
constexpr std::uint32_t kMaxPermille = 1000;
constexpr Duration kMaxTrainingTime = std::chrono::hours(24 * 30);

Status Denied(std::string_view what) {
  return PermissionDenied("release refused: " + std::string(what));
}

template <typename Proto>
void SetTime(Proto& proto, std::int64_t micros) {
  proto.set_seconds(micros / 1'000'000);
  proto.set_nanos(static_cast<std::int32_t>(micros % 1'000'000 * 1000));
}

void SetHead(v1::LedgerHead& proto, const privacy::LedgerHead& head) {
  proto.set_seq(head.seq);
  proto.set_digest(head.digest.data(), head.digest.size());
}

// One encoder a kind: checks, and returns the message. A kind without one does not compile.
struct Encoder {
  const std::set<std::string>& datasets;
  Time wall_now;

  StatusOr<v1::SiteMessage> operator()(const HelloRelease& release) const {
    if (release.datasets.size() > kMaxDatasets) return Denied("over 256 datasets");
    if (release.active_tasks.size() > kMaxActiveTasks) return Denied("over 64 active tasks");
    if (release.open_jobs.size() > kMaxOpenJobs) return Denied("over 64 open jobs");
    v1::SiteMessage message;
    v1::SiteHello& hello = *message.mutable_hello();
    hello.set_agent_version(Version());
    for (const std::string& dataset : release.datasets) {
      if (!datasets.contains(dataset)) return Denied("a dataset id that is not configured");
      hello.add_datasets(dataset);
    }
    for (const TaskId& task : release.active_tasks) {
      if (!IsValidTaskId(task)) return Denied("a malformed task id");
      hello.add_active_tasks(task.value());
    }
    for (const JobId& job : release.open_jobs) {
      if (!IsValidTaskId(TaskId(job.value()))) return Denied("a malformed job id");
      hello.add_open_jobs(job.value());
    }
    const bool is_plain = std::ranges::all_of(
        release.instance, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
    if (!is_plain || release.instance.size() > kMaxInstance) return Denied("a malformed instance");
    hello.set_instance(release.instance);
    if (!release.state.lineage.empty()) {
      if (!storage::IsLineage(release.state.lineage)) return Denied("a malformed lineage");
      hello.mutable_state()->set_lineage(release.state.lineage);
      hello.mutable_state()->set_epoch(release.state.epoch);
    }
    if (release.ledger.has_value()) SetHead(*hello.mutable_ledger(), *release.ledger);
    SetTime(*hello.mutable_clock(), wall_now.time_since_epoch().count());
    return message;
  }

  StatusOr<v1::SiteMessage> operator()(const HeartbeatRelease& release) const {
    v1::SiteMessage message;
    message.mutable_heartbeat();
    if (release.ledger.has_value()) {
      SetHead(*message.mutable_heartbeat()->mutable_ledger(), *release.ledger);
    }
    return message;
  }

  StatusOr<v1::SiteMessage> operator()(const AcceptedRelease& release) const {
    if (!IsValidTaskId(release.task_id)) return Denied("a malformed task id");
    v1::SiteMessage message;
    message.mutable_accepted()->set_task_id(release.task_id.value());
    return message;
  }

  StatusOr<v1::SiteMessage> operator()(const RefusedRelease& release) const {
    if (!IsValidTaskId(release.task_id)) return Denied("a malformed task id");
    v1::SiteMessage message;
    v1::TaskRefused& refused = *message.mutable_refused();
    refused.set_task_id(release.task_id.value());
    refused.set_code(std::string(NameOf(release.refusal.code)));
    refused.set_message(TextOf(release.refusal));
    return message;
  }

  StatusOr<v1::SiteMessage> operator()(const ProgressRelease& release) const {
    if (!IsValidTaskId(release.task_id)) return Denied("a malformed task id");
    if (release.permille > kMaxPermille) return Denied("progress over 1000 permille");
    v1::SiteMessage message;
    message.mutable_progress()->set_task_id(release.task_id.value());
    message.mutable_progress()->set_permille(release.permille);
    return message;
  }
};

struct Kind {
  std::string operator()(const HelloRelease&) const { return "hello"; }
  std::string operator()(const HeartbeatRelease& release) const {
    return release.ledger.has_value() ? "ledger_head" : "heartbeat";
  }
  std::string operator()(const AcceptedRelease&) const { return "accepted"; }
  std::string operator()(const RefusedRelease&) const { return "refused"; }
  std::string operator()(const ProgressRelease&) const { return "progress"; }
};

struct TaskOf {
  TaskId operator()(const HelloRelease&) const { return {}; }
  TaskId operator()(const HeartbeatRelease&) const { return {}; }
  template <typename Release>
  TaskId operator()(const Release& release) const {
    return release.task_id;
  }
};

// A mean loss may be negative (Poisson); an accuracy is a share.
Status CheckValue(v1::MetricKind kind, double value) {
  if (!std::isfinite(value)) return Denied("a metric that is not finite");
  if (kind == v1::METRIC_KIND_ACCURACY && (value < 0 || value > 1)) {
    return Denied("an accuracy outside [0, 1]");
  }
  return OkStatus();
}

std::uint64_t RowsOf(const ReleaseTerms& terms, v1::Split split) {
  return split == v1::SPLIT_TRAIN ? terms.dataset().num_training_rows
                                  : terms.dataset().num_test_rows;
}

Status CheckMetric(const ReleaseTerms& terms, const v1::MetricValue& metric) {
  const bool is_asked = std::ranges::any_of(terms.metrics(), [&metric](const auto& asked) {
    return asked.kind() == metric.kind() && asked.split() == metric.split();
  });
  if (!is_asked) return Denied("a metric that was not both asked for and allowed");
  const std::uint64_t rows = RowsOf(terms, metric.split());
  if (metric.num_examples() != rows) return Denied("a metric over other rows than its split's");
  if (rows < terms.min_rows_per_metric()) return Denied("a metric over too few rows");
  return CheckValue(metric.kind(), metric.value());
}

Status CheckMetrics(const ReleaseTerms& terms, const std::vector<v1::MetricValue>& metrics) {
  if (terms.kind() != ReportKind::kUpdate && !metrics.empty()) {
    return Denied("a metric beside a payload that has none");
  }
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    CHORALE_RETURN_IF_ERROR(CheckMetric(terms, metrics[i]));
    for (std::size_t k = 0; k < i; ++k) {
      if (metrics[k].kind() == metrics[i].kind() && metrics[k].split() == metrics[i].split()) {
        return Denied("the same metric twice");
      }
    }
  }
  return OkStatus();
}

// Pairs of value times rows, and rows. [num_metrics, 2]
Status CheckPersonalMetrics(const ReleaseTerms& terms, const std::vector<double>& pairs) {
  for (std::size_t i = 0; i < terms.metrics().size(); ++i) {
    const v1::MetricSpec& asked = terms.metrics()[i];
    const double sum = pairs[2 * i];
    const double rows = pairs[2 * i + 1];
    if (rows == 0 && sum == 0) continue;  // Does not leave.
    const std::uint64_t split_rows = RowsOf(terms, asked.split());
    if (rows != static_cast<double>(split_rows)) {
      return Denied("a metric over other rows than its split's");
    }
    if (split_rows < terms.min_rows_per_metric()) return Denied("a metric over too few rows");
    CHORALE_RETURN_IF_ERROR(CheckValue(asked.kind(), sum / rows));
  }
  return OkStatus();
}

// What the numbers of a payload are held against, beyond number and finiteness.
Status CheckContent(const ReleaseTerms& terms, const Report& report) {
  const auto* sums = std::get_if<std::vector<double>>(&report.payload);
  switch (terms.kind()) {
    case ReportKind::kUpdate:
      return OkStatus();
    case ReportKind::kPreparation:
      if (terms.is_private()) return OkStatus();  // Noise bounds nothing.
      // The reason would quote sums.
      return data::CheckPreparation(*sums, terms.data(), report.num_examples).ok()
                 ? OkStatus()
                 : Denied("sums that cannot be of the training rows");
    case ReportKind::kNewtonSums:
      if (terms.is_private()) return OkStatus();  // No rows are in it, and noise bounds nothing.
      // Loss, rows, gradient, Hessian.
      return (*sums)[1] == static_cast<double>(report.num_examples)
                 ? OkStatus()
                 : Denied("sums over other rows than the training rows");
    case ReportKind::kPersonalMetrics:
      return CheckPersonalMetrics(terms, *sums);
  }
  return Denied("a payload of no known kind");
}

template <typename Payload>
bool IsFinite(const Payload& payload) {
  return std::visit(
      [](const auto& values) {
        if constexpr (std::is_same_v<std::decay_t<decltype(values)>, std::vector<std::int64_t>>) {
          return true;
        } else {
          return AllFinite(values);
        }
      },
      payload);
}

bool IsOfKind(const ReleaseTerms& terms, const Report& report) {
  if (terms.has_noisy_sum()) {
    return std::holds_alternative<std::vector<std::int64_t>>(report.payload);
  }
  return terms.kind() == ReportKind::kUpdate
             ? std::holds_alternative<std::vector<float>>(report.payload)
             : std::holds_alternative<std::vector<double>>(report.payload);
}

// What is private was paid for, and nothing exact comes with it.
Status CheckCharge(const ReleaseTerms& terms, const Report& report) {
  if (report.metric_sum.size() != terms.num_metric_sums()) {
    return Denied("a sum of metrics of another size than the round's");
  }
  if (!terms.is_private()) return OkStatus();
  const bool is_preparation = terms.kind() == ReportKind::kPreparation;
  if (terms.kind() == ReportKind::kPersonalMetrics || !terms.is_masked()) {
    return Denied("a private report that is no masked update, preparation or Newton sum");
  }
  if (report.charge == nullptr || report.charge->task_id() != terms.task_id()) {
    return Denied("a private report that no ledger was charged for");
  }
  if (is_preparation ? !report.charge->covers_preparation() : !report.charge->covers_training()) {
    return Denied("a private report that another charge was for");
  }
  if (!report.metric_sum.empty() && !report.charge->covers_metrics()) {
    return Denied("a sum of metrics that no ledger was charged for");
  }
  if (!report.metrics.empty()) return Denied("a metric beside a private report");
  return OkStatus();
}

Status CheckReport(const ReleaseTerms& terms, const Report& report) {
  if (!IsValidTaskId(terms.task_id())) return Denied("a malformed task id");
  if (!IsOfKind(terms, report)) return Denied("a payload of another kind than the task's");
  CHORALE_RETURN_IF_ERROR(CheckCharge(terms, report));
  const std::uint64_t num_values =
      std::visit([](const auto& values) { return values.size(); }, report.payload);
  if (num_values != terms.num_values()) {
    return Denied("a payload of " + std::to_string(num_values) + " values where the task has " +
                  std::to_string(terms.num_values()));
  }
  if (!IsFinite(report.payload)) return Denied("a payload with a number that is not finite");
  const std::uint64_t num_examples = terms.is_private() ? 0 : terms.dataset().num_training_rows;
  if (report.num_examples != num_examples || (num_examples == 0 && !terms.is_private())) {
    return Denied("another number of examples than the dataset's");
  }
  if (report.training_time < Duration::zero() || report.training_time > kMaxTrainingTime) {
    return Denied("a training time out of range");
  }
  CHORALE_RETURN_IF_ERROR(CheckContent(terms, report));
  return CheckMetrics(terms, report.metrics);
}

std::string NameOf(ReportKind kind) {
  switch (kind) {
    case ReportKind::kPreparation:
      return "preparation report";
    case ReportKind::kUpdate:
      return "update report";
    case ReportKind::kNewtonSums:
      return "newton report";
    case ReportKind::kPersonalMetrics:
      return "personalization report";
  }
  return "report";
}

// Whole milliseconds: finer timing says more than anybody needs.
std::int64_t WholeMilliseconds(Duration time) { return time.count() / 1000 * 1000; }

v1::ReportHeader MakeHeader(const TaskId& task_id, ByteSpan payload) {
  const crypto::BlobId id = crypto::IdentifyBlob(payload);
  v1::ReportHeader header;
  header.set_task_id(task_id.value());
  header.mutable_payload()->set_size_bytes(id.size_bytes);
  header.mutable_payload()->set_digest(ToString(id.digest));
  return header;
}

v1::ReportHeader MakeHeader(const ReleaseTerms& terms, const Report& report, ByteSpan payload) {
  v1::ReportHeader header = MakeHeader(terms.task_id(), payload);
  header.set_num_examples(report.num_examples);
  for (const v1::MetricValue& metric : report.metrics) {
    // Field by field, so that nothing unknown rides along.
    v1::MetricValue& out = *header.add_metrics();
    out.set_kind(metric.kind());
    out.set_split(metric.split());
    out.set_value(metric.value());
    out.set_num_examples(metric.num_examples());
  }
  SetTime(*header.mutable_training_time(), WholeMilliseconds(report.training_time));
  return header;
}

// REQUIRES: CheckReport.
jobs::SiteNumbers NumbersOf(const ReleaseTerms& terms, const Report& report) {
  jobs::SiteNumbers numbers{.metric_sum = report.metric_sum,
                            .num_examples = report.num_examples,
                            .metrics = report.metrics};
  if (const auto* sums = std::get_if<std::vector<double>>(&report.payload)) {
    numbers.sums = *sums;
    return numbers;
  }
  if (const auto* noisy = std::get_if<std::vector<std::int64_t>>(&report.payload)) {
    (terms.kind() == ReportKind::kUpdate ? numbers.gradient_sum : numbers.noisy_sums) = *noisy;
    return numbers;
  }
  const std::span<const float> values(std::get<std::vector<float>>(report.payload));
  numbers.update = values.first(terms.num_parameters());
  numbers.control_change = values.subspan(terms.num_parameters());
  return numbers;
}

bool IsSitesMessage(secagg::MessageKind kind) {
  switch (kind) {
    case secagg::MessageKind::kAdvertiseKeys:
    case secagg::MessageKind::kShareKeys:
    case secagg::MessageKind::kShareKeysAck:
    case secagg::MessageKind::kConsistencySignature:
    case secagg::MessageKind::kUnmasking:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool IsValidTaskId(const TaskId& task_id) {
  const std::string& text = task_id.value();
  return !text.empty() && text.size() <= kMaxTaskId && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '/' || c == '-';
  });
}

ReleaseGuard::ReleaseGuard(Outlet& outlet, Journal& journal, const Clock& clock,
                           std::set<std::string> datasets)
    : outlet_(outlet), journal_(journal), clock_(clock), datasets_(std::move(datasets)) {}

Status ReleaseGuard::Release(const ControlRelease& release) {
  const Time now = clock_.WallNow();
  CHORALE_ASSIGN_OR_RETURN(v1::SiteMessage message,
                           std::visit(Encoder{.datasets = datasets_, .wall_now = now}, release));
  const std::string bytes = message.SerializeAsString();
  CHORALE_RETURN_IF_ERROR(journal_.RecordRelease({.kind = std::visit(Kind{}, release),
                                                  .task_id = std::visit(TaskOf{}, release),
                                                  .size_bytes = bytes.size(),
                                                  .sha256 = crypto::Sha256(AsBytes(bytes)),
                                                  .time = now}));
  return outlet_.Send(Released<v1::SiteMessage>(std::move(message)));
}

Status ReleaseGuard::Release(const ReleaseTerms& terms, const Report& report) {
  if (terms.is_masked()) return Denied("a report in the clear where its job is masked");
  CHORALE_RETURN_IF_ERROR(CheckReport(terms, report));
  const auto* update = std::get_if<std::vector<float>>(&report.payload);
  const auto* sums = std::get_if<std::vector<double>>(&report.payload);
  if (update == nullptr && sums == nullptr) return Denied("a sum of gradients in the clear");
  const ByteSpan payload =
      update != nullptr ? AsBytes(std::span(*update)) : AsBytes(std::span(*sums));
  return Record(NameOf(terms.kind()), MakeHeader(terms, report, payload), payload);
}

Status ReleaseGuard::Release(const ReleaseTerms& terms, const Report& report,
                             const Masking& masking) {
  if (!terms.is_masked()) return Denied("a masked report where its job is not");
  CHORALE_RETURN_IF_ERROR(CheckReport(terms, report));
  CHORALE_ASSIGN_OR_RETURN(Bytes vector, masking.layout.Encode(NumbersOf(terms, report)));
  const std::vector<secagg::MaskTerm> masks = secagg::Borrow(masking.terms);
  if (masks.empty()) return Denied("a vector without a mask");
  CHORALE_RETURN_IF_ERROR(
      secagg::ApplyMasks(masking.layout.vector(), 0, vector, masks, masking.num_threads));
  v1::ReportHeader header = MakeHeader(terms.task_id(), vector);
  CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest,
                           crypto::DigestFromBytes(AsBytes(header.payload().digest())));
  CHORALE_ASSIGN_OR_RETURN(const Bytes signed_input, masking.sign(digest));
  header.set_masked_input(ToString(signed_input));
  // How long private training took tells of the number of rows that were drawn.
  if (!terms.is_private()) {
    SetTime(*header.mutable_training_time(), WholeMilliseconds(report.training_time));
  }
  CHORALE_RETURN_IF_ERROR(Record("masked " + NameOf(terms.kind()), header, vector));
  return terms.is_private() ? report.charge->Commit() : OkStatus();
}

Status ReleaseGuard::Release(const MessageRelease& release) {
  if (!IsValidTaskId(release.task_id)) return Denied("a malformed task id");
  if (!IsSitesMessage(release.kind)) return Denied("a message that no site sends");
  if (release.message.empty() || release.message.size() > secagg::MaxBytes(release.kind)) {
    return Denied("a message beyond the size of its kind");
  }
  return Record(std::string(secagg::NameOf(release.kind)),
                MakeHeader(release.task_id, release.message), release.message);
}

Status ReleaseGuard::Record(std::string kind, const v1::ReportHeader& header, ByteSpan payload) {
  const std::string bytes = header.SerializeAsString();
  return journal_.RecordReport({.kind = std::move(kind),
                                .task_id = TaskId(header.task_id()),
                                .size_bytes = bytes.size() + payload.size(),
                                .sha256 = crypto::Sha256(AsBytes(bytes)),
                                .time = clock_.WallNow()},
                               header, payload);
}

Status ReleaseGuard::Deliver(const TaskId& task_id) {
  CHORALE_ASSIGN_OR_RETURN(OutgoingReport report, journal_.LoadReport(task_id));
  return outlet_.Report(Released<OutgoingReport>(std::move(report)));
}

}  // namespace chorale::site_agent
