// What one task of a private job computes and reports, and what it costs.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/crypto/digest.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_newton.h"
#include "jobs/private_preparation.h"
#include "site_agent/noisy_metrics.h"
#include "site_agent/noisy_sums.h"
#include "site_agent/patient_vectors.h"
#include "site_agent/work.h"
#include "training/newton_patients.h"
#include "training/newton_sums.h"

namespace chorale::site_agent {
namespace {

// What a round computes, for the ledger: the same task about another round, model or clipping norm
// is another step.
crypto::Digest ContentOf(const jobs::VerifiedJob& job, const CheckedTask& task) {
  const auto kind = task.facts.kind == ReportKind::kPreparation  ? jobs::MaskedKind::kPreparation
                    : task.facts.kind == ReportKind::kNewtonSums ? jobs::MaskedKind::kNewtonSums
                                                                 : jobs::MaskedKind::kUpdate;
  crypto::Sha256Hasher hasher;
  hasher.Update(jobs::DigestOf({.job = job.spec_digest,
                                .kind = kind,
                                .round = task.round,
                                .clipping_norm = task.clipping_norm}));
  if (task.model.has_value()) hasher.Update(task.model->digest);
  return std::move(hasher).Finish();
}

// Rows by what is hidden as one: a copy where that is the record.
class Units {
 public:
  Units(const data::Examples& rows, const v1::PrivacySpec& privacy)
      : is_by_record_(jobs::UnitOf(privacy) == privacy::PrivacyUnit::kRecord),
        records_(is_by_record_ ? ByRecord(rows) : data::Examples()),
        examples_(is_by_record_ ? records_ : rows) {}
  Units(const Units&) = delete;
  Units& operator=(const Units&) = delete;
  [[nodiscard]] const data::Examples& examples() const { return examples_; }

 private:
  bool is_by_record_;
  data::Examples records_;
  const data::Examples& examples_;
};

// Rows of each of them.
std::vector<std::vector<std::size_t>> UnitsOf(const data::ExactExamples& examples,
                                              const v1::PrivacySpec& privacy) {
  if (jobs::UnitOf(privacy) == privacy::PrivacyUnit::kPatient) {
    return RowsByPatient(examples.patients);
  }
  std::vector<std::uint32_t> records(examples.size());
  std::iota(records.begin(), records.end(), 0u);
  return RowsByPatient(records);
}

}  // namespace

std::variant<std::shared_ptr<const PrivacyCharge>, Refusal> Work::Charge(const Admitted& admitted) {
  StatusOr<std::shared_ptr<const PrivacyCharge>> charge =
      parts_.accounts->Charge({admitted.job, JobId(admitted.message.job_id()), admitted.config},
                              {.task = admitted.terms.task_id(),
                               .number = admitted.task.round,
                               .content = ContentOf(admitted.job, admitted.task)});
  if (charge.ok()) return *std::move(charge);
  Refusal refusal = Refuse(CodeOfAccounts(charge.status()), admitted.message, charge.status());
  refusal.subject = admitted.config.id();
  return refusal;
}

WorkOutcome Work::SumPrivately(Admitted& admitted, const PatientsToSum& patients,
                               const Cancellation& cancellation) {
  const v1::JobSpec& spec = admitted.job.spec;
  auto charge = Charge(admitted);
  if (auto* refusal = std::get_if<Refusal>(&charge)) return *std::move(refusal);
  StatusOr<std::vector<std::int64_t>> sums = SumPatientVectors(
      {.sum = patients.sum,
       .privacy = spec.privacy(),
       .honest_sites = admitted.masking->honest_sites,
       .purpose = patients.purpose,
       .num_threads = static_cast<int>(parts_.config.threads())},
      privacy::NoiseKey::Generate(JobId(admitted.message.job_id()), SiteId(parts_.site)),
      patients.add);
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!sums.ok()) return Refuse(ReasonCode::kJobInvalid, admitted.message, sums.status());
  return WorkDone{
      .terms = std::move(admitted.terms),
      .report = {.payload = *std::move(sums),
                 .charge = std::get<std::shared_ptr<const PrivacyCharge>>(std::move(charge))},
      .masking = std::move(admitted.masking)};
}

