#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "coordinator/partial_payload.h"
#include "coordinator/payload_store.h"
#include "coordinator/round.h"
#include "core/crypto/blob_digest.h"
#include "core/ids.h"
#include "core/rpc/chunks.h"
#include "core/status.h"
#include "core/time.h"

namespace chorale::coordinator {

// A task that a site may work on now: what it may fetch, and what its report must look like.
struct OpenTask {
  TaskId id = {};
  JobId job = {};
  RoundKey round = {};
  SiteId site = {};
  Phase phase = Phase::kTraining;  // What the payload must hold.
  // Exact size of the report's payload; of a message of secure aggregation, the largest.
  std::uint64_t payload_bytes = 0;
  bool is_masked =
      false;  // The payload tells nothing by itself, and numbers beside it are refused.
  // Those that the job asks for: beside the payload in a training round, and what the payload is in
  // a personalization round.
  std::vector<v1::MetricSpec> metrics = {};
  std::vector<crypto::BlobId> blobs = {};  // What FetchBlob may give.
  std::size_t num_coefficients = 0;        // Of a newton round.
  // Of a preparation round: what its sums are checked against. Shared by every look at the task.
  std::shared_ptr<const v1::DataSpec> data = {};
  std::optional<Report> report = {};  // What the site has reported already.
};

// "<job>/<round>/<attempt>/<site>"; of a step of secure aggregation that is no report,
// "<job>/<round>/<attempt>/<step>/<site>".
[[nodiscard]] TaskId TaskIdOf(const JobId& job, RoundKey round, const SiteId& site);

// The open tasks, as calls of sites see them. The driver opens and closes; calls only look. Safe
// for concurrent use.
class TaskTable {
  struct Entry;
  struct Call;

 public:
  enum class Direction { kDown, kUp };  // To the site, from it.

  // One transfer under way for a task. Ends with it.
  class Transfer {
   public:
    Transfer(Transfer&& other) noexcept;
    Transfer& operator=(Transfer&&) = delete;
    ~Transfer();
    [[nodiscard]] const OpenTask& task() const { return task_; }
    void AddBytesDown(std::uint64_t bytes);
    [[nodiscard]] std::uint64_t bytes_down() const;  // Of all transfers of this task.
    // What an earlier transfer left of this payload; null when nothing.
    [[nodiscard]] std::unique_ptr<PartialPayload> TakePartial(const crypto::BlobId& payload);
    // Leaves it to the next transfer, until the task is closed.
    void KeepPartial(std::unique_ptr<PartialPayload> partial);

   private:
    friend class TaskTable;
    Transfer(TaskTable& table, std::shared_ptr<Entry> entry, std::list<Call>::iterator call);
    TaskTable* table_;
    std::shared_ptr<Entry> entry_;
    std::list<Call>::iterator call_;
    OpenTask task_;
  };

  explicit TaskTable(std::size_t max_transfers) : max_transfers_(max_transfers) {}

  // Adds a task, or tells what it is by now; transfers under way go on.
  void Open(OpenTask task);
  // Remembers what the site reported, so that a repeated report is answered at once.
  void MarkReported(const TaskId& id, const Report& report);
  // Removes the tasks of a round and cancels their transfers.
  void Close(const JobId& job, RoundKey round);
  // Nobody knows just now how the round stands: cancels its transfers, and tells whoever asks for
  // one of its tasks to try again, until the task is opened again or closed.
  void Suspend(const JobId& job, RoundKey round);

  // A call of a site that has not yet said which task it is about.
  class SilentCall {
   public:
    SilentCall(SilentCall&& other) noexcept;
    SilentCall& operator=(SilentCall&&) = delete;
    ~SilentCall();

   private:
    friend class TaskTable;
    struct Record {
      SiteId site;
      Time since;
      std::function<void()> cancel;
    };
    SilentCall(TaskTable& table, std::list<Record>::iterator record)
        : table_(&table), record_(record) {}
    TaskTable* table_;
    std::list<Record>::iterator record_;
  };
  // RESOURCE_EXHAUSTED: too many of this site. `cancel` as in Begin.
  [[nodiscard]] StatusOr<SilentCall> BeginSilent(const SiteId& site, Time now,
                                                 std::function<void()> cancel);
  // Cancels the silent calls that began before `since`.
  void CancelSilent(Time since);

  // Begins a transfer for a task of this site. `cancel` is called, from any thread and under the
  // table's lock, when the task is closed before the transfer ends; it must not block.
  // FAILED_PRECONDITION: no such open task, that is, its round is closed; PERMISSION_DENIED:
  // another site's; UNAVAILABLE: suspended, try again; RESOURCE_EXHAUSTED: too many transfers, try
  // again.
  [[nodiscard]] StatusOr<Transfer> Begin(const TaskId& id, const SiteId& site, Direction direction,
                                         std::function<void()> cancel);
  // How much of this payload a broken transfer has left. One that is still under way is cancelled
  // first: its site asks, so it is of a connection that is no more. RESOURCE_EXHAUSTED: it has not
  // ended after `patience`, or somebody asks already. Else errors as Begin.
  [[nodiscard]] StatusOr<std::uint64_t> FindPartial(const TaskId& id, const SiteId& site,
                                                    const crypto::BlobId& payload,
                                                    Duration patience);
  // The task's round and site, for a refusal. Errors as Begin.
  [[nodiscard]] StatusOr<OpenTask> Find(const TaskId& id, const SiteId& site) const;

 private:
  struct Call {
    Direction direction;
    std::function<void()> cancel;
  };
  struct Entry {
    OpenTask task;
    bool is_suspended = false;
    bool is_asked = false;  // Somebody waits in FindPartial.
    std::list<Call> calls;  // The transfers under way.
    std::unique_ptr<PartialPayload> partial;
    std::atomic<std::uint64_t> bytes_down{0};
  };
  // shared_ptr: transfers outlive their task's removal.
  using Entries = std::map<TaskId, std::shared_ptr<Entry>>;
  // Of the round's tasks, which it returns. REQUIRES: mutex_ held.
  std::pair<Entries::iterator, Entries::iterator> CancelCalls(const JobId& job, RoundKey round);
  [[nodiscard]] StatusOr<std::shared_ptr<Entry>> FindEntry(const TaskId& id,
                                                           const SiteId& site) const;

  const std::size_t max_transfers_;
  mutable std::mutex mutex_;  // Guards everything below and the entries.
  std::condition_variable call_ended_;
  Entries entries_;
  std::size_t num_transfers_ = 0;
  std::list<SilentCall::Record> silent_;
};

}  // namespace chorale::coordinator
