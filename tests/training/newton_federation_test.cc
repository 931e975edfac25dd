// Newton's method over the sums of real sites: the same coefficients as on pooled rows, and the
// figures that others published on the same split.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "coordinator/aggregation/newton_solver.h"
#include "coordinator/aggregation/noisy_newton.h"
#include "tests/training/newton_data.h"
#include "training/newton_patients.h"
#include "training/newton_sums.h"

namespace chorale::training {
namespace {

using coordinator::NewtonRules;
using coordinator::NewtonState;
using testing::HasSubstr;
using testing::IsEmpty;

struct Solution {
  std::vector<double> coefficients;
  std::string converged = {};
  std::string warning = {};
  std::vector<std::size_t> collinear = {};
  int num_rounds = 0;
};

// What a federation does: every round sums at every site, added in the order of sites.
Solution Solve(NewtonKind kind, const SiteExamples& sites, NewtonRules rules = {},
               int max_rounds = 50) {
  const std::size_t p = NumCoefficients(kind, sites.begin()->second.num_inputs);
  rules.has_intercept = kind != NewtonKind::kCoxEfron && kind != NewtonKind::kCoxBreslow;
  Solution solution{.coefficients = std::vector<double>(p)};
  NewtonState state;
  while (solution.converged.empty() && solution.num_rounds < max_rounds) {
    std::vector<double> total(NewtonSumsSize(p));
    for (const auto& [name, site] : sites) {
      const auto sums = NewtonSums(kind, site, solution.coefficients);
      EXPECT_TRUE(sums.ok()) << name << ": " << sums.status();
      if (!sums.ok()) return solution;
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += (*sums)[i];
    }
    const auto step = coordinator::StepNewton(rules, solution.coefficients, total, state);
    EXPECT_TRUE(step.ok()) << step.status();
    if (!step.ok()) return solution;
    state = step->state;
    solution.coefficients = step->coefficients;
    solution.converged = step->converged;
    solution.warning = step->warning;
    solution.collinear = step->collinear;
    ++solution.num_rounds;
  }
  return solution;
}

double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

struct Setting {
  std::string name;
  NewtonKind kind = NewtonKind::kLogistic;
  NewtonRules rules = {};
};

// The same coefficients from the sums of sites and from one table of all rows.
Solution ExpectEqualsPooled(const Setting& setting, const SiteExamples& sites) {
  const Solution federated = Solve(setting.kind, sites, setting.rules);
  const Solution pooled = Solve(setting.kind, {{"all", Pool(sites)}}, setting.rules);
  const double difference = LargestDifference(federated.coefficients, pooled.coefficients);
  std::cout << setting.name << ": " << federated.num_rounds << " rounds, largest difference "
            << difference << "; " << federated.warning << "\n";

  EXPECT_THAT(federated.converged, testing::Not(IsEmpty())) << setting.name;
  EXPECT_EQ(federated.num_rounds, pooled.num_rounds) << setting.name;
  EXPECT_EQ(federated.warning, pooled.warning) << setting.name;
  EXPECT_LT(difference, 1e-9) << setting.name;
  return federated;
}

// ---------------------------------------------------------------------------- heart disease

// The inputs that FLamby (Ogier du Terrail et al. 2022) takes, each centre standardised by its own
// training rows.
Splits HeartBySite(const NumberTable& table) {
  Extraction extraction{.site_column = "center", .inputs = {}, .targets = {"y"}};
  for (const char* name :
       {"age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"}) {
    extraction.inputs.push_back(Column(name));
  }
  for (const double level : {2.0, 3.0, 4.0}) extraction.inputs.push_back(Indicator("cp", level));
  for (const double level : {1.0, 2.0}) extraction.inputs.push_back(Indicator("restecg", level));
  Splits splits = ExtractSplits(table, extraction);
  for (auto& [name, site] : splits.train) {
    const auto moments = MomentsOfInputs(site);
    Standardise(moments, site);
    Standardise(moments, splits.test.at(name));
  }
  return splits;
}

TEST(NewtonFederationTest, EqualsPooledOnHeartDiseaseWithASiteOfOneClass) {
  const auto table = NumberTable::Load("heart_disease/heart_disease_740.csv");
  if (!table.has_value()) return;
  const Splits splits = HeartBySite(*table);
  ASSERT_EQ(splits.train.size(), 4u);
  EXPECT_THAT(splits.train.at("2").targets, testing::Each(1.0));

  for (const double l2_penalty : {0.0, 1.0}) {
    const Solution solution = ExpectEqualsPooled(
        {.name = "heart, ridge " + std::to_string(l2_penalty), .rules = {.l2_penalty = l2_penalty}},
        splits.train);
    EXPECT_THAT(solution.converged, HasSubstr("decrement"));
    EXPECT_THAT(solution.warning, IsEmpty());
  }
}

// What a private job does, but for the noise: sums of patients' vectors, every row being a patient.
std::vector<double> SolveByPatients(const SiteExamples& sites, const NewtonBounds& bounds,
                                    double l2_penalty, int num_rounds) {
  const std::size_t p = NumCoefficients(NewtonKind::kLogistic, sites.begin()->second.num_inputs);
  std::vector<double> coefficients(p);
  for (int round = 0; round < num_rounds; ++round) {
    std::vector<double> total(NewtonVectorSize(p));
    for (const auto& [name, site] : sites) {
      std::vector<std::vector<std::size_t>> patients;
      for (std::size_t row = 0; row < site.size(); ++row) patients.push_back({row});
      const auto add = [&](std::span<const double> vector) {
        for (std::size_t i = 0; i < total.size(); ++i) total[i] += vector[i];
      };
      EXPECT_TRUE(
          ForEachNewtonPatient(NewtonKind::kLogistic, site, coefficients, bounds, patients, add)
              .ok());
    }
    const NewtonEstimate sums = NewtonEstimateOf(bounds, total, p);
    const auto next = coordinator::StepNoisyNewton({.l2_penalty = l2_penalty, .max_step = 10},
                                                   coefficients, sums.gradient, sums.hessian);
    EXPECT_TRUE(next.ok()) << next.status();
    if (next.ok()) coefficients = *next;
  }
  return coefficients;
}

TEST(NewtonFederationTest, PatientsThatAreNotCutGiveTheSameSolution) {
  const auto table = NumberTable::Load("heart_disease/heart_disease_740.csv");
  if (!table.has_value()) return;
  const SiteExamples sites = HeartBySite(*table).train;
  const Solution exact = Solve(NewtonKind::kLogistic, sites, {.l2_penalty = 1});
  const auto solved = [&](double bound) {
    return SolveByPatients(sites, {.gradient = bound, .hessian = bound, .hessian_share = 0.25}, 1,
                           12);
  };
  EXPECT_LT(LargestDifference(solved(1e6), exact.coefficients), 1e-6);
  // Cutting has its price, and the steps still come to rest.
  EXPECT_GT(LargestDifference(solved(1), exact.coefficients), 1e-2);
  EXPECT_LT(LargestDifference(solved(1), exact.coefficients), 2);
}

struct Figures {
  double accuracy = 0;
  double precision = 0;
};

Figures FiguresOf(const data::ExactExamples& examples, const std::vector<double>& coefficients) {
  const auto probabilities = NewtonPredict(NewtonKind::kLogistic, examples, coefficients);
  double right = 0;
  double said = 0;
  double said_rightly = 0;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const bool says_yes = probabilities[i] >= 0.5;
    const bool is_yes = examples.targets[i] == 1;
    right += says_yes == is_yes ? 1 : 0;
    said += says_yes ? 1 : 0;
    said_rightly += says_yes && is_yes ? 1 : 0;
  }
  return {right / static_cast<double>(probabilities.size()), said_rightly / said};
}

// The eight figures of NVFlare's example hello-lr for its centralized solver, which takes four
// steps with a Hessian to which the unit matrix is added. The exact solution has them too, and so
// has every one of our rounds from the third on.
TEST(NewtonFederationTest, HasTheFiguresThatNvflarePublishesOfHeartDisease) {
  const auto table = NumberTable::Load("heart_disease/heart_disease_740.csv");
  if (!table.has_value()) return;
  const Splits splits = HeartBySite(*table);
  const std::map<std::string, Figures> published = {{"0", {0.75, 0.7115384615384616}},
                                                    {"1", {0.7528089887640449, 0.6122448979591837}},
                                                    {"2", {0.75, 1.0}},
                                                    {"3", {0.6, 0.9047619047619048}}};

  for (const int max_rounds : {3, 4, 50}) {
    const Solution solution = Solve(NewtonKind::kLogistic, splits.train, {}, max_rounds);
    for (const auto& [name, expected] : published) {
      const Figures figures = FiguresOf(splits.test.at(name), solution.coefficients);
      EXPECT_DOUBLE_EQ(figures.accuracy, expected.accuracy) << name << ' ' << max_rounds;
      EXPECT_DOUBLE_EQ(figures.precision, expected.precision) << name << ' ' << max_rounds;
    }
  }
}

// ---------------------------------------------------------------------------- stroke trial

// Standardised by the training rows of all sites together.
Splits StrokeTrial(const NumberTable& table, const std::string& site_column,
                   const std::string& target) {
  Extraction extraction{.site_column = site_column, .inputs = {}, .targets = {target}};
  for (const std::string& name : table.Columns("age", "rx_hep_med")) {
    if (name != target) extraction.inputs.push_back(Column(name));
  }
  Splits splits = ExtractSplits(table, extraction);
  const auto moments = MomentsOfInputs(Pool(splits.train));
  for (SiteExamples* sites : {&splits.train, &splits.test}) {
    for (auto& [name, site] : *sites) Standardise(moments, site);
  }
  return splits;
}

TEST(NewtonFederationTest, EqualsPooledOnTheStrokeTrialByCountryAndByHospital) {
  const auto table = NumberTable::Load("ist_stroke/ist_30countries.csv");
  if (!table.has_value()) return;
  for (const std::string target : {"y_dead_or_dependent_6m", "y_death14"}) {
    for (const std::string site_column : {"country", "hospnum"}) {
      const SiteExamples sites = StrokeTrial(*table, site_column, target).train;
      EXPECT_GE(sites.size(), site_column == "country" ? 30u : 360u);
      for (const double l2_penalty : {0.0, 1.0}) {
        const Solution solution = ExpectEqualsPooled(
            {.name = target + " by " + site_column + ", ridge " + std::to_string(l2_penalty),
             .rules = {.l2_penalty = l2_penalty}},
            sites);
        // af_missing and asp3d_missing are the same column.
        EXPECT_NEAR(solution.coefficients[8], solution.coefficients[12], 1e-9);
        if (l2_penalty > 0) {
          EXPECT_THAT(solution.warning, IsEmpty());
        } else {
          EXPECT_THAT(solution.warning, HasSubstr("input 8, input 12"));
          EXPECT_THAT(solution.collinear, testing::ElementsAre(8u, 12u));
          // All patients with a stroke of the posterior circulation (POCS) and without the visual
          // deficit that goes with it (def7) were alive on day 14.
          EXPECT_EQ(solution.warning.find("separation") != std::string::npos,
                    target == "y_death14");
        }
      }
    }
  }
}

struct Scores {
  double auc = 0;
  double log_loss = 0;
};

Scores ScoresOf(const data::ExactExamples& examples, const std::vector<double>& coefficients) {
  const auto p = NewtonPredict(NewtonKind::kLogistic, examples, coefficients);
  std::vector<std::pair<double, double>> sorted;
  double log_loss = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    sorted.emplace_back(p[i], examples.targets[i]);
    log_loss -= std::log(examples.targets[i] == 1 ? p[i] : 1 - p[i]);
  }
  std::sort(sorted.begin(), sorted.end());
  double negatives = 0;
  double pairs = 0;
  for (const auto& [probability, target] : sorted) target == 1 ? pairs += negatives : ++negatives;
  const double positives = static_cast<double>(p.size()) - negatives;
  return {pairs / (negatives * positives), log_loss / static_cast<double>(p.size())};
}

