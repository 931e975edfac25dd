#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/site_file.h"
#include "cli/verbs.h"
#include "data/csv_reader.h"
#include "identity/identity.h"
#include "identity/party.h"
#include "site_agent/config.h"

namespace chorale::cli {
namespace {

constexpr std::chrono::hours kRenewBefore(24 * 30);

struct Options {
  std::filesystem::path directory;
};

// Every check is made and told, so that one run shows all there is to mend. The first failure is
// the verb's.
class Checklist {
 public:
  explicit Checklist(std::ostream& out) : out_(out) {}
  void Record(const std::string& what, const Status& status, const std::string& detail = "") {
    out_ << (status.ok() ? "ok      " : "FAILED  ") << what;
    if (!detail.empty() && status.ok()) out_ << ": " << Printable(detail);
    if (!status.ok()) out_ << ": " << Printable(MessageOf(status));
    out_ << '\n';
    if (first_failure_.ok()) first_failure_ = status;
    if (!status.ok()) ++failures_;
  }
  // Fails nothing, but is worth a thought.
  void Note(const std::string& what, const std::string& detail) {
    out_ << "note    " << what << ": " << Printable(detail) << '\n';
  }
  [[nodiscard]] Status Summary() const {
    if (first_failure_.ok()) return OkStatus();
    return MakeStatus(
        first_failure_.code(),
        std::to_string(failures_) + (failures_ == 1 ? " check" : " checks") + " failed; see above");
  }

 private:
  std::ostream& out_;
  Status first_failure_;
  int failures_ = 0;
};

Status CheckColumn(const data::CsvTable& table, const std::string& key, const std::string& column) {
  if (column.empty() ||
      std::find(table.columns.begin(), table.columns.end(), column) != table.columns.end()) {
    return OkStatus();
  }
  return InvalidArgument(key + " names '" + column + "', which is no column of the file");
}

void CheckDataset(const v1::DatasetConfig& dataset, const std::filesystem::path& directory,
                  Checklist& checks) {
  const std::string what = "dataset " + dataset.id();
  const auto table = data::ReadCsv(directory / dataset.csv().path(), dataset.csv());
  if (!table.ok()) return checks.Record(what, table.status());
  Status status = CheckColumn(*table, "split_column", dataset.split_column());
  if (status.ok()) status = CheckColumn(*table, "patient_column", dataset.patient_column());
  for (const v1::RowFilter& filter : dataset.keep()) {
    if (status.ok()) status = CheckColumn(*table, "keep", filter.column());
  }
  checks.Record(what, status,
                std::to_string(table->rows.size()) + " rows, " +
                    std::to_string(table->columns.size()) + " columns");
}

// A budget counts what is asked of one id: a table under two of them is counted apart, or not at
// all.
void NoteSharedTables(const v1::SiteConfig& config, const std::filesystem::path& directory,
                      Checklist& checks) {
  const auto table_of = [&directory](const v1::DatasetConfig& dataset) {
    std::error_code error;
    return std::filesystem::weakly_canonical(directory / dataset.csv().path(), error);
  };
  for (const v1::DatasetConfig& dataset : config.datasets()) {
    if (!dataset.has_privacy()) continue;
    for (const v1::DatasetConfig& other : config.datasets()) {
      if (other.id() == dataset.id() || table_of(other) != table_of(dataset)) continue;
      checks.Note("dataset " + dataset.id(),
                  "its privacy budget does not count jobs on dataset " + other.id() +
                      ", which offers the same table" +
                      (other.has_privacy() ? " within a budget of its own" : " without a budget"));
    }
  }
}

void CheckIdentity(const v1::SiteConfig& config, Time now, Checklist& checks) {
  const auto identity = identity::Identity::Load(config.identity_directory(), now);
  if (!identity.ok()) return checks.Record("identity", identity.status());
  const identity::Party& party = identity->party();
  if (party.role != v1::PARTY_ROLE_SITE) {
    return checks.Record(
        "identity", InvalidArgument("this is a " + identity::RoleName(party.role) +
                                    "'s certificate; enrol with a token that was made for a site"));
  }
  const Time not_after = identity->certificate().fields().not_after;
  std::string detail = "site '" + party.name + "' of federation '" + party.federation +
                       "', valid until " + FormatTime(not_after);
  if (not_after - now < kRenewBefore)
    detail += "; ask for a new one with `chorale site enrol --renew`";
  checks.Record("identity", OkStatus(), detail);
}

Status Run(const Options& options, const Terminal& terminal) {
  Checklist checks(terminal.out);
  const std::filesystem::path file = SiteFilePath(options.directory);
  const auto config = site_agent::LoadSiteConfig(file);
  if (!config.ok()) {
    checks.Record("site.yaml", config.status());
    return checks.Summary();
  }
  checks.Record("site.yaml", OkStatus(),
                std::to_string(config->datasets_size()) + " datasets, " +
                    std::to_string(config->policy().allow_size()) + " rules");
  CheckIdentity(*config, terminal.clock.WallNow(), checks);
  for (const v1::DatasetConfig& dataset : config->datasets())
    CheckDataset(dataset, options.directory, checks);
  NoteSharedTables(*config, options.directory, checks);
  return checks.Summary();
}

}  // namespace

void AddSiteCheck(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("check", "Checks site.yaml, the identity and every data file");
  verb->add_option("--dir", options->directory, "The site's directory")->required();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
