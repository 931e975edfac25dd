// bench-federation: milliseconds a round takes without training, with 4, 16 and 64 agents, each a
// process of its own, over loopback mutual TLS and durable state.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/trial.h"

namespace chorale::bench {
namespace {

double Milliseconds(const v1::RoundRecord& round) {
  const auto nanoseconds = [](const google::protobuf::Timestamp& time) {
    return static_cast<double>(time.seconds()) * 1e9 + time.nanos();
  };
  return (nanoseconds(round.ended_at()) - nanoseconds(round.started_at())) / 1e6;
}

StatusOr<nlohmann::json> Measure(int num_sites, std::uint32_t num_rounds) {
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<Trial> trial, Trial::Start(num_sites));
  CHORALE_RETURN_IF_ERROR(trial->Run(MakeJob(num_sites, 2, {16})).status());  // Warm-up.
  CHORALE_ASSIGN_OR_RETURN(const v1::ShowJobResponse shown,
                           trial->Run(MakeJob(num_sites, num_rounds, {16})));
  std::vector<double> rounds;
  for (const v1::RoundRecord& round : shown.rounds()) rounds.push_back(Milliseconds(round));
  std::sort(rounds.begin(), rounds.end());
  const double target = num_sites <= 4 ? 15 : 100;
  const double median = rounds[rounds.size() / 2];
  std::cout << num_sites << " agents: median " << median << " ms a round, p95 "
            << rounds[rounds.size() * 95 / 100] << " ms, " << rounds.size() << " rounds\n";
  return nlohmann::json{{"agents", num_sites},
                        {"rounds", rounds.size()},
                        {"median_ms", median},
                        {"min_ms", rounds.front()},
                        {"p95_ms", rounds[rounds.size() * 95 / 100]},
                        {"limit_ms", target},
                        {"ratio_to_limit", median / target}};
}

Status Run(const Options& options) {
  nlohmann::json result = {{"bench", "federation"}, {"machine", Machine()}};
  const std::uint32_t num_rounds = options.is_quick ? 20 : 200;
  for (const int num_sites : {4, 16, 64}) {
    CHORALE_ASSIGN_OR_RETURN(nlohmann::json row, Measure(num_sites, num_rounds));
    result["results"].push_back(std::move(row));
  }
  return WriteJson(options, result.dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) { return chorale::bench::Main(argc, argv, chorale::bench::Run); }
