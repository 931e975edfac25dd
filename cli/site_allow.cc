#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/site_file.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path directory;
  std::vector<std::string> researchers;
  std::vector<std::string> datasets;
  std::vector<std::string> models;
  std::vector<v1::MetricKind> metrics;
  std::uint64_t max_parameters = 100000;
  std::uint32_t max_rounds = 100;
  std::uint32_t max_local_epochs = 10;
  std::uint32_t min_examples = 10;
};

Status Run(const Options& options, const Terminal& terminal) {
  v1::PolicyRule rule;
  rule.mutable_researchers()->Add(options.researchers.begin(), options.researchers.end());
  rule.mutable_datasets()->Add(options.datasets.begin(), options.datasets.end());
  rule.mutable_models()->Add(options.models.begin(), options.models.end());
  for (const v1::MetricKind metric : options.metrics) rule.add_metrics(metric);
  rule.set_max_parameters(options.max_parameters);
  rule.set_max_rounds(options.max_rounds);
  rule.set_max_local_epochs(options.max_local_epochs);
  rule.set_min_examples(options.min_examples);
  CHORALE_RETURN_IF_ERROR(AddPolicyRule(options.directory, rule));
  terminal.out << "Rule added to " << SiteFilePath(options.directory).string()
               << ". A running agent follows it once it is started again.\n";
  return OkStatus();
}

}  // namespace

void AddSiteAllow(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb =
      group.add_subcommand("allow", "Allows researchers something, by a rule in site.yaml");
  const auto add_list = [verb](const std::string& name, auto& list, const std::string& what) {
    return verb->add_option(name, list, what)->delimiter(',')->allow_extra_args(false);
  };
  verb->add_option("--dir", options->directory, "The site's directory")->required();
  add_list("--researcher", options->researchers, "Who; may be repeated")->required();
  add_list("--dataset", options->datasets, "Which datasets; may be repeated")->required();
  add_list("--model", options->models, "Which models: logistic_regression, mlp; may be repeated")
      ->required()
      ->check(CLI::IsMember({"logistic_regression", "mlp"}));
  const std::map<std::string, v1::MetricKind> metrics = {{"loss", v1::METRIC_KIND_LOSS},
                                                         {"accuracy", v1::METRIC_KIND_ACCURACY}};
  add_list("--metric", options->metrics, "Metrics that may leave: loss, accuracy; none by default")
      ->transform(CLI::CheckedTransformer(metrics).description(""))
      ->type_name("METRIC");
  verb->add_option("--max-parameters", options->max_parameters, "Largest model")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--max-rounds", options->max_rounds, "Most rounds of a job")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--max-local-epochs", options->max_local_epochs,
                   "Most passes over the data in a round")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--min-examples", options->min_examples,
                   "Training rows below which the site refuses")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
