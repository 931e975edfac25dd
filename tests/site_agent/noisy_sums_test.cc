#include "site_agent/noisy_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <string>

#include "jobs/adaptive_clipping.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "tests/site_agent/noisy_steps.h"
#include "tests/support/valid_job.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// Evidence about the path that agents run, with the trainer that they run it with. Keys are fixed:
// a test passes or fails the same way every time.
namespace chorale::site_agent {
namespace {

using privacy::Uint128;

// Two-sided, a chance of 5.7e-7 under correct code.
constexpr double kMostDeviations = 5;

training::LocalTrainer& Trainer() {
  static const std::unique_ptr<training::LocalTrainer> trainer =
      training::MakeTorchTrainer({.device = "cpu", .threads = 1}).value();
  return *trainer;
}

data::Examples PatientsOf(const models::GraphPlan& plan, std::size_t num_patients,
                          std::uint64_t seed) {
  data::Examples examples = training::MakeExamplesFor(plan, num_patients, seed);
  training::NumberPatients(examples);
  return examples;
}

// Correlation of two vectors around zero.
double Correlation(const Steps& a, const Steps& b) {
  double both = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  return both / std::sqrt(static_cast<double>(SquareOf(a)) * static_cast<double>(SquareOf(b)));
}

class NoisySumsTest : public testing::Test {
 protected:
  NoisySumsTest() {
    privacy().set_noise_multiplier(1);
    privacy().set_sample_rate(1);
  }
  v1::PrivacySpec& privacy() { return *spec_.mutable_privacy(); }
  void UseModel(const std::vector<std::uint32_t>& hidden, std::size_t num_inputs = kNumInputs) {
    plan_ = training::PlanFor(training::MakeMlp(hidden, v1::ACTIVATION_TANH), num_inputs);
    parameters_ = training::MakeParameters(plan_, 3);
  }
  // Wide enough for statistics: 26,113 parameters.
  void UseWideModel() { UseModel({256}, 100); }

  std::unique_ptr<NoisySums> Make(const data::Examples& examples, privacy::NoiseKey key) const {
    return NoisySums::Create({.spec = spec_,
                              .plan = plan_,
                              .examples = examples,
                              .honest_sites = honest_sites_,
                              .trainer = Trainer(),
                              .clipping_norm = clipping_norm_,
                              .cancelled = cancelled_},
                             std::move(key))
        .value();
  }
  Steps Sum(const data::Examples& examples, std::uint8_t key = 1) const {
    return Make(examples, KeyOf(key))->Sum(0, parameters_).value();
  }
  // Of patients without a finite gradient: nothing but noise.
  data::Examples NoGradients() const {
    data::Examples examples = PatientsOf(plan_, 4, 5);
    for (float& value : examples.inputs) value = std::nanf("");
    return examples;
  }
  privacy::Grid Grid() const {
    return jobs::GridOf(spec_.privacy(), plan_.layout().num_parameters()).value();
  }
  double ShareVariance() const {
    return ToDouble(
        jobs::NoiseShareOf(spec_, plan_.layout().num_parameters(), honest_sites_)->variance);
  }

