#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Why a site says no. Codes are stable: the coordinator shows them, docs/reason_codes.md explains
// them. Texts come from one fixed table and take ids and numbers alone, so that no refusal can
// carry a value of the data.
namespace chorale::site_agent {

enum class ReasonCode {
  kPolicyNoMatch,
  kResearcherNotAllowed,
  kDatasetUnknown,
  kDatasetNotAllowed,
  kModelNotAllowed,
  kModelTooLarge,
  kMetricNotAllowed,
  kSumsNotAllowed,
  kUnmaskedNotAllowed,
  kPrivacyRequired,
  kBudgetExceeded,
  kBudgetRefused,
  kLedgerRolledBack,
  kRoundsLimit,
  kLocalEpochsLimit,
  kCohortMin,
  kSchemaMismatch,
  kDataInvalid,
  kSignatureInvalid,
  kJobInvalid,
  kTrainerUnavailable,
  kTrainingDiverged,
  kValueOutOfRange,
  kGroupNotAllowed,
  kSecureAggregationRefused,
  kMaskedRoundRefused,
  kSessionLost,
  kResourceLimit,
  kTaskInvalid,
  kTaskExpired,
  kTaskRepeated,
  kBusy,
  kSiteStopping,
  kInternalError,
};

// One refusal. Only what the code's text mentions needs to be set.
struct Refusal {
  ReasonCode code = ReasonCode::kInternalError;
  // A name from the signed job or the fixed vocabulary: 1 to 64 characters of [A-Za-z0-9._-]. Never
  // from the data.
  std::optional<std::string> subject = std::nullopt;
  // Of the signed job, never counted in the data.
  std::optional<std::uint64_t> asked = std::nullopt;
  // Of the site's policy.
  std::optional<std::uint64_t> limit = std::nullopt;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

// "MODEL_TOO_LARGE".
[[nodiscard]] std::string_view NameOf(ReasonCode code);
// The text of the table with its values filled in, at most 512 characters. What is not set, or no
// valid subject, reads "(not told)".
[[nodiscard]] std::string TextOf(const Refusal& refusal);

}  // namespace chorale::site_agent
