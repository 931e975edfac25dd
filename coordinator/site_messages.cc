#include "coordinator/site_messages.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "coordinator/aggregation/newton_sums.h"
#include "coordinator/finite.h"
#include "coordinator/metric_sums.h"
#include "core/parameters.h"
#include "core/rpc/chunks.h"
#include "core/storage/state_mark.h"
#include "data/preparation.h"

namespace chorale::coordinator {
namespace {

constexpr int kMaxDatasets = 256;
constexpr int kMaxActiveTasks = 64;
constexpr int kMaxOpenJobs = 64;
constexpr std::size_t kMaxVersionChars = 64;
constexpr std::size_t kMaxInstanceChars = 64;
constexpr std::size_t kMaxTaskIdChars = 128;
constexpr std::size_t kMaxCodeChars = 64;
constexpr std::size_t kMaxMessageChars = 512;
constexpr std::size_t kMaxMaskedInputBytes = 1024;
constexpr std::uint64_t kMaxExamples = 1'000'000'000'000;
constexpr std::uint64_t kMaxNumber = 1ull << 62;  // Of what counts up by one.
constexpr std::int64_t kMicrosPerSecond = 1'000'000;
constexpr std::int64_t kMaxSeconds = 253'402'300'799;  // The end of the year 9999.

Status CheckLength(std::string_view field, std::size_t size, std::size_t most) {
  if (size >= 1 && size <= most) return OkStatus();
  return InvalidArgument(std::string(field) + " must have 1 to " + std::to_string(most) +
                         " characters, got " + std::to_string(size));
}

bool IsPrintable(char c) { return c >= 0x20 && c <= 0x7e; }

Status CheckPrintable(std::string_view field, const std::string& text, std::size_t most) {
  CHORALE_RETURN_IF_ERROR(CheckLength(field, text.size(), most));
  if (std::all_of(text.begin(), text.end(), IsPrintable)) return OkStatus();
  return InvalidArgument(std::string(field) + " must be printable ASCII");
}

StatusOr<LedgerReceipt> Read(const v1::LedgerHead& head) {
  const StatusOr<crypto::Digest> digest = crypto::DigestFromBytes(AsBytes(head.digest()));
  if (!digest.ok()) return InvalidArgument("ledger.digest must have 32 bytes");
  if (head.seq() == 0 || head.seq() > kMaxNumber) {
    return InvalidArgument("ledger.seq must be in [1, 2^62], got " + std::to_string(head.seq()));
  }
  return LedgerReceipt{head.seq(), *digest};
}

StatusOr<SiteStatement> Read(const v1::Heartbeat& heartbeat) {
  SiteAlive alive;
  if (heartbeat.has_ledger()) {
    CHORALE_ASSIGN_OR_RETURN(alive.ledger, Read(heartbeat.ledger()));
  }
  return alive;
}

StatusOr<SiteStatement> Read(const v1::SiteHello& hello) {
  CHORALE_RETURN_IF_ERROR(
      CheckPrintable("hello.agent_version", hello.agent_version(), kMaxVersionChars));
  if (!hello.instance().empty()) {
    CHORALE_RETURN_IF_ERROR(CheckPrintable("hello.instance", hello.instance(), kMaxInstanceChars));
  }
  if (hello.datasets_size() > kMaxDatasets) {
    return InvalidArgument("hello.datasets must name at most 256 datasets, got " +
                           std::to_string(hello.datasets_size()));
  }
  if (hello.active_tasks_size() > kMaxActiveTasks) {
    return InvalidArgument("hello.active_tasks must name at most 64 tasks, got " +
                           std::to_string(hello.active_tasks_size()));
  }
  if (hello.open_jobs_size() > kMaxOpenJobs) {
    return InvalidArgument("hello.open_jobs must name at most 64 jobs, got " +
                           std::to_string(hello.open_jobs_size()));
  }
  SiteGreeting greeting{.agent_version = hello.agent_version(),
                        .datasets = {hello.datasets().begin(), hello.datasets().end()},
                        .active_tasks = {},
                        .clock = {},
                        .instance = hello.instance()};
  for (const std::string& dataset : greeting.datasets) {
    CHORALE_RETURN_IF_ERROR(ValidateName("hello.datasets", dataset));
  }
  for (const std::string& task : hello.active_tasks()) {
    CHORALE_RETURN_IF_ERROR(CheckPrintable("hello.active_tasks", task, kMaxTaskIdChars));
    greeting.active_tasks.emplace_back(task);
  }
  for (const std::string& job : hello.open_jobs()) {
    CHORALE_RETURN_IF_ERROR(CheckPrintable("hello.open_jobs", job, kMaxTaskIdChars));
    greeting.open_jobs.emplace_back(job);
  }
  if (hello.has_clock() && hello.clock().seconds() >= 0 && hello.clock().seconds() <= kMaxSeconds) {
    greeting.clock = Time(Duration(hello.clock().seconds() * kMicrosPerSecond));
  }
  if (hello.has_state()) {
    if (!storage::IsLineage(hello.state().lineage())) {
      return InvalidArgument("hello.state.lineage must be 32 hexadecimal digits");
    }
    if (hello.state().epoch() == 0 || hello.state().epoch() > kMaxNumber) {
      return InvalidArgument("hello.state.epoch must be in [1, 2^62], got " +
                             std::to_string(hello.state().epoch()));
    }
    greeting.lineage = hello.state().lineage();
    greeting.epoch = hello.state().epoch();
  }
  if (hello.has_ledger()) {
    CHORALE_ASSIGN_OR_RETURN(greeting.ledger, Read(hello.ledger()));
  }
  return greeting;
}

StatusOr<SiteStatement> Read(const v1::TaskRefused& refused) {
  CHORALE_RETURN_IF_ERROR(CheckPrintable("refused.task_id", refused.task_id(), kMaxTaskIdChars));
  CHORALE_RETURN_IF_ERROR(CheckPrintable("refused.code", refused.code(), kMaxCodeChars));
  if (refused.message().size() > kMaxMessageChars) {
    return InvalidArgument("refused.message must have at most 512 characters, got " +
                           std::to_string(refused.message().size()));
  }
  Refusal refusal{refused.code(), refused.message()};
  for (char& c : refusal.message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = ' ';
  }
  return SiteTaskRefused{TaskId(refused.task_id()), std::move(refusal)};
}

Status CheckMetrics(const v1::ReportHeader& header, const OpenTask& task) {
  std::set<std::pair<int, int>> asked;
  if (task.phase == Phase::kTraining) {
    for (const v1::MetricSpec& spec : task.metrics) asked.emplace(spec.kind(), spec.split());
  }
  for (const v1::MetricValue& metric : header.metrics()) {
    if (asked.erase({metric.kind(), metric.split()}) == 0) {
      return InvalidArgument("metrics must hold only what the job asked for, each once");
    }
    if (metric.num_examples() > kMaxExamples) {
      return InvalidArgument("metrics.num_examples must be at most 10^12, got " +
                             std::to_string(metric.num_examples()));
    }
    CHORALE_RETURN_IF_ERROR(CheckMetric(metric.kind(), metric.value()));
  }
  return OkStatus();
}

// Under secure aggregation numbers are inside of the vector.
Status CheckNothingInTheClear(const v1::ReportHeader& header) {
  if (header.num_examples() == 0 && header.metrics().empty()) return OkStatus();
  return InvalidArgument("num_examples and metrics must be left out under secure aggregation");
}

Status CheckMessageHeader(const v1::ReportHeader& header, const crypto::BlobId& payload,
                          const OpenTask& task) {
  CHORALE_RETURN_IF_ERROR(CheckNothingInTheClear(header));
  if (!header.masked_input().empty()) {
    return InvalidArgument("masked_input must be empty beside a message");
  }
  if (payload.size_bytes >= 1 && payload.size_bytes <= task.payload_bytes) return OkStatus();
  return InvalidArgument("payload.size_bytes must be in [1, " + std::to_string(task.payload_bytes) +
                         "], got " + std::to_string(payload.size_bytes));
}

}  // namespace

StatusOr<SiteStatement> Decode(const v1::SiteMessage& message) {
  switch (message.message_case()) {
    case v1::SiteMessage::kHello:
      return Read(message.hello());
    case v1::SiteMessage::kHeartbeat:
      return Read(message.heartbeat());
    case v1::SiteMessage::kAccepted:
      CHORALE_RETURN_IF_ERROR(
          CheckLength("accepted.task_id", message.accepted().task_id().size(), kMaxTaskIdChars));
      return SiteAlive{};
    case v1::SiteMessage::kRefused:
      return Read(message.refused());
    case v1::SiteMessage::kProgress:
      CHORALE_RETURN_IF_ERROR(
          CheckLength("progress.task_id", message.progress().task_id().size(), kMaxTaskIdChars));
      return SiteAlive{};
    case v1::SiteMessage::MESSAGE_NOT_SET:
      return SiteAlive{};  // A kind that a newer agent knows: the site is alive.
  }
  return SiteAlive{};
}

StatusOr<Report> DecodeReportHeader(const v1::ReportHeader& header, const OpenTask& task) {
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId payload, rpc::FromProto(header.payload()));
  if (task.round.step != RoundStep::kReport) {
    CHORALE_RETURN_IF_ERROR(CheckMessageHeader(header, payload, task));
    return Report{.payload = payload};
  }
  if (payload.size_bytes != task.payload_bytes) {
    return InvalidArgument("payload.size_bytes must be " + std::to_string(task.payload_bytes) +
                           ", got " + std::to_string(payload.size_bytes));
  }
  if (task.is_masked) {
    CHORALE_RETURN_IF_ERROR(CheckNothingInTheClear(header));
    if (header.masked_input().empty() || header.masked_input().size() > kMaxMaskedInputBytes) {
      return InvalidArgument("masked_input must have 1 to 1024 bytes, got " +
                             std::to_string(header.masked_input().size()));
    }
    return Report{.payload = payload, .masked_input = header.masked_input()};
  }
  if (!header.masked_input().empty()) {
    return InvalidArgument("masked_input must be empty: the job's reports are not masked");
  }
  if (header.num_examples() < 1 || header.num_examples() > kMaxExamples) {
    return InvalidArgument("num_examples must be in [1, 10^12], got " +
                           std::to_string(header.num_examples()));
  }
  CHORALE_RETURN_IF_ERROR(CheckMetrics(header, task));
  return Report{.payload = payload,
                .num_examples = header.num_examples(),
                .metrics = {header.metrics().begin(), header.metrics().end()},
                .bytes_down = 0};
}

