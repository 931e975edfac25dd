#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "jobs/privacy_spec.h"
#include "jobs/signed_job.h"
#include "privacy/ledger/ledger.h"
#include "site_agent/reason_codes.h"

// What this site's patients are charged for private jobs.
namespace chorale::site_agent {

// Proof that the ledger was charged for one task before any row was used for it. Only
// PrivacyAccounts makes one, and the release guard lets no private report pass without.
class PrivacyCharge {
 public:
  [[nodiscard]] const TaskId& task_id() const { return task_id_; }
  // What was charged: a preparation, or a round of training with or without a sum of metrics.
  [[nodiscard]] bool covers_preparation() const { return what_.preparations > 0; }
  [[nodiscard]] bool covers_training() const { return what_.rounds > 0; }
  [[nodiscard]] bool covers_metrics() const { return what_.with_metrics > 0; }
  // The report is durable and is going to leave. What is never committed stays charged.
  [[nodiscard]] Status Commit() const;

 private:
  friend class PrivacyAccounts;
  PrivacyCharge(TaskId task_id, const jobs::RoundsRun& what, std::function<Status()> commit)
      : task_id_(std::move(task_id)), what_(what), commit_(std::move(commit)) {}
  TaskId task_id_;
  jobs::RoundsRun what_;
  std::function<Status()> commit_;
};

// One job on one dataset of the site.
struct AccountedJob {
  const jobs::VerifiedJob& job;
  JobId job_id;  // As the coordinator names it.
  const v1::DatasetConfig& dataset;
};

// One attempt of a round.
struct AccountedRound {
  TaskId task;
  std::uint32_t number = 0;  // Says what it computes: 0 is the preparation.
  crypto::Digest content{};  // Of what is computed.
};

// Receipts that the ledger did not fit, below the state directory, and those of them whose loss
// somebody at the site has accepted.
inline constexpr char kRefusedReceiptFile[] = "ledger_receipt_refused";
inline constexpr char kAcceptedReceiptFile[] = "ledger_receipt_accepted";

// Reserve and Charge are the worker's; the others are for any thread.
class PrivacyAccounts {
 public:
  // `ledger` must outlive it.
  PrivacyAccounts(privacy::Ledger& ledger, std::filesystem::path state_directory)
      : ledger_(ledger), state_directory_(std::move(state_directory)) {}

  [[nodiscard]] privacy::LedgerHead Head() const { return ledger_.Head(); }
  // The newest row of this ledger that the coordinator was ever told. Where the ledger lacks it, an
  // older copy was restored: nothing is charged to it, until the newest one is back or somebody at
  // the site accepts the loss (`chorale site accept-loss`).
  void TakeReceipt(const privacy::LedgerHead& receipt);

  // Jobs that steps are set aside for and that Release would free, each once.
  [[nodiscard]] std::vector<JobId> OpenJobs() const;
  // What the job did not start, on any dataset, is free again, and it starts nothing more. Whoever
  // says that it ended can stop the job here, and hide nothing that it cost. Where rows were lost,
  // they may have started what earlier reservations still hold, which stay therefore. DATA_LOSS:
  // the ledger is older than the coordinator's receipt.
  [[nodiscard]] Status Release(const JobId& job);

  // Sets the whole job aside, before anything is computed; the same job again is the same
  // reservation. A dataset without limits counts nothing. DATA_LOSS: the ledger is older than the
  // coordinator's receipt. PERMISSION_DENIED: the dataset has a budget, and the job is not private.
  // RESOURCE_EXHAUSTED: more than is left, with what would fit. Otherwise what privacy::Ledger
  // says.
  [[nodiscard]] Status Reserve(const AccountedJob& job);
  // Charges one round, durably: call it before rows are used or noise is drawn. ALREADY_EXISTS: the
  // task was charged before, and its noise is gone.
  [[nodiscard]] StatusOr<std::shared_ptr<const PrivacyCharge>> Charge(const AccountedJob& job,
                                                                      const AccountedRound& round);

 private:
  [[nodiscard]] Status Stand(const privacy::LedgerHead& receipt) const;
  // Later than every row that was lost.
  [[nodiscard]] std::vector<privacy::OpenReservation> Releasable() const;
  [[nodiscard]] StatusOr<privacy::ReservationId> ReserveIn(const AccountedJob& job);

  privacy::Ledger& ledger_;
  const std::filesystem::path state_directory_;
  std::mutex mutex_;         // Guards what is below.
  Status receipt_standing_;  // Of the last receipt.
};

// What the coordinator is told of such a failure.
[[nodiscard]] ReasonCode CodeOfAccounts(const Status& failure);

}  // namespace chorale::site_agent
