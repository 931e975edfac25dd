#include "training/newton_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "core/random.h"

namespace chorale::training {
namespace {

using testing::DoubleNear;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr NewtonKind kAllKinds[] = {NewtonKind::kLogistic, NewtonKind::kLinear,
                                    NewtonKind::kPoisson, NewtonKind::kCoxEfron,
                                    NewtonKind::kCoxBreslow};

bool IsCox(NewtonKind kind) {
  return kind == NewtonKind::kCoxEfron || kind == NewtonKind::kCoxBreslow;
}

// Times are whole numbers up to 8, so that many are tied.
data::ExactExamples Draw(NewtonKind kind, std::size_t num_examples, std::size_t num_inputs,
                         std::uint64_t seed) {
  SeededRandom random(seed);
  data::ExactExamples examples{.num_inputs = num_inputs, .num_targets = IsCox(kind) ? 2u : 1u};
  for (std::size_t i = 0; i < num_examples; ++i) {
    for (std::size_t j = 0; j < num_inputs; ++j) {
      examples.inputs.push_back(random.NextDouble() * 2 - 0.7);
    }
    const double number = random.NextDouble();
    if (kind == NewtonKind::kLinear) examples.targets.push_back(5 * number - 1);
    if (kind == NewtonKind::kPoisson) examples.targets.push_back(std::floor(5 * number));
    if (kind == NewtonKind::kLogistic) examples.targets.push_back(number < 0.4 ? 1 : 0);
    if (IsCox(kind)) {
      examples.targets.push_back(std::floor(9 * number));
      examples.targets.push_back(random.NextDouble() < 0.6 ? 1 : 0);
    }
  }
  return examples;
}

std::vector<double> DrawCoefficients(NewtonKind kind, std::size_t num_inputs, std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<double> coefficients(NumCoefficients(kind, num_inputs));
  for (double& value : coefficients) value = random.NextDouble() - 0.5;
  return coefficients;
}

std::vector<double> SumsOf(NewtonKind kind, const data::ExactExamples& examples,
                           const std::vector<double>& coefficients) {
  const auto sums = NewtonSums(kind, examples, coefficients);
  EXPECT_TRUE(sums.ok()) << sums.status();
  return sums.ok() ? *sums : std::vector<double>(NewtonSumsSize(coefficients.size()));
}

// Where the upper triangle has row i, column j.
std::size_t HessianAt(std::size_t p, std::size_t i, std::size_t j) {
  return 2 + p + i * p - i * (i + 1) / 2 + j;
}

double EtaOf(NewtonKind kind, const data::ExactExamples& examples, std::size_t row,
             const std::vector<double>& coefficients) {
  double eta = IsCox(kind) ? 0 : coefficients.back();
  for (std::size_t j = 0; j < examples.num_inputs; ++j) {
    eta += coefficients[j] * examples.inputs[row * examples.num_inputs + j];
  }
  return eta;
}

// The textbook's loss, from the definition: one row after another, for Cox one risk set after
// another by looking at all rows.
double NaiveLoss(NewtonKind kind, const data::ExactExamples& examples,
                 const std::vector<double>& coefficients) {
  const std::size_t n = examples.size();
  std::vector<double> eta(n);
  for (std::size_t i = 0; i < n; ++i) eta[i] = EtaOf(kind, examples, i, coefficients);
  double loss = 0;
  if (!IsCox(kind)) {
    for (std::size_t i = 0; i < n; ++i) {
      const double y = examples.targets[i];
      if (kind == NewtonKind::kLogistic) loss += std::log(1 + std::exp(eta[i])) - y * eta[i];
      if (kind == NewtonKind::kLinear) loss += (y - eta[i]) * (y - eta[i]) / 2;
      if (kind == NewtonKind::kPoisson) loss += std::exp(eta[i]) - y * eta[i];
    }
    return loss;
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (examples.targets[2 * i + 1] != 1) continue;
    const double time = examples.targets[2 * i];
    double at_risk = 0;
    double tied = 0;
    double num_tied = 0;
    double num_before = 0;  // Tied events that come earlier in the file.
    for (std::size_t j = 0; j < n; ++j) {
      if (examples.targets[2 * j] >= time) at_risk += std::exp(eta[j]);
      if (examples.targets[2 * j] != time || examples.targets[2 * j + 1] != 1) continue;
      tied += std::exp(eta[j]);
      num_tied += 1;
      if (j < i) num_before += 1;
    }
    const double share = kind == NewtonKind::kCoxEfron ? num_before / num_tied : 0;
    loss += std::log(at_risk - share * tied) - eta[i];
  }
  return loss;
}

TEST(NewtonSumsTest, HasTheTextbooksLoss) {
  for (const NewtonKind kind : kAllKinds) {
    for (const std::size_t num_examples : {1u, 2u, 37u, 300u, 600u}) {
      const auto examples = Draw(kind, num_examples, 3, num_examples);
      const auto coefficients = DrawCoefficients(kind, 3, 7);

      const double loss = NaiveLoss(kind, examples, coefficients);

      const auto sums = SumsOf(kind, examples, coefficients);
      EXPECT_NEAR(sums[0], loss, 1e-11 * (1 + std::abs(loss)));
      EXPECT_EQ(sums[1], static_cast<double>(num_examples));
    }
  }
}

// Central differences of the textbook's loss give the gradient, those of the gradient the Hessian.
TEST(NewtonSumsTest, HasTheDerivativesThatDifferencesGive) {
  constexpr double kStep = 1e-5;
  for (const NewtonKind kind : kAllKinds) {
    // More rows than enter a Hessian at once.
    const auto examples = Draw(kind, 400, 4, 11);
    const auto coefficients = DrawCoefficients(kind, 4, 3);
    const std::size_t p = coefficients.size();
    const auto sums = SumsOf(kind, examples, coefficients);
    for (std::size_t j = 0; j < p; ++j) {
      auto above = coefficients;
      auto below = coefficients;
      above[j] += kStep;
      below[j] -= kStep;
      const double slope =
          (NaiveLoss(kind, examples, above) - NaiveLoss(kind, examples, below)) / (2 * kStep);
      EXPECT_NEAR(sums[2 + j], slope, 1e-5);
      const auto sums_above = SumsOf(kind, examples, above);
      const auto sums_below = SumsOf(kind, examples, below);
      for (std::size_t i = 0; i < p; ++i) {
        const double bend = (sums_above[2 + i] - sums_below[2 + i]) / (2 * kStep);
        EXPECT_NEAR(sums[HessianAt(p, std::min(i, j), std::max(i, j))], bend, 1e-5);
      }
    }
  }
}

// What a federation rests on.
TEST(NewtonSumsTest, AddsUpOverSites) {
  for (const NewtonKind kind : {NewtonKind::kLogistic, NewtonKind::kLinear, NewtonKind::kPoisson}) {
    const auto all = Draw(kind, 1000, 5, 5);
    const auto coefficients = DrawCoefficients(kind, 5, 5);
    std::vector<double> added(NewtonSumsSize(coefficients.size()));
    for (std::size_t begin = 0; begin < 1000; begin += 250) {
      data::ExactExamples site{.num_inputs = 5};
      site.inputs.assign(all.inputs.begin() + static_cast<std::ptrdiff_t>(5 * begin),
                         all.inputs.begin() + static_cast<std::ptrdiff_t>(5 * (begin + 250)));
      site.targets.assign(all.targets.begin() + static_cast<std::ptrdiff_t>(begin),
                          all.targets.begin() + static_cast<std::ptrdiff_t>(begin + 250));
      const auto sums = SumsOf(kind, site, coefficients);
      for (std::size_t i = 0; i < added.size(); ++i) added[i] += sums[i];
    }

    const auto pooled = SumsOf(kind, all, coefficients);

    for (std::size_t i = 0; i < added.size(); ++i) {
      EXPECT_NEAR(added[i], pooled[i], 1e-12 * (1 + std::abs(pooled[i])));
    }
  }
}

TEST(NewtonSumsTest, DoesNotDependOnTheOrderOfRowsOfACoxStratum) {
  const auto examples = Draw(NewtonKind::kCoxEfron, 200, 3, 2);
  data::ExactExamples reversed{.num_inputs = 3, .num_targets = 2};
  for (std::size_t i = examples.size(); i-- > 0;) {
    for (std::size_t j = 0; j < 3; ++j) reversed.inputs.push_back(examples.inputs[3 * i + j]);
    for (std::size_t j = 0; j < 2; ++j) reversed.targets.push_back(examples.targets[2 * i + j]);
  }
  const auto coefficients = DrawCoefficients(NewtonKind::kCoxEfron, 3, 2);

  const auto sums = SumsOf(NewtonKind::kCoxEfron, examples, coefficients);
  const auto other = SumsOf(NewtonKind::kCoxEfron, reversed, coefficients);

  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(other[i], sums[i], 1e-10);
}

// ---------------------------------------------------------------------------- extremes

TEST(NewtonSumsTest, StaysFiniteWhereExponentialsWouldNot) {
  for (const NewtonKind kind : kAllKinds) {
    const auto examples = Draw(kind, 50, 2, 4);
    for (const double size : {40.0, 800.0, 1e5}) {
      std::vector<double> coefficients(NumCoefficients(kind, 2), -size);
      coefficients[0] = size;

      const auto sums = NewtonSums(kind, examples, coefficients);

      EXPECT_TRUE(sums.ok()) << sums.status();
    }
  }
}

TEST(NewtonSumsTest, KeepsSmallProbabilitiesExact) {
  const data::ExactExamples examples{.num_inputs = 1, .inputs = {0, 0}, .targets = {0, 1}};

  const auto unlikely = SumsOf(NewtonKind::kLogistic, examples, {0, -40});

  // log(1 + e^-40) + 40 + log(1 + e^-40), and probabilities e^-40 and 1.
  EXPECT_DOUBLE_EQ(unlikely[0], 40 + 2 * std::exp(-40));
  EXPECT_DOUBLE_EQ(unlikely[HessianAt(2, 1, 1)], 2 * std::exp(-40));
}

// A stratum whose early rows have hazards e^1000 times those of later ones.
TEST(NewtonSumsTest, FollowsRiskSetsThatShrinkWithoutBound) {
  const data::ExactExamples examples{.num_inputs = 1,
                                     .num_targets = 2,
                                     .inputs = {1000, 1000, 2, 1, 0},
                                     .targets = {1, 1, 2, 1, 3, 1, 4, 1, 5, 0},
                                     .patients = {}};

  const auto sums = SumsOf(NewtonKind::kCoxEfron, examples, {1});

  // log(2), log(1 + ..), then the last three rows: e^2, e^1 and 1.
  const double e = std::exp(1.0);
  EXPECT_NEAR(sums[0], std::log(2) + std::log(1 + 1 / e + 1 / (e * e)) + std::log(1 + 1 / e),
              1e-12);
}

TEST(NewtonSumsTest, TellsWhatIsNotFinite) {
  data::ExactExamples examples = Draw(NewtonKind::kLinear, 10, 2, 4);
  examples.inputs[3] = 1e200;

  const auto sums = NewtonSums(NewtonKind::kLinear, examples, std::vector<double>{1, 1, 1});

  EXPECT_EQ(sums.status().code(), StatusCode::kFailedPrecondition);
}

// ---------------------------------------------------------------------------- sites with little

TEST(NewtonSumsTest, AddsRowsOfOneClassAsAnyOthers) {
  data::ExactExamples examples = Draw(NewtonKind::kLogistic, 30, 2, 4);
  std::fill(examples.targets.begin(), examples.targets.end(), 1.0);
  const std::vector<double> coefficients = {0.1, -0.2, 0.3};

  const auto sums = SumsOf(NewtonKind::kLogistic, examples, coefficients);

  EXPECT_NEAR(sums[0], NaiveLoss(NewtonKind::kLogistic, examples, coefficients), 1e-11);
}

TEST(NewtonSumsTest, AddsNothingToCoxWithoutEventsButItsRows) {
  data::ExactExamples examples = Draw(NewtonKind::kCoxEfron, 30, 2, 4);
  for (std::size_t i = 1; i < examples.targets.size(); i += 2) examples.targets[i] = 0;

  auto sums = SumsOf(NewtonKind::kCoxEfron, examples, {1, 1});

  EXPECT_EQ(sums[1], 30);
  sums[1] = 0;
  EXPECT_THAT(sums, Each(0.0));
}

// 0.1 * 30 / 30 is not 0.1: what is left of a constant column must not look like information.
TEST(NewtonSumsTest, GivesAConstantColumnOfAStratumNoInformation) {
  data::ExactExamples examples = Draw(NewtonKind::kCoxEfron, 30, 2, 4);
  for (std::size_t i = 0; i < 30; ++i) examples.inputs[2 * i] = 0.1;
  // Rows that leave before the first event are in no risk set.
  examples.inputs[0] = 5;
  for (std::size_t i = 0; i < 30; ++i) examples.targets[2 * i] += 1;
  examples.targets[0] = 0.5;
  examples.targets[1] = 0;

  const auto sums = SumsOf(NewtonKind::kCoxEfron, examples, {1, 1});

  EXPECT_EQ(sums[2], 0);
  EXPECT_EQ(sums[HessianAt(2, 0, 0)], 0);
  EXPECT_EQ(sums[HessianAt(2, 0, 1)], 0);
  EXPECT_GT(sums[HessianAt(2, 1, 1)], 0);
}

TEST(NewtonSumsTest, AddsNothingForASiteWithoutRows) {
  for (const NewtonKind kind : kAllKinds) {
    const auto sums =
        SumsOf(kind, Draw(kind, 0, 2, 4), std::vector<double>(NumCoefficients(kind, 2), 1.0));
    EXPECT_THAT(sums, Each(0.0));
  }
}

// ---------------------------------------------------------------------------- refusals

TEST(NewtonSumsTest, RefusesTargetsThatTheModelCannotHave) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [kind, index, value] : std::vector<std::tuple<NewtonKind, std::size_t, double>>{
           {NewtonKind::kLogistic, 3, 0.5},
           {NewtonKind::kLogistic, 3, nan},
           {NewtonKind::kLinear, 3, nan},
           {NewtonKind::kPoisson, 3, -1},
           {NewtonKind::kPoisson, 3, std::numeric_limits<double>::infinity()},
           {NewtonKind::kCoxEfron, 4, -1},
           {NewtonKind::kCoxEfron, 4, nan},
           {NewtonKind::kCoxBreslow, 5, 2}}) {
    auto examples = Draw(kind, 10, 2, 4);
    examples.targets[index] = value;
    const std::vector<double> coefficients(NumCoefficients(kind, 2));

    const auto sums = NewtonSums(kind, examples, coefficients);

    EXPECT_EQ(sums.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(sums.status()), HasSubstr("every row"));
  }
}

