#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/status.h"

// Why a party of secure aggregation says no. docs/secure_aggregation.md tells operators what to do.
namespace chorale::secagg {

enum class RefusalCode : std::uint8_t {
  kUnknownCertificate,     // R1: a member that the authority does not vouch for, or one twice.
  kThresholdTooLow,        // R2: too few members would have to agree.
  kGroupTooSmall,          // R2, R6, R8: a sum over too few.
  kParametersNotApproved,  // R2, R3: not what this site was told or allows.
  kRosterInvalid,          // R4: the manifest and its members do not hold together.
  kSessionReplayed,        // R4: the nonce of an earlier session.
  kKeyInvalid,             // R5: a key that is missing, repeated, of low order or altered.
  kBadSignature,           // R1, R4, R6: not signed by who should have.
  kWrongSession,           // R6: of another session or member.
  kRoundReplayed,          // R6: a round that is over, or out of the session's rounds.
  kSessionExpired,         // R6, R10: too late for the round or the session.
  kClockSkew,            // R6: the coordinator's clock and this one differ by more than the policy.
  kNotAParticipant,      // R6, R8: the site itself, or somebody unknown, in the wrong list.
  kModelMismatch,        // R6: another model than the one that the site holds.
  kEquivocation,         // R7: two versions of one signed statement.
  kConflictingSets,      // R8, R10: sets of members that contradict each other.
  kNotEnoughSignatures,  // R9: fewer than t members saw the same round.
  kAlreadyUnmasked,      // R10: this round was answered before.
  kRoundAborted,         // R10: this round is over, or was never masked by this site.
  kShareInvalid,         // R11: a share or a seal that does not fit.
  kValueOutOfRange,      // R12: not a number, or one above the clip.
  kStateLost,            // R13: this site holds no secrets of the session.
  kDifferencing,         // R14: two sums that differ by one site's vector.
  kSparseUpdate,         // R15: an upload whose support would tell on few.
  kPrivacyBudgetSpent,   // The site's own ledger allows no more.
  kMalformed,            // Not a message of the protocol, or outside its bounds.
};

// "UNKNOWN_CERTIFICATE" and so on: stable, for logs and for reason codes.
[[nodiscard]] std::string_view NameOf(RefusalCode code);

// A Status that carries the code: RefusalOf finds it again, through Annotate as well. `message`
// names the field, the bound and the value, and never a secret.
[[nodiscard]] Status Refused(RefusalCode code, std::string_view message);
// Unset for a status that is not a refusal.
[[nodiscard]] std::optional<RefusalCode> RefusalOf(const Status& status);

// Two signed statements that exclude each other, as received: whoever knows the signers' keys can
// verify them without trusting who shows them.
struct Evidence {
  RefusalCode code;
  std::string what;  // Who signed what twice.
  Bytes first;       // SignedMessage.
  Bytes second;      // SignedMessage.
  friend bool operator==(const Evidence&, const Evidence&) = default;
};

}  // namespace chorale::secagg
