// Training with differential privacy: what one task of a private job computes and reports.
#include <memory>
#include <utility>
#include <vector>

#include "core/crypto/digest.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "site_agent/noisy_sums.h"
#include "site_agent/work.h"

namespace chorale::site_agent {
namespace {

// What a round computes, for the ledger: the same task about another round or model is another
// step.
crypto::Digest ContentOf(const jobs::VerifiedJob& job, const CheckedTask& task) {
  crypto::Sha256Hasher hasher;
  hasher.Update(jobs::DigestOf(
      {.job = job.spec_digest, .kind = jobs::MaskedKind::kUpdate, .round = task.round}));
  hasher.Update(task.model->digest);
  return std::move(hasher).Finish();
}

}  // namespace

WorkOutcome Work::TrainPrivately(Admitted admitted, Cancellation& cancellation,
                                 const WorkObserver& observer) {
  const v1::JobSpec& spec = admitted.job.spec;
  const auto refuse = [&admitted](ReasonCode code, const Status& problem) {
    return Refuse(code, admitted.message, problem);
  };
  StatusOr<ParameterVector> start = Fetch(admitted, *admitted.task.model, cancellation);
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!start.ok()) return refuse(ReasonCode::kTaskInvalid, start.status());

  // From here on the step is paid for, whatever becomes of it.
  const JobId job_id(admitted.message.job_id());
  StatusOr<std::shared_ptr<const PrivacyCharge>> charge =
      parts_.accounts->Charge({admitted.job, job_id, admitted.config}, admitted.terms.task_id(),
                              ContentOf(admitted.job, admitted.task));
  if (!charge.ok()) {
    Refusal refusal = refuse(CodeOfAccounts(charge.status()), charge.status());
    refusal.subject = admitted.config.id();
    return refusal;
  }
  const data::Examples& rows = admitted.dataset->Prepare(std::nullopt).train;
  const bool by_record = jobs::UnitOf(spec.privacy()) == privacy::PrivacyUnit::kRecord;
  const data::Examples records = by_record ? ByRecord(rows) : data::Examples();
  const data::Examples& examples = by_record ? records : rows;
  StatusOr<std::unique_ptr<NoisySums>> sums =
      NoisySums::Create({.spec = spec,
                         .plan = *admitted.plan,
                         .examples = examples,
                         .honest_sites = admitted.masking->honest_sites,
                         .trainer = *parts_.trainer,
                         .num_threads = static_cast<int>(parts_.config.threads()),
                         .cancelled = cancellation.flag()},
                        privacy::NoiseKey::Generate(job_id, SiteId(parts_.site)));
  if (!sums.ok()) return refuse(ReasonCode::kJobInvalid, sums.status());

  WorkDone done{.terms = admitted.terms, .report = {}};
  done.report.charge = *std::move(charge);
  Status status;
  if (admitted.terms.has_gradient_sum()) {
    StatusOr<std::vector<std::int64_t>> sum = (*sums)->Sum(0, *start);
    status = sum.status();
    if (sum.ok()) done.report.payload = *std::move(sum);
  } else {
    StatusOr<training::TrainResult> result = parts_.trainer->TrainOnGradients(
        {.plan = *admitted.plan,
         .training = spec.training(),
         .train = examples,
         .start = *start,
         .place = {.round = admitted.task.round, .num_rounds = spec.rounds().count()},
         .on_progress = observer.on_progress,
         .cancelled = &cancellation.flag()},
        [&](std::uint64_t step, std::span<const float> parameters) {
          return (*sums)->Gradient(step, parameters);
        });
    status = result.status();
    if (result.ok()) done.report.payload = std::move(result->update);
  }
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!status.ok()) return refuse(CodeOfTraining(status), status);
  done.masking = std::move(admitted.masking);
  return done;
}

}  // namespace chorale::site_agent
