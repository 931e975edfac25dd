#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/engine.h"
#include "core/crypto/blob_digest.h"
#include "core/parameters.h"
#include "core/random.h"
#include "jobs/signed_job.h"
#include "tests/support/manual_clock.h"
#include "tests/support/memory_job_store.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"
#include "tests/support/valid_job.h"

namespace chorale::coordinator {

// A session that remembers what it was told.
class FakeChannel final : public SiteChannel {
 public:
  explicit FakeChannel(const Clock& clock) : clock_(&clock), last_heard_(clock.Now()) {}
  void Send(v1::CoordinatorMessage message) override { sent.push_back(std::move(message)); }
  void Close(const Status& why) override { closed = why; }
  void Kill() override { is_killed = true; }
  [[nodiscard]] Time last_heard() const override { return last_heard_; }
  void Speak() { last_heard_ = clock_->Now(); }

  // The task that was sent last, if any; "" otherwise.
  [[nodiscard]] std::string LastTask() const {
    for (auto message = sent.rbegin(); message != sent.rend(); ++message) {
      if (message->has_task()) return message->task().task_id();
    }
    return "";
  }
  [[nodiscard]] int NumTasks() const {
    int count = 0;
    for (const auto& message : sent) count += message.has_task() ? 1 : 0;
    return count;
  }
  [[nodiscard]] int NumCancelled() const {
    int count = 0;
    for (const auto& message : sent) count += message.has_cancelled() ? 1 : 0;
    return count;
  }

  // Jobs that it was told have ended, in order.
  [[nodiscard]] std::vector<std::string> EndedJobs() const {
    std::vector<std::string> jobs;
    for (const auto& message : sent) {
      if (message.has_job_ended()) jobs.push_back(message.job_ended().job_id());
    }
    return jobs;
  }

  std::vector<v1::CoordinatorMessage> sent;
  std::optional<Status> closed;
  bool is_killed = false;

 private:
  const Clock* clock_;
  Time last_heard_;
};

// Work that is done when the test says so.
class FakeWork final : public WorkQueue {
 public:
  void Start(Work work) override { queue.push_back(std::move(work)); }
  std::deque<Work> queue;
};

// An engine with everything real but the clock, the store, the sites and the worker's thread.
class EngineTest : public testing::Test {
 protected:
  static support::TestPki& Pki() {
    static support::TestPki* const pki = [] {
      auto* made = new support::TestPki();
      for (const char* site : {"east", "north", "south", "west"})
        made->Enrol(v1::PARTY_ROLE_SITE, site);
      made->Enrol(v1::PARTY_ROLE_RESEARCHER, "ada");
      made->Enrol(v1::PARTY_ROLE_COORDINATOR, "main");
      return made;
    }();
    return *pki;
  }

  EngineTest() { Restart(); }

  // A new process on the same state.
  void Restart() {
    engine_.reset();
    channels_.clear();
    sessions_.clear();
    tasks_ = std::make_unique<TaskTable>(8);
    work_.queue.clear();
    uploads_ = std::make_unique<Uploads>();
    payloads_ = *PayloadStore::Open(directory_.path() / "payloads");
    members_ = *Members::Open(Pki().roster_path(), Root(), *store_.RosterVersion());
    engine_ = std::make_unique<Engine>(EngineParts{.store = store_,
                                                   .payloads = *payloads_,
                                                   .members = *members_,
                                                   .tasks = *tasks_,
                                                   .uploads = *uploads_,
                                                   .work = work_,
                                                   .clock = clock_,
                                                   .random = random_,
                                                   .metrics = metrics_,
                                                   .identity = Coordinator(),
                                                   .limits = limits_,
                                                   .state = {.starts = starts_}});
    const Status recovered = engine_->Recover();
    EXPECT_TRUE(recovered.ok()) << recovered;
  }

  static const crypto::Certificate& Root() {
    static const crypto::Certificate* const root =
        new crypto::Certificate(Pki().Load(v1::PARTY_ROLE_SITE, "north").root());
    return *root;
  }

  static const identity::Identity& Coordinator() {
    static const identity::Identity* const own =
        new identity::Identity(Pki().Load(v1::PARTY_ROLE_COORDINATOR, "main"));
    return *own;
  }

  Status Commit() {
    engine_->OnTimers();
    return engine_->Commit();
  }
  void MustCommit() {
    const Status committed = Commit();
    EXPECT_TRUE(committed.ok()) << committed;
  }
  void Advance(Duration by) {
    clock_.Advance(by);
    for (auto& [site, channel] : channels_) channel->Speak();
    MustCommit();
  }

  // ---- sites

  FakeChannel& Connect(const std::string& site, std::vector<TaskId> active_tasks = {},
                       const std::string& instance = "", std::vector<JobId> open_jobs = {}) {
    const SessionId id(next_session_++);
    auto channel = std::make_shared<FakeChannel>(clock_);
    const identity::Identity identity = Pki().Load(v1::PARTY_ROLE_SITE, site);
    engine_->SessionOpened(
        id, {.site = SiteId(site),
             .certificate = std::make_shared<const crypto::Certificate>(identity.certificate()),
             .channel = channel,
             .greeting = {}});
    engine_->SessionGreeted(id, {.agent_version = "0.1.0",
                                 .datasets = {"heart-disease"},
                                 .active_tasks = std::move(active_tasks),
                                 .clock = {},
                                 .instance = instance,
                                 .open_jobs = std::move(open_jobs)});
    MustCommit();
    channels_[site] = channel;
    sessions_[site] = id;
    return *channel;
  }
  void Disconnect(const std::string& site) {
    engine_->SessionClosed(sessions_.at(site));
    MustCommit();
  }
  FakeChannel& Channel(const std::string& site) { return *channels_.at(site); }
  // The task that the site was sent last.
  const v1::Task& Task(const std::string& site) {
    const auto& sent = Channel(site).sent;
    for (auto message = sent.rbegin(); message != sent.rend(); ++message) {
      if (message->has_task()) return message->task();
    }
    ADD_FAILURE() << site << " was sent no task";
    static const v1::Task kNone;
    return kNone;
  }

