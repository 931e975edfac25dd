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

struct Figures {
  double median, min, p95;
  std::size_t rounds;
  double bytes_up;  // Of all sites, per round.
};

StatusOr<Figures> Time(Trial& trial, const v1::JobSpec& spec) {
  CHORALE_ASSIGN_OR_RETURN(const v1::ShowJobResponse shown, trial.Run(spec));
  std::vector<double> rounds;
  for (const v1::RoundRecord& round : shown.rounds()) rounds.push_back(Milliseconds(round));
  // The first round of a masked job exchanges the keys of all.
  rounds.erase(rounds.begin());
  std::sort(rounds.begin(), rounds.end());
  return Figures{.median = rounds[rounds.size() / 2],
                 .min = rounds.front(),
                 .p95 = rounds[rounds.size() * 95 / 100],
                 .rounds = rounds.size(),
                 .bytes_up = static_cast<double>(shown.rounds().rbegin()->bytes_up())};
}

// What a round costs beside the bytes it moves.
StatusOr<nlohmann::json> MeasureSmall(Trial& trial, int num_sites, std::uint32_t num_rounds) {
  CHORALE_ASSIGN_OR_RETURN(const Figures plain, Time(trial, MakeJob(num_sites, num_rounds, {16})));
  CHORALE_ASSIGN_OR_RETURN(const Figures masked,
                           Time(trial, MakeJob(num_sites, num_rounds, {16}, Reports::kMasked)));
  const double target = num_sites <= 4 ? 15 : 100;
  std::cout << num_sites << " agents, small model: median " << plain.median << " ms a round, p95 "
            << plain.p95 << " ms; masked " << masked.median << " ms, p95 " << masked.p95 << " ms\n";
  return nlohmann::json{{"agents", num_sites},
                        {"rounds", plain.rounds},
                        {"median_ms", plain.median},
                        {"min_ms", plain.min},
                        {"p95_ms", plain.p95},
                        {"limit_ms", target},
                        {"ratio_to_limit", plain.median / target},
                        {"masked_median_ms", masked.median},
                        {"masked_p95_ms", masked.p95}};
}

// A million parameters, masked and in the clear by turns.
constexpr std::uint32_t kWidth = 998;
constexpr double kMaskedRatioTarget = 1.3;
constexpr double kBytesRatioTarget = 1.04;

StatusOr<nlohmann::json> MeasureLarge(Trial& trial, int num_sites, std::uint32_t num_rounds) {
  const std::vector<std::uint32_t> widths = {kWidth, kWidth};
  CHORALE_ASSIGN_OR_RETURN(const Figures plain,
                           Time(trial, MakeJob(num_sites, num_rounds, widths)));
  CHORALE_ASSIGN_OR_RETURN(const Figures masked,
                           Time(trial, MakeJob(num_sites, num_rounds, widths, Reports::kMasked)));
  const double ratio = masked.median / plain.median;
  const double bytes_ratio = masked.bytes_up / plain.bytes_up;
  std::cout << num_sites << " agents, a million parameters: median " << plain.median
            << " ms a round in the clear, " << masked.median << " ms masked: " << ratio
            << " times; bytes " << bytes_ratio << " times\n";
  return nlohmann::json{{"agents", num_sites},
                        {"parameters", 1003993},
                        {"rounds", plain.rounds},
                        {"median_ms", plain.median},
                        {"masked_median_ms", masked.median},
                        {"masked_ratio", ratio},
                        {"masked_ratio_target", kMaskedRatioTarget},
                        {"bytes_up_ratio", bytes_ratio},
                        {"bytes_up_ratio_target", kBytesRatioTarget}};
}

Status Run(const Options& options) {
  nlohmann::json result = {{"bench", "federation"}, {"machine", Machine()}};
  const std::uint32_t num_rounds = options.is_quick ? 20 : 200;
  for (const int num_sites : {4, 16, 64}) {
    CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<Trial> trial, Trial::Start(num_sites));
    CHORALE_RETURN_IF_ERROR(trial->Run(MakeJob(num_sites, 2, {16})).status());  // Warm-up.
    CHORALE_ASSIGN_OR_RETURN(nlohmann::json small, MeasureSmall(*trial, num_sites, num_rounds));
    result["results"].push_back(std::move(small));
    if (options.is_quick && num_sites > 16) continue;
    CHORALE_ASSIGN_OR_RETURN(nlohmann::json large,
                             MeasureLarge(*trial, num_sites, options.is_quick ? 5 : 20));
    result["masked"].push_back(std::move(large));
  }
  return WriteJson(options, result.dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) { return chorale::bench::Main(argc, argv, chorale::bench::Run); }