namespace {

// The payload is a message, or a vector that is uniform by itself.
bool HasNoNumbers(const OpenTask& task) {
  return task.is_masked || task.round.step != RoundStep::kReport;
}

}  // namespace

Status CheckPayloadPiece(const OpenTask& task, std::uint64_t offset_bytes, ByteSpan piece) {
  if (HasNoNumbers(task) || task.phase != Phase::kTraining || AllFiniteFloats(piece)) {
    return OkStatus();
  }
  return InvalidArgument("the update must be finite: a value after byte " +
                         std::to_string(offset_bytes) + " is infinite or no number");
}

bool IsCheckedAsWhole(const OpenTask& task) {
  return !HasNoNumbers(task) && task.phase != Phase::kTraining;
}

Status CheckWholePayload(const OpenTask& task, std::uint64_t num_examples, ByteSpan payload) {
  switch (task.phase) {
    case Phase::kTraining:
      return CheckPayloadPiece(task, 0, payload);
    case Phase::kPreparation: {
      CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums, DoublesFromBytes(payload));
      return data::CheckPreparation(sums, *task.data, num_examples);
    }
    case Phase::kNewton:
      return CheckNewtonSums(payload, task.num_coefficients, num_examples);
    case Phase::kPersonalization:
      return CheckMetricSums(payload, task.metrics);
  }
  return OkStatus();
}

}  // namespace chorale::coordinator
