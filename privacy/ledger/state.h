#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "privacy/accountant.h"
#include "privacy/ledger/budget.h"
#include "privacy/ledger/entry.h"

// What the ledger's rows amount to: a pure machine. A Plan… says what to append, or why nothing may
// be; Apply takes what was appended, then and after every restart.
namespace chorale::privacy {

struct ReserveRequest {
  // Without orders: the ledger chooses them.
  Reserved job;
  Limits limits;
};

// One job on one dataset.
struct JobSpending {
  ReservationId reservation;
  JobId job_id;
  ResearcherId researcher;
  Time reserved_at;
  std::uint64_t steps_reserved = 0;  // Over all parts.
  std::uint64_t steps_started = 0;
  std::uint64_t rounds_started = 0;
  std::uint64_t rounds_committed = 0;
  bool is_released = false;
  double epsilon_reserved = 0;  // By itself, at the dataset's delta; infinite: no guarantee.
  double epsilon_started = 0;
};

// A job that may still start steps.
struct OpenReservation {
  ReservationId reservation;
  JobId job_id;
};

// One dataset. Every epsilon is at `delta` and by rdp. They do not add up: what is left is an
// epsilon for one more job only roughly, and `share_held` is what decides.
struct BurnDown {
  DatasetId dataset;
  PrivacyUnit unit = PrivacyUnit::kPatient;
  NeighboringRelation relation = NeighboringRelation::kAddOrRemoveOne;
  double delta = 0;
  double max_epsilon = 0;
  double epsilon_spent = 0;  // Of the steps started.
  double epsilon_held = 0;   // With what open jobs have reserved.
  double epsilon_left = 0;   // max_epsilon - epsilon_held, at least 0.
  double share_spent =
      0;  // Of the budget, in rho at the order that counts; above 1 when limits were lowered.
  double share_held = 0;
  std::vector<JobSpending> jobs;  // In order of reservation.
};

// Not thread-safe.
class LedgerState {
 public:
  // Errors: INVALID_ARGUMENT the request; FAILED_PRECONDITION the job is over here, was reserved
  // with other content, or the dataset was counted under another unit or relation;
  // RESOURCE_EXHAUSTED a limit, with what is left, what the job needs and the noise that would fit.
  // An id: the job has that reservation already.
  [[nodiscard]] StatusOr<std::variant<ReservationId, Reserved>> PlanReserve(
      const ReserveRequest& request) const;
  // NOT_FOUND no such reservation; ALREADY_EXISTS the key was started with the same content;
  // FAILED_PRECONDITION with other content, or the job is over; RESOURCE_EXHAUSTED more steps than
  // reserved.
  [[nodiscard]] Status CheckStart(const Started& started) const;
  // True: still to be appended. NOT_FOUND.
  [[nodiscard]] StatusOr<bool> IsUncommitted(std::string_view step_key) const;
  [[nodiscard]] StatusOr<bool> IsOpen(ReservationId reservation) const;

  // DATA_LOSS when no ledger of ours appends such an entry as row `seq`. Then nothing is changed.
  [[nodiscard]] Status Apply(std::uint64_t seq, const Entry& entry);

  // Of the steps started, as if planned ahead. REQUIRES: 0 < delta < 1.
  [[nodiscard]] Guarantee Spent(const DatasetId& dataset, double delta) const;
  [[nodiscard]] BurnDown BurnDownOf(const DatasetId& dataset, const Limits& limits) const;
  // Of every dataset that has rows.
  [[nodiscard]] std::vector<DatasetId> Datasets() const;
  // What was not released, in order of reservation.
  [[nodiscard]] std::vector<OpenReservation> OpenReservations() const;

 private:
  struct Step {
    std::uint64_t reservation = 0;
    crypto::Digest content{};
    std::vector<std::uint64_t> steps;
    bool is_committed = false;
  };
  using SharedCurve = std::shared_ptr<const RdpCurve>;
  struct Reservation {
    Reserved job;
    Bytes content;  // What an equal request encodes to.
    Time time;
    std::vector<SharedCurve> curves;  // Of one step of each part.
    std::vector<std::uint64_t> started;
    std::uint64_t rounds_started = 0;
    std::uint64_t rounds_committed = 0;
    bool is_released = false;
  };
  // Whose jobs a budget counts.
  struct Scope {
    DatasetId dataset;
    std::optional<ResearcherId> researcher;
    friend auto operator<=>(const Scope&, const Scope&) = default;
  };
  // One limit that a request must stay within.
  struct Budget {
    std::string name;
    double epsilon = 0;
    std::optional<Scope> scope;  // Of one job: none.
  };

  [[nodiscard]] StatusOr<RdpCurve> CostOf(const Reserved& job) const;
  [[nodiscard]] const Reservation* Find(ReservationId reservation) const;
  [[nodiscard]] RdpCurve Sum(const Scope& scope, bool with_reserved) const;
  [[nodiscard]] Status CheckSameKind(const Reserved& job) const;
  // The order at which the job fits. None: it does not.
  [[nodiscard]] std::optional<double> Admit(const Budget& budget, const RdpCurve& cost,
                                            double delta) const;
  // REQUIRES: one part, with noise.
  [[nodiscard]] std::optional<double> NoiseFor(const ReserveRequest& request,
                                               const std::vector<Budget>& budgets) const;
  // `budget` is the one exceeded, `budgets` are those of several jobs.
  [[nodiscard]] Status Refuse(const Budget& budget, const ReserveRequest& request,
                              const RdpCurve& cost, const std::vector<Budget>& budgets) const;
  [[nodiscard]] JobSpending SpendingOf(std::uint64_t seq, const Reservation& reservation,
                                       double delta) const;

  Status ApplyKind(std::uint64_t seq, Time time, const Reserved& reserved);
  Status ApplyKind(std::uint64_t seq, Time time, const Started& started);
  Status ApplyKind(std::uint64_t seq, Time time, const Committed& committed);
  Status ApplyKind(std::uint64_t seq, Time time, const Released& released);

  std::map<std::uint64_t, Reservation> reservations_;  // By row.
  std::map<std::pair<DatasetId, crypto::Digest>, std::uint64_t> by_job_;
  std::map<std::string, Step, std::less<>> steps_;  // By key.
  std::map<Scope, double> orders_;
};

}  // namespace chorale::privacy
