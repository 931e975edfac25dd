#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;

class PrivacyVerbsTest : public CommandLineTest {
 protected:
  nlohmann::json Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "privacy");
    arguments.insert(arguments.end(), {"--format", "json"});
    return nlohmann::json::parse(MustRun(arguments));
  }
  std::string Error(std::vector<std::string> arguments, ExitCode code = ExitCode::kUsage) {
    arguments.insert(arguments.begin(), "privacy");
    const Result result = Run(arguments);
    EXPECT_EQ(result.code, code) << testing::PrintToString(arguments) << result.err;
    EXPECT_TRUE(result.out.empty());
    return result.err;
  }
  // Of 1000 steps, with one option changed or added.
  static std::vector<std::string> Epsilon(const std::vector<std::string>& more,
                                          const std::string& noise = "1") {
    std::vector<std::string> arguments = {"epsilon", "--noise-multiplier",
                                          noise,     "--sample-rate",
                                          "0.01",    "--steps",
                                          "1000",    "--delta",
                                          "1e-5"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

TEST_F(PrivacyVerbsTest, AnswersWithEpsilonDeltaAndOrder) {
  const nlohmann::json rdp = Json(Epsilon({"--accountant", "rdp"}));
  EXPECT_NEAR(rdp["epsilon"], 2.1013653, 1e-6);
  EXPECT_EQ(rdp["delta"], 1e-5);
  EXPECT_NEAR(rdp["order"], 7.7, 2);
  const nlohmann::json pld = Json(Epsilon({"--accountant", "pld"}));
  EXPECT_NEAR(pld["epsilon"], 1.82824365, 1e-7);
  EXPECT_TRUE(pld["order"].is_null());
  EXPECT_EQ(pld["interval"], 1e-4);
  EXPECT_EQ(Json(Epsilon({}))["epsilon"], pld["epsilon"]);
  EXPECT_EQ(Json(Epsilon({"--accountant", "prv"}))["accountant"], "pld");
}

TEST_F(PrivacyVerbsTest, SaysOfEveryEpsilonWhatItMeans) {
  const nlohmann::json json = Json(Epsilon({"--unit", "record"}));
  EXPECT_EQ(json["privacy_unit"], "record");
  EXPECT_EQ(json["neighboring_relation"], "add-remove");
  EXPECT_EQ(json["sampling"], "poisson");
  EXPECT_EQ(json["holds_for"], "1000 steps over one site's dataset");

  std::vector<std::string> text = Epsilon({});
  text.insert(text.begin(), "privacy");
  EXPECT_EQ(MustRun(text),
            "epsilon 1.82825 at delta 1e-05 per patient, neighbours by add-remove, sampling "
            "poisson, accountant pld, for 1000 steps over one site's dataset\n");
}

TEST_F(PrivacyVerbsTest, KnowsEverySamplingAndRelation) {
  EXPECT_NEAR(Json(Epsilon({"--neighboring-relation", "replace"}))["epsilon"], 2.84344581, 1e-7);
  EXPECT_GT(Json(Epsilon({"--sampling", "shuffled"}))["epsilon"], 15);
  // Noise of one sensitivity under replace one, which is 2 C.
  EXPECT_NEAR(Json(Epsilon({"--sampling", "fixed", "--neighboring-relation", "replace",
                            "--accountant", "rdp"},
                           "2"))["epsilon"],
              3.576111482350549, 1e-9);
  EXPECT_NEAR(Json(Epsilon({"--sampling", "fixed"}, "2"))["epsilon"], 1.82824365, 1e-7);
}

TEST_F(PrivacyVerbsTest, CountsBatchesThatAreCut) {
  const auto cut = [](const std::string& most) {
    return Epsilon({"--max-batch", most, "--dataset-size", "10000"});
  };
  EXPECT_NEAR(Json(cut("100"))["epsilon"], 10.773, 1e-3);
  EXPECT_NEAR(Json(cut("130"))["epsilon"], 3.684, 1e-3);
  EXPECT_NEAR(Json(cut("140"))["epsilon"], 1.97120041, 1e-5);
  const nlohmann::json wide = Json(cut("200"));
  EXPECT_NEAR(wide["epsilon"], 1.82824365, 1e-5);
  EXPECT_EQ(wide["max_batch"], 200);
  EXPECT_EQ(wide["holds_for"],
            "1000 steps in batches of at most 200 out of 10000 over one site's dataset");
  EXPECT_THAT(Error(Epsilon({"--max-batch", "100"}), ExitCode::kInvalid),
              HasSubstr("--max-batch and --dataset-size"));
  EXPECT_THAT(
      Error(Epsilon({"--max-batch", "100", "--dataset-size", "10000", "--sampling", "fixed"}),
            ExitCode::kInvalid),
      HasSubstr("--sampling poisson"));
}

TEST_F(PrivacyVerbsTest, CountsTheChoiceOfTheBestRun) {
  const auto best_of = [](const std::string& repetitions, const std::string& mean) {
    return Epsilon({"--accountant", "rdp", "--repetitions", repetitions, "--mean-runs", mean});
  };
  // Published figures, which drop signs at fractional orders, are up to 1e-4 larger.
  EXPECT_NEAR(Json(best_of("log", "10"))["epsilon"], 3.522633, 1e-4);
  EXPECT_NEAR(Json(best_of("geometric", "10"))["epsilon"], 4.103271, 1e-4);
  EXPECT_NEAR(Json(best_of("poisson", "10"))["epsilon"], 4.329498, 1e-4);
  EXPECT_NEAR(Json(best_of("geometric", "50"))["epsilon"], 4.941831, 1e-4);
  EXPECT_EQ(Json(best_of("log", "10"))["holds_for"],
            "the best of a random number of runs (log, 10 on average), each of 1000 steps over one "
            "site's dataset");
  EXPECT_THAT(Error(best_of("uniform", "10")), HasSubstr("must be log, geometric or poisson"));
  EXPECT_THAT(Error(Epsilon({"--repetitions", "log"}), ExitCode::kInvalid),
              HasSubstr("--repetitions and --mean-runs"));
  EXPECT_THAT(Error(Epsilon({"--repetitions", "log", "--mean-runs", "10"}), ExitCode::kInvalid),
              HasSubstr("use rdp"));
}

TEST_F(PrivacyVerbsTest, TakesAnotherGridAndMoreOrders) {
  const double usual = Json(Epsilon({}))["epsilon"];
  const double finer = Json(Epsilon({"--interval", "1e-5"}))["epsilon"];
  EXPECT_LT(finer, usual);
  EXPECT_NEAR(finer, usual, 1e-5);
  const double standard = Json(Epsilon({"--accountant", "rdp"}, "20"))["epsilon"];
  const double extended =
      Json(Epsilon({"--accountant", "rdp", "--orders", "extended"}, "20"))["epsilon"];
  EXPECT_LT(extended, standard);
}

TEST_F(PrivacyVerbsTest, FindsNoiseThatKeepsTheTarget) {
  for (const char* accountant : {"rdp", "pld"}) {
    const nlohmann::json found =
        Json({"noise", "--target-epsilon", "3", "--delta", "1e-5", "--sample-rate", "0.05",
              "--steps", "300", "--accountant", accountant});
    const std::string noise = found["noise_multiplier"].dump();
    const nlohmann::json again =
        Json({"epsilon", "--noise-multiplier", noise, "--delta", "1e-5", "--sample-rate", "0.05",
              "--steps", "300", "--accountant", accountant});
    EXPECT_LE(again["epsilon"], 3);
    EXPECT_GT(again["epsilon"], 3 - 1e-3);
    EXPECT_EQ(found["epsilon"], again["epsilon"]);
  }
}

TEST_F(PrivacyVerbsTest, PrintsNoiseThatIsNotRoundedDown) {
  const std::vector<std::string> arguments = {"privacy",        "noise", "--target-epsilon", "1",
                                              "--target-delta", "1e-4",  "--sample-rate",    "0.25",
                                              "--steps",        "100"};
  EXPECT_THAT(MustRun(arguments), testing::StartsWith("noise multiplier 8.094013\nepsilon 1 at "));
}

TEST_F(PrivacyVerbsTest, FindsTheMostSteps) {
  const nlohmann::json found = Json({"steps", "--target-epsilon", "2", "--delta", "1e-6",
                                     "--sample-rate", "0.1", "--noise-multiplier", "3"});
  EXPECT_EQ(found["steps"], 155);
  EXPECT_NEAR(found["epsilon"], 1.996263, 1e-6);
}

TEST_F(PrivacyVerbsTest, GivesTheRenyiDivergence) {
  const std::vector<std::string> arguments = {
      "rdp", "--order", "2.5", "--sample-rate", "0.01", "--noise-multiplier", "1", "--steps", "10"};
  EXPECT_NEAR(Json(arguments)["rdp"], 0.0021757533228188, 1e-12);
  // JSON by itself, too.
  std::vector<std::string> plain = arguments;
  plain.insert(plain.begin(), "privacy");
  EXPECT_NEAR(nlohmann::json::parse(MustRun(plain))["rdp"], 0.0021757533228188, 1e-12);
  plain.insert(plain.end(), {"--format", "text"});
  EXPECT_THAT(MustRun(plain), HasSubstr("at order 2.5, neighbours by add-remove"));
}

TEST_F(PrivacyVerbsTest, NamesTheOptionTheBoundAndTheValue) {
  EXPECT_THAT(Error(Epsilon({}, "0")),
              HasSubstr("--noise-multiplier: must be at least 0.01 and at most 1e+06, got 0"));
  EXPECT_THAT(Error(Epsilon({}, "nan")), HasSubstr("got nan"));
  EXPECT_THAT(Error({"epsilon", "--noise-multiplier", "1", "--sample-rate", "1.5", "--steps", "1",
                     "--delta", "1e-5"}),
              HasSubstr("--sample-rate: must be at least 0 and at most 1, got 1.5"));
  EXPECT_THAT(Error({"epsilon", "--noise-multiplier", "1", "--sample-rate", "1", "--steps", "0",
                     "--delta", "1e-5"}),
              HasSubstr("--steps: must be a whole number in [1, 1000000000], got 0"));
  EXPECT_THAT(Error({"epsilon", "--noise-multiplier", "1", "--sample-rate", "1", "--steps", "1",
                     "--delta", "1"}),
              HasSubstr("--delta: must be above 0 and below 1, got 1"));
  EXPECT_THAT(Error(Epsilon({"--accountant", "gdp"})),
              HasSubstr("--accountant: must be rdp or pld (gdp is known to report less than the "
                        "truth), got gdp"));
  EXPECT_THAT(Error(Epsilon({"--sampling", "shuffle"})),
              HasSubstr("--sampling: must be poisson, fixed or shuffled, got shuffle"));
  EXPECT_THAT(Error(Epsilon({"--neighboring-relation", "zero-out"})),
              HasSubstr("must be add-remove or replace, got zero-out"));
  EXPECT_THAT(Error({"noise", "--target-epsilon", "-1", "--delta", "1e-5", "--sample-rate", "1",
                     "--steps", "1"}),
              HasSubstr("--target-epsilon: must be above 0"));
  EXPECT_THAT(Error({"rdp", "--order", "1", "--sample-rate", "1", "--noise-multiplier", "1"}),
              HasSubstr("--order: must be above 1"));
  EXPECT_THAT(Error({"epsilon"}), HasSubstr("is required"));
}

TEST_F(PrivacyVerbsTest, SaysWhatAnAccountantCannotDo) {
  EXPECT_THAT(Error({"noise", "--target-epsilon", "0.01", "--delta", "1e-5", "--sample-rate", "0.1",
                     "--steps", "10", "--accountant", "rdp"},
                    ExitCode::kInvalid),
              HasSubstr("target epsilon 0.01 at delta 1e-05 is out of reach of accountant rdp"));
  EXPECT_THAT(Error({"epsilon", "--noise-multiplier", "1", "--sample-rate", "0.1", "--steps", "10",
                     "--delta", "1e-30"},
                    ExitCode::kInvalid),
              HasSubstr("delta must be at least 1e-14"));
}

constexpr char kPrivateJob[] = R"(
name: trial
dataset: heart
data:
  features:
    - {column: age, numeric: {range: {low: 20, high: 90}}}
  target: {column: num, positive: ["1"]}
  standardization: range
model: {logistic_regression: {}}
training: {optimizer: {sgd: {learning_rate: 0.5}}, local_steps: 1}
rounds: {count: 100, min_reports: 3, deadline: 60s}
aggregation: {fedavg: {weighting: uniform}}
privacy:
  target_epsilon: 1
  target_delta: 1e-4
  sample_rate: 0.25
  max_grad_norm: 1
  expected_patients: 486
  distributed: {}
)";

TEST_F(PrivacyVerbsTest, PlansWhatAJobWouldCostAndSpendsNothing) {
  const std::filesystem::path file = directory_.path() / "job.yaml";
  std::ofstream(file) << kPrivateJob;

  const nlohmann::json plan = Json({"plan", file.string(), "--sites", "4"});

  EXPECT_LE(plan["epsilon"], 1);
  EXPECT_GT(plan["epsilon"], 1 - 1e-3);
  EXPECT_LT(plan["epsilon_continuous_pld"], plan["epsilon"]);
  EXPECT_EQ(plan["steps"], 105);  // Five of them spare.
  EXPECT_EQ(plan["honest_sites"], 2);
  EXPECT_NEAR(plan["noise_multiplier"], 9.139, 1e-3);
  EXPECT_THAT(MustRun({"privacy", "plan", file.string()}),
              HasSubstr("epsilon 1 at delta 0.0001 per patient, neighbours by add-remove, sampling "
                        "poisson, accountant rdp, for 105 steps over the consortium's patients"));
}

TEST_F(PrivacyVerbsTest, PlansWhatIsSpentOnTheCountOfClippingThatAdapts) {
  const std::filesystem::path file = directory_.path() / "job.yaml";
  std::ofstream(file) << kPrivateJob
                      << "  clipping: adaptive\n  adaptive_clipping: {initial_norm: 0.5}\n";

  const nlohmann::json plan = Json({"plan", file.string(), "--sites", "4"});

  EXPECT_NEAR(plan["noise_multiplier"], 9.139, 1e-3);  // As much as without.
  const nlohmann::json& clipping = plan["adaptive_clipping"];
  EXPECT_EQ(clipping["initial_norm"], 0.5);
  EXPECT_EQ(clipping["target_quantile"], 0.5);
  // Five times the multiplier; twice the variance where all four sites are honest.
  EXPECT_NEAR(clipping["deviation_in_patients"], 5 * 9.139 * std::sqrt(2), 0.5);
  EXPECT_NEAR(clipping["noise_multiplier_of_gradients"], 9.139 / std::sqrt(0.99), 0.01);
  EXPECT_THAT(MustRun({"privacy", "plan", file.string()}),
              HasSubstr("adapts from norm 0.5 to the 0.5 quantile of gradients"));

  std::ofstream(file) << kPrivateJob
                      << "  clipping: adaptive\n  adaptive_clipping: {count_stddev: 3}\n";
  EXPECT_THAT(Error({"plan", file.string()}, ExitCode::kInvalid),
              HasSubstr("privacy.adaptive_clipping.count_stddev must be at least 0.7072 times"));
}

TEST_F(PrivacyVerbsTest, PlansTheSumsOfAJobThatIsSolved) {
  const std::filesystem::path file = directory_.path() / "job.yaml";
  std::string text(kPrivateJob);
  const auto replace = [&text](const std::string& what, const std::string& with) {
    text.replace(text.find(what), what.size(), with);
  };
  replace("training: {optimizer: {sgd: {learning_rate: 0.5}}, local_steps: 1}", "newton: {}");
  replace("aggregation: {fedavg: {weighting: uniform}}\n", "");
  replace("count: 100", "count: 3");
  replace("  sample_rate: 0.25\n", "");
  std::ofstream(file) << text;

  const nlohmann::json plan = Json({"plan", file.string(), "--sites", "4"});

  EXPECT_LE(plan["epsilon"], 1);
  EXPECT_GT(plan["epsilon"], 1 - 1e-3);
  EXPECT_EQ(plan["steps"], 4);  // One of them spare.
  EXPECT_EQ(plan["sampling"], "none");
  EXPECT_FALSE(plan.contains("sample_rate"));
  const double noise = plan["noise_multiplier"];
  EXPECT_NEAR(plan["newton"]["gradient_deviation"], noise / std::sqrt(0.75), 1e-9);
  EXPECT_NEAR(plan["newton"]["hessian_deviation"], noise * std::sqrt(2.0) / 2 / 0.5, 1e-9);
  EXPECT_THAT(
      MustRun({"privacy", "plan", file.string()}),
      testing::AllOf(HasSubstr("sampling none, accountant rdp, for 4 sums over the consortium's"),
                     HasSubstr("on the diagonal of every sum of Hessians")));
}

TEST_F(PrivacyVerbsTest, PlansNothingForAJobWithoutPrivacy) {
  const std::filesystem::path file = directory_.path() / "job.yaml";
  const std::string text(kPrivateJob);
  std::ofstream(file) << text.substr(0, text.find("privacy:"));
  EXPECT_THAT(Error({"plan", file.string()}, ExitCode::kInvalid),
              HasSubstr("has no privacy section"));
}

}  // namespace
}  // namespace chorale::cli
