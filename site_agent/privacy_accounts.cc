#include "site_agent/privacy_accounts.h"

#include <string>
#include <utility>

#include "jobs/privacy_spec.h"
#include "privacy/ledger/budget.h"
#include "privacy/ledger/entry.h"

namespace chorale::site_agent {
namespace {

privacy::Reserved ReservationOf(const AccountedJob& job) {
  const v1::JobSpec& spec = job.job.spec;
  return {.dataset = DatasetId(job.dataset.id()),
          .researcher = ResearcherId(job.job.researcher.name),
          .job_id = job.job_id,
          .job_digest = job.job.spec_digest,
          .unit = jobs::UnitOf(spec.privacy()),
          .relation = jobs::RelationOf(spec.privacy()),
          .parts = {{.step = jobs::StepOf(spec),
                     .steps = jobs::MaxRounds(spec) * jobs::StepsPerRound(spec)}}};
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

StatusOr<privacy::ReservationId> PrivacyAccounts::ReserveIn(const AccountedJob& job) {
  CHORALE_ASSIGN_OR_RETURN(const privacy::Limits limits, privacy::LimitsOf(job.dataset.privacy()));
  return ledger_.Reserve({.job = ReservationOf(job), .limits = limits});
}

StatusOr<std::shared_ptr<const PrivacyCharge>> PrivacyAccounts::Charge(
    const AccountedJob& job, const TaskId& task, const crypto::Digest& content) {
  std::function<Status()> commit = [] { return OkStatus(); };
  if (job.dataset.has_privacy()) {
    CHORALE_ASSIGN_OR_RETURN(const privacy::ReservationId reservation, ReserveIn(job));
    const std::string key = job.dataset.id() + " " + task.value();
    CHORALE_RETURN_IF_ERROR(ledger_.Start({.reservation = reservation,
                                           .step_key = key,
                                           .content = content,
                                           .steps = {jobs::StepsPerRound(job.job.spec)}}));
    commit = [this, key] { return ledger_.Commit(key); };
  }
  return std::shared_ptr<const PrivacyCharge>(new PrivacyCharge(task, std::move(commit)));
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
    case StatusCode::kAlreadyExists:
      return ReasonCode::kTaskRepeated;
    default:
      return ReasonCode::kInternalError;
  }
}

}  // namespace chorale::site_agent