TEST(NewtonSumsTest, RefusesSizesThatDoNotFit) {
  const auto good = Draw(NewtonKind::kLogistic, 10, 2, 4);
  auto short_inputs = good;
  short_inputs.inputs.pop_back();
  auto survival = good;
  survival.num_targets = 2;
  auto wide = Draw(NewtonKind::kLinear, 1, kMaxNewtonCoefficients, 4);

  const auto code = [](NewtonKind kind, const data::ExactExamples& examples, std::size_t p) {
    return NewtonSums(kind, examples, std::vector<double>(p)).status().code();
  };
  EXPECT_EQ(code(NewtonKind::kLogistic, good, 2), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(NewtonKind::kLogistic, short_inputs, 3), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(NewtonKind::kLogistic, survival, 3), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(NewtonKind::kCoxEfron, good, 2), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(NewtonKind::kLinear, wide, kMaxNewtonCoefficients + 1),
            StatusCode::kInvalidArgument);
}

TEST(NewtonSumsTest, StopsWhenCancelled) {
  const std::atomic<bool> cancelled = true;
  for (const NewtonKind kind : kAllKinds) {
    const auto examples = Draw(kind, 10, 2, 4);
    const std::vector<double> coefficients(NumCoefficients(kind, 2));

    EXPECT_EQ(NewtonSums(kind, examples, coefficients, &cancelled).status().code(),
              StatusCode::kCancelled);
  }
}

