#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>

#include "core/log.h"
#include "tests/simulation/simulation.h"

// Runs simulations by hand: `simulation --seeds 1..10000`, `simulation --seed 17 --trace`.
namespace {

using chorale::simulation::Outcome;

struct Options {
  std::string seeds = "1..100";
  std::string only;
  bool trace = false;
  bool log = false;
  bool list = false;
  bool twice = false;
  std::string expected;  // Violation.
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
  std::optional<chorale::simulation::Protection> only;
  if (options.only == "clear") only = chorale::simulation::Protection::kNone;
  if (options.only == "masked") only = chorale::simulation::Protection::kMasked;
  if (options.only == "private") only = chorale::simulation::Protection::kPrivate;
  const std::string restriction = options.only.empty() ? "" : " --only " + options.only;
  chorale::simulation::Parties parties;
  chorale::simulation::World::Report trace;
  if (options.trace) {
    trace = [](std::string_view line) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    };
  } else if (options.twice) {
    trace = [](std::string_view) {};  // The story is compared, not told.
  }
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t published = 0, masked = 0, charges = 0, steps = 0, failed = 0;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    const std::clock_t start = std::clock();
    const Outcome outcome = chorale::simulation::Simulate(seed, only, parties, trace);
    if (options.list) {
      std::printf("%6.1f ms  %5llu steps  seed %llu: %s\n",
                  1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC,
                  static_cast<unsigned long long>(outcome.num_steps),
                  static_cast<unsigned long long>(seed), outcome.scenario.c_str());
    }
    if (options.twice) {
      const Outcome again = chorale::simulation::Simulate(seed, only, parties, trace);
      if (again.story != outcome.story) {
        ++failed;
        std::printf("FAILED seed %llu: it took another course the second time\n",
                    static_cast<unsigned long long>(seed));
      }
    }
    published += outcome.num_published;
    masked += outcome.num_masked_reports;
    charges += outcome.num_charges;
    steps += outcome.num_steps;
    if (!outcome.violation.has_value()) continue;
    if (!options.expected.empty()) {
      if (outcome.violation->find(options.expected) == std::string::npos) continue;
      std::printf("found with seed %llu: %s\n", static_cast<unsigned long long>(seed),
                  outcome.violation->c_str());
      return 0;
    }
    ++failed;
    std::printf("FAILED seed %llu: %s\n  replay: %s --seed %llu%s --trace\n",
                static_cast<unsigned long long>(seed), outcome.violation->c_str(), program.c_str(),
                static_cast<unsigned long long>(seed), restriction.c_str());
  }
  const double elapsed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%llu seeds, %llu failed; %llu rounds published, %llu masked reports, %llu charges, %llu "
      "steps, %.1f s\n",
      static_cast<unsigned long long>(last - first + 1), static_cast<unsigned long long>(failed),
      static_cast<unsigned long long>(published), static_cast<unsigned long long>(masked),
      static_cast<unsigned long long>(charges), static_cast<unsigned long long>(steps), elapsed);
  if (!options.expected.empty()) std::printf("the bug was not found\n");
  return failed > 0 || !options.expected.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A whole federation in one thread, from one seed.");
  Options options;
  app.add_option("--seeds,--seed", options.seeds, "One, or a range like 1..10000");
  app.add_option("--only", options.only, "Jobs of one kind")
      ->check(CLI::IsMember({"clear", "masked", "private"}));
  app.add_flag("--trace", options.trace, "Tell the story");
  app.add_flag("--list", options.list,
               "One line for each seed, with its milliseconds of processor time");
  app.add_flag("--log", options.log, "And what the programs log, on standard error");
  app.add_flag("--twice", options.twice, "Each seed twice: the same story?");
  app.add_option("--expect-violation", options.expected,
                 "Succeed at the first violation that says so: of a program with a planted bug");
  CLI11_PARSE(app, argc, argv);
  return Run(options, argv[0]);
}
