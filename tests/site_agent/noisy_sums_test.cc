#include "site_agent/noisy_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>

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

privacy::NoiseKey KeyOf(std::uint8_t number, const std::string& site = "north") {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(number);
  return privacy::NoiseKey::Create(crypto::SecretBytes(bytes), JobId("job"), SiteId(site)).value();
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

}  // namespace
}  // namespace chorale::site_agent