// What scikit-learn gives on the pooled rows with the same penalty, to all published digits.
TEST(NewtonFederationTest, PredictsTheStrokeTrialAsWellAsPooledTraining) {
  const auto table = NumberTable::Load("ist_stroke/ist_30countries.csv");
  if (!table.has_value()) return;
  for (const auto& [target, expected] : std::map<std::string, Scores>{
           {"y_dead_or_dependent_6m", {0.8028, 0.5103}}, {"y_death14", {0.8148, 0.2679}}}) {
    const Splits splits = StrokeTrial(*table, "country", target);

    const Solution solution = Solve(NewtonKind::kLogistic, splits.train, {.l2_penalty = 1});

    const Scores scores = ScoresOf(Pool(splits.test), solution.coefficients);
    EXPECT_NEAR(scores.auc, expected.auc, 5.1e-5) << target;
    EXPECT_NEAR(scores.log_loss, expected.log_loss, 5.1e-5) << target;
  }
}

TEST(NewtonFederationTest, EqualsPooledForLinearAndPoissonRegression) {
  const auto table = NumberTable::Load("ist_stroke/ist_30countries.csv");
  if (!table.has_value()) return;
  for (const std::string site_column : {"country", "hospnum"}) {
    for (const double l2_penalty : {0.0, 1.0}) {
      const std::string suffix = " by " + site_column + ", ridge " + std::to_string(l2_penalty);
      const Solution linear = ExpectEqualsPooled({.name = "blood pressure" + suffix,
                                                  .kind = NewtonKind::kLinear,
                                                  .rules = {.l2_penalty = l2_penalty}},
                                                 StrokeTrial(*table, site_column, "sbp").train);
      EXPECT_EQ(linear.num_rounds, 2);
      const Solution poisson =
          ExpectEqualsPooled({.name = "hours to treatment" + suffix,
                              .kind = NewtonKind::kPoisson,
                              .rules = {.l2_penalty = l2_penalty}},
                             StrokeTrial(*table, site_column, "delay_h").train);
      EXPECT_THAT(poisson.converged, HasSubstr("decrement"));
      EXPECT_LE(poisson.num_rounds, 15);
    }
  }
}

