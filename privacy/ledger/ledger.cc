#include "privacy/ledger/ledger.h"

#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "core/storage/file.h"
#include "privacy/ledger/entry_store.h"

namespace chorale::privacy {
namespace {

constexpr std::uint64_t kMaxHeadBytes = 256;

// None: there is no head file.
StatusOr<std::optional<LedgerHead>> ReadHeadFile(const std::filesystem::path& path) {
  const StatusOr<std::string> text = storage::ReadFile(path, kMaxHeadBytes);
  if (text.status().code() == StatusCode::kNotFound) return std::optional<LedgerHead>();
  if (!text.ok()) return text.status();
  const std::optional<LedgerHead> head = DecodeHead(*text);
  if (head) return head;
  return DataLoss(path.string() +
                  " is no head of a ledger: restore it, or remove it if the ledger "
                  "beside it is known to be the newest");
}

Status RolledBack(const LedgerHead& receipt, const LedgerHead& head, bool is_other) {
  return FailedPrecondition(
      "the privacy ledger was rolled back: " +
      (is_other ? "its row " + std::to_string(receipt.seq) + " is not the one that was receipted"
                : "it ends at row " + std::to_string(head.seq) + ", and row " +
                      std::to_string(receipt.seq) + " was receipted") +
      "; what was spent since is not in it. Restore the newest ledger.db with its -wal file. If it "
      "is lost: docs/privacy.md, \"The ledger\"");
}

Status CheckAgainst(const LedgerHead& receipt, const LedgerHead& head, EntryStore& store) {
  if (receipt.seq == 0 || receipt == head) return OkStatus();
  if (receipt.seq > head.seq) return RolledBack(receipt, head, /*is_other=*/false);
  CHORALE_ASSIGN_OR_RETURN(const auto digest, store.DigestOf(receipt.seq));
  return digest == receipt.digest ? OkStatus() : RolledBack(receipt, head, /*is_other=*/true);
}

struct Replayed {
  LedgerState state;
  LedgerHead head;
};

StatusOr<Replayed> Replay(EntryStore& store) {
  Replayed replayed;
  CHORALE_ASSIGN_OR_RETURN(
      replayed.head, store.ReadAll([&replayed](std::uint64_t seq, ByteSpan bytes) -> Status {
        const StatusOr<Entry> entry = DecodeEntry(bytes);
        if (!entry.ok()) {
          return DataLoss("row " + std::to_string(seq) +
                          " of the ledger cannot be read: " + MessageOf(entry.status()));
        }
        return replayed.state.Apply(seq, *entry);
      }));
  return replayed;
}

// A full disk: what a ledger has exhausted is a budget, and that is for good.
Status NotBudget(const Status& written) {
  if (written.code() != StatusCode::kResourceExhausted) return written;
  return Unavailable("the privacy ledger cannot be written: " + MessageOf(written));
}

class SqliteLedger final : public Ledger {
 public:
  SqliteLedger(LedgerFiles files, const Clock& clock, EntryStore store, Replayed replayed)
      : files_(std::move(files)),
        clock_(clock),
        store_(std::move(store)),
        state_(std::move(replayed.state)),
        head_(replayed.head) {}

  StatusOr<ReservationId> Reserve(const ReserveRequest& request) override {
    const std::lock_guard lock(mutex_);
    CHORALE_ASSIGN_OR_RETURN(auto plan, state_.PlanReserve(request));
    if (const auto* known = std::get_if<ReservationId>(&plan)) return *known;
    CHORALE_RETURN_IF_ERROR(Append(std::get<Reserved>(std::move(plan))));
    return ReservationId(head_.seq);
  }

  Status Start(const Started& started) override {
    const std::lock_guard lock(mutex_);
    CHORALE_RETURN_IF_ERROR(state_.CheckStart(started));
    return Append(started);
  }

  Status Commit(std::string_view step_key) override {
    const std::lock_guard lock(mutex_);
    CHORALE_ASSIGN_OR_RETURN(const bool is_uncommitted, state_.IsUncommitted(step_key));
    return is_uncommitted ? Append(Committed{std::string(step_key)}) : OkStatus();
  }

