#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/output.h"
#include "cli/privacy_options.h"
#include "cli/verbs.h"
#include "privacy/rdp_curve.h"

namespace chorale::cli {
namespace {

struct Options {
  PrivacyOptions schedule;
  double order = 2;
  OutputFormat format = OutputFormat::kJson;
};

Status Run(const Options& options, const Terminal& terminal) {
  const PrivacyOptions& schedule = options.schedule;
  CHORALE_ASSIGN_OR_RETURN(
      const privacy::RdpCurve curve,
      privacy::ComputeRdpCurve(EventOf(schedule), schedule.relation, {&options.order, 1}));
  if (options.format == OutputFormat::kText) {
    terminal.out << "rdp " << curve.values.front() << " at order " << options.order
                 << ", neighbours by " << privacy::NameOf(schedule.relation) << ", sampling "
                 << privacy::NameOf(schedule.sampling) << ", for " << schedule.steps << " steps\n";
    return OkStatus();
  }
  nlohmann::ordered_json json;
  json["rdp"] = curve.values.front();
  json["order"] = options.order;
  json["neighboring_relation"] = privacy::NameOf(schedule.relation);
  json["sampling"] = privacy::NameOf(schedule.sampling);
  json["noise_multiplier"] = schedule.noise_multiplier;
  json["sample_rate"] = schedule.sample_rate;
  json["steps"] = schedule.steps;
  terminal.out << json.dump() << '\n';
  return OkStatus();
}

}  // namespace

void AddPrivacyRdp(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "rdp", "The Renyi divergence of noisy steps at one order, as JSON unless told otherwise");
  AddOrderOption(*verb, options->order);
  AddNoiseOption(*verb, options->schedule);
  AddSampleRateOption(*verb, options->schedule);
  AddStepsOption(*verb, options->schedule, false);
  AddSamplingOptions(*verb, options->schedule);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
