#include "cli/privacy_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "privacy/statement.h"

namespace chorale::cli {
namespace {

// A number with an end that it may reach or not.
struct Bound {
  double value;
  bool is_reached;
};

std::string Describe(const Bound& low, const Bound& high) {
  std::ostringstream text;
  text << (low.is_reached ? "at least " : "above ") << low.value << " and "
       << (high.is_reached ? "at most " : "below ") << high.value;
  return text.str();
}

CLI::Validator Within(Bound low, Bound high) {
  return CLI::Validator(
      [low, high](const std::string& text) -> std::string {
        double value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool is_number = error == std::errc() && end == text.data() + text.size();
        const bool is_above = low.is_reached ? value >= low.value : value > low.value;
        const bool is_below = high.is_reached ? value <= high.value : value < high.value;
        if (is_number && is_above && is_below) return "";
        return "must be " + Describe(low, high) + ", got " + text;
      },
      "");
}

CLI::Validator WholeWithin(std::int64_t low, std::int64_t high) {
  return CLI::Validator(
      [low, high](const std::string& text) -> std::string {
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool is_number = error == std::errc() && end == text.data() + text.size();
        if (is_number && value >= low && value <= high) return "";
        return "must be a whole number in [" + std::to_string(low) + ", " + std::to_string(high) +
               "], got " + text;
      },
      "");
}

// One of a few names, or another spelling of one.
template <typename Value>
struct Choice {
  std::string name;
  Value value;
};

template <typename Value>
void AddChoice(CLI::App& verb, const std::string& option, Value& value,
               const std::vector<Choice<Value>>& choices, const std::string& expected,
               const std::string& what) {
  const auto take = [&value, choices, option, expected](const std::string& text) {
    for (const Choice<Value>& choice : choices) {
      if (choice.name != text) continue;
      value = choice.value;
      return;
    }
    throw CLI::ValidationError(option, "must be " + expected + ", got " + text);
  };
  verb.add_option_function<std::string>(option, take, what)->type_name("NAME");
}

using privacy::RepeatAndSelect;

std::string_view NameOf(RepeatAndSelect::Repetitions repetitions) {
  switch (repetitions) {
    case RepeatAndSelect::Repetitions::kLogarithmic:
      return "log";
    case RepeatAndSelect::Repetitions::kPoisson:
      return "poisson";
    case RepeatAndSelect::Repetitions::kGeometric:
      break;
  }
  return "geometric";
}

std::string HoldsFor(const PrivacyOptions& options) {
  std::ostringstream text;
  if (options.repetitions.has_value()) {
    text << "the best of a random number of runs (" << NameOf(*options.repetitions) << ", "
         << options.mean_runs << " on average), each of ";
  }
  text << options.steps << " steps";
  if (options.max_batch > 0) {
    text << " in batches of at most " << options.max_batch << " out of " << options.dataset_size;
  }
  text << " over one site's dataset";
  return text.str();
}

privacy::Statement StatementOf(const PrivacyOptions& options, const privacy::Guarantee& guarantee) {
  return {.guarantee = guarantee,
          .unit = options.unit,
          .relation = options.relation,
          .sampling = std::string(privacy::NameOf(options.sampling)),
          .accountant = options.accountant,
          .holds_for = HoldsFor(options)};
}

}  // namespace

void AddNoiseOption(CLI::App& verb, PrivacyOptions& options) {
  verb.add_option("--noise-multiplier", options.noise_multiplier,
                  "The noise's standard deviation over the clipping bound")
      ->required()
      ->check(Within({0.01, true}, {1e6, true}));
}

void AddSampleRateOption(CLI::App& verb, PrivacyOptions& options) {
  verb.add_option("--sample-rate", options.sample_rate,
                  "Expected share of the patients (or --unit) in a batch")
      ->required()
      ->check(Within({0, true}, {1, true}));
}

void AddStepsOption(CLI::App& verb, PrivacyOptions& options, bool is_required) {
  CLI::Option* option = verb.add_option("--steps", options.steps, "Number of noisy steps")
                            ->check(WholeWithin(1, 1'000'000'000));
  is_required ? option->required() : option->capture_default_str();
}

void AddSamplingOptions(CLI::App& verb, PrivacyOptions& options) {
  using privacy::NeighboringRelation;
  using privacy::Sampling;
  AddChoice<Sampling>(verb, "--sampling", options.sampling,
                      {{"poisson", Sampling::kPoisson},
                       {"fixed", Sampling::kFixedSize},
                       {"shuffled", Sampling::kShuffled}},
                      "poisson, fixed or shuffled",
                      "How batches are drawn: poisson (default), fixed or shuffled");
  AddChoice<NeighboringRelation>(verb, "--neighboring-relation", options.relation,
                                 {{"add-remove", NeighboringRelation::kAddOrRemoveOne},
                                  {"ADD_OR_REMOVE_ONE", NeighboringRelation::kAddOrRemoveOne},
                                  {"replace", NeighboringRelation::kReplaceOne},
                                  {"REPLACE_ONE", NeighboringRelation::kReplaceOne}},
                                 "add-remove or replace",
                                 "Which datasets are neighbours: add-remove (default) or replace");
}

void AddAccountingOptions(CLI::App& verb, PrivacyOptions& options) {
  using privacy::AccountantKind;
  using privacy::PrivacyUnit;
  verb.add_option("--delta,--target-delta", options.delta, "The delta of the guarantee")
      ->required()
      ->check(Within({0, false}, {1, false}));
  AddChoice<AccountantKind>(
      verb, "--accountant", options.accountant,
      {{"pld", AccountantKind::kPld}, {"prv", AccountantKind::kPld}, {"rdp", AccountantKind::kRdp}},
      "rdp or pld (gdp is known to report less than the truth)",
      "rdp, or pld (default; also as prv)");
  AddChoice<PrivacyUnit>(verb, "--unit", options.unit,
                         {{"patient", PrivacyUnit::kPatient},
                          {"record", PrivacyUnit::kRecord},
                          {"client", PrivacyUnit::kClient}},
                         "patient, record or client",
                         "What is sampled, clipped and hidden as one: patient (default), record or "
                         "client");
  verb.add_option("--interval", options.interval,
                  "Of the grid of pld; default 1e-4, finer where steps lose less than that")
      ->check(Within({1e-7, true}, {1, true}));
  AddChoice<bool>(verb, "--orders", options.use_extended_orders,
                  {{"standard", false}, {"extended", true}}, "standard or extended",
                  "Of rdp: standard (default: up to 63, as published figures) or extended (up to "
                  "1024, never worse)");
}

void AddScheduleOptions(CLI::App& verb, PrivacyOptions& options) {
  constexpr std::int64_t kMost = 1'000'000'000;
  verb.add_option("--max-batch", options.max_batch,
                  "Poisson batches are cut at so many; needs --dataset-size")
      ->check(WholeWithin(1, kMost));
  verb.add_option("--dataset-size", options.dataset_size,
                  "Patients (or --unit) in the dataset, a public number; needs --max-batch")
      ->check(WholeWithin(1, kMost));
  const auto take = [&options](const std::string& text) {
    for (const auto repetitions :
         {RepeatAndSelect::Repetitions::kLogarithmic, RepeatAndSelect::Repetitions::kGeometric,
          RepeatAndSelect::Repetitions::kPoisson}) {
      if (NameOf(repetitions) != text) continue;
      options.repetitions = repetitions;
      return;
    }
    throw CLI::ValidationError("--repetitions", "must be log, geometric or poisson, got " + text);
  };
  verb.add_option_function<std::string>(
          "--repetitions", take,
          "The best of a random number of runs is told, drawn from this distribution: log, "
          "geometric or poisson; needs --mean-runs and --accountant rdp")
      ->type_name("NAME");
  verb.add_option("--mean-runs", options.mean_runs, "Runs on average; needs --repetitions")
      ->check(Within({1, true}, {1e6, true}));
}

Status CheckSchedule(const PrivacyOptions& options) {
  if ((options.max_batch > 0) != (options.dataset_size > 0)) {
    return InvalidArgument("--max-batch and --dataset-size must be given together");
  }
  if (options.max_batch > 0 && options.sampling != privacy::Sampling::kPoisson) {
    return InvalidArgument(
        "--max-batch must go with --sampling poisson: other batches have a size");
  }
  if (options.repetitions.has_value() != (options.mean_runs > 0)) {
    return InvalidArgument("--repetitions and --mean-runs must be given together");
  }
  return OkStatus();
}

void AddTargetOption(CLI::App& verb, double& target_epsilon) {
  verb.add_option("--target-epsilon", target_epsilon, "The epsilon not to exceed")
      ->required()
      ->check(Within({0, false}, {1e6, true}));
}

void AddOrderOption(CLI::App& verb, double& order) {
  verb.add_option("--order", order, "Of the divergence")
      ->required()
      ->check(Within({1, false}, {1e6, true}));
}

privacy::Event EventOf(const PrivacyOptions& options) {
  const auto steps = static_cast<std::uint64_t>(options.steps);
  privacy::Event run =
      privacy::NoisySteps(options.sampling, options.sample_rate, options.noise_multiplier, steps);
  if (options.max_batch > 0) {
    run = {.kind =
               privacy::TruncatedPoissonGaussian{
                   .num_units = static_cast<std::uint64_t>(options.dataset_size),
                   .sample_rate = options.sample_rate,
                   .max_batch = static_cast<std::uint64_t>(options.max_batch),
                   .noise_multiplier = options.noise_multiplier},
           .count = steps};
  }
  if (!options.repetitions.has_value()) return run;
  return {.kind = RepeatAndSelect{.run = {std::move(run)},
                                  .repetitions = *options.repetitions,
                                  .mean = options.mean_runs}};
}

privacy::AccountingOptions AccountingOf(const PrivacyOptions& options) {
  return {
      .accountant = options.accountant,
      .relation = options.relation,
      .orders = options.use_extended_orders ? privacy::ExtendedOrders() : privacy::StandardOrders(),
      .interval = options.interval};
}

void PrintStatement(const PrivacyOptions& options, const privacy::Guarantee& guarantee,
                    std::ostream& out) {
  out << privacy::ToText(StatementOf(options, guarantee)) << '\n';
}

std::string ToJson(const PrivacyOptions& options, const privacy::Guarantee& guarantee,
                   const std::string& first_key) {
  const privacy::Statement statement = StatementOf(options, guarantee);
  const auto number_or_null = [](const std::optional<double>& value) {
    return value.has_value() ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json json;
  json[first_key] = nullptr;  // Keys keep the order in which they came.
  json["epsilon"] = guarantee.epsilon;
  json["delta"] = guarantee.delta;
  json["order"] = number_or_null(guarantee.order);
  json["privacy_unit"] = privacy::NameOf(statement.unit);
  json["neighboring_relation"] = privacy::NameOf(statement.relation);
  json["sampling"] = statement.sampling;
  json["accountant"] = privacy::NameOf(statement.accountant);
  json["holds_for"] = statement.holds_for;
  json["noise_multiplier"] = options.noise_multiplier;
  json["sample_rate"] = options.sample_rate;
  json["steps"] = options.steps;
  json["interval"] = number_or_null(guarantee.interval);
  if (options.max_batch > 0) {
    json["max_batch"] = options.max_batch;
    json["dataset_size"] = options.dataset_size;
  }
  if (options.repetitions.has_value()) {
    json["repetitions"] = NameOf(*options.repetitions);
    json["mean_runs"] = options.mean_runs;
  }
  return json.dump();
}

}  // namespace chorale::cli
