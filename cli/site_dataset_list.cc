#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <utility>

#include "cli/output.h"
#include "cli/site_file.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  OutputFormat format = OutputFormat::kText;
};

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const v1::SiteConfig config, LoadSiteFile(options.directory));
  if (options.format == OutputFormat::kJson) {
    nlohmann::ordered_json datasets = nlohmann::ordered_json::array();
    for (const v1::DatasetConfig& dataset : config.datasets()) {
      CHORALE_ASSIGN_OR_RETURN(const std::string json, ToJson(dataset, JsonStyle::kLine));
      datasets.push_back(nlohmann::ordered_json::parse(json, nullptr, /*allow_exceptions=*/false));
    }
    terminal.out << nlohmann::ordered_json{{"datasets", std::move(datasets)}}.dump(1) << '\n';
    return OkStatus();
  }
  Table table({"DATASET", "FILE", "SPLIT", "PATIENT", "KEEP"});
  for (const v1::DatasetConfig& dataset : config.datasets()) {
    std::string keep;
    for (const v1::RowFilter& filter : dataset.keep()) {
      keep += (keep.empty() ? "" : " ") + filter.column() + "=";
      for (int i = 0; i < filter.values_size(); ++i) keep += (i == 0 ? "" : ",") + filter.values(i);
    }
    const auto cell = [](const std::string& text) {
      return text.empty() ? std::string("-") : text;
    };
    table.AddRow({dataset.id(), dataset.csv().path(), cell(dataset.split_column()),
                  cell(dataset.patient_column()), cell(keep)});
  }
  table.Print(terminal.out);
  return OkStatus();
}

}  // namespace

void AddSiteDatasetList(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("list", "Lists the tables that site.yaml offers");
  verb->add_option("--dir", options->directory, "The site's directory")->required();
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
