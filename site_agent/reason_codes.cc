#include "site_agent/reason_codes.h"

#include <algorithm>
#include <string>

namespace chorale::site_agent {
namespace {

constexpr std::string_view kNotTold = "(not told)";
constexpr std::size_t kMaxSubject = 64;

bool IsPlain(std::string_view text) {
  return !text.empty() && text.size() <= kMaxSubject && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

// {subject}, {asked} and {limit} are filled in.
std::string_view TemplateOf(ReasonCode code) {
  switch (code) {
    case ReasonCode::kPolicyNoMatch:
      return "no single rule of this site's policy allows every part of this job";
    case ReasonCode::kResearcherNotAllowed:
      return "this site's policy does not allow researcher {subject}";
    case ReasonCode::kDatasetUnknown:
      return "this site offers no dataset {subject}";
    case ReasonCode::kDatasetNotAllowed:
      return "this site's policy does not allow this use of dataset {subject}";
    case ReasonCode::kModelNotAllowed:
      return "this site's policy does not allow model {subject}; a rule allows models of the zoo "
             "by "
             "name and graphs by digest";
    case ReasonCode::kModelTooLarge:
      return "the model has {asked} parameters; this site allows at most {limit}";
    case ReasonCode::kMetricNotAllowed:
      return "this site's policy does not let metric {subject} leave";
    case ReasonCode::kSumsNotAllowed:
      return "this site's policy does not let {subject} sums leave";
    case ReasonCode::kUnmaskedNotAllowed:
      return "this site's policy lets nothing leave that the coordinator can read by itself; leave "
             "secure_aggregation at its default";
    case ReasonCode::kPrivacyRequired:
      return "this site gives dataset {subject} to private jobs alone: the job needs a privacy "
             "section";
    case ReasonCode::kBudgetExceeded:
      return "the job would cost the patients of dataset {subject} more privacy than this site has "
             "left for it; the site's log tells what is left and how much noise would do";
    case ReasonCode::kBudgetRefused:
      return "this site's ledger does not take this step: the job is over here, or was counted "
             "otherwise before";
    case ReasonCode::kLedgerRolledBack:
      return "the site's privacy ledger is not the newest one: an older copy of it was restored, "
             "or it "
             "is damaged; the site's log tells more";
    case ReasonCode::kRoundsLimit:
      return "the job asks for {asked} rounds; this site allows at most {limit}";
    case ReasonCode::kLocalEpochsLimit:
      return "local training would pass over the rows more often than this site allows, {limit} "
             "times";
    case ReasonCode::kCohortMin:
      return "this site has fewer training rows for this job than its minimum of {limit}";
    case ReasonCode::kSchemaMismatch:
      return "the site's table lacks a column that the job names; the site's log tells which";
    case ReasonCode::kDataInvalid:
      return "the site's table cannot be read as the job asks; the site's log tells where";
    case ReasonCode::kSignatureInvalid:
      return "the job's certificate or signature is not that of a researcher of this federation";
    case ReasonCode::kJobInvalid:
      return "the job's specification is not valid at this site";
    case ReasonCode::kTrainerUnavailable:
      return "this site agent was built without the means to train";
    case ReasonCode::kTrainingDiverged:
      return "training diverged: the loss or a parameter became infinite or not a number; try a "
             "lower learning rate";
    case ReasonCode::kValueOutOfRange:
      return "a number of this site's report is beyond its bound in secure_aggregation.masking: "
             "raise max_update, max_control_change or max_examples, or lower the learning rate";
    case ReasonCode::kGroupNotAllowed:
      return "the group of sites, its threshold or its sums are too small for this site: {subject}";
    case ReasonCode::kSecureAggregationRefused:
      return "this site's side of secure aggregation refused: {subject}; its log tells more";
    case ReasonCode::kMaskedRoundRefused:
      return "this site does not take part in this round of secure aggregation: {subject}";
    case ReasonCode::kSessionLost:
      return "this site has no secrets of this session of secure aggregation: it started again, or "
             "the session is over";
    case ReasonCode::kResourceLimit:
      return "the task needs more memory or disk than this site has or allows";
    case ReasonCode::kTaskInvalid:
      return "the task does not fit its job";
    case ReasonCode::kTaskExpired:
      return "the task's report deadline passed before the work was done";
    case ReasonCode::kTaskRepeated:
      return "this task was reported already and its report was settled";
    case ReasonCode::kBusy:
      return "this site has {limit} tasks waiting already";
    case ReasonCode::kSiteStopping:
      return "the site agent is stopping; the task may be sent again once it is back";
    case ReasonCode::kInternalError:
      return "the site agent failed; its log tells why";
  }
  return "the site agent failed; its log tells why";
}

std::string Fill(std::string_view text, const Refusal& refusal) {
  const auto number = [](const std::optional<std::uint64_t>& value) {
    return value.has_value() ? std::to_string(*value) : std::string(kNotTold);
  };
  std::string filled;
  while (!text.empty()) {
    const std::size_t open = text.find('{');
    filled += text.substr(0, open);
    if (open == std::string_view::npos) break;
    const std::size_t close = text.find('}', open);
    const std::string_view name = text.substr(open + 1, close - open - 1);
    if (name == "subject") {
      filled += refusal.subject.has_value() && IsPlain(*refusal.subject)
                    ? std::string_view(*refusal.subject)
                    : kNotTold;
    } else {
      filled += number(name == "asked" ? refusal.asked : refusal.limit);
    }
    text.remove_prefix(close + 1);
  }
  return filled;
}

}  // namespace

std::string_view NameOf(ReasonCode code) {
  switch (code) {
    case ReasonCode::kPolicyNoMatch:
      return "POLICY_NO_MATCH";
    case ReasonCode::kResearcherNotAllowed:
      return "RESEARCHER_NOT_ALLOWED";
    case ReasonCode::kDatasetUnknown:
      return "DATASET_UNKNOWN";
    case ReasonCode::kDatasetNotAllowed:
      return "DATASET_NOT_ALLOWED";
    case ReasonCode::kModelNotAllowed:
      return "MODEL_NOT_ALLOWED";
    case ReasonCode::kModelTooLarge:
      return "MODEL_TOO_LARGE";
    case ReasonCode::kMetricNotAllowed:
      return "METRIC_NOT_ALLOWED";
    case ReasonCode::kSumsNotAllowed:
      return "SUMS_NOT_ALLOWED";
    case ReasonCode::kUnmaskedNotAllowed:
      return "UNMASKED_NOT_ALLOWED";
    case ReasonCode::kPrivacyRequired:
      return "PRIVACY_REQUIRED";
    case ReasonCode::kBudgetExceeded:
      return "BUDGET_EXCEEDED";
    case ReasonCode::kBudgetRefused:
      return "BUDGET_REFUSED";
    case ReasonCode::kLedgerRolledBack:
      return "LEDGER_ROLLED_BACK";
    case ReasonCode::kRoundsLimit:
      return "ROUNDS_LIMIT";
    case ReasonCode::kLocalEpochsLimit:
      return "LOCAL_EPOCHS_LIMIT";
    case ReasonCode::kCohortMin:
      return "COHORT_MIN";
    case ReasonCode::kSchemaMismatch:
      return "SCHEMA_MISMATCH";
    case ReasonCode::kDataInvalid:
      return "DATA_INVALID";
    case ReasonCode::kSignatureInvalid:
      return "SIGNATURE_INVALID";
    case ReasonCode::kJobInvalid:
      return "JOB_INVALID";
    case ReasonCode::kTrainerUnavailable:
      return "TRAINER_UNAVAILABLE";
    case ReasonCode::kTrainingDiverged:
      return "TRAINING_DIVERGED";
    case ReasonCode::kValueOutOfRange:
      return "VALUE_OUT_OF_RANGE";
    case ReasonCode::kGroupNotAllowed:
      return "GROUP_NOT_ALLOWED";
    case ReasonCode::kSecureAggregationRefused:
      return "SECURE_AGGREGATION_REFUSED";
    case ReasonCode::kMaskedRoundRefused:
      return "MASKED_ROUND_REFUSED";
    case ReasonCode::kSessionLost:
      return "SESSION_LOST";
    case ReasonCode::kResourceLimit:
      return "RESOURCE_LIMIT";
    case ReasonCode::kTaskInvalid:
      return "TASK_INVALID";
    case ReasonCode::kTaskExpired:
      return "TASK_EXPIRED";
    case ReasonCode::kTaskRepeated:
      return "TASK_REPEATED";
    case ReasonCode::kBusy:
      return "BUSY";
    case ReasonCode::kSiteStopping:
      return "SITE_STOPPING";
    case ReasonCode::kInternalError:
      return "INTERNAL_ERROR";
  }
  return "INTERNAL_ERROR";
}

std::string TextOf(const Refusal& refusal) { return Fill(TemplateOf(refusal.code), refusal); }

}  // namespace chorale::site_agent
