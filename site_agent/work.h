#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/federation.pb.h"
#include "core/crypto/certificate.h"
#include "core/random.h"
#include "core/time.h"
#include "jobs/signed_job.h"
#include "models/graph.h"
#include "site_agent/cancellation.h"
#include "site_agent/checkpoints.h"
#include "site_agent/dataset_cache.h"
#include "site_agent/job_cache.h"
#include "site_agent/journal.h"
#include "site_agent/link.h"
#include "site_agent/local_store.h"
#include "site_agent/patient_vectors.h"
#include "site_agent/privacy_accounts.h"
#include "site_agent/reason_codes.h"
#include "site_agent/release_guard.h"
#include "site_agent/secure_sessions.h"
#include "site_agent/task_check.h"
#include "site_agent/task_policy.h"
#include "training/local_trainer.h"
#include "training/newton_sums.h"

namespace chorale::site_agent {

// What work uses; every reference must outlive it.
struct WorkParts {
  const v1::SiteConfig& config;
  std::filesystem::path config_directory;
  const crypto::Certificate& root;
  std::string site;
  training::LocalTrainer* trainer = nullptr;  // None: training tasks are refused.
  BlobSource& blobs;
  const Clock& clock;
  RandomSource& random;
  Journal& journal;                     // Tells which reports were released.
  SecureSessions* sessions = nullptr;   // None: masked jobs are refused.
  PrivacyAccounts* accounts = nullptr;  // None: private jobs are refused.
};

// Done: what may leave, if the release guard agrees.
struct WorkDone {
  ReleaseTerms terms;
  Report report;
  std::optional<Masking> masking = {};  // Under secure aggregation.
};
struct WorkWasCancelled {};
using WorkOutcome = std::variant<WorkDone, MessageRelease, Refusal, WorkWasCancelled>;

// Told on the thread that runs the work; must be quick.
struct WorkObserver {
  std::function<void()> on_admitted;        // The policy said yes.
  std::function<void(double)> on_progress;  // Share of the training done, in [0, 1].
};

// Runs tasks: from bytes that a stranger sent to a report. Trusts the federation's root and this
// site's own files; all else is checked here. Sends nothing. Not thread-safe.
class Work {
 public:
  explicit Work(WorkParts parts);
  [[nodiscard]] WorkOutcome Run(const v1::Task& task, Cancellation& cancellation,
                                const WorkObserver& observer);
  // What the last task came to is told, or given up for good: where it trained, nobody goes on with
  // it. A step of secure aggregation or a refusal leaves alone what an interrupted training kept.
  void ForgetProgress();

 private:
  struct Admitted {
    const v1::Task& message;
    jobs::VerifiedJob job;
    std::shared_ptr<const models::GraphPlan> plan;
    CheckedTask task;
    ReleaseTerms terms;
    const v1::DatasetConfig& config;
    LoadedDataset* dataset;
    std::optional<Masking> masking = {};
    bool keeps_checkpoints = false;  // There is memory for it.
  };
  [[nodiscard]] std::variant<Admitted, Refusal> Admit(const v1::Task& task);
  // The parts of admission that need no row: whose job it is, and what of it a rule allows.
  [[nodiscard]] std::variant<KnownJob, Refusal> Know(const v1::Task& task);
  [[nodiscard]] std::optional<Refusal> RefusalOf(const v1::Task& task, const KnownJob& known,
                                                 const v1::DatasetConfig*& dataset) const;
  // A step of secure aggregation that reports nothing of the data.
  [[nodiscard]] WorkOutcome TakeStep(const v1::Task& task, Cancellation& cancellation,
                                     const WorkObserver& observer);
  // Opens the round of a masked job: before anything is computed.
  [[nodiscard]] StatusOr<Masking> OpenRound(const Admitted& admitted);
  // Why the machine cannot do it, told before anything is fetched or trained.
  [[nodiscard]] Status CheckDisk(const Admitted& admitted) const;
  [[nodiscard]] Status CheckMemory(Admitted& admitted);

