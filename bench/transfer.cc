// bench-transfer: GB/s and the coordinator's peak memory while a model goes to four agents and four
// updates come back, over loopback mutual TLS: 1 GB, with --quick 128 MB.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/trial.h"

namespace chorale::bench {
namespace {

constexpr int kNumSites = 4;
constexpr std::uint32_t kNumRounds = 2;
constexpr double kSlackBytes = 64.0 * (1 << 20);

double Seconds(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to) {
  return static_cast<double>(to.seconds() - from.seconds()) + (to.nanos() - from.nanos()) / 1e9;
}

Status Run(const Options& options) {
  // Two hidden layers of equal width hold nearly all parameters in one square matrix.
  const auto width = static_cast<std::uint32_t>(options.is_quick ? 5792 : 16384);
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<Trial> trial, Trial::Start(kNumSites));
  CHORALE_ASSIGN_OR_RETURN(const v1::ShowJobResponse shown,
                           trial->Run(MakeJob(kNumSites, kNumRounds, {width, width})));
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t peak_bytes, trial->CoordinatorPeakBytes());
  const double model_bytes = static_cast<double>(shown.rounds(0).bytes_down()) / kNumSites;
  nlohmann::json rounds = nlohmann::json::array();
  double best = 0;
  for (const v1::RoundRecord& round : shown.rounds()) {
    const double seconds = Seconds(round.started_at(), round.ended_at());
    const double gigabytes = static_cast<double>(round.bytes_down() + round.bytes_up()) / 1e9;
    best = std::max(best, gigabytes / seconds);
    rounds.push_back(
        {{"seconds", seconds}, {"gigabytes_moved", gigabytes}, {"gb_per_s", gigabytes / seconds}});
    std::cout << "round of " << gigabytes << " GB: " << seconds << " s, " << gigabytes / seconds
              << " GB/s, digests, disk and summing included\n";
  }
  const double limit = model_bytes + kSlackBytes;
  std::cout << "coordinator peak " << static_cast<double>(peak_bytes) / 1e6 << " MB, model "
            << model_bytes / 1e6 << " MB, limit " << limit / 1e6 << " MB\n";
  return WriteJson(options,
                   nlohmann::json{{"bench", "transfer"},
                                  {"machine", Machine()},
                                  {"agents", kNumSites},
                                  {"model_bytes", model_bytes},
                                  {"rounds", rounds},
                                  {"best_gb_per_s", best},
                                  {"coordinator_peak_bytes", peak_bytes},
                                  {"limit_bytes", limit},
                                  {"ratio_to_limit", static_cast<double>(peak_bytes) / limit}}
                       .dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) { return chorale::bench::Main(argc, argv, chorale::bench::Run); }
