#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include "cli/new_file.h"
#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/storage/file.h"
#include "data/synthetic.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  std::uint64_t seed = 0;
};

Status Run(const Options& options, const Terminal& terminal) {
  const std::filesystem::path directory = Absolute(options.directory);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Unavailable("cannot create " + directory.string() + ": " + error.message());
  for (const data::SyntheticHospital& hospital : data::DefaultSyntheticHospitals()) {
    const std::string csv = data::MakeSyntheticHospital(hospital, options.seed);
    const std::filesystem::path file = directory / (hospital.name + ".csv");
    CHORALE_RETURN_IF_ERROR(
        storage::WriteFileAtomically(file, AsBytes(csv), storage::FileMode::kPublic));
    terminal.out << file.string() << ": " << hospital.num_rows << " rows\n";
  }
  return OkStatus();
}

}  // namespace

void AddDataSynthetic(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("synthetic", "Writes CSV files of four made-up hospitals");
  verb->add_option("--out", options->directory, "Directory for the files")->required();
  verb->add_option("--seed", options->seed, "The same seed gives the same files")->required();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
