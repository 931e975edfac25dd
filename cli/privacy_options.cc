#include "cli/privacy_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <string_view>
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

privacy::Statement StatementOf(const PrivacyOptions& options, const privacy::Guarantee& guarantee) {
  return {.guarantee = guarantee,
          .unit = options.unit,
          .relation = options.relation,
          .sampling = std::string(privacy::NameOf(options.sampling)),
          .accountant = options.accountant,
          .holds_for = std::to_string(options.steps) + " steps over one site's dataset"};
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
  return privacy::NoisySteps(options.sampling, options.sample_rate, options.noise_multiplier,
                             static_cast<std::uint64_t>(options.steps));
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
  return json.dump();
}

}  // namespace chorale::cli