WorkOutcome Work::SumColumnsPrivately(Admitted admitted, const Cancellation& cancellation) {
  const v1::JobSpec& spec = admitted.job.spec;
  const auto add = [&](privacy::PatientSum& sum) {
    AddColumns(admitted.dataset->dataset(), jobs::UnitOf(spec.privacy()), sum);
    return OkStatus();
  };
  return SumPrivately(admitted,
                      {.sum = jobs::PreparationSumOf(spec), .purpose = "preparation", .add = add},
                      cancellation);
}

WorkOutcome Work::SumNewtonPrivately(Admitted admitted, Cancellation& cancellation) {
  NewtonStep step;
  if (auto problem = FetchNewtonStep(admitted, cancellation, step)) return *std::move(problem);
  const v1::JobSpec& spec = admitted.job.spec;
  const std::size_t num_coefficients = step.coefficients.size();
  const auto add = [&](privacy::PatientSum& sum) {
    const data::ExactExamples& examples =
        admitted.dataset->PrepareExact(MomentsOf(admitted.task, spec));
    return training::ForEachNewtonPatient(
        step.kind, examples, step.coefficients, jobs::NewtonBoundsOf(spec, num_coefficients),
        UnitsOf(examples, spec.privacy()),
        [&sum](std::span<const double> vector) { sum.Add(vector); }, &cancellation.flag());
  };
  return SumPrivately(
      admitted, {.sum = jobs::NewtonSumOf(spec, num_coefficients), .purpose = "newton", .add = add},
      cancellation);
}

WorkOutcome Work::TrainPrivately(Admitted admitted, Cancellation& cancellation,
                                 const WorkObserver& observer) {
  const v1::JobSpec& spec = admitted.job.spec;
  const auto refuse = [&admitted](ReasonCode code, const Status& problem) {
    return Refuse(code, admitted.message, problem);
  };
  StatusOr<ParameterVector> start = Fetch(admitted, *admitted.task.model, cancellation);
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!start.ok()) return refuse(ReasonCode::kTaskInvalid, start.status());

  auto charge = Charge(admitted);
  if (auto* refusal = std::get_if<Refusal>(&charge)) return *std::move(refusal);
  const JobId job_id(admitted.message.job_id());
  const PreparedExamples& prepared = admitted.dataset->Prepare(MomentsOf(admitted.task, spec));
  const Units train(prepared.train, spec.privacy());
  const data::Examples& examples = train.examples();
  StatusOr<std::unique_ptr<NoisySums>> sums =
      NoisySums::Create({.spec = spec,
                         .plan = *admitted.plan,
                         .examples = examples,
                         .honest_sites = admitted.masking->honest_sites,
                         .trainer = *parts_.trainer,
                         .num_threads = static_cast<int>(parts_.config.threads()),
                         .clipping_norm = admitted.task.clipping_norm,
                         .cancelled = cancellation.flag()},
                        privacy::NoiseKey::Generate(job_id, SiteId(parts_.site)));
  if (!sums.ok()) return refuse(ReasonCode::kJobInvalid, sums.status());

  WorkDone done{.terms = admitted.terms, .report = {}};
  done.report.charge = std::get<std::shared_ptr<const PrivacyCharge>>(std::move(charge));
  Status status;
  if (admitted.terms.num_metric_sums() > 0) {
    const bool of_train = spec.privacy().metrics().split() == v1::SPLIT_TRAIN;
    const Units judged(of_train ? prepared.train : prepared.test, spec.privacy());
    StatusOr<std::vector<std::int64_t>> metrics =
        NoisyMetrics({.spec = spec,
                      .plan = *admitted.plan,
                      .parameters = *start,
                      .examples = judged.examples(),
                      .honest_sites = admitted.masking->honest_sites,
                      .trainer = *parts_.trainer,
                      .num_threads = static_cast<int>(parts_.config.threads()),
                      .cancelled = cancellation.flag()},
                     privacy::NoiseKey::Generate(job_id, SiteId(parts_.site)));
    status = metrics.status();
    if (metrics.ok()) done.report.metric_sum = *std::move(metrics);
  }
  if (status.ok() && admitted.terms.has_noisy_sum()) {
    StatusOr<std::vector<std::int64_t>> sum = (*sums)->Sum(0, *start);
    status = sum.status();
    if (sum.ok()) done.report.payload = *std::move(sum);
  } else if (status.ok()) {
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