// ---------------------------------------------------------------------------- breast cancer

Splits BreastCancer(const NumberTable& table) {
  Extraction extraction{.site_column = "center", .inputs = {}, .targets = {"T", "E"}};
  for (const std::string& name : table.Columns("age_at_index", "tumor_stage_stage iiic")) {
    extraction.inputs.push_back(Column(name));
  }
  return ExtractSplits(table, extraction);
}

// Share of comparable pairs in which the one who lived shorter has the higher hazard.
double ConcordanceOf(const data::ExactExamples& examples, const std::vector<double>& coefficients) {
  const auto hazard = NewtonPredict(NewtonKind::kCoxEfron, examples, coefficients);
  double right = 0;
  double pairs = 0;
  for (std::size_t i = 0; i < hazard.size(); ++i) {
    if (examples.targets[2 * i + 1] != 1) continue;
    for (std::size_t j = 0; j < hazard.size(); ++j) {
      const double earlier = examples.targets[2 * i];
      const double later = examples.targets[2 * j];
      const bool is_censored_then = later == earlier && examples.targets[2 * j + 1] == 0;
      if (!(later > earlier) && !is_censored_then) continue;
      pairs += 1;
      right += hazard[i] > hazard[j] ? 1 : hazard[i] == hazard[j] ? 0.5 : 0;
    }
  }
  return right / pairs;
}

