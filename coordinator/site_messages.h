#pragma once

#include <optional>
#include <variant>

#include "chorale/v1/federation.pb.h"
#include "coordinator/round.h"
#include "coordinator/site_sessions.h"
#include "coordinator/task_table.h"
#include "core/crypto/blob_digest.h"
#include "core/status.h"

// What sites send, checked: bounds first, then types. Every message comes from outside.
namespace chorale::coordinator {

struct SiteAlive {                           // A heartbeat, or something else that needs no answer.
  std::optional<LedgerReceipt> ledger = {};  // Where it has changed.
};
struct SiteTaskRefused {
  TaskId task;
  Refusal refusal;
};
using SiteStatement = std::variant<SiteGreeting, SiteAlive, SiteTaskRefused>;

// INVALID_ARGUMENT names the field at fault. Control characters in a refusal's message become
// spaces.
[[nodiscard]] StatusOr<SiteStatement> Decode(const v1::SiteMessage& message);

// A report's header as `task` demands it: the payload has the exact size, examples are counted,
// metrics are finite and only those asked for, each once. INVALID_ARGUMENT names the field at
// fault.
[[nodiscard]] StatusOr<Report> DecodeReportHeader(const v1::ReportHeader& header,
                                                  const OpenTask& task);

// Checks one piece of a report's payload as it comes: the numbers of an update must be finite.
// INVALID_ARGUMENT names the place.
[[nodiscard]] Status CheckPayloadPiece(const OpenTask& task, std::uint64_t offset_bytes,
                                       ByteSpan piece);

// True when the payload says something only as a whole: every task's but an update and what is
// masked, or a message.
[[nodiscard]] bool IsCheckedAsWhole(const OpenTask& task);
// Checks such a payload: sums that rows could have, as many as `num_examples`. INVALID_ARGUMENT.
[[nodiscard]] Status CheckWholePayload(const OpenTask& task, std::uint64_t num_examples,
                                       ByteSpan payload);

}  // namespace chorale::coordinator
