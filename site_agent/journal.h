#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "site_agent/known_coordinator.h"
#include "site_agent/outlet.h"

// What this site decided and let out, under its state directory: journal.db (SQLite), and outbox/
// for large payloads.
//   tasks     task id, job id, SHA-256 of the job, verdict ("allowed", "reported" or a reason
//   code), time releases  kind, task, size, SHA-256 of the bytes, time; consecutive heartbeats
//   share a row reports   header bytes and payload until the coordinator settled them; the task id
//   for good coordinators  those that were followed
namespace chorale::site_agent {

struct TaskRecord {
  TaskId task_id;
  JobId job_id;
  crypto::Digest job_digest{};
  std::string verdict;
  Time time;
};

struct ReleaseRecord {
  std::string kind;
  TaskId task_id;  // Empty for messages of no task.
  std::uint64_t size_bytes = 0;
  crypto::Digest sha256{};
  Time time;
};

enum class ReportState {
  kNone,
  kPending,       // Waits for the coordinator.
  kAcknowledged,  // The coordinator has it.
  kDiscarded,     // The coordinator does not want it.
};
// The outcome of a report that the coordinator has; any other tells why it does not want it.
inline constexpr std::string_view kAcknowledged = "acknowledged";

// Safe for concurrent use.
class Journal {
 public:
  // Creates what is missing and removes payloads that no report names. REQUIRES: no other process
  // uses the directory.
  [[nodiscard]] static StatusOr<std::unique_ptr<Journal>> Open(
      const std::filesystem::path& state_directory);
  virtual ~Journal() = default;

  // These survive the process, not a power cut, until the next report makes them durable.
  [[nodiscard]] virtual Status RecordTask(const TaskRecord& record) = 0;
  [[nodiscard]] virtual Status RecordRelease(const ReleaseRecord& record) = 0;
  [[nodiscard]] virtual Status RecordCoordinators(const KnownCoordinators& known) = 0;
  [[nodiscard]] virtual StatusOr<KnownCoordinators> LoadCoordinators() = 0;

  // Durable when this returns OK: the release, the report, and whatever was recorded before, with
  // one sync of the disk (payloads over 256 KiB take another). ALREADY_EXISTS when the task has a
  // report. RESOURCE_EXHAUSTED: disk full.
  [[nodiscard]] virtual Status RecordReport(const ReleaseRecord& record,
                                            const v1::ReportHeader& header, ByteSpan payload) = 0;

  [[nodiscard]] virtual StatusOr<ReportState> FindReport(const TaskId& task_id) = 0;
  // Reports that wait for the coordinator, oldest first.
  [[nodiscard]] virtual StatusOr<std::vector<TaskId>> PendingReports() = 0;
  // The recorded bytes. NOT_FOUND when the task has no pending report.
  [[nodiscard]] virtual StatusOr<OutgoingReport> LoadReport(const TaskId& task_id) = 0;
  // The coordinator gave its last word on the report: the bytes go, the fact stays. Repeating it is
  // OK. `outcome`: kAcknowledged, or why not.
  [[nodiscard]] virtual Status SettleReport(const TaskId& task_id, std::string_view outcome,
                                            Time time) = 0;
};

}  // namespace chorale::site_agent
