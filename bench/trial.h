#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/options.h"
#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_pki.h"

namespace chorale::bench {

// Where the parties of a Trial keep their state.
struct Places {
  support::Medium coordinator = support::Medium::kDisk;
  support::Medium agents = support::Medium::kDisk;
};

// A federation of real processes over loopback mutual TLS: the coordinator's own binary, and agents
// that are this program started again with `--agent FILE`, whose trainer answers at once so that
// what is measured is everything but training. Ends its processes when destroyed.
class Trial {
 public:
  // chorale-coordinator is looked for beside this program.
  [[nodiscard]] static StatusOr<std::unique_ptr<Trial>> Start(int num_sites, Places places = {});
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  // Submits the job, waits for its end and shows it. ABORTED unless it completed.
  [[nodiscard]] StatusOr<v1::ShowJobResponse> Run(const v1::JobSpec& spec);
  // The two halves of Run.
  [[nodiscard]] StatusOr<std::string> Submit(const v1::JobSpec& spec);
  [[nodiscard]] StatusOr<v1::ShowJobResponse> WaitFor(const std::string& job_id);
  [[nodiscard]] Status Cancel(const std::string& job_id);

  // SIGKILL, and at once the same command again, as a supervisor would. Returns when it listens.
  [[nodiscard]] Status RestartCoordinator();
  // Of the coordinator.
  [[nodiscard]] std::filesystem::path state_directory() const;

  // Most memory the coordinator has had resident, from /proc.
  [[nodiscard]] StatusOr<std::uint64_t> CoordinatorPeakBytes() const;

 private:
  Trial(std::filesystem::path program, int num_sites, Places places);
  void Enrol();
  [[nodiscard]] Status StartCoordinator(const std::string& listen);
  [[nodiscard]] Status StartAgent(const std::string& name);

  std::filesystem::path program_;
  int num_sites_;
  support::TestPki pki_;
  support::TemporaryDirectory directory_;
  support::TemporaryDirectory coordinator_directory_, agents_directory_;
  std::string address_;
  pid_t coordinator_ = -1;
  std::vector<pid_t> agents_;
};

// The main of a benchmark over a Trial: `--agent FILE` runs one agent with the trainer that answers
// at once, until SIGTERM; anything else are the benchmark's options.
[[nodiscard]] int Main(int argc, char** argv, Status (*run)(const Options& options));

// A job over `num_sites` that trains an MLP with these hidden widths, every site reporting.
enum class Reports { kInTheClear, kMasked };
[[nodiscard]] v1::JobSpec MakeJob(int num_sites, std::uint32_t num_rounds,
                                  const std::vector<std::uint32_t>& hidden_units,
                                  Reports reports = Reports::kInTheClear);

}  // namespace chorale::bench
