#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "cli/site_file.h"
#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/storage/file.h"
#include "privacy/ledger/ledger.h"
#include "privacy/statement.h"
#include "site_agent/config.h"

namespace chorale::cli {
namespace {

using privacy::BurnDown;
using privacy::JobSpending;

struct Options {
  std::filesystem::path directory;
  std::string dataset;
  std::string release;  // A job whose unused steps are given back; empty: none.
  OutputFormat format = OutputFormat::kText;
};

// Four digits, never below the truth.
std::string EpsilonText(double epsilon) {
  std::ostringstream text;
  text << (std::isfinite(epsilon) ? privacy::RoundUp(epsilon, 4) : epsilon);
  return text.str();
}

// 20 cells: "#" for spent, "=" for reserved, "." for what is left.
std::string Bar(const BurnDown& burn) {
  constexpr double kCells = 20;
  const auto cells = [](double share) {
    return static_cast<std::size_t>(std::ceil(kCells * std::clamp(share, 0.0, 1.0)));
  };
  const std::size_t spent = cells(burn.share_spent);
  const std::size_t held = std::max(spent, cells(burn.share_held));
  return "[" + std::string(spent, '#') + std::string(held - spent, '=') +
         std::string(static_cast<std::size_t>(kCells) - held, '.') + "]";
}

std::string Percent(double share) {
  if (!std::isfinite(share)) return "over 100 %";
  return FormatNumber(100 * share) + " %";
}

void Print(const BurnDown& burn, std::ostream& out) {
  out << "dataset " << burn.dataset.value() << ": at delta " << burn.delta << " per "
      << NameOf(burn.unit) << ", neighbours by " << NameOf(burn.relation) << ", accountant rdp\n  "
      << Bar(burn) << " " << Percent(burn.share_spent) << " of the budget spent, "
      << Percent(burn.share_held) << " spent or reserved\n";
  Table totals({"  LIMIT", "SPENT", "RESERVED", "LEFT"});
  totals.AddRow({"  " + EpsilonText(burn.max_epsilon), EpsilonText(burn.epsilon_spent),
                 EpsilonText(burn.epsilon_held), FormatNumber(burn.epsilon_left)});
  totals.Print(out);
  if (burn.jobs.empty()) return;
  Table jobs({"  JOB", "RESEARCHER", "STEPS", "STARTED", "STATE", "RESERVED", "SPENT"});
  for (const JobSpending& job : burn.jobs) {
    jobs.AddRow({"  " + Printable(job.job_id.value()), Printable(job.researcher.value()),
                 std::to_string(job.steps_reserved), std::to_string(job.steps_started),
                 job.is_released ? "over" : "open",
                 EpsilonText(job.is_released ? job.epsilon_started : job.epsilon_reserved),
                 EpsilonText(job.epsilon_started)});
  }
  jobs.Print(out);
}

nlohmann::ordered_json ToJson(const JobSpending& job) {
  return {{"job_id", job.job_id.value()},
          {"researcher", job.researcher.value()},
          {"reserved_at", FormatTime(job.reserved_at)},
          {"state", job.is_released ? "over" : "open"},
          {"steps_reserved", job.steps_reserved},
          {"steps_started", job.steps_started},
          {"rounds_started", job.rounds_started},
          {"rounds_committed", job.rounds_committed},
          {"epsilon_reserved", job.epsilon_reserved},
          {"epsilon_started", job.epsilon_started}};
}

nlohmann::ordered_json ToJson(const BurnDown& burn) {
  nlohmann::ordered_json jobs = nlohmann::ordered_json::array();
  for (const JobSpending& job : burn.jobs) jobs.push_back(ToJson(job));
  return {{"dataset", burn.dataset.value()},
          {"delta", burn.delta},
          {"privacy_unit", NameOf(burn.unit)},
          {"neighboring_relation", NameOf(burn.relation)},
          {"accountant", "rdp"},
          {"max_epsilon", burn.max_epsilon},
          {"epsilon_spent", burn.epsilon_spent},
          {"epsilon_reserved", burn.epsilon_held},
          {"epsilon_left", burn.epsilon_left},
          {"share_spent", burn.share_spent},
          {"share_reserved", burn.share_held},
          {"jobs", std::move(jobs)}};
}

// Nothing spent yet: the agent makes the ledger with its first private job.
StatusOr<privacy::LedgerSnapshot> Read(const privacy::LedgerFiles& files) {
  std::error_code error;
  const bool is_new = !std::filesystem::exists(files.database, error) &&
                      !std::filesystem::exists(files.head, error);
  if (is_new) return privacy::LedgerSnapshot{};
  return privacy::ReadLedger(files);
}

// Ends the job at this site, on every dataset that reserved for it: what it did not start is free.
Status Release(const Options& options, const v1::SiteConfig& config,
               const privacy::LedgerFiles& files, const Terminal& terminal) {
  const auto lock = storage::DirectoryLock::Acquire(files.database.parent_path());
  if (!lock.ok()) {
    return Annotate(lock.status(), "the agent has the ledger: stop it, release, start it again");
  }
  CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<privacy::Ledger> ledger,
                           privacy::Ledger::Open(files, terminal.clock));
  bool is_known = false;
  for (const v1::DatasetConfig& dataset : config.datasets()) {
    if (!dataset.has_privacy()) continue;
    CHORALE_ASSIGN_OR_RETURN(const privacy::Limits limits, privacy::LimitsOf(dataset.privacy()));
    for (const JobSpending& job : ledger->BurnDownOf(DatasetId(dataset.id()), limits).jobs) {
      if (job.job_id.value() != options.release) continue;
      is_known = true;
      CHORALE_RETURN_IF_ERROR(ledger->Release(job.reservation));
    }
  }
  return is_known ? OkStatus() : NotFound("the ledger has no job '" + options.release + "'");
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(v1::SiteConfig config, LoadSiteFile(options.directory));
  site_agent::FillDefaults(config);
  const privacy::LedgerFiles files =
      privacy::LedgerFilesIn(options.directory / config.state_directory(),
                             options.directory / config.identity_directory());
  if (!options.release.empty()) {
    CHORALE_RETURN_IF_ERROR(Release(options, config, files, terminal));
  }
  CHORALE_ASSIGN_OR_RETURN(const privacy::LedgerSnapshot ledger, Read(files));
  std::vector<BurnDown> burns;
  for (const v1::DatasetConfig& dataset : config.datasets()) {
    if (!dataset.has_privacy() || (!options.dataset.empty() && dataset.id() != options.dataset)) {
      continue;
    }
    CHORALE_ASSIGN_OR_RETURN(const privacy::Limits limits, privacy::LimitsOf(dataset.privacy()));
    burns.push_back(ledger.state.BurnDownOf(DatasetId(dataset.id()), limits));
  }
  if (!options.dataset.empty() && burns.empty()) {
    return NotFound("site.yaml has no dataset '" + options.dataset + "' with `privacy`");
  }
  if (options.format == OutputFormat::kJson) {
    nlohmann::ordered_json datasets = nlohmann::ordered_json::array();
    for (const BurnDown& burn : burns) datasets.push_back(ToJson(burn));
    terminal.out << nlohmann::ordered_json{{"ledger",
                                            {{"rows", ledger.head.seq},
                                             {"digest", ToHex(ledger.head.digest)}}},
                                           {"datasets", std::move(datasets)}}
                        .dump(1)
                 << '\n';
    return OkStatus();
  }
  if (burns.empty()) {
    terminal.out << "no dataset has a privacy budget: add `privacy` to it in site.yaml\n";
  }
  for (const BurnDown& burn : burns) Print(burn, terminal.out);
  return OkStatus();
}

}  // namespace

void AddSiteBudget(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("budget", "What jobs have spent of every dataset's privacy budget");
  verb->add_option("--dir", options->directory, "The site's directory")->required();
  verb->add_option("--dataset", options->dataset, "Only this dataset");
  verb->add_option("--release", options->release,
                   "First gives back what this job, which has ended, did not use; the agent must "
                   "not be running");
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
