#include "secagg/refusal.h"

#include <array>
#include <string>
#include <utility>

namespace chorale::secagg {
namespace {

constexpr absl::string_view kPayloadType = "chorale/v1/secagg-refusal";

struct Entry {
  RefusalCode code;
  std::string_view name;
  StatusCode status;
};

constexpr std::array kEntries = {
    Entry{RefusalCode::kUnknownCertificate, "UNKNOWN_CERTIFICATE", StatusCode::kUnauthenticated},
    Entry{RefusalCode::kThresholdTooLow, "THRESHOLD_TOO_LOW", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kGroupTooSmall, "GROUP_TOO_SMALL", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kParametersNotApproved, "PARAMETERS_NOT_APPROVED",
          StatusCode::kPermissionDenied},
    Entry{RefusalCode::kRosterInvalid, "ROSTER_INVALID", StatusCode::kInvalidArgument},
    Entry{RefusalCode::kSessionReplayed, "SESSION_REPLAYED", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kKeyInvalid, "KEY_INVALID", StatusCode::kInvalidArgument},
    Entry{RefusalCode::kBadSignature, "BAD_SIGNATURE", StatusCode::kUnauthenticated},
    Entry{RefusalCode::kWrongSession, "WRONG_SESSION", StatusCode::kInvalidArgument},
    Entry{RefusalCode::kRoundReplayed, "ROUND_REPLAYED", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kSessionExpired, "SESSION_EXPIRED", StatusCode::kDeadlineExceeded},
    Entry{RefusalCode::kClockSkew, "CLOCK_SKEW", StatusCode::kDeadlineExceeded},
    Entry{RefusalCode::kNotAParticipant, "NOT_A_PARTICIPANT", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kModelMismatch, "MODEL_MISMATCH", StatusCode::kDataLoss},
    Entry{RefusalCode::kEquivocation, "EQUIVOCATION", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kConflictingSets, "CONFLICTING_SETS", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kNotEnoughSignatures, "NOT_ENOUGH_SIGNATURES",
          StatusCode::kPermissionDenied},
    Entry{RefusalCode::kShareInvalid, "SHARE_INVALID", StatusCode::kInvalidArgument},
    Entry{RefusalCode::kAlreadyUnmasked, "ALREADY_UNMASKED", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kRoundAborted, "ROUND_ABORTED", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kValueOutOfRange, "VALUE_OUT_OF_RANGE", StatusCode::kInvalidArgument},
    Entry{RefusalCode::kStateLost, "STATE_LOST", StatusCode::kFailedPrecondition},
    Entry{RefusalCode::kDifferencing, "DIFFERENCING", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kSparseUpdate, "SPARSE_UPDATE", StatusCode::kPermissionDenied},
    Entry{RefusalCode::kPrivacyBudgetSpent, "PRIVACY_BUDGET_SPENT", StatusCode::kResourceExhausted},
    Entry{RefusalCode::kMalformed, "MALFORMED", StatusCode::kInvalidArgument},
};

const Entry& EntryOf(RefusalCode code) {
  for (const Entry& entry : kEntries) {
    if (entry.code == code) return entry;
  }
  return kEntries.back();
}

}  // namespace

std::string_view NameOf(RefusalCode code) { return EntryOf(code).name; }

Status Refused(RefusalCode code, std::string_view message) {
  const Entry& entry = EntryOf(code);
  Status status = MakeStatus(entry.status, std::string(entry.name) + ": " + std::string(message));
  status.SetPayload(kPayloadType,
                    absl::Cord(absl::string_view(entry.name.data(), entry.name.size())));
  return status;
}

std::optional<RefusalCode> RefusalOf(const Status& status) {
  const auto payload = status.GetPayload(kPayloadType);
  if (!payload.has_value()) return std::nullopt;
  const std::string name(*payload);
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry.code;
  }
  return std::nullopt;
}

}  // namespace chorale::secagg
