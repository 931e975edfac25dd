// What Work does for secure aggregation: steps that report nothing, and the opening of rounds.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core/crypto/digest.h"
#include "core/log.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "secagg/refusal.h"
#include "site_agent/model_fetch.h"
#include "site_agent/work.h"

namespace chorale::site_agent {
namespace {

jobs::MaskedKind MaskedKindOf(ReportKind kind) {
  switch (kind) {
    case ReportKind::kPreparation:
      return jobs::MaskedKind::kPreparation;
    case ReportKind::kNewtonSums:
      return jobs::MaskedKind::kNewtonSums;
    case ReportKind::kPersonalMetrics:
      return jobs::MaskedKind::kPersonalMetrics;
    case ReportKind::kUpdate:
      break;
  }
  return jobs::MaskedKind::kUpdate;
}

// The task's moments, as it told them.
std::vector<v1::FeatureMoments> MomentsOf(const v1::Task& task) {
  const auto copy = [](const auto& moments) {
    return std::vector<v1::FeatureMoments>(moments.begin(), moments.end());
  };
  if (task.has_training()) return copy(task.training().moments());
  if (task.has_newton()) return copy(task.newton().moments());
  return copy(task.personalization().moments());
}

secagg::ClientEvent EventOf(secagg::MessageKind answer, Bytes message) {
  switch (answer) {
    case secagg::MessageKind::kShareKeys:
      return secagg::KeysReceived{std::move(message)};
    case secagg::MessageKind::kShareKeysAck:
      return secagg::SharesReceived{std::move(message)};
    case secagg::MessageKind::kConsistencySignature:
      return secagg::SurvivorsReceived{std::move(message)};
    default:
      return secagg::SignaturesReceived{std::move(message)};
  }
}

SessionOwner OwnerOf(const v1::Task& task, const jobs::VerifiedJob& job) {
  return {.job = JobId(task.job_id()), .job_digest = job.spec_digest};
}

}  // namespace

std::optional<Refusal> RefusalOfSecureAggregation(const Status& status) {
  const std::optional<secagg::RefusalCode> code = secagg::RefusalOf(status);
  if (!code.has_value()) return std::nullopt;
  const std::string name(secagg::NameOf(*code));
  switch (*code) {
    case secagg::RefusalCode::kValueOutOfRange:
      return Refusal{.code = ReasonCode::kValueOutOfRange};
    case secagg::RefusalCode::kStateLost:
    case secagg::RefusalCode::kWrongSession:
      return Refusal{.code = ReasonCode::kSessionLost};
    case secagg::RefusalCode::kThresholdTooLow:
    case secagg::RefusalCode::kGroupTooSmall:
    case secagg::RefusalCode::kParametersNotApproved:
      return Refusal{.code = ReasonCode::kGroupNotAllowed, .subject = name};
    // Of this round, or of this moment.
    case secagg::RefusalCode::kDifferencing:
    case secagg::RefusalCode::kRoundReplayed:
    case secagg::RefusalCode::kRoundAborted:
    case secagg::RefusalCode::kSessionExpired:
    case secagg::RefusalCode::kSessionReplayed:
    case secagg::RefusalCode::kClockSkew:
    case secagg::RefusalCode::kNotEnoughSignatures:
    case secagg::RefusalCode::kAlreadyUnmasked:
      return Refusal{.code = ReasonCode::kMaskedRoundRefused, .subject = name};
    default:
      return Refusal{.code = ReasonCode::kSecureAggregationRefused, .subject = name};
  }
}

WorkOutcome Work::TakeStep(const v1::Task& task, Cancellation& cancellation,
                           const WorkObserver& observer) {
  std::variant<KnownJob, Refusal> known = Know(task);
  if (auto* refusal = std::get_if<Refusal>(&known)) return *std::move(refusal);
  const jobs::VerifiedJob& job = std::get<KnownJob>(known).verified;
  const StatusOr<CheckedStep> step = CheckStep(task, job.spec);
  if (!step.ok()) return Refuse(ReasonCode::kTaskInvalid, task, step.status());
  const v1::DatasetConfig* dataset = nullptr;
  if (std::optional<Refusal> refusal = RefusalOf(task, std::get<KnownJob>(known), dataset)) {
    return *std::move(refusal);
  }
  observer.on_admitted();
  StatusOr<Bytes> message = FetchMessage(parts_.blobs, TaskId(task.task_id()), step->message,
                                         parts_.random, cancellation);
  if (cancellation.is_cancelled()) return WorkWasCancelled{};
  if (!message.ok()) return Refuse(ReasonCode::kTaskInvalid, task, message.status());

  const SessionOwner owner = OwnerOf(task, job);
  StatusOr<Bytes> answer =
      step->answer == secagg::MessageKind::kAdvertiseKeys
          ? parts_.sessions->Begin(owner, *std::move(message), step->coordinator_certificate)
          : parts_.sessions->Answer(owner, EventOf(step->answer, *std::move(message)));
  if (answer.ok()) {
    return MessageRelease{
        .task_id = TaskId(task.task_id()), .kind = step->answer, .message = *std::move(answer)};
  }
  const std::optional<Refusal> refusal = RefusalOfSecureAggregation(answer.status());
  Refusal logged = Refuse(refusal.has_value() ? refusal->code : ReasonCode::kInternalError, task,
                          answer.status());
  return refusal.value_or(std::move(logged));
}

StatusOr<Masking> Work::OpenRound(const Admitted& admitted) {
  const v1::Task& task = admitted.message;
  const SessionOwner owner = OwnerOf(task, admitted.job);
  const jobs::MaskedKind kind = MaskedKindOf(admitted.terms.kind());
  CHORALE_ASSIGN_OR_RETURN(secagg::GroupParameters group, parts_.sessions->GroupOf(owner));
  CHORALE_ASSIGN_OR_RETURN(
      jobs::MaskedLayout layout,
      jobs::MaskedLayout::Create(admitted.job.spec, kind, admitted.plan->layout().num_parameters(),
                                 group.num_members));
  // Whoever is expected to collude takes its share of the noise back.
  group.colluders =
      std::max(group.colluders, parts_.sessions->ExpectedColluders(group.num_members));
  const std::vector<v1::FeatureMoments> moments = MomentsOf(task);
  jobs::MaskedTask masked{
      .job = admitted.job.spec_digest, .kind = kind, .round = task.round(), .moments = moments};
  if (admitted.task.control_variate.has_value()) {
    masked.control_variate = admitted.task.control_variate->digest;
  }
  masked.clipping_norm = admitted.task.clipping_norm;
  MaskedRound round{.start = admitted.task.round_start, .task = jobs::DigestOf(masked)};
  if (admitted.task.model.has_value()) round.model = admitted.task.model->digest;
  CHORALE_ASSIGN_OR_RETURN(
      secagg::MaskInput input,
      parts_.sessions->StartRound(owner, round, layout.digest(), layout.vector().size_bytes()));
  return Masking{.layout = std::move(layout),
                 .honest_sites = jobs::HonestSites(admitted.job.spec, group),
                 .terms = std::move(input.terms),
                 .num_threads = static_cast<int>(parts_.config.threads()),
                 .sign =
                     [sessions = parts_.sessions, owner,
                      session_round = input.round](const crypto::Digest& vector) {
                       return sessions->Sign(owner, session_round, vector);
                     },
                 .round = std::shared_ptr<const void>(
                     nullptr, [sessions = parts_.sessions, owner, session_round = input.round](
                                  const void*) { sessions->GiveUp(owner, session_round); })};
}

}  // namespace chorale::site_agent
