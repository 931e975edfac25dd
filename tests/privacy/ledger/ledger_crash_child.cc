// Works as an agent does and tells standard output, one byte a round, before it "touches the
// data".
//   ledger_crash_child STATE_DIRECTORY IDENTITY_DIRECTORY JOB POINT
// Kills itself at the point-th of 20 points of reserve, start, commit and release; with POINT 0 it
// starts and commits until somebody else kills it.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "privacy/ledger/ledger.h"

namespace {

using namespace chorale;
using namespace chorale::privacy;

constexpr std::uint64_t kStepsOfARound = 7;

class Script {
 public:
  explicit Script(int kill_at) : kill_at_(kill_at) {}
  void Point() {
    if (++point_ == kill_at_) ::kill(::getpid(), SIGKILL);
  }
  bool RunRound(Ledger& ledger, ReservationId job, const std::string& key) {
    const Started started{.reservation = job,
                          .step_key = key,
                          .content = crypto::Sha256(AsBytes(key)),
                          .steps = {kStepsOfARound}};
    if (!ledger.Start(started).ok()) return false;
    Point();
    if (::write(STDOUT_FILENO, "t", 1) != 1) return false;
    Point();
    if (!ledger.Commit(key).ok()) return false;
    Point();
    return true;
  }

 private:
  int kill_at_;
  int point_ = 0;
};

bool Run(const LedgerFiles& files, const std::string& job, int kill_at) {
  Script script(kill_at);
  script.Point();
  const SystemClock clock;
  const StatusOr<std::unique_ptr<Ledger>> ledger = Ledger::Open(files, clock);
  if (!ledger.ok()) return false;
  script.Point();
  const ReserveRequest request{
      .job = {.dataset = DatasetId("heart"),
              .researcher = ResearcherId("ada"),
              .job_id = JobId(job),
              .job_digest = crypto::Sha256(AsBytes(job)),
              .parts = {{.step = {.kind = Gaussian{1e5}}, .steps = 1'000'000}}},
      .limits = {.max_epsilon = 10,
                 .max_epsilon_per_job = 10,
                 .max_epsilon_per_researcher = 10,
                 .delta = 1e-5}};
  const StatusOr<ReservationId> reservation = (*ledger)->Reserve(request);
  if (!reservation.ok()) return false;
  script.Point();
  for (int i = 0; kill_at == 0 || i < 5; ++i) {
    const std::string key = job + "-" + std::to_string(::getpid()) + "-" + std::to_string(i);
    if (!script.RunRound(**ledger, *reservation, key)) return false;
  }
  if (!(*ledger)->Release(*reservation).ok()) return false;
  script.Point();
  script.Point();
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  return Run(LedgerFilesIn(argv[1], argv[2]), argv[3], std::atoi(argv[4])) ? 0 : 1;
}
