#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "cli/output.h"
#include "cli/privacy_options.h"
#include "cli/verbs.h"
#include "privacy/calibration.h"

namespace chorale::cli {
namespace {

struct Options {
  PrivacyOptions schedule;
  double target_epsilon = 0;
  OutputFormat format = OutputFormat::kText;
};

Status Run(const Options& options, const Terminal& terminal) {
  PrivacyOptions schedule = options.schedule;
  CHORALE_RETURN_IF_ERROR(CheckSchedule(schedule));
  const auto event_with = [&](std::uint64_t steps) {
    schedule.steps = static_cast<std::int64_t>(steps);
    return EventOf(schedule);
  };
  CHORALE_ASSIGN_OR_RETURN(
      const privacy::CalibratedSteps calibrated,
      privacy::CalibrateSteps(event_with,
                              {.epsilon = options.target_epsilon, .delta = schedule.delta},
                              AccountingOf(schedule)));
  schedule.steps = static_cast<std::int64_t>(calibrated.steps);
  if (options.format == OutputFormat::kJson) {
    terminal.out << ToJson(schedule, calibrated.guarantee, "steps") << '\n';
    return OkStatus();
  }
  terminal.out << "steps " << calibrated.steps << '\n';
  PrintStatement(schedule, calibrated.guarantee, terminal.out);
  return OkStatus();
}

}  // namespace

void AddPrivacySteps(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand("steps", "The most noisy steps within an epsilon");
  AddTargetOption(*verb, options->target_epsilon);
  AddNoiseOption(*verb, options->schedule);
  AddSampleRateOption(*verb, options->schedule);
  AddAccountingOptions(*verb, options->schedule);
  AddSamplingOptions(*verb, options->schedule);
  AddScheduleOptions(*verb, options->schedule);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
