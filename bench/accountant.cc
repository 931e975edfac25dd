#include "privacy/accountant.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/options.h"
#include "privacy/calibration.h"

// How long an answer about privacy takes: what a site waits for before it lets a job in.
namespace chorale::bench {
namespace {

using privacy::AccountantKind;

constexpr double kDelta = 1e-5;
// Of a schedule of up to 10,000 steps by either accountant.
constexpr double kTargetSeconds = 0.2;

struct Setting {
  double sample_rate;
  double noise_multiplier;
  std::uint64_t steps;
};

privacy::Event EventOf(const Setting& setting) {
  return privacy::NoisySteps(privacy::Sampling::kPoisson, setting.sample_rate,
                             setting.noise_multiplier, setting.steps);
}

// The least of a few runs: other work on the machine adds to the rest.
template <typename Function>
double LeastSeconds(int runs, Function function) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    function();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    least = std::min(least, spent.count());
  }
  return least;
}

StatusOr<nlohmann::ordered_json> MeasureEpsilon(const Setting& setting, AccountantKind accountant,
                                                int runs) {
  const privacy::AccountingOptions options{.accountant = accountant};
  StatusOr<privacy::Guarantee> guarantee = privacy::Guarantee{};
  const double seconds = LeastSeconds(
      runs, [&] { guarantee = privacy::EpsilonFor(EventOf(setting), kDelta, options); });
  CHORALE_RETURN_IF_ERROR(guarantee.status());
  nlohmann::ordered_json row = {{"question", "epsilon"},
                                {"accountant", privacy::NameOf(accountant)},
                                {"sample_rate", setting.sample_rate},
                                {"noise_multiplier", setting.noise_multiplier},
                                {"steps", setting.steps},
                                {"epsilon", guarantee->epsilon},
                                {"delta", kDelta},
                                {"seconds", seconds}};
  if (setting.steps <= 10'000) {
    row["target_seconds"] = kTargetSeconds;
    row["ratio_to_target"] = seconds / kTargetSeconds;
  }
  return row;
}

StatusOr<nlohmann::ordered_json> MeasureNoise(const Setting& setting, double epsilon,
                                              AccountantKind accountant, int runs) {
  const privacy::AccountingOptions options{.accountant = accountant};
  const auto event_with = [&](double noise) {
    return EventOf({setting.sample_rate, noise, setting.steps});
  };
  StatusOr<privacy::CalibratedNoise> found = privacy::CalibratedNoise{};
  const double seconds = LeastSeconds(runs, [&] {
    found = privacy::CalibrateNoise(event_with, {.epsilon = epsilon, .delta = kDelta}, options);
  });
  CHORALE_RETURN_IF_ERROR(found.status());
  return nlohmann::ordered_json{{"question", "noise"},
                                {"accountant", privacy::NameOf(accountant)},
                                {"sample_rate", setting.sample_rate},
                                {"noise_multiplier", found->noise_multiplier},
                                {"steps", setting.steps},
                                {"epsilon", found->guarantee.epsilon},
                                {"delta", kDelta},
                                {"seconds", seconds}};
}

void Print(const nlohmann::ordered_json& row) {
  std::cout << std::setw(9) << row["question"].get<std::string>() << std::setw(6)
            << row["accountant"].get<std::string>() << std::setprecision(6) << std::setw(10)
            << row["sample_rate"].get<double>() << std::setw(10)
            << row["noise_multiplier"].get<double>() << std::setw(9)
            << row["steps"].get<std::uint64_t>() << std::setw(11) << row["epsilon"].get<double>()
            << std::setprecision(3) << std::setw(11) << row["seconds"].get<double>() << std::endl;
}

Status Run(const std::vector<std::string>& arguments) {
  CHORALE_ASSIGN_OR_RETURN(const Options options, ParseOptions(arguments));
  const int runs = options.is_quick ? 3 : 15;
  const std::vector<Setting> settings = {
      {.25, 8.094, 100}, {.05, 3.8303, 300}, {.01, 1, 1000},   {.001, 1, 10'000},  {.01, 1, 10'000},
      {.05, 2, 10'000},  {.05, 1, 10'000},   {.25, 4, 10'000}, {.01, 1, 1'000'000}};
  nlohmann::ordered_json result = {{"bench", "accountant"}, {"machine", Machine()}};
  std::cout << "delta " << kDelta << "; unit patient, neighbours by add-remove, sampling poisson\n"
            << " question  acct      rate     noise    steps    epsilon    seconds\n";
  const auto add = [&](const nlohmann::ordered_json& row) {
    Print(row);
    result["results"].push_back(row);
  };
  for (const AccountantKind accountant : {AccountantKind::kRdp, AccountantKind::kPld}) {
    for (const Setting& setting : settings) {
      CHORALE_ASSIGN_OR_RETURN(const auto row, MeasureEpsilon(setting, accountant, runs));
      add(row);
    }
    for (const double epsilon : {1.0, 8.0}) {
      CHORALE_ASSIGN_OR_RETURN(const auto row, MeasureNoise({.05, 0, 300}, epsilon, accountant,
                                                            options.is_quick ? 1 : 5));
      add(row);
    }
  }
  return WriteJson(options, result.dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) {
  return chorale::bench::Finish(
      chorale::bench::Run(std::vector<std::string>(argv + 1, argv + argc)));
}
