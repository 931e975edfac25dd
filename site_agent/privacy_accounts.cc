#include "site_agent/privacy_accounts.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/log.h"
#include "core/storage/file.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_metrics.h"
#include "jobs/private_preparation.h"
#include "privacy/ledger/budget.h"
#include "privacy/ledger/entry.h"

namespace chorale::site_agent {
namespace {

constexpr std::uint64_t kMaxReceiptBytes = 256;

// The steps; under privacy.metrics, then the sums of metrics; then the preparations, where the job
// has one.
std::vector<privacy::Part> PartsOf(const v1::JobSpec& spec) {
  const jobs::RoundsRun most = jobs::MostRounds(spec);
  std::vector<privacy::Part> parts = {
      {.step = jobs::StepOf(spec), .steps = most.rounds * jobs::StepsPerRound(spec)}};
  if (spec.privacy().has_metrics()) {
    parts.push_back({.step = jobs::EventOf(jobs::MetricSumOf(spec.privacy().metrics())),
                     .steps = most.with_metrics});
  }
  if (most.preparations > 0) {
    parts.push_back(
        {.step = jobs::EventOf(jobs::PreparationSumOf(spec)), .steps = most.preparations});
  }
  return parts;
}

// In the order of PartsOf.
std::vector<std::uint64_t> StepsOf(const v1::JobSpec& spec, const jobs::RoundsRun& run) {
  std::vector<std::uint64_t> steps = {run.rounds * jobs::StepsPerRound(spec)};
  if (spec.privacy().has_metrics()) steps.push_back(run.with_metrics);
  if (jobs::HasPrivatePreparation(spec)) steps.push_back(run.preparations);
  return steps;
}

privacy::Reserved ReservationOf(const AccountedJob& job) {
  const v1::JobSpec& spec = job.job.spec;
  return {.dataset = DatasetId(job.dataset.id()),
          .researcher = ResearcherId(job.job.researcher.name),
          .job_id = job.job_id,
          .job_digest = job.job.spec_digest,
          .unit = jobs::UnitOf(spec.privacy()),
          .relation = jobs::RelationOf(spec.privacy()),
          .parts = PartsOf(spec)};
}

}  // namespace

Status PrivacyCharge::Commit() const { return commit_(); }

Status PrivacyAccounts::Reserve(const AccountedJob& job) {
  if (!job.dataset.has_privacy()) return OkStatus();
  if (!jobs::IsPrivate(job.job.spec)) {
    return PermissionDenied("dataset " + job.dataset.id() +
                            " has a privacy budget, and the job is not private");
  }
  return ReserveIn(job).status();
}

void PrivacyAccounts::TakeReceipt(const privacy::LedgerHead& receipt) {
  const Status standing = Stand(receipt);
  if (!standing.ok()) log::Error("ledger.rolled_back", {{"reason", MessageOf(standing)}});
  const std::lock_guard lock(mutex_);
  receipt_standing_ = standing;
}

Status PrivacyAccounts::Stand(const privacy::LedgerHead& receipt) const {
  const Status fits = ledger_.CheckHead(receipt);
  if (fits.ok()) return fits;
  const StatusOr<std::string> accepted =
      storage::ReadFile(state_directory_ / kAcceptedReceiptFile, kMaxReceiptBytes);
  if (accepted.ok() && privacy::DecodeHead(*accepted) == receipt) return OkStatus();
  // For `chorale site accept-loss`.
  const std::string text = privacy::EncodeHead(receipt);
  const Status kept = storage::WriteFileAtomically(state_directory_ / kRefusedReceiptFile,
                                                   AsBytes(text), storage::FileMode::kPrivate);
  if (!kept.ok()) log::Error("ledger.receipt_not_kept", {{"reason", MessageOf(kept)}});
  return DataLoss(MessageOf(fits));
}

std::vector<privacy::OpenReservation> PrivacyAccounts::Releasable() const {
  std::vector<privacy::OpenReservation> open = ledger_.OpenReservations();
  const StatusOr<std::string> accepted =
      storage::ReadFile(state_directory_ / kAcceptedReceiptFile, kMaxReceiptBytes);
  if (accepted.status().code() == StatusCode::kNotFound) return open;
  const std::optional<privacy::LedgerHead> lost =
      accepted.ok() ? privacy::DecodeHead(*accepted) : std::nullopt;
  if (!lost.has_value()) return {};
  std::erase_if(open, [&](const privacy::OpenReservation& reservation) {
    return reservation.reservation.value() <= lost->seq;
  });
  return open;
}

std::vector<JobId> PrivacyAccounts::OpenJobs() const {
  std::vector<JobId> jobs;
  for (const privacy::OpenReservation& open : Releasable()) {
    // The same job on another dataset of the site is no other job.
    if (std::ranges::find(jobs, open.job_id) == jobs.end()) jobs.push_back(open.job_id);
  }
  return jobs;
}

Status PrivacyAccounts::Release(const JobId& job) {
  {
    const std::lock_guard lock(mutex_);
    CHORALE_RETURN_IF_ERROR(receipt_standing_);
  }
  for (const privacy::OpenReservation& open : Releasable()) {
    if (open.job_id != job) continue;
    CHORALE_RETURN_IF_ERROR(ledger_.Release(open.reservation));
    log::Info("budget.released", {{"job", job.value()}});
  }
  return OkStatus();
}

StatusOr<privacy::ReservationId> PrivacyAccounts::ReserveIn(const AccountedJob& job) {
  {
    const std::lock_guard lock(mutex_);
    CHORALE_RETURN_IF_ERROR(receipt_standing_);
  }
  CHORALE_ASSIGN_OR_RETURN(const privacy::Limits limits, privacy::LimitsOf(job.dataset.privacy()));
  return ledger_.Reserve({.job = ReservationOf(job), .limits = limits});
}

StatusOr<std::shared_ptr<const PrivacyCharge>> PrivacyAccounts::Charge(
    const AccountedJob& job, const AccountedRound& round) {
  const v1::JobSpec& spec = job.job.spec;
  const jobs::RoundsRun run = jobs::CountRounds(spec, std::span(&round.number, 1));
  std::function<Status()> commit = [] { return OkStatus(); };
  if (job.dataset.has_privacy()) {
    CHORALE_ASSIGN_OR_RETURN(const privacy::ReservationId reservation, ReserveIn(job));
    const std::string key = job.dataset.id() + " " + round.task.value();
    CHORALE_RETURN_IF_ERROR(ledger_.Start({.reservation = reservation,
                                           .step_key = key,
                                           .content = round.content,
                                           .steps = StepsOf(spec, run)}));
    commit = [this, key] { return ledger_.Commit(key); };
  }
  return std::shared_ptr<const PrivacyCharge>(
      new PrivacyCharge(round.task, run, std::move(commit)));
}

ReasonCode CodeOfAccounts(const Status& failure) {
  switch (failure.code()) {
    case StatusCode::kPermissionDenied:
      return ReasonCode::kPrivacyRequired;
    case StatusCode::kResourceExhausted:
      return ReasonCode::kBudgetExceeded;
    case StatusCode::kInvalidArgument:
    case StatusCode::kFailedPrecondition:
      return ReasonCode::kBudgetRefused;
    case StatusCode::kDataLoss:
      return ReasonCode::kLedgerRolledBack;
    case StatusCode::kAlreadyExists:
      return ReasonCode::kTaskRepeated;
    default:
      return ReasonCode::kInternalError;
  }
}

}  // namespace chorale::site_agent
