#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "cli/model_writer.h"
#include "cli/new_file.h"
#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path researcher;
  std::string job_id;
  std::filesystem::path directory;
};

Status Run(const Options& options, const Terminal& terminal) {
  const Time now = terminal.clock.WallNow();
  const std::filesystem::path directory = Absolute(options.directory);
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher, OpenResearcher(options.researcher, now));
  std::optional<ModelWriter> writer;
  CHORALE_RETURN_IF_ERROR(researcher.jobs->PullModel(
      options.job_id,
      [&](const v1::PullModelHeader& header) -> Status {
        writer.reset();  // Its file goes, before the next one takes the place.
        CHORALE_ASSIGN_OR_RETURN(writer, ModelWriter::Create(directory, options.job_id, header,
                                                             researcher.identity.root(), now));
        return OkStatus();
      },
      [&](const v1::Chunk& chunk) { return writer->Append(chunk); },
      [&](std::uint64_t received) {
        terminal.err << "The connection was lost; going on after " << FormatBytes(received)
                     << ".\n";
      }));
  if (!writer.has_value()) return DataLoss("the coordinator sent no model");
  const std::uint64_t num_parameters = writer->num_parameters();
  const std::uint64_t size_bytes = writer->size_bytes();
  CHORALE_RETURN_IF_ERROR((*std::move(writer)).Finish());
  terminal.out << (directory / "model.safetensors").string() << ": " << num_parameters
               << " parameters, " << FormatBytes(size_bytes) << ", digest verified\n"
               << (directory / "manifest.json").string()
               << ": signature of the coordinator verified\n";
  return OkStatus();
}

}  // namespace

void AddModelPull(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("pull", "Fetches a job's last published model, verified");
  verb->add_option("id", options->job_id, "The job")->required();
  verb->add_option("--out", options->directory, "Directory for model.safetensors and manifest.json")
      ->required();
  AddResearcherOption(*verb, options->researcher);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
