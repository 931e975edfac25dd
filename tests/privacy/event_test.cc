#include "privacy/event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <string>

namespace chorale::privacy {
namespace {

using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::string ErrorOf(const Event& event) {
  const Status status = Validate(event);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

TEST(EventTest, NamesTheFieldTheBoundAndTheValueThatDoNotFit) {
  EXPECT_THAT(ErrorOf(NoisySteps(Sampling::kPoisson, 1.5, 1, 10)),
              HasSubstr("sample_rate must be in [0, 1], got 1.5"));
  EXPECT_THAT(ErrorOf(NoisySteps(Sampling::kPoisson, kNan, 1, 10)), HasSubstr("sample_rate"));
  EXPECT_THAT(ErrorOf(NoisySteps(Sampling::kPoisson, 0.5, -1, 10)),
              HasSubstr("noise_multiplier must be in [0.01, 1e+06], got -1"));
  EXPECT_THAT(ErrorOf({.kind = Gaussian{kNan}}), HasSubstr("noise_multiplier"));
  EXPECT_THAT(ErrorOf({.kind = Laplace{1e7}}), HasSubstr("noise_multiplier"));
  EXPECT_THAT(ErrorOf({.kind = GaussianMixture{.contributions = {0, 1},
                                               .probabilities = {0.5},
                                               .noise_multiplier = 1}}),
              HasSubstr("as many"));
  EXPECT_THAT(ErrorOf({.kind = GaussianMixture{.contributions = {0, 1},
                                               .probabilities = {0.5, 0.4},
                                               .noise_multiplier = 1}}),
              HasSubstr("got 0.9"));
  EXPECT_THAT(
      ErrorOf({.kind =
                   TruncatedPoissonGaussian{
                       .num_units = 0, .sample_rate = 0.1, .max_batch = 5, .noise_multiplier = 1}}),
      HasSubstr("num_units"));
  EXPECT_THAT(ErrorOf({.kind = RepeatAndSelect{.run = {}, .repetitions = {}, .mean = 0.5}}),
              HasSubstr("mean number of runs"));
}

TEST(EventTest, LooksIntoWhatIsNested) {
  Event event = NoisySteps(Sampling::kPoisson, 2, 1, 1);
  for (int i = 0; i < 5; ++i) event = {.kind = Composed{.parts = {event}}};
  EXPECT_THAT(ErrorOf(event), HasSubstr("sample_rate"));
  for (int i = 0; i < 50; ++i) event = {.kind = Composed{.parts = {event}}};
  EXPECT_THAT(ErrorOf(event), HasSubstr("nested at most"));
}

TEST(EventTest, RefusesCountsThatMultiplyBeyondItsBound) {
  Event event = {.kind = Gaussian{1}, .count = 1'000'000};
  for (int i = 0; i < 3; ++i) event = {.kind = Composed{.parts = {event}}, .count = 1'000'000};
  EXPECT_THAT(ErrorOf(event), HasSubstr("number of steps"));
}

TEST(EventTest, MultipliesCountsOutWhenItFlattens) {
  const Event event = {
      .kind = Composed{.parts = {NoisySteps(Sampling::kPoisson, 0.1, 2, 7),
                                 {.kind = Composed{.parts = {{.kind = Gaussian{3}, .count = 5}}},
                                  .count = 4}}},
      .count = 3};

  const std::vector<CountedLeaf> leaves = Flatten(event);

  ASSERT_EQ(leaves.size(), 2U);
  EXPECT_EQ(std::get<SampledGaussian>(leaves[0].kind).sample_rate, 0.1);
  EXPECT_EQ(leaves[0].count, 21U);
  EXPECT_EQ(std::get<Gaussian>(leaves[1].kind).noise_multiplier, 3);
  EXPECT_EQ(leaves[1].count, 60U);
}

TEST(EventTest, BillsAShuffledLoaderByThePassNeverBySampling) {
  const auto passes = [](double rate, std::uint64_t steps) {
    const std::vector<CountedLeaf> leaves =
        Flatten(NoisySteps(Sampling::kShuffled, rate, 1, steps));
    EXPECT_EQ(leaves.size(), 1U);
    EXPECT_TRUE(std::holds_alternative<Gaussian>(leaves[0].kind));
    return leaves[0].count;
  };
  EXPECT_EQ(passes(0.01, 100), 1U);
  EXPECT_EQ(passes(0.01, 101), 2U);  // A pass begun counts whole.
  EXPECT_EQ(passes(0.001, 1000), 1U);
  EXPECT_EQ(passes(1.0 / 3, 6), 2U);
  EXPECT_EQ(passes(1.0 / 49, 49), 1U);
  EXPECT_EQ(passes(1, 5), 5U);
  // 2.5 batches a pass: with the incomplete one dropped, two, and the most passes.
  EXPECT_EQ(passes(0.4, 10), 5U);
  EXPECT_EQ(passes(1e-9, 1'000'000'000), 1U);
}

TEST(EventTest, BeginsANewPassWithEachRepetition) {
  const std::vector<CountedLeaf> leaves = Flatten(
      {.kind = Composed{.parts = {NoisySteps(Sampling::kShuffled, 0.01, 1, 10)}}, .count = 10});
  EXPECT_EQ(leaves.at(0).count, 10U);
}

TEST(EventTest, LeavesOutWhatCostsNothing) {
  EXPECT_TRUE(Flatten(NoisySteps(Sampling::kPoisson, 0, 1, 10)).empty());
  EXPECT_TRUE(Flatten(NoisySteps(Sampling::kShuffled, 0, 1, 10)).empty());
  EXPECT_TRUE(Flatten(NoisySteps(Sampling::kPoisson, 0.5, 1, 0)).empty());
  EXPECT_TRUE(Flatten({.kind = Composed{}}).empty());
}

TEST(EventTest, TakesABatchOfTheWholeDatasetForASumOverIt) {
  for (const Sampling sampling : {Sampling::kPoisson, Sampling::kFixedSize}) {
    const std::vector<CountedLeaf> leaves = Flatten(NoisySteps(sampling, 1, 2, 3));
    ASSERT_EQ(leaves.size(), 1U);
    EXPECT_TRUE(std::holds_alternative<Gaussian>(leaves[0].kind));
  }
}

TEST(EventTest, DrawsRecordsOfOnePatientBinomially) {
  const GaussianMixture mixture = RecordsOfOnePatient(40, 0.05, 2);
  EXPECT_EQ(mixture.contributions.size(), 41U);
  const auto& p = mixture.probabilities;
  EXPECT_NEAR(std::accumulate(p.begin(), p.end(), 0.0), 1, 1e-12);
  EXPECT_NEAR(p[2], 780 * 0.0025 * std::pow(0.95, 38), 1e-13);
  EXPECT_TRUE(Validate({.kind = mixture}).ok());
  EXPECT_NEAR(RecordsOfOnePatient(3, 1, 2).probabilities[3], 1, 1e-15);
  EXPECT_NEAR(RecordsOfOnePatient(3, 0, 2).probabilities[0], 1, 1e-15);
}

}  // namespace
}  // namespace chorale::privacy
