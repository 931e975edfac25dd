#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "cli/output.h"
#include "cli/privacy_options.h"
#include "cli/verbs.h"
#include "privacy/accountant.h"

namespace chorale::cli {
namespace {

struct Options {
  PrivacyOptions schedule;
  OutputFormat format = OutputFormat::kText;
};

Status Run(const Options& options, const Terminal& terminal) {
  const PrivacyOptions& schedule = options.schedule;
  CHORALE_RETURN_IF_ERROR(CheckSchedule(schedule));
  CHORALE_ASSIGN_OR_RETURN(
      const privacy::Guarantee guarantee,
      privacy::EpsilonFor(EventOf(schedule), schedule.delta, AccountingOf(schedule)));
  if (options.format == OutputFormat::kJson) {
    terminal.out << ToJson(schedule, guarantee, "epsilon") << '\n';
  } else {
    PrintStatement(schedule, guarantee, terminal.out);
  }
  return OkStatus();
}

}  // namespace

void AddPrivacyEpsilon(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("epsilon", "What noisy steps cost: epsilon at a delta");
  AddNoiseOption(*verb, options->schedule);
  AddSampleRateOption(*verb, options->schedule);
  AddStepsOption(*verb, options->schedule, true);
  AddAccountingOptions(*verb, options->schedule);
  AddSamplingOptions(*verb, options->schedule);
  AddScheduleOptions(*verb, options->schedule);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
