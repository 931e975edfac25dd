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
  const auto event_with = [&](double noise) {
    schedule.noise_multiplier = noise;
    return EventOf(schedule);
  };
  CHORALE_ASSIGN_OR_RETURN(
      const privacy::CalibratedNoise calibrated,
      privacy::CalibrateNoise(event_with,
                              {.epsilon = options.target_epsilon, .delta = schedule.delta},
                              AccountingOf(schedule)));
  schedule.noise_multiplier = calibrated.noise_multiplier;
  if (options.format == OutputFormat::kJson) {
    terminal.out << ToJson(schedule, calibrated.guarantee, "noise_multiplier") << '\n';
    return OkStatus();
  }
  const std::streamsize digits = terminal.out.precision(7);  // As many as it has.
  terminal.out << "noise multiplier " << calibrated.noise_multiplier << '\n';
  terminal.out.precision(digits);
  PrintStatement(schedule, calibrated.guarantee, terminal.out);
  return OkStatus();
}

}  // namespace

void AddPrivacyNoise(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("noise", "The least noise that keeps noisy steps within an epsilon");
  AddTargetOption(*verb, options->target_epsilon);
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