  v1::JobSpec spec_ = support::PrivateJob();
  models::GraphPlan plan_ =
      training::PlanFor(training::MakeMlp({8, 4}, v1::ACTIVATION_TANH), kNumInputs);
  ParameterVector parameters_ = training::MakeParameters(plan_, 3);
  std::uint32_t honest_sites_ = 3;
  std::optional<double> clipping_norm_;
  const std::atomic<bool> cancelled_ = false;
};

struct Hostile {
  std::vector<float> rows;  // [num_rows, kNumInputs]
  float target = 0;
};

// What a patient's rows must not be able to do by being strange.
std::vector<Hostile> HostilePatients() {
  using Limits = std::numeric_limits<float>;
  const std::vector<float> values = {0,
                                     -0.0F,
                                     1,
                                     -1,
                                     1e4F,
                                     -1e4F,
                                     1e10F,
                                     1e19F,
                                     1e30F,
                                     -1e30F,
                                     Limits::max(),
                                     Limits::lowest(),
                                     Limits::min(),
                                     Limits::denorm_min(),
                                     1e-40F,
                                     Limits::epsilon(),
                                     Limits::infinity(),
                                     -Limits::infinity(),
                                     std::nanf("")};
  std::vector<Hostile> patients;
  for (const float value : values) {
    for (const float target : {0.0F, 1.0F}) {
      // All equal; one strange cell; one such row among 40, and 40 of them, each the same.
      patients.push_back({std::vector<float>(kNumInputs, value), target});
      Hostile one_cell{{0.5F, -0.5F, 1, value, 2}, target};
      patients.push_back(one_cell);
      Hostile many{std::vector<float>(40 * kNumInputs, 0.3F), target};
      many.rows[7] = value;
      patients.push_back(many);
      patients.push_back({std::vector<float>(40 * kNumInputs, value), target});
    }
  }
  // Targets between the classes, and rows at random over all magnitudes.
  for (const float target : {0.5F, Limits::denorm_min(), 1 - Limits::epsilon()}) {
    patients.push_back({{1, 2, 3, 4, 5}, target});
  }
  SeededRandom random(17);
  for (int i = 0; i < 60; ++i) {
    Hostile wild{std::vector<float>(kNumInputs * (1 + random.NextBelow(6))), 1};
    for (float& value : wild.rows) {
      value = static_cast<float>((random.NextDouble() - 0.5) *
                                 std::pow(10.0, 76 * random.NextDouble() - 38));
    }
    patients.push_back(wild);
  }
  return patients;
}

TEST_F(NoisySumsTest, OnePatientMoreMovesTheSumByNoMoreThanTheSensitivity) {
  const data::Examples without = PatientsOf(plan_, 6, 7);
  const std::vector<Hostile> hostile = HostilePatients();
  ASSERT_GE(hostile.size(), 200u);
  for (const v1::Clipping clipping :
       {v1::CLIPPING_FLAT, v1::CLIPPING_PER_LAYER, v1::CLIPPING_AUTOMATIC}) {
    privacy().set_clipping(clipping);
    const Steps sum = Sum(without);
    double largest = 0;
    for (std::size_t i = 0; i < hostile.size(); ++i) {
      const Steps moved = Minus(Sum(With(without, hostile[i].rows, hostile[i].target)), sum);
      const Uint128 square = SquareOf(moved);
      EXPECT_TRUE(square <= Grid().max_square()) << "patient " << i << ", clipping " << clipping;
      largest = std::max(largest, std::sqrt(static_cast<double>(square)));
    }
    // Or the test would see nothing.
    EXPECT_GT(largest, 0.99 * Grid().norm_in_steps()) << clipping;
  }
}

TEST_F(NoisySumsTest, OnePatientMoreMovesAFastSumByNoMoreThanItsSensitivity) {
  privacy().set_encoding(v1::GRID_ENCODING_FAST);
  const data::Examples without = PatientsOf(plan_, 6, 7);
  const std::vector<Hostile> hostile = HostilePatients();
  const double bound = Grid().Sensitivity(privacy::GridEncoding::kFast);
  for (const v1::GradSampleMode mode : {v1::GRAD_SAMPLE_MODE_BK, v1::GRAD_SAMPLE_MODE_MICRO}) {
    privacy().set_grad_sample_mode(mode);
    for (const v1::Clipping clipping :
         {v1::CLIPPING_FLAT, v1::CLIPPING_PER_LAYER, v1::CLIPPING_AUTOMATIC}) {
      privacy().set_clipping(clipping);
      const Steps sum = Sum(without);
      double largest = 0;
      for (std::size_t i = 0; i < hostile.size(); ++i) {
        const Steps moved = Minus(Sum(With(without, hostile[i].rows, hostile[i].target)), sum);
        const double distance = std::sqrt(static_cast<double>(SquareOf(moved)));
        EXPECT_LE(distance, bound) << "patient " << i << ", clipping " << clipping;
        largest = std::max(largest, distance);
      }
      EXPECT_GT(largest, 0.98 * Grid().norm_in_steps()) << clipping;
    }
  }
}

// Parameters come from the coordinator. With these, outputs' gradients are so small that their
// squares are nothing in single precision, and inputs so large that the gradient is far too long.
TEST_F(NoisySumsTest, ParametersThatHideALongGradientDoNotGetItPastTheBound) {
  plan_ = training::PlanFor(training::MakeMlp({8}, v1::ACTIVATION_TANH), kNumInputs);
  parameters_ = ParameterVector(plan_.layout().num_parameters());
  for (std::size_t i = 48; i < 56; ++i) parameters_[i] = 1e-25F;  // Of the head.
  const data::Examples without = PatientsOf(plan_, 2, 7);
  std::vector<float> many(40 * kNumInputs);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = i % kNumInputs == 0 ? 1e17F : 0;
  for (const v1::GridEncoding encoding : {v1::GRID_ENCODING_VERIFIED, v1::GRID_ENCODING_FAST}) {
    privacy().set_encoding(encoding);
    if (encoding == v1::GRID_ENCODING_FAST) {
      privacy().set_grad_sample_mode(v1::GRAD_SAMPLE_MODE_BK);
    }
    privacy().set_max_grad_norm(1e-6);
    const double bound = Grid().Sensitivity(jobs::EncodingOf(privacy()));
    const Steps sum = Sum(without);
    for (const std::vector<float>& rows : {std::vector<float>{1e30F, 0, 0, 0, 0}, many}) {
      const Steps moved = Minus(Sum(With(without, rows, 0)), sum);
      EXPECT_LE(std::sqrt(static_cast<double>(SquareOf(moved))), bound) << encoding;
    }
  }
}

TEST_F(NoisySumsTest, APatientMoreLeavesWhoElseIsDrawnAsItWas) {
  privacy().set_sample_rate(0.5);
  const data::Examples without = PatientsOf(plan_, 30, 7);
  const std::vector<float> rows = {1, -2, 3, -4, 5};
  const data::Examples with = With(without, rows, 0);
  std::vector<Steps> moves;
  int num_absent = 0;
  for (int key = 0; key < 100; ++key) {
    const auto number = static_cast<std::uint8_t>(key);
    const Steps moved = Minus(Sum(with, number), Sum(without, number));
    if (SquareOf(moved) == 0) {
      ++num_absent;
    } else {
      moves.push_back(moved);
    }
  }
  // Where the patient is drawn, its own clipped gradient is all that changes.
  for (const Steps& moved : moves) EXPECT_EQ(moved, moves.front());
  EXPECT_NEAR(num_absent, 50, kMostDeviations * 5);
}

TEST_F(NoisySumsTest, TheSameKeyGivesTheSameSumAndAnotherOneAnother) {
  UseWideModel();
  const data::Examples examples = PatientsOf(plan_, 3, 7);
  const Steps sum = Sum(examples, 1);
  EXPECT_EQ(sum, Sum(examples, 1));
  const auto num_equal = [&](const Steps& other) {
    int equal = 0;
    for (std::size_t i = 0; i < sum.size(); ++i) equal += sum[i] == other[i] ? 1 : 0;
    return equal;
  };
  // Two draws agree with probability 1 / (2 sigma sqrt(pi)).
  const double expected = static_cast<double>(sum.size()) / (2 * std::sqrt(M_PI * ShareVariance()));
  const double most = expected + kMostDeviations * std::sqrt(expected) + 3;
  EXPECT_LT(num_equal(Sum(examples, 2)), most);
  // The key of another site is another one, also where its bytes are the same.
  EXPECT_LT(num_equal(Make(examples, KeyOf(1, "south"))->Sum(0, parameters_).value()), most);
}

TEST_F(NoisySumsTest, EveryStepHasNoiseOfItsOwnAndIsGivenOnce) {
  UseWideModel();
  const data::Examples nothing = NoGradients();
  const std::unique_ptr<NoisySums> sums = Make(nothing, KeyOf(1));
  std::vector<Steps> steps;
  for (std::uint64_t step = 0; step < 6; ++step) {
    steps.push_back(sums->Sum(step, parameters_).value());
    EXPECT_EQ(sums->Sum(step, parameters_).status().code(), StatusCode::kAlreadyExists);
  }
  steps.push_back(Make(nothing, KeyOf(1, "south"))->Sum(0, parameters_).value());
  const double most = kMostDeviations / std::sqrt(static_cast<double>(parameters_.size()));
  for (std::size_t a = 0; a < steps.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      EXPECT_LT(std::abs(Correlation(steps[a], steps[b])), most) << a << " " << b;
    }
  }
}

TEST_F(NoisySumsTest, NoiseHasThePlannedVariance) {
  UseWideModel();
  const data::Examples nothing = NoGradients();
  for (const std::uint32_t honest_sites : {1u, 4u}) {
    honest_sites_ = honest_sites;
    const std::unique_ptr<NoisySums> sums = Make(nothing, KeyOf(1));
    double square = 0;
    double count = 0;
    for (std::uint64_t step = 0; step < 10; ++step) {
      const Steps noise = sums->Sum(step, parameters_).value();
      square += static_cast<double>(SquareOf(noise));
      count += static_cast<double>(noise.size());
    }
    // Chi-squared with `count` degrees of freedom is as good as normal. All sites together have
    // noise_multiplier times the sensitivity.
    const double deviations = (square / ShareVariance() - count) / std::sqrt(2 * count);
    EXPECT_LT(std::abs(deviations), kMostDeviations);
    EXPECT_NEAR(honest_sites * square / count,
                std::pow(Grid().Sensitivity(privacy::GridEncoding::kVerified), 2),
                1e-2 * honest_sites * square / count);
  }
}

TEST_F(NoisySumsTest, NoiseIsOnEveryParameter) {
  UseWideModel();
  // As narrow as it may be: a share of zeros that can be counted.
  privacy().set_noise_multiplier(0.02);
  privacy().set_grid_inflation(1.1);
  honest_sites_ = 1;
  const data::Examples nothing = NoGradients();
  const std::unique_ptr<NoisySums> sums = Make(nothing, KeyOf(1));
  std::vector<double> squares(parameters_.size());
  constexpr int kNumSteps = 40;
  double zeros = 0;
  for (std::uint64_t step = 0; step < kNumSteps; ++step) {
    const Steps noise = sums->Sum(step, parameters_).value();
    for (std::size_t i = 0; i < noise.size(); ++i) {
      zeros += noise[i] == 0 ? 1 : 0;
      squares[i] += static_cast<double>(noise[i]) * static_cast<double>(noise[i]);
    }
  }
  const double expected =
      kNumSteps * static_cast<double>(squares.size()) / std::sqrt(2 * M_PI * ShareVariance());
  ASSERT_GT(expected, 1000);
  EXPECT_NEAR(zeros, expected, kMostDeviations * std::sqrt(expected));
  // Chi-squared with 40 degrees of freedom is outside (8, 110) once in 3e7.
  for (const double square : squares) {
    EXPECT_GT(square / ShareVariance(), 8);
    EXPECT_LT(square / ShareVariance(), 110);
  }
}

TEST_F(NoisySumsTest, AStepThatDrawsNobodyHasNoiseAllTheSame) {
  UseWideModel();
  for (const v1::GridEncoding encoding : {v1::GRID_ENCODING_VERIFIED, v1::GRID_ENCODING_FAST}) {
    privacy().set_encoding(encoding);
    privacy().set_sample_rate(1e-15);
    const Steps drawn_nobody = Sum(PatientsOf(plan_, 20, 7));
    const double count = static_cast<double>(drawn_nobody.size());
    const double square = static_cast<double>(SquareOf(drawn_nobody));
    EXPECT_LT(std::abs(square / ShareVariance() - count), kMostDeviations * std::sqrt(2 * count));
    // And so has a site without a single patient.
    data::Examples nobody;
    nobody.num_inputs = 100;
    EXPECT_EQ(drawn_nobody, Sum(nobody));
  }
}

TEST_F(NoisySumsTest, ByRecordEveryRowIsAUnitOfItsOwn) {
  data::Examples examples = PatientsOf(plan_, 3, 7);
  examples.patients = std::vector<std::uint32_t>(examples.size(), 0);
  const data::Examples records = ByRecord(examples);
  EXPECT_EQ(records.inputs, examples.inputs);
  for (std::uint32_t row = 0; row < records.size(); ++row) EXPECT_EQ(records.patients[row], row);
}

TEST_F(NoisySumsTest, GradientsAreOverTheExpectedBatchWhoeverWasDrawn) {
  privacy().set_sample_rate(0.3);
  privacy().set_expected_patients(1000);
  for (const std::size_t num_patients : {1, 20, 200}) {
    const data::Examples examples = PatientsOf(plan_, num_patients, 7);
    const Steps sum = Sum(examples);
    const ParameterVector gradient = Make(examples, KeyOf(1))->Gradient(0, parameters_).value();
    for (std::size_t i = 0; i < sum.size(); ++i) {
      EXPECT_FLOAT_EQ(gradient[i],
                      static_cast<float>(static_cast<double>(sum[i]) * Grid().step() / 300));
    }
  }
}

// ---------------------------------------------------------------------------- clipping that adapts

class AdaptiveSumsTest : public NoisySumsTest {
 protected:
  AdaptiveSumsTest() {
    privacy().set_clipping(v1::CLIPPING_ADAPTIVE);
    clipping_norm_ = 1;
  }
  jobs::ClippingScale Scale() const {
    return jobs::ClippingScaleOf(spec_.privacy(), Grid()).value();
  }
  // What the test would see nothing below: no patient of this model has a gradient that is longer
  // than some, and then the vote is nearly all that moves.
  double LeastOfLargest(double norm) const {
    return norm <= 1 ? 0.98 * Grid().norm_in_steps() : 0.98 * Scale().count_norm / Grid().step();
  }
  // What sums without noise tell: the same key with patients and without.
  Steps Contributions(const data::Examples& examples) const {
    return Minus(Sum(examples), Sum(NoGradients()));
  }
};

// Whatever bound the coordinator tells, C in the grid is what a patient moves gradient and vote by.
TEST_F(AdaptiveSumsTest, OnePatientMoreMovesTheSumByNoMoreThanTheSensitivityAtAnyClippingNorm) {
  const data::Examples without = PatientsOf(plan_, 6, 7);
  const std::vector<Hostile> hostile = HostilePatients();
  for (const double norm : {1e-6, 1e-3, 0.1, 1.0, 1e3, 1e6}) {
    clipping_norm_ = norm;
    const Steps sum = Sum(without);
    ASSERT_EQ(sum.size(), parameters_.size() + 1);
    double largest = 0;
    for (std::size_t i = 0; i < hostile.size(); ++i) {
      const Steps moved = Minus(Sum(With(without, hostile[i].rows, hostile[i].target)), sum);
      EXPECT_TRUE(SquareOf(moved) <= Grid().max_square()) << "patient " << i << ", norm " << norm;
      largest = std::max(largest, std::sqrt(static_cast<double>(SquareOf(moved))));
    }
    EXPECT_GT(largest, LeastOfLargest(norm)) << norm;
  }
}

TEST_F(AdaptiveSumsTest, OnePatientMoreMovesAFastSumByNoMoreThanItsSensitivityAtAnyClippingNorm) {
  privacy().set_encoding(v1::GRID_ENCODING_FAST);
  const data::Examples without = PatientsOf(plan_, 6, 7);
  const std::vector<Hostile> hostile = HostilePatients();
  const double bound = Grid().Sensitivity(privacy::GridEncoding::kFast);
  for (const v1::GradSampleMode mode : {v1::GRAD_SAMPLE_MODE_BK, v1::GRAD_SAMPLE_MODE_MICRO}) {
    privacy().set_grad_sample_mode(mode);
    for (const double norm : {1e-6, 1e-3, 1.0, 1e6}) {
      clipping_norm_ = norm;
      const Steps sum = Sum(without);
      double largest = 0;
      for (std::size_t i = 0; i < hostile.size(); ++i) {
        const Steps moved = Minus(Sum(With(without, hostile[i].rows, hostile[i].target)), sum);
        const double distance = std::sqrt(static_cast<double>(SquareOf(moved)));
        EXPECT_LE(distance, bound) << "patient " << i << ", norm " << norm;
        largest = std::max(largest, distance);
      }
      EXPECT_GT(largest, LeastOfLargest(norm)) << norm;
    }
  }
}

// A patient whose gradient is just as long as the bound: what the others' rounding does to it must
// not turn its vote over.
TEST_F(AdaptiveSumsTest, AVoteAtTheBoundHardlyMovesWithWhoElseIsDrawn) {
  privacy().set_encoding(v1::GRID_ENCODING_FAST);
  privacy().set_grad_sample_mode(v1::GRAD_SAMPLE_MODE_BK);
  const data::Examples all = PatientsOf(plan_, 33, 7);
  const auto votes = [&](double norm, std::vector<std::uint32_t> patients) {
    return Trainer()
        .SumClippedGradients({.plan = plan_,
                              .train = all,
                              .parameters = parameters_,
                              .patients = patients,
                              .max_grad_norm = norm,
                              .mode = training::GradSampleMode::kBookKeeping})
        ->votes;
  };
  double norm = 1;
  for (int i = 0; i < 60; ++i) norm *= 1 - 0.05 * votes(norm, {5});
  EXPECT_NEAR(votes(norm, {5}), 0, 1e-6);
  std::vector<std::uint32_t> everybody(33);
  std::iota(everybody.begin(), everybody.end(), 0u);
  std::vector<std::uint32_t> others = everybody;
  others.erase(others.begin() + 5);
  EXPECT_NEAR(votes(norm, everybody) - votes(norm, others), 0, 1e-3);
}

TEST_F(AdaptiveSumsTest, GradientsAreThoseOfTheNormBroughtToTheGridsBound) {
  const data::Examples examples = PatientsOf(plan_, 9, 7);
  for (const v1::GridEncoding encoding : {v1::GRID_ENCODING_VERIFIED, v1::GRID_ENCODING_FAST}) {
    privacy().set_encoding(encoding);
    for (const double norm : {0.01, 0.3, 50.0}) {
      clipping_norm_ = norm;
      std::vector<std::uint32_t> everybody(9);
      std::iota(everybody.begin(), everybody.end(), 0u);
      const training::ClippedSum clipped = Trainer()
                                               .SumClippedGradients({.plan = plan_,
                                                                     .train = examples,
                                                                     .parameters = parameters_,
                                                                     .patients = everybody,
                                                                     .max_grad_norm = norm})
                                               .value();
      const Steps sum = Contributions(examples);
      const double steps = Scale().gradient_norm / Grid().step() / norm;
      // Each of nine is rounded; and single precision has six digits.
      for (std::size_t i = 0; i < clipped.sum.size(); ++i) {
        EXPECT_NEAR(static_cast<double>(sum[i]), steps * double{clipped.sum[i]},
                    5 + 1e-4 * steps * norm);
      }
      EXPECT_NEAR(static_cast<double>(sum.back()),
                  clipped.votes * Scale().count_norm / Grid().step(), 5);
    }
  }
}

TEST_F(AdaptiveSumsTest, VotesHaveTheNoiseOfAnyOtherCoordinate) {
  const data::Examples nothing = NoGradients();
  const std::unique_ptr<NoisySums> sums = Make(nothing, KeyOf(1));
  constexpr int kNumSteps = 200;
  double square = 0;
  for (std::uint64_t step = 0; step < kNumSteps; ++step) {
    const auto noise = static_cast<double>(sums->Sum(step, parameters_)->back());
    square += noise * noise;
  }
  const double deviations = (square / ShareVariance() - kNumSteps) / std::sqrt(2.0 * kNumSteps);
  EXPECT_LT(std::abs(deviations), kMostDeviations);
}

TEST_F(AdaptiveSumsTest, TakesANormWhereClippingAdaptsAndThereAlone) {
  const data::Examples examples = PatientsOf(plan_, 2, 7);
  const auto create = [&] {
    return NoisySums::Create({.spec = spec_,
                              .plan = plan_,
                              .examples = examples,
                              .trainer = Trainer(),
                              .clipping_norm = clipping_norm_,
                              .cancelled = cancelled_},
                             KeyOf(1))
        .status()
        .code();
  };
  EXPECT_EQ(create(), StatusCode::kOk);
  for (const double wrong : {0.0, -1.0, 1e-7, 1e7, std::nan("")}) {
    clipping_norm_ = wrong;
    EXPECT_EQ(create(), StatusCode::kInvalidArgument) << wrong;
  }
  clipping_norm_.reset();
  EXPECT_EQ(create(), StatusCode::kInvalidArgument);
  clipping_norm_ = 1;
  privacy().set_clipping(v1::CLIPPING_FLAT);
  EXPECT_EQ(create(), StatusCode::kInvalidArgument);
}

// The whole loop at a model that stays as it is, nearly without noise: the norm comes to the
// quantile of the patients' gradients wherever it begins.
TEST_F(AdaptiveSumsTest, TheNormConvergesToTheQuantileOfTheGradients) {
  constexpr std::size_t kNumPatients = 101;
  const data::Examples examples = PatientsOf(plan_, kNumPatients, 7);
  privacy().set_noise_multiplier(0.02);
  privacy().set_expected_patients(kNumPatients);
  honest_sites_ = 1;
  std::vector<double> norms;
  std::vector<std::uint32_t> everybody(kNumPatients);
  std::iota(everybody.begin(), everybody.end(), 0u);
  ASSERT_TRUE(Trainer()
                  .SumClippedGradients({.plan = plan_,
                                        .train = examples,
                                        .parameters = parameters_,
                                        .patients = everybody,
                                        .max_grad_norm = 1e6,
                                        .on_patient =
                                            [&](std::span<const float> gradient, double) {
                                              double square = 0;
                                              for (const float value : gradient) {
                                                square += double{value} * double{value};
                                              }
                                              norms.push_back(std::sqrt(square));
                                            }})
                  .ok());
  std::ranges::sort(norms);
  for (const v1::GridEncoding encoding : {v1::GRID_ENCODING_VERIFIED, v1::GRID_ENCODING_FAST}) {
    privacy().set_encoding(encoding);
    for (const auto& [quantile, start] : {std::pair(0.5, 1e-2), {0.2, 1e2}, {0.8, 1.0}}) {
      privacy().mutable_adaptive_clipping()->set_target_quantile(quantile);
      const jobs::MaskedLayout layout =
          jobs::MaskedLayout::Create(spec_, jobs::MaskedKind::kUpdate, parameters_.size(), 4)
              .value();
      clipping_norm_ = start;
      for (int round = 0; round < 150; ++round) {
        const Bytes vector =
            layout.Encode({.gradient_sum = Sum(examples, static_cast<std::uint8_t>(round))})
                .value();
        clipping_norm_ = layout.WithClippingNorm(*clipping_norm_)
                             .Summed(ByteSpan(vector).first(layout.exact_bytes()), 1)
                             ->next_clipping_norm;
      }
      // Votes are no step at the norm: to an eighth.
      const double expected = norms[static_cast<std::size_t>(quantile * (kNumPatients - 1))];
      EXPECT_NEAR(*clipping_norm_ / expected, 1, 0.125) << quantile;
    }
  }
}

}  // namespace
}  // namespace chorale::site_agent