  Status Release(ReservationId reservation) override {
    const std::lock_guard lock(mutex_);
    CHORALE_ASSIGN_OR_RETURN(const bool is_open, state_.IsOpen(reservation));
    return is_open ? Append(Released{reservation}) : OkStatus();
  }

  std::vector<OpenReservation> OpenReservations() const override {
    const std::lock_guard lock(mutex_);
    return state_.OpenReservations();
  }

  Guarantee Spent(const DatasetId& dataset, double delta) const override {
    const std::lock_guard lock(mutex_);
    return state_.Spent(dataset, delta);
  }

  BurnDown BurnDownOf(const DatasetId& dataset, const Limits& limits) const override {
    const std::lock_guard lock(mutex_);
    return state_.BurnDownOf(dataset, limits);
  }

  LedgerHead Head() const override {
    const std::lock_guard lock(mutex_);
    return head_;
  }

  Status CheckHead(const LedgerHead& receipt) const override {
    const std::lock_guard lock(mutex_);
    return CheckAgainst(receipt, head_, store_);
  }

  // The head file never runs ahead of the ledger: a crash between the two leaves it behind.
  Status WriteHeadFile() {
    if (head_.seq == 0) return OkStatus();
    return storage::WriteFileAtomically(files_.head, AsBytes(EncodeHead(head_)),
                                        storage::FileMode::kPrivate);
  }

 private:
  Status Append(decltype(Entry::kind) kind) {
    const Entry entry{.time = clock_.WallNow(), .kind = std::move(kind)};
    const Bytes bytes = EncodeEntry(entry);
    CHORALE_RETURN_IF_ERROR(NotBudget(store_.Append(head_, bytes)));
    head_ = Extend(head_, bytes);
    CHORALE_RETURN_IF_ERROR(state_.Apply(head_.seq, entry));
    return NotBudget(WriteHeadFile());
  }

  mutable std::mutex mutex_;  // Guards everything below.
  const LedgerFiles files_;
  const Clock& clock_;
  mutable EntryStore store_;
  LedgerState state_;
  LedgerHead head_;
};

}  // namespace

LedgerFiles LedgerFilesIn(const std::filesystem::path& state_directory,
                          const std::filesystem::path& identity_directory) {
  return {.database = state_directory / "ledger.db", .head = identity_directory / "ledger_head"};
}

StatusOr<std::unique_ptr<Ledger>> Ledger::Open(const LedgerFiles& files, const Clock& clock) {
  CHORALE_ASSIGN_OR_RETURN(const std::optional<LedgerHead> receipt, ReadHeadFile(files.head));
  CHORALE_ASSIGN_OR_RETURN(EntryStore store, EntryStore::Open(files.database));
  CHORALE_ASSIGN_OR_RETURN(Replayed replayed, Replay(store));
  const LedgerHead head = replayed.head;
  if (receipt) CHORALE_RETURN_IF_ERROR(CheckAgainst(*receipt, head, store));
  auto ledger = std::make_unique<SqliteLedger>(files, clock, std::move(store), std::move(replayed));
  if (receipt != head) CHORALE_RETURN_IF_ERROR(ledger->WriteHeadFile());
  return ledger;
}

StatusOr<LedgerSnapshot> ReadLedger(const LedgerFiles& files) {
  // The head file first: the ledger only grows while it is read.
  CHORALE_ASSIGN_OR_RETURN(const std::optional<LedgerHead> receipt, ReadHeadFile(files.head));
  CHORALE_ASSIGN_OR_RETURN(EntryStore store, EntryStore::OpenReadOnly(files.database));
  CHORALE_ASSIGN_OR_RETURN(Replayed replayed, Replay(store));
  if (receipt) CHORALE_RETURN_IF_ERROR(CheckAgainst(*receipt, replayed.head, store));
  return LedgerSnapshot{.state = std::move(replayed.state), .head = replayed.head};
}

}  // namespace chorale::privacy
