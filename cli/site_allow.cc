#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "chorale/v1/model.pb.h"
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
  std::vector<v1::SumKind> sums;
  std::uint64_t max_parameters = 100000;
  std::uint32_t max_rounds = 100;
  std::uint32_t max_local_epochs = 10;
  std::uint32_t min_examples = 10;
  bool unmasked = false;
};

// What is wrong with a model that a rule names, or nothing.
std::string CheckModel(const std::string& name) {
  const bool is_digest =
      name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
  const bool is_in_zoo =
      name != "graph" && v1::ModelSpec::descriptor()->FindFieldByName(name) != nullptr;
  if (is_digest || is_in_zoo) return {};
  return "must be the name of a model, such as logistic_regression, or the digest of a graph as "
         "`chorale model show` prints it, got '" +
         name + "'";
}

Status Run(const Options& options, const Terminal& terminal) {
  v1::PolicyRule rule;
  rule.mutable_researchers()->Add(options.researchers.begin(), options.researchers.end());
  rule.mutable_datasets()->Add(options.datasets.begin(), options.datasets.end());
  rule.mutable_models()->Add(options.models.begin(), options.models.end());
  for (const v1::MetricKind metric : options.metrics) rule.add_metrics(metric);
  for (const v1::SumKind kind : options.sums) rule.add_sums(kind);
  rule.set_max_parameters(options.max_parameters);
  rule.set_max_rounds(options.max_rounds);
  rule.set_max_local_epochs(options.max_local_epochs);
  rule.set_min_examples(options.min_examples);
  rule.set_unmasked(options.unmasked);
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
  add_list(
      "--model", options->models,
      "Which models: logistic_regression, cox, cnn2d, ..., or a graph's digest; may be repeated")
      ->required()
      ->check(CLI::Validator(CheckModel, "", "MODEL"));
  const std::map<std::string, v1::MetricKind> metrics = {{"loss", v1::METRIC_KIND_LOSS},
                                                         {"accuracy", v1::METRIC_KIND_ACCURACY},
                                                         {"auroc", v1::METRIC_KIND_AUROC}};
  add_list("--metric", options->metrics,
           "Metrics that may leave: loss, accuracy, auroc; none by default")
      ->transform(CLI::CheckedTransformer(metrics).description(""))
      ->type_name("METRIC");
  const std::map<std::string, v1::SumKind> sums = {{"newton", v1::SUM_KIND_NEWTON},
                                                   {"histogram", v1::SUM_KIND_HISTOGRAM}};
  add_list("--sums", options->sums,
           "Sums that may leave and tell more of rows than an update: newton, histogram; none by "
           "default")
      ->transform(CLI::CheckedTransformer(sums).description(""))
      ->type_name("SUMS");
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
  verb->add_flag("--unmasked", options->unmasked,
                 "Also jobs without secure aggregation: the coordinator sees every report");
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
