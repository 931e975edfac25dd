#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "privacy/event.h"

// The ledger's rows. The order of rows is the ledger's truth: state.h replays them.
namespace chorale::privacy {

// The number of the row that reserved; rows count from 1.
using ReservationId = StrongId<struct ReservationIdTag, std::uint64_t>;

// So many steps alike: a training run, a preparation round, the metrics of every round.
struct Part {
  Event step;
  std::uint64_t steps = 0;  // In [1, 1e9].
};

// What all steps of a part cost: each by itself, so that a step of a shuffled pass is a pass.
[[nodiscard]] Event EventOf(const Event& step, std::uint64_t steps);

struct Reserved {
  DatasetId dataset;
  ResearcherId researcher;
  JobId job_id;
  crypto::Digest job_digest{};
  PrivacyUnit unit = PrivacyUnit::kPatient;
  NeighboringRelation relation = NeighboringRelation::kAddOrRemoveOne;
  std::vector<Part> parts;  // 1 to 16.
  // Rényi orders at which the two budgets are counted from here on: budget.h.
  double dataset_order = 0;
  double researcher_order = 0;
};

struct Started {
  ReservationId reservation;
  std::string step_key;
  crypto::Digest content{};          // Of what was asked.
  std::vector<std::uint64_t> steps;  // Of each part.
};

struct Committed {
  std::string step_key;
};

struct Released {
  ReservationId reservation;
};

struct Entry {
  Time time;
  std::variant<Reserved, Started, Committed, Released> kind;
};

// INVALID_ARGUMENT names what is wrong: names, counts, the events, bounds of text. Not the orders:
// a request has none.
[[nodiscard]] Status Validate(const Reserved& reserved);
// 1 to 256 bytes of UTF-8.
[[nodiscard]] Status ValidateStepKey(std::string_view step_key);

[[nodiscard]] Bytes EncodeEntry(const Entry& entry);
// A valid entry. INVALID_ARGUMENT.
[[nodiscard]] StatusOr<Entry> DecodeEntry(ByteSpan bytes);

// The newest row: its number and the digest that stands for it and all before. Number 0: no row.
struct LedgerHead {
  std::uint64_t seq = 0;
  crypto::Digest digest{};
  friend bool operator==(const LedgerHead&, const LedgerHead&) = default;
};

// As files keep it: "<number> <digest in hexadecimal>\n".
[[nodiscard]] std::string EncodeHead(const LedgerHead& head);
// None: no such text.
[[nodiscard]] std::optional<LedgerHead> DecodeHead(std::string_view text);

// SHA-256("chorale.v1.LedgerEntry" 0 ‖ seq as 8 bytes, big end first ‖ digest before ‖ entry).
[[nodiscard]] LedgerHead Extend(const LedgerHead& before, ByteSpan entry);

}  // namespace chorale::privacy