  // ---- jobs

  static v1::JobSpec Spec() {
    v1::JobSpec spec = support::ValidJob();
    spec.mutable_rounds()->set_count(2);
    return spec;
  }
  StatusOr<JobId> TrySubmit(const v1::JobSpec& spec, const std::string& key = "") {
    const identity::Identity ada = Pki().Load(v1::PARTY_ROLE_RESEARCHER, "ada");
    std::optional<StatusOr<JobId>> answer;
    engine_->Submit({.researcher = ResearcherId("ada"),
                     .idempotency_key = key.empty() ? "key-" + std::to_string(++num_keys_) : key,
                     .envelope = jobs::SignJob(spec, ada),
                     .spec = spec},
                    [&answer](StatusOr<JobId> id) { answer = std::move(id); });
    const Status committed = Commit();
    if (!answer.has_value()) return Internal("no answer");
    EXPECT_TRUE(committed.ok() || !answer->ok());
    return *answer;
  }
  JobId Submit(const v1::JobSpec& spec = Spec()) {
    const auto id = TrySubmit(spec);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.ok() ? *id : JobId();
  }
  // Does all work that waits, and what follows from it.
  void DoWork() {
    while (!work_.queue.empty()) {
      const Work work = std::move(work_.queue.front());
      work_.queue.pop_front();
      engine_->WorkIsDone({work.job, coordinator::DoWork(*payloads_, work, 1, never_)});
      MustCommit();
    }
  }

  // ---- reports

  template <typename Number>
  StatusOr<HeldPayload> Hold(const std::vector<Number>& values) {
    const ByteSpan bytes = AsBytes(std::span<const Number>(values));
    CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads_->Create(bytes.size()));
    CHORALE_RETURN_IF_ERROR(writer.Append(bytes));
    return std::move(writer).Commit();
  }
  // Stages a report for a task of the site; `answer` comes with the commit.
  void StageReportFor(const std::string& site, const std::string& id, std::optional<Status>& answer,
                      float value) {
    const auto task = tasks_->Find(TaskId(id), SiteId(site));
    if (!task.ok()) {
      answer = task.status();
      return;
    }
    StatusOr<HeldPayload> held = Hold(std::vector<float>(4, value));
    ASSERT_TRUE(held.ok()) << held.status();
    const crypto::BlobId payload = held->id();
    engine_->Reported(*task, {.payload = payload, .num_examples = 10}, *std::move(held),
                      [&answer](Status status) { answer = std::move(status); });
  }
  // Reports numbers for the task that the site was sent last.
  template <typename Number>
  Status ReportNumbers(const std::string& site, const std::vector<Number>& values,
                       std::uint64_t num_examples = 10, std::vector<v1::MetricValue> metrics = {}) {
    const auto task = tasks_->Find(TaskId(Channel(site).LastTask()), SiteId(site));
    if (!task.ok()) return task.status();
    EXPECT_EQ(task->payload_bytes, values.size() * sizeof(Number));
    CHORALE_ASSIGN_OR_RETURN(HeldPayload held, Hold(values));
    coordinator::Report report{
        .payload = held.id(), .num_examples = num_examples, .metrics = std::move(metrics)};
    std::optional<Status> answer;
    engine_->Reported(*task, std::move(report), std::move(held),
                      [&answer](Status status) { answer = std::move(status); });
    (void)Commit();
    return answer.value_or(Internal("no answer"));
  }
  // For the task that the site was sent last.
  void StageReport(const std::string& site, std::optional<Status>& answer, float value = 1) {
    StageReportFor(site, Channel(site).LastTask(), answer, value);
  }
  void ReportFor(const std::string& site, const std::string& id, float value) {
    std::optional<Status> answer;
    StageReportFor(site, id, answer, value);
    MustCommit();
    EXPECT_TRUE(answer.has_value() && answer->ok());
  }
  Status Report(const std::string& site, float value = 1) {
    std::optional<Status> answer;
    StageReport(site, answer, value);
    (void)Commit();
    return answer.value_or(Internal("no answer"));
  }
  v1::JobSummary Summary(const JobId& id) {
    const auto shown = engine_->Show(id);
    EXPECT_TRUE(shown.ok()) << shown.status();
    return shown.ok() ? shown->job() : v1::JobSummary();
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  support::ManualClock clock_{SystemClock().WallNow()};
  support::MemoryJobStore store_;
  SeededRandom random_{1};
  metrics::Registry registry_;
  CoordinatorMetrics metrics_{registry_};
  EngineLimits limits_;
  std::vector<Time> starts_;  // Of coordinators with this store.
  FakeWork work_;
  std::unique_ptr<TaskTable> tasks_;
  std::unique_ptr<PayloadStore> payloads_;
  std::unique_ptr<Uploads> uploads_;
  std::unique_ptr<Members> members_;
  std::unique_ptr<Engine> engine_;
  std::map<std::string, std::shared_ptr<FakeChannel>> channels_;
  std::map<std::string, SessionId> sessions_;
  std::uint64_t next_session_ = 1;
  int num_keys_ = 0;
  const std::atomic<bool> never_ = false;
};

}  // namespace chorale::coordinator
