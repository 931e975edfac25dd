// Bytes of updates that WeightedSum reads in a second, against a plain memory add (a[i] += b[i],
// float) of the same bytes in the same run.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "bench/options.h"
#include "coordinator/aggregation/weighted_sum.h"
#include "core/random.h"

namespace chorale::bench {
namespace {

constexpr double kTargetRatio = 0.8;
constexpr double kBytesPerGigabyte = 1e9;

struct Setting {
  std::size_t num_sites;
  std::size_t num_parameters;
  int num_threads;
};

// When measuring one setting ends, whichever comes first.
struct Limits {
  int repetitions;
  double seconds;
};

// The updates of all sites stand one after another, as a plain add would read them.
std::vector<float> DrawUpdates(std::size_t size) {
  SeededRandom random(1);
  std::vector<float> values(size);
  // A short pattern: drawing every value would take longer than the measurement.
  std::vector<float> pattern(4099);
  for (float& value : pattern) value = static_cast<float>(random.NextDouble() - 0.5);
  for (std::size_t i = 0; i < size; ++i) values[i] = pattern[i % pattern.size()];
  return values;
}

// The yardstick: every byte of the updates is read once and added to a vector that is read and
// written.
void AddPlainly(std::span<const float> update, std::span<float> total, int num_threads) {
#pragma omp parallel for schedule(static) num_threads(num_threads)
  for (std::size_t i = 0; i < total.size(); ++i) total[i] += update[i];
}

template <typename Run>
double SecondsOf(Run run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

nlohmann::ordered_json Measure(const Setting& setting, const std::vector<float>& values,
                               Limits limits) {
  std::vector<std::span<const float>> updates;
  for (std::size_t k = 0; k < setting.num_sites; ++k) {
    updates.emplace_back(values.data() + k * setting.num_parameters, setting.num_parameters);
  }
  const std::vector<double> weights(setting.num_sites,
                                    1.0 / static_cast<double>(setting.num_sites));
  std::vector<float> sum(setting.num_parameters);
  std::vector<float> total(setting.num_parameters);

  // The fastest of some repetitions: what the machine can do when nothing else runs. Both take
  // turns, so that whatever else it does concerns both.
  double sum_seconds = std::numeric_limits<double>::infinity();
  double add_seconds = sum_seconds;
  double spent_seconds = 0;
  for (int i = 0; i < limits.repetitions && spent_seconds < limits.seconds; ++i) {
    const double sum_once =
        SecondsOf([&] { coordinator::WeightedSum(updates, weights, sum, setting.num_threads); });
    const double add_once = SecondsOf([&] {
      for (const std::span<const float> update : updates) {
        AddPlainly(update, total, setting.num_threads);
      }
    });
    sum_seconds = std::min(sum_seconds, sum_once);
    add_seconds = std::min(add_seconds, add_once);
    spent_seconds += sum_once + add_once;
  }
  const double gigabytes =
      static_cast<double>(setting.num_sites * setting.num_parameters * sizeof(float)) /
      kBytesPerGigabyte;
  const double ratio = add_seconds / sum_seconds;
  return {{"sites", setting.num_sites},
          {"parameters", setting.num_parameters},
          {"threads", setting.num_threads},
          {"weighted_sum_gb_per_s", gigabytes / sum_seconds},
          {"plain_add_gb_per_s", gigabytes / add_seconds},
          {"ratio", ratio},
          {"target_ratio", kTargetRatio},
          {"ratio_to_target", ratio / kTargetRatio}};
}

Status Run(const std::vector<std::string>& arguments) {
  CHORALE_ASSIGN_OR_RETURN(const Options options, ParseOptions(arguments));
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<int> thread_counts = {1};
  if (cores > 1) thread_counts.push_back(cores);
  const std::vector<std::size_t> sizes =
      options.is_quick ? std::vector<std::size_t>{1u << 16, 1u << 20, 1u << 23}
                       : std::vector<std::size_t>{1u << 16, 1u << 20, 1u << 23, 1u << 25};
  const Limits limits = options.is_quick ? Limits{50, 1.5} : Limits{400, 10};

  nlohmann::ordered_json result = {{"bench", "aggregation"}, {"machine", Machine()}};
  std::cout << "   sites  parameters  threads  sum GB/s  add GB/s  ratio\n" << std::fixed;
  for (const std::size_t num_sites : {std::size_t{4}, std::size_t{16}}) {
    for (const std::size_t num_parameters : sizes) {
      if (num_sites * num_parameters > (std::size_t{1} << 28)) continue;  // 1 GiB of updates.
      const std::vector<float> values = DrawUpdates(num_sites * num_parameters);
      for (const int num_threads : thread_counts) {
        const auto row = Measure({num_sites, num_parameters, num_threads}, values, limits);
        std::cout << std::setw(8) << num_sites << std::setw(12) << num_parameters << std::setw(9)
                  << num_threads << std::setprecision(2) << std::setw(10)
                  << row["weighted_sum_gb_per_s"].get<double>() << std::setw(10)
                  << row["plain_add_gb_per_s"].get<double>() << std::setw(7)
                  << row["ratio"].get<double>() << std::endl;
        result["results"].push_back(row);
      }
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
