// bench-recovery: seconds from SIGKILL of the coordinator to the next update that it accepts, with
// 16 agents; and what durability costs a round, against the same round with the stores in memory.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "bench/options.h"
#include "bench/trial.h"
#include "coordinator/sqlite_store.h"
#include "core/random.h"
#include "core/time.h"

namespace chorale::bench {
namespace {

constexpr int kNumSites = 16;

// ---------------------------------------------------------------------------- recovery

constexpr double kRecoveryTargetSeconds = 3;

struct Recovery {
  Time killed_at;
  Time listened_at;
};

double SecondsBetween(Time from, Time to) {
  return std::chrono::duration<double>(to - from).count();
}

// When updates were accepted, as the coordinator's own record says.
StatusOr<std::vector<Time>> AcceptedUpdates(const Trial& trial, const std::string& job_id) {
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<coordinator::SqliteJobStore> store,
      coordinator::SqliteJobStore::Open(trial.state_directory() / "coordinator.db"));
  CHORALE_ASSIGN_OR_RETURN(const coordinator::StoredJob job, store->LoadJob(JobId(job_id)));
  std::vector<Time> accepted;
  for (const v1::JobEvent& event : job.events) {
    if (event.has_site_reported() && event.site_reported().step() == 0) {
      accepted.emplace_back(Duration(event.time_us()));
    }
  }
  return accepted;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Kills the coordinator in the midst of a job, again and again, and appends how long each took.
Status KillInOneJob(Trial& trial, Reports reports, int num_kills, RandomSource& random,
                    std::vector<double>& listened, std::vector<double>& next) {
  // Enough rounds to outlast the kills.
  v1::JobSpec spec = MakeJob(kNumSites, 9000, {16}, reports);
  spec.mutable_rounds()->set_max_abandoned(100);
  CHORALE_ASSIGN_OR_RETURN(const std::string job_id, trial.Submit(spec));
  const SystemClock clock;
  std::vector<Recovery> recoveries;
  for (int i = 0; i < num_kills; ++i) {
    // Agents that were just connected wait a little longer each time: a kill in quiet times is what
    // is measured, at any place of a round.
    std::this_thread::sleep_for(std::chrono::milliseconds(3000 + random.NextBelow(1000)));
    Recovery recovery{.killed_at = clock.WallNow(), .listened_at = {}};
    CHORALE_RETURN_IF_ERROR(trial.RestartCoordinator());
    recovery.listened_at = clock.WallNow();
    recoveries.push_back(recovery);
  }
  std::this_thread::sleep_for(std::chrono::seconds(5));
  CHORALE_RETURN_IF_ERROR(trial.Cancel(job_id));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<Time> accepted, AcceptedUpdates(trial, job_id));
  for (const Recovery& recovery : recoveries) {
    const auto after = std::upper_bound(accepted.begin(), accepted.end(), recovery.listened_at);
    if (after == accepted.end()) return Aborted("no update was accepted after a kill");
    listened.push_back(SecondsBetween(recovery.killed_at, recovery.listened_at));
    next.push_back(SecondsBetween(recovery.killed_at, *after));
  }
  return OkStatus();
}

StatusOr<nlohmann::json> MeasureRecovery(Trial& trial, Reports reports, int num_jobs) {
  constexpr int kKillsOfJob = 5;
  SeededRandom random(1);
  std::vector<double> listened;
  std::vector<double> next;
  for (int i = 0; i < num_jobs; ++i) {
    CHORALE_RETURN_IF_ERROR(KillInOneJob(trial, reports, kKillsOfJob, random, listened, next));
  }
  const double longest = *std::max_element(next.begin(), next.end());
  const std::string name = reports == Reports::kMasked ? "masked" : "in the clear";
  std::cout << kNumSites << " agents, " << name << ", " << next.size()
            << " kills: listens again after a median of " << Median(listened)
            << " s, accepts an update after " << Median(next) << " s, at most " << longest
            << " s\n";
  return nlohmann::json{{"reports", name},
                        {"agents", kNumSites},
                        {"kills", next.size()},
                        {"listening_median_s", Median(listened)},
                        {"next_update_median_s", Median(next)},
                        {"next_update_max_s", longest},
                        {"limit_s", kRecoveryTargetSeconds},
                        {"ratio_to_limit", longest / kRecoveryTargetSeconds}};
}

// ---------------------------------------------------------------------------- durability

constexpr double kDurabilityTargetMs = 3;

double Milliseconds(const v1::RoundRecord& round) {
  const auto microseconds = [](const google::protobuf::Timestamp& time) {
    return static_cast<double>(time.seconds()) * 1e6 + time.nanos() / 1e3;
  };
  return (microseconds(round.ended_at()) - microseconds(round.started_at())) / 1e3;
}

StatusOr<double> MedianRound(Trial& trial, std::uint32_t num_rounds) {
  CHORALE_ASSIGN_OR_RETURN(const v1::ShowJobResponse shown,
                           trial.Run(MakeJob(kNumSites, num_rounds, {16})));
  std::vector<double> rounds;
  for (const v1::RoundRecord& round : shown.rounds()) rounds.push_back(Milliseconds(round));
  return Median(std::move(rounds));
}

// What one sync of the disk takes, in milliseconds: a median.
StatusOr<double> MedianSync() {
  const support::TemporaryDirectory directory;
  const Bytes page(4096);
  const int fd = ::open((directory.path() / "file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return Unavailable("cannot write a file into " + directory.path().string());
  std::vector<double> times;
  for (int i = 0; i < 100; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const bool is_synced = ::write(fd, page.data(), page.size()) > 0 && ::fdatasync(fd) == 0;
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count());
    if (is_synced) continue;
    ::close(fd);
    return Unavailable("cannot sync a file in " + directory.path().string());
  }
  ::close(fd);
  return Median(std::move(times));
}

// By turns, so that whatever else the machine does hits both.
StatusOr<nlohmann::json> MeasureDurability(bool is_quick) {
  using support::Medium;
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<Trial> memory,
      Trial::Start(kNumSites, {.coordinator = Medium::kMemory, .agents = Medium::kMemory}));
  CHORALE_ASSIGN_OR_RETURN(
      const std::unique_ptr<Trial> coordinator_on_disk,
      Trial::Start(kNumSites, {.coordinator = Medium::kDisk, .agents = Medium::kMemory}));
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<Trial> disk, Trial::Start(kNumSites));
  Trial* const trials[] = {memory.get(), coordinator_on_disk.get(), disk.get()};
  std::vector<double> medians[3];
  for (Trial* trial : trials) CHORALE_RETURN_IF_ERROR(MedianRound(*trial, 2).status());  // Warm-up.
  for (int turn = 0; turn < (is_quick ? 3 : 9); ++turn) {
    for (std::size_t i = 0; i < 3; ++i) {
      CHORALE_ASSIGN_OR_RETURN(const double median, MedianRound(*trials[i], is_quick ? 20 : 100));
      medians[i].push_back(median);
    }
  }
  CHORALE_ASSIGN_OR_RETURN(const double sync, MedianSync());
  const double in_memory = Median(medians[0]);
  const double coordinator_cost = Median(medians[1]) - in_memory;
  const double whole_cost = Median(medians[2]) - in_memory;
  std::cout << kNumSites << " agents, a round in memory: " << in_memory
            << " ms; the coordinator's durability costs " << coordinator_cost
            << " ms, everybody's (17 processes on one disk) " << whole_cost
            << " ms; one sync of this disk takes " << sync << " ms\n";
  return nlohmann::json{{"agents", kNumSites},
                        {"in_memory_median_ms", in_memory},
                        {"coordinator_cost_ms", coordinator_cost},
                        {"cost_with_agents_ms", whole_cost},
                        {"sync_median_ms", sync},
                        {"coordinator_cost_in_syncs", coordinator_cost / sync},
                        {"limit_ms", kDurabilityTargetMs},
                        {"ratio_to_limit", coordinator_cost / kDurabilityTargetMs}};
}

Status Run(const Options& options) {
  nlohmann::json result = {{"bench", "recovery"}, {"machine", Machine()}};
  CHORALE_ASSIGN_OR_RETURN(result["durability"], MeasureDurability(options.is_quick));
  {
    CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<Trial> trial, Trial::Start(kNumSites));
    for (const Reports reports : {Reports::kInTheClear, Reports::kMasked}) {
      CHORALE_ASSIGN_OR_RETURN(nlohmann::json recovery,
                               MeasureRecovery(*trial, reports, options.is_quick ? 1 : 4));
      result["recovery"].push_back(std::move(recovery));
    }
  }
  return WriteJson(options, result.dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) { return chorale::bench::Main(argc, argv, chorale::bench::Run); }