struct Concordance {
  double pooled = 0;  // Over the test rows of all centres.
  double mean = 0;    // Of the centres.
};

Concordance ConcordanceOf(const SiteExamples& test, const std::vector<double>& coefficients) {
  Concordance concordance{.pooled = ConcordanceOf(Pool(test), coefficients)};
  for (const auto& [name, site] : test) {
    concordance.mean += ConcordanceOf(site, coefficients) / static_cast<double>(test.size());
  }
  return concordance;
}

// The figures of R's coxph on pooled rows: with one stratum a site, which is what a federation
// optimises, and with one stratum for all.
TEST(NewtonFederationTest, HasTheConcordanceThatCoxphGivesOnBreastCancer) {
  const auto table = NumberTable::Load("tcga_brca/tcga_brca_1088.csv");
  if (!table.has_value()) return;
  const Splits splits = BreastCancer(*table);
  ASSERT_EQ(splits.train.size(), 6u);
  const SiteExamples one_stratum = {{"all", Pool(splits.train)}};
  const std::map<double, std::pair<Concordance, Concordance>> expected = {
      {0.0, {{0.8341, 0.8098}, {0.8388, 0.8165}}},
      {1.0, {{0.8520, 0.8209}, {0.8469, 0.8216}}},
      {10.0, {{0.8630, 0.8370}, {0.8560, 0.8406}}}};

  for (const auto& [l2_penalty, figures] : expected) {
    const NewtonRules rules{.l2_penalty = l2_penalty};
    const Solution stratified = Solve(NewtonKind::kCoxEfron, splits.train, rules);
    const Solution plain = Solve(NewtonKind::kCoxEfron, one_stratum, rules);

    const Concordance of_stratified = ConcordanceOf(splits.test, stratified.coefficients);
    const Concordance of_plain = ConcordanceOf(splits.test, plain.coefficients);
    EXPECT_NEAR(of_stratified.pooled, figures.first.pooled, 5.1e-5) << l2_penalty;
    EXPECT_NEAR(of_stratified.mean, figures.first.mean, 5.1e-5) << l2_penalty;
    EXPECT_NEAR(of_plain.pooled, figures.second.pooled, 5.1e-5) << l2_penalty;
    EXPECT_NEAR(of_plain.mean, figures.second.mean, 5.1e-5) << l2_penalty;
    std::cout << "breast cancer, ridge " << l2_penalty << ": " << stratified.num_rounds
              << " rounds; " << stratified.warning << "\n";
  }
}

