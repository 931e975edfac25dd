#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <variant>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/federation.pb.h"
#include "core/crypto/certificate.h"
#include "core/random.h"
#include "core/time.h"
#include "jobs/signed_job.h"
#include "site_agent/cancellation.h"
#include "site_agent/dataset_cache.h"
#include "site_agent/link.h"
#include "site_agent/reason_codes.h"
#include "site_agent/release_guard.h"
#include "site_agent/task_check.h"
#include "site_agent/task_policy.h"
#include "training/local_trainer.h"

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
};

// Done: what may leave, if the release guard agrees.
struct WorkDone {
  ReleaseTerms terms;
  Report report;
};
struct WorkWasCancelled {};
using WorkOutcome = std::variant<WorkDone, Refusal, WorkWasCancelled>;

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

 private:
  struct Admitted {
    jobs::VerifiedJob job;
    CheckedTask task;
    ReleaseTerms terms;
    LoadedDataset* dataset;
  };
  [[nodiscard]] std::variant<Admitted, Refusal> Admit(const v1::Task& task);
  [[nodiscard]] WorkOutcome Prepare(Admitted admitted);
  [[nodiscard]] WorkOutcome Train(Admitted admitted, std::uint32_t round,
                                  Cancellation& cancellation, const WorkObserver& observer);

  WorkParts parts_;
  DatasetCache datasets_;
};

}  // namespace chorale::site_agent
