#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "privacy/ledger/budget.h"
#include "privacy/ledger/entry.h"
#include "privacy/ledger/state.h"

// A site's durable account of what jobs may cost its patients, and did cost them. A job reserves
// all its steps, then starts them round by round, each before the data are touched; what was
// started is spent, whatever becomes of it. Rows are only ever added, each with the digest of all
// before it, and each durable before the call returns.
namespace chorale::privacy {

struct LedgerFiles {
  std::filesystem::path database;
  // Number and digest of the newest row, kept where a restored state directory does not reach:
  // a ledger older than its head file is refused.
  std::filesystem::path head;
};

// ledger.db in the state directory, ledger_head in the identity directory.
[[nodiscard]] LedgerFiles LedgerFilesIn(const std::filesystem::path& state_directory,
                                        const std::filesystem::path& identity_directory);

// Safe for concurrent use.
//
// Of every call besides what it says: UNAVAILABLE an I/O error, a full disk among them; the row may
// then be there or not, and the call is to be repeated. FAILED_PRECONDITION: another
// process wrote to the ledger; no more can be appended until it is opened again.
class Ledger {
 public:
  // Creates what is missing; the directories must be there. Checks and replays every row.
  // DATA_LOSS: a row is missing, altered or out of place, or the head file cannot be read.
  // FAILED_PRECONDITION: the ledger is older than its head file. REQUIRES: no other process appends
  // to it, and `clock` outlives it.
  [[nodiscard]] static StatusOr<std::unique_ptr<Ledger>> Open(const LedgerFiles& files,
                                                              const Clock& clock);
  virtual ~Ledger() = default;

  // Holds a whole job's steps. The same job (digest) on the same dataset gets the reservation that
  // it has. Errors: LedgerState::PlanReserve.
  [[nodiscard]] virtual StatusOr<ReservationId> Reserve(const ReserveRequest& request) = 0;
  // Before the data of one round are touched: its steps are spent once this returns OK, and only
  // then may it be computed. ALREADY_EXISTS: it was started before; send again what was kept, and
  // compute nothing, also where nothing was kept. Other errors: LedgerState::CheckStart.
  [[nodiscard]] virtual Status Start(const Started& started) = 0;
  // The report left. Repeating it is OK. NOT_FOUND.
  [[nodiscard]] virtual Status Commit(std::string_view step_key) = 0;
  // The job is over here: what it did not start is free again. Repeating it is OK. NOT_FOUND.
  [[nodiscard]] virtual Status Release(ReservationId reservation) = 0;

  [[nodiscard]] virtual std::vector<OpenReservation> OpenReservations() const = 0;
  [[nodiscard]] virtual Guarantee Spent(const DatasetId& dataset, double delta) const = 0;
  [[nodiscard]] virtual BurnDown BurnDownOf(const DatasetId& dataset,
                                            const Limits& limits) const = 0;

  // To be kept elsewhere as a receipt.
  [[nodiscard]] virtual LedgerHead Head() const = 0;
  // FAILED_PRECONDITION: this ledger lacks the receipt's row or has another in its place, so that
  // an older copy was restored.
  [[nodiscard]] virtual Status CheckHead(const LedgerHead& receipt) const = 0;
};

struct LedgerSnapshot {
  LedgerState state;
  LedgerHead head;
};

// What is on disk now, also while an agent appends to it. NOT_FOUND: there is no ledger. Errors of
// Ledger::Open otherwise.
[[nodiscard]] StatusOr<LedgerSnapshot> ReadLedger(const LedgerFiles& files);

}  // namespace chorale::privacy