// The gradient of the stratified partial likelihood on pooled rows, from the definition (Efron).
std::vector<double> NaiveCoxGradient(const SiteExamples& strata,
                                     const std::vector<double>& coefficients) {
  const std::size_t p = coefficients.size();
  std::vector<double> gradient(p);
  for (const auto& [name, rows] : strata) {
    const auto eta = NewtonPredict(NewtonKind::kCoxEfron, rows, coefficients);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows.targets[2 * i + 1] != 1) continue;
      double num_tied = 0;
      double num_before = 0;
      std::vector<double> weights(rows.size());
      std::vector<double> tied(rows.size());
      for (std::size_t j = 0; j < rows.size(); ++j) {
        if (rows.targets[2 * j] >= rows.targets[2 * i]) weights[j] = std::exp(eta[j]);
        if (rows.targets[2 * j] != rows.targets[2 * i] || rows.targets[2 * j + 1] != 1) continue;
        tied[j] = std::exp(eta[j]);
        ++num_tied;
        num_before += j < i ? 1 : 0;
      }
      double total = 0;
      for (std::size_t j = 0; j < rows.size(); ++j) {
        weights[j] -= num_before / num_tied * tied[j];
        total += weights[j];
      }
      for (std::size_t k = 0; k < p; ++k) {
        gradient[k] -= rows.inputs[i * p + k];
        for (std::size_t j = 0; j < rows.size(); ++j) {
          gradient[k] += weights[j] / total * rows.inputs[j * p + k];
        }
      }
    }
  }
  return gradient;
}

TEST(NewtonFederationTest, FindsWhereTheStratifiedLikelihoodOfPooledRowsIsLargest) {
  const auto table = NumberTable::Load("tcga_brca/tcga_brca_1088.csv");
  if (!table.has_value()) return;
  const SiteExamples sites = BreastCancer(*table).train;
  const NewtonRules rules{.l2_penalty = 1};

  const Solution solution = Solve(NewtonKind::kCoxEfron, sites, rules);

  const std::vector<double> gradient = NaiveCoxGradient(sites, solution.coefficients);
  for (std::size_t j = 0; j < gradient.size(); ++j) {
    EXPECT_NEAR(gradient[j] + rules.l2_penalty * solution.coefficients[j], 0, 1e-7) << j;
  }
}

}  // namespace
}  // namespace chorale::training