// ---------------------------------------------------------------------------- models

TEST(NewtonKindTest, KnowsTheModelsThatNewtonsMethodIsOfferedFor) {
  v1::ModelSpec model;
  EXPECT_EQ(NewtonKindOf(model), std::nullopt);
  model.mutable_mlp();
  EXPECT_EQ(NewtonKindOf(model), std::nullopt);
  model.mutable_logistic_regression();
  EXPECT_EQ(NewtonKindOf(model), NewtonKind::kLogistic);
  model.mutable_linear_regression();
  EXPECT_EQ(NewtonKindOf(model), NewtonKind::kLinear);
  model.mutable_poisson_regression();
  EXPECT_EQ(NewtonKindOf(model), NewtonKind::kPoisson);
  model.mutable_cox();
  EXPECT_EQ(NewtonKindOf(model), NewtonKind::kCoxEfron);
  model.mutable_cox()->set_ties(v1::COX_TIES_BRESLOW);
  EXPECT_EQ(NewtonKindOf(model), NewtonKind::kCoxBreslow);
}

TEST(NewtonPredictTest, SaysWhatEachModelMeans) {
  const data::ExactExamples examples{
      .num_inputs = 1, .inputs = {2, -1}, .targets = {0, 0}, .patients = {}};
  const data::ExactExamples survival{.num_inputs = 1,
                                     .num_targets = 2,
                                     .inputs = {2, -1},
                                     .targets = {1, 1, 2, 1},
                                     .patients = {}};

  const auto predict = [&](NewtonKind kind) {
    return NewtonPredict(kind, examples, std::vector<double>{0.5, 1});
  };
  EXPECT_THAT(predict(NewtonKind::kLinear), ElementsAre(2, 0.5));
  EXPECT_THAT(predict(NewtonKind::kLogistic),
              ElementsAre(DoubleNear(1 / (1 + std::exp(-2.0)), 1e-15),
                          DoubleNear(1 / (1 + std::exp(-0.5)), 1e-15)));
  EXPECT_THAT(predict(NewtonKind::kPoisson),
              ElementsAre(DoubleNear(std::exp(2.0), 1e-14), DoubleNear(std::exp(0.5), 1e-14)));
  EXPECT_THAT(NewtonPredict(NewtonKind::kCoxEfron, survival, std::vector<double>{0.5}),
              ElementsAre(1, -0.5));
}

}  // namespace
}  // namespace chorale::training
