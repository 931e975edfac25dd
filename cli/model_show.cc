#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "chorale/v1/jobs.pb.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "core/bytes.h"
#include "core/config/yaml.h"
#include "core/storage/file.h"
#include "data/data_spec.h"
#include "models/graph.h"
#include "models/model.h"

namespace chorale::cli {
namespace {

constexpr std::uint64_t kMaxModelFileBytes = 1 << 20;

struct Options {
  std::filesystem::path file;
  std::optional<std::uint64_t> num_inputs;
  OutputFormat format = OutputFormat::kText;
};

// A model as some file tells it, and its name.
struct Shown {
  std::string kind;
  models::GraphPlan plan;
};

StatusOr<Shown> ReadJob(const std::string& text, const Options& options) {
  v1::JobSpec job;
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(text, options.file.string(), job));
  if (options.num_inputs.has_value()) {
    return InvalidArgument(options.file.string() +
                           " is a job, whose features tell the inputs; leave --inputs out");
  }
  CHORALE_RETURN_IF_ERROR(
      config::Locate(data::Validate(job.data(), "data"), text, options.file.string()));
  StatusOr<models::GraphPlan> plan = models::PlanOf(job.model(), data::NumInputs(job.data()));
  if (!plan.ok()) return config::Locate(plan.status(), text, options.file.string());
  return Shown{models::KindName(job.model()), *std::move(plan)};
}

StatusOr<Shown> ReadGraph(const std::string& text, const Options& options) {
  v1::ModelGraph graph;
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(text, options.file.string(), graph));
  StatusOr<models::GraphPlan> plan = models::GraphPlan::Create(std::move(graph), "");
  if (!plan.ok()) return config::Locate(plan.status(), text, options.file.string());
  const std::uint64_t num_inputs = options.num_inputs.value_or(plan->num_inputs());
  if (num_inputs != plan->num_inputs()) {
    return InvalidArgument("the graph takes " + std::to_string(plan->num_inputs()) +
                           " inputs, and --inputs says " + std::to_string(num_inputs));
  }
  return Shown{"graph", *std::move(plan)};
}

StatusOr<Shown> ReadSpec(const std::string& text, const Options& options) {
  v1::ModelSpec spec;
  CHORALE_RETURN_IF_ERROR(config::ParseYaml(text, options.file.string(), spec));
  std::optional<std::uint64_t> num_inputs = options.num_inputs;
  if (!num_inputs.has_value() && spec.has_graph()) {
    const auto plan = models::GraphPlan::Create(spec.graph(), "graph");
    if (!plan.ok()) return config::Locate(plan.status(), text, options.file.string());
    num_inputs = plan->num_inputs();
  }
  if (!num_inputs.has_value()) {
    return InvalidArgument(options.file.string() +
                           " names a model without data; say with --inputs how many numbers an "
                           "example has");
  }
  StatusOr<models::GraphPlan> plan = models::PlanOf(spec, *num_inputs);
  if (!plan.ok()) return config::Locate(plan.status(), text, options.file.string());
  return Shown{models::KindName(spec), *std::move(plan)};
}

// What the file is shows in a key that every one of its kind has.
StatusOr<Shown> ReadModel(const Options& options) {
  CHORALE_ASSIGN_OR_RETURN(const std::string text,
                           storage::ReadFile(options.file, kMaxModelFileBytes));
  if (config::LineOf(text, "model") > 0) return ReadJob(text, options);
  if (config::LineOf(text, "nodes") > 0) return ReadGraph(text, options);
  return ReadSpec(text, options);
}

// The layers as they were worked out, beside the whole graph with every default written out.
Status PrintShownJson(const Shown& shown, std::ostream& out) {
  using Json = nlohmann::ordered_json;
  const models::GraphPlan& plan = shown.plan;
  CHORALE_ASSIGN_OR_RETURN(const std::string graph, ToJson(plan.graph(), JsonStyle::kLine));
  Json layers = Json::array();
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const models::GraphStep& step = plan.steps()[i];
    Json parameters = Json::array();
    for (std::size_t p = 0; p < step.num_parameters; ++p) {
      const models::GraphParameter& parameter = plan.parameters()[step.first_parameter + p];
      parameters.push_back({{"name", parameter.name},
                            {"shape", parameter.shape},
                            {"trainable", parameter.is_trainable}});
    }
    layers.push_back({{"name", plan.graph().nodes(static_cast<int>(i)).name()},
                      {"shape", step.output},
                      {"parameters", parameters},
                      {"multiply_adds", step.multiply_adds}});
  }
  const Json document = {{"model", shown.kind},
                         {"digest", ToHex(plan.digest())},
                         {"num_inputs", plan.num_inputs()},
                         {"num_outputs", plan.num_outputs()},
                         {"num_parameters", plan.layout().num_parameters()},
                         {"multiply_adds", plan.multiply_adds()},
                         {"layers", layers},
                         {"graph", Json::parse(graph)}};
  out << document.dump(2) << '\n';
  return OkStatus();
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const Shown shown, ReadModel(options));
  if (options.format == OutputFormat::kJson) return PrintShownJson(shown, terminal.out);
  terminal.out << Printable(models::Describe(shown.plan));
  return OkStatus();
}

}  // namespace

void AddModelShow(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "show", "Shows a model before it is trained: layers, shapes, parameters, digest");
  verb->add_option("file", options->file, "A job.yaml, or YAML of a model or of a graph alone")
      ->required();
  verb->add_option("--inputs", options->num_inputs,
                   "Numbers of an example; for a model by name, without a job");
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
