#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "core/log.h"
#include "tests/simulation/simulation.h"

// Runs simulations by hand: `simulation --seeds 1..10000`, `simulation --seed 17 --trace`.
namespace {

using chorale::simulation::Outcome;

struct Options {
  std::string seeds = "1..100";
  bool trace = false;
  bool log = false;
  bool expects_violation = false;
};

// "17" or "1..10000".
bool ParseSeeds(const std::string& text, std::uint64_t& first, std::uint64_t& last) {
  const std::size_t dots = text.find("..");
  try {
    first = std::stoull(text.substr(0, dots));
    last = dots == std::string::npos ? first : std::stoull(text.substr(dots + 2));
  } catch (const std::exception&) {
    return false;
  }
  return first <= last;
}

int Run(const Options& options, const std::string& program) {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  if (!ParseSeeds(options.seeds, first, last)) {
    std::fprintf(stderr, "simulation: --seeds must be like 1..10000, got %s\n",
                 options.seeds.c_str());
    return 2;
  }
  if (!options.log) {
    (void)chorale::log::Configure({.level = chorale::log::Level::kError, .file = "/dev/null"});
  }
  chorale::simulation::Parties parties;
  chorale::simulation::World::Report trace;
  if (options.trace) {
    trace = [](std::string_view line) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    };
  }
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t published = 0, masked = 0, charges = 0, steps = 0, failed = 0;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    const Outcome outcome = chorale::simulation::Simulate(seed, parties, trace);
    published += outcome.num_published;
    masked += outcome.num_masked_reports;
    charges += outcome.num_charges;
    steps += outcome.num_steps;
    if (!outcome.violation.has_value()) continue;
    ++failed;
    std::printf("FAILED seed %llu: %s\n  replay: %s --seed %llu --trace\n",
                static_cast<unsigned long long>(seed), outcome.violation->c_str(), program.c_str(),
                static_cast<unsigned long long>(seed));
    if (options.expects_violation) break;
  }
  const double elapsed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%llu seeds, %llu failed; %llu rounds published, %llu masked reports, %llu charges, %llu "
      "steps, %.1f s\n",
      static_cast<unsigned long long>(last - first + 1), static_cast<unsigned long long>(failed),
      static_cast<unsigned long long>(published), static_cast<unsigned long long>(masked),
      static_cast<unsigned long long>(charges), static_cast<unsigned long long>(steps), elapsed);
  const bool has_failed = failed > 0;
  return has_failed == options.expects_violation ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A whole federation in one thread, from one seed.");
  Options options;
  app.add_option("--seeds,--seed", options.seeds, "One, or a range like 1..10000");
  app.add_flag("--trace", options.trace, "Tell the story");
  app.add_flag("--log", options.log, "And what the programs log, on standard error");
  app.add_flag("--expect-violation", options.expects_violation,
               "Succeed when a seed fails: of a program with a planted bug");
  CLI11_PARSE(app, argc, argv);
  return Run(options, argv[0]);
}