  [[nodiscard]] WorkOutcome SumColumns(Admitted admitted);
  [[nodiscard]] WorkOutcome SumNewton(Admitted admitted, Cancellation& cancellation);
  struct NewtonStep {
    training::NewtonKind kind{};
    std::vector<double> coefficients;  // Finite.
  };
  // What the task came to instead, unless `step` was fetched.
  [[nodiscard]] std::optional<WorkOutcome> FetchNewtonStep(const Admitted& admitted,
                                                           Cancellation& cancellation,
                                                           NewtonStep& step);

  // In work_training.cc.
  [[nodiscard]] WorkOutcome Train(Admitted admitted, Cancellation& cancellation,
                                  const WorkObserver& observer);
  // In work_private.cc.
  // Pays for the round, whatever becomes of it; refused, nothing may be computed from rows.
  [[nodiscard]] std::variant<std::shared_ptr<const PrivacyCharge>, Refusal> Charge(
      const Admitted& admitted);
  // What SumPatientVectors sums; of a task, `add` alone sees rows.
  struct PatientsToSum {
    jobs::NoisySum sum;
    std::string_view purpose;
    std::function<Status(privacy::PatientSum&)> add;
  };
  [[nodiscard]] WorkOutcome SumPrivately(Admitted& admitted, const PatientsToSum& patients,
                                         const Cancellation& cancellation);
  [[nodiscard]] WorkOutcome SumColumnsPrivately(Admitted admitted,
                                                const Cancellation& cancellation);
  [[nodiscard]] WorkOutcome SumNewtonPrivately(Admitted admitted, Cancellation& cancellation);
  // DP-SGD.
  [[nodiscard]] WorkOutcome TrainPrivately(Admitted admitted, Cancellation& cancellation,
                                           const WorkObserver& observer);
  [[nodiscard]] std::optional<Refusal> Reserve(const v1::Task& task, const KnownJob& known,
                                               const v1::DatasetConfig& dataset);
  [[nodiscard]] WorkOutcome Personalize(Admitted admitted, Cancellation& cancellation,
                                        const WorkObserver& observer);
  // Goes on where this very training was interrupted; where it takes long, keeps where it stands.
  [[nodiscard]] StatusOr<training::TrainResult> TrainOn(const Admitted& admitted,
                                                        training::TrainRequest request);
  [[nodiscard]] StatusOr<ParameterVector> Fetch(const Admitted& admitted,
                                                const crypto::BlobId& blob,
                                                Cancellation& cancellation);
  [[nodiscard]] StatusOr<LocalState> LoadState(const Admitted& admitted, std::span<float> start);
  [[nodiscard]] Status KeepState(const Admitted& admitted, LocalState state,
                                 std::span<const float> start, training::TrainResult& result);

  WorkParts parts_;
  JobCache jobs_;
  DatasetCache datasets_;
  LocalStore store_;
  Checkpoints checkpoints_;
  bool has_trained_ = false;  // In the last task.
};

// What a refusal of secure aggregation is called; unset for another failure.
[[nodiscard]] std::optional<Refusal> RefusalOfSecureAggregation(const Status& status);
// The coordinator gets a code; the reason stays in the site's log.
[[nodiscard]] Refusal Refuse(ReasonCode code, const v1::Task& task, const Status& problem);
// What a failure of the trainer is called.
[[nodiscard]] ReasonCode CodeOfTraining(const Status& status);
// How a task of this kind trains.
[[nodiscard]] v1::TrainingSpec TrainingOf(ReportKind kind, const v1::JobSpec& job);
// The moments of a task, where its job standardises over all sites.
[[nodiscard]] std::optional<std::vector<data::Moments>> MomentsOf(const CheckedTask& task,
                                                                  const v1::JobSpec& job);

}  // namespace chorale::site_agent
