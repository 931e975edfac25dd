#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/new_file.h"
#include "cli/site_file.h"
#include "cli/verbs.h"
#include "core/ids.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  std::string id;
  std::filesystem::path csv;
  std::string split_column;
  std::string patient_column;
  std::vector<std::string> keep;
  std::vector<std::string> arrays;
  std::string delimiter;
  std::string decimal;
  std::string encoding;
  std::string missing;
  bool has_missing = false;
  std::vector<std::string> columns;
  v1::MissingRows on_missing = v1::MISSING_ROWS_UNSPECIFIED;
  double max_epsilon = 0;
  double delta = 0;
};

// Empty pieces count: an empty cell is a marker of a missing value.
std::vector<std::string> SplitAtCommas(std::string_view text) {
  std::vector<std::string> pieces;
  while (true) {
    const std::size_t comma = text.find(',');
    pieces.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return pieces;
    text.remove_prefix(comma + 1);
  }
}

Status AddArrays(const std::vector<std::string>& arrays, v1::DatasetConfig& dataset) {
  for (const std::string& array : arrays) {
    const std::size_t equals = array.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return InvalidArgument("--array must read COLUMN=FILE.npy, got '" + array + "'");
    }
    const std::filesystem::path path = Absolute(array.substr(equals + 1));
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) {
      return NotFound("--array: there is no file " + path.string());
    }
    v1::ArrayFile& file = *dataset.add_arrays();
    file.set_column(array.substr(0, equals));
    file.set_path(path.string());
  }
  return OkStatus();
}

StatusOr<v1::DatasetConfig> ToDataset(const Options& options) {
  v1::DatasetConfig dataset;
  CHORALE_RETURN_IF_ERROR(ValidateName("--id", options.id));
  dataset.set_id(options.id);
  v1::CsvConnector& csv = *dataset.mutable_csv();
  const std::filesystem::path path = Absolute(options.csv);
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return NotFound("--csv: there is no file " + path.string());
  }
  csv.set_path(path.string());
  csv.set_delimiter(options.delimiter == "tab" ? "\t" : options.delimiter);
  csv.set_decimal(options.decimal);
  csv.set_encoding(options.encoding);
  if (options.has_missing) {
    for (const std::string& marker : SplitAtCommas(options.missing)) csv.add_missing(marker);
  }
  for (const std::string& column : options.columns) csv.add_columns(column);
  csv.set_on_missing(options.on_missing);
  dataset.set_split_column(options.split_column);
  dataset.set_patient_column(options.patient_column);
  for (const std::string& keep : options.keep) {
    const std::size_t equals = keep.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return InvalidArgument("--keep must read COLUMN=VALUE,VALUE, got '" + keep + "'");
    }
    v1::RowFilter& filter = *dataset.add_keep();
    filter.set_column(keep.substr(0, equals));
    for (const std::string& value : SplitAtCommas(std::string_view(keep).substr(equals + 1)))
      filter.add_values(value);
  }
  CHORALE_RETURN_IF_ERROR(AddArrays(options.arrays, dataset));
  if (options.max_epsilon != 0) {
    dataset.mutable_privacy()->set_max_epsilon(options.max_epsilon);
    dataset.mutable_privacy()->set_delta(options.delta);
  }
  return dataset;
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const v1::DatasetConfig dataset, ToDataset(options));
  CHORALE_RETURN_IF_ERROR(AddDataset(options.directory, dataset));
  terminal.out << "Dataset '" << dataset.id() << "' added to "
               << SiteFilePath(options.directory).string()
               << ". No job may use it before a rule allows it:\n"
               << "  chorale site allow --dir " << options.directory.string()
               << " --researcher NAME --dataset " << dataset.id()
               << " --model logistic_regression --metric loss\n";
  return OkStatus();
}

}  // namespace

void AddSiteDatasetAdd(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("add", "Offers a table, by an entry in site.yaml");
  verb->add_option("--dir", options->directory, "The site's directory")->required();
  verb->add_option("--id", options->id, "The name that jobs use: a-z, 0-9 and -")->required();
  verb->add_option("--csv", options->csv, "The CSV file; it stays where it is")->required();
  verb->add_option("--split-column", options->split_column,
                   "Column that holds train or test; default: all rows train");
  verb->add_option("--patient-column", options->patient_column,
                   "Column that groups rows of one patient; default: every row is a patient");
  verb->add_option("--keep", options->keep,
                   "COLUMN=VALUE,VALUE: only these rows are used; may be repeated")
      ->allow_extra_args(false);
  verb->add_option("--array", options->arrays,
                   "COLUMN=FILE.npy: numbers of the examples, such as images; the column holds the "
                   "place in the file, from 0; may be repeated")
      ->allow_extra_args(false);
  verb->add_option("--delimiter", options->delimiter, "One character, or tab; default: a comma");
  verb->add_option("--decimal", options->decimal, "Decimal sign; default: .")
      ->check(CLI::IsMember({".", ","}));
  verb->add_option("--encoding", options->encoding, "Default: utf-8")
      ->check(CLI::IsMember({"utf-8", "latin-1"}));
  CLI::Option* missing =
      verb->add_option("--missing", options->missing,
                       "Markers of a missing value, separated by commas; default: \",?,NA,NaN\"");
  verb->add_option("--columns", options->columns, "Column names, for a file without a header")
      ->delimiter(',')
      ->allow_extra_args(false);
  const std::map<std::string, v1::MissingRows> on_missing = {{"drop", v1::MISSING_ROWS_DROP},
                                                             {"refuse", v1::MISSING_ROWS_REFUSE}};
  verb->add_option("--on-missing", options->on_missing,
                   "Rows that lack a used value: drop, or refuse the dataset")
      ->transform(CLI::CheckedTransformer(on_missing).description(""))
      ->type_name("drop|refuse");
  CLI::Option* max_epsilon =
      verb->add_option("--max-epsilon", options->max_epsilon,
                       "What all jobs together may learn of one patient: takes private jobs alone")
          ->check(CLI::Range(0.05, 100.0));
  CLI::Option* delta =
      verb->add_option("--delta", options->delta, "The delta of --max-epsilon, such as 1e-5")
          ->check(CLI::Range(1e-10, 0.01));
  max_epsilon->needs(delta);
  delta->needs(max_epsilon);
  verb->callback([options, missing, &command] {
    options->has_missing = missing->count() > 0;
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
