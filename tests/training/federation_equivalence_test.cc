#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/training/in_process_federation.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// One full-batch step of plain descent a round is a linear map of the gradient, so averaging sites
// is descent on all their rows: the check that nothing in the chain from rows to the mean bends the
// arithmetic.
namespace chorale::training {
namespace {

constexpr std::uint32_t kRounds = 50;

v1::JobSpec MakeJob(const v1::ModelSpec& model, v1::Weighting weighting) {
  v1::JobSpec job;
  *job.mutable_model() = model;
  *job.mutable_training() = MakeSgd(0.5, 0, 1, 0);
  job.mutable_rounds()->set_count(kRounds);
  job.mutable_aggregation()->mutable_fedavg()->set_weighting(weighting);
  job.set_seed(42);
  return job;
}

// Sites whose rows differ in distribution, as hospitals do.
std::vector<SimulatedSite> MakeSites(const std::vector<std::size_t>& sizes) {
  std::vector<SimulatedSite> sites;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    sites.push_back(
        {.name = "site-" + std::to_string(i),
         .train = MakeToyExamples(sizes[i], 13, 100 + i, 0.4 * static_cast<double>(i) - 0.6)});
  }
  return sites;
}

SimulatedSite Pool(const std::vector<SimulatedSite>& sites) {
  SimulatedSite pool{.name = "pool", .train = {}};
  pool.train.num_inputs = sites.front().train.num_inputs;
  for (const SimulatedSite& site : sites) {
    const auto append = [](auto& all, const auto& more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    append(pool.train.inputs, site.train.inputs);
    append(pool.train.targets, site.train.targets);
  }
  NumberPatients(pool.train);
  return pool;
}

double RelativeDistance(const ParameterVector& a, const ParameterVector& b) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
    norm += double{b[i]} * double{b[i]};
  }
  return std::sqrt(difference / norm);
}

class FederationEquivalenceTest : public testing::Test {
 protected:
  double Distance(const v1::JobSpec& job, const std::vector<std::size_t>& sizes) {
    const std::vector<SimulatedSite> sites = MakeSites(sizes);
    const ParameterVector federated = RunFederation(*trainer_, job, sites).value();
    const ParameterVector centralized = RunFederation(*trainer_, job, {Pool(sites)}).value();
    return RelativeDistance(federated, centralized);
  }
  std::unique_ptr<LocalTrainer> trainer_ =
      MakeTorchTrainer({.device = "cpu", .threads = 2}).value();
};

TEST_F(FederationEquivalenceTest, UniformWeightsEqualCentralizedDescentWhenSitesHaveEqualSizes) {
  EXPECT_LT(
      Distance(MakeJob(MakeLogisticRegression(), v1::WEIGHTING_UNIFORM), {120, 120, 120, 120}),
      1e-6);
  EXPECT_LT(Distance(MakeJob(MakeMlp({16, 8}, v1::ACTIVATION_TANH), v1::WEIGHTING_UNIFORM),
                     {120, 120, 120, 120}),
            1e-6);
}

TEST_F(FederationEquivalenceTest, WeightingByExamplesEqualsCentralizedDescentForAnySizes) {
  EXPECT_LT(Distance(MakeJob(MakeLogisticRegression(), v1::WEIGHTING_EXAMPLES), {199, 172, 30, 85}),
            1e-6);
  EXPECT_LT(Distance(MakeJob(MakeMlp({16, 8}, v1::ACTIVATION_TANH), v1::WEIGHTING_EXAMPLES),
                     {199, 172, 30, 85}),
            1e-6);
}

TEST_F(FederationEquivalenceTest, UniformWeightsGiveAnotherModelWhenSizesDiffer) {
  // Else the two tests above would prove nothing about weights.
  EXPECT_GT(Distance(MakeJob(MakeLogisticRegression(), v1::WEIGHTING_UNIFORM), {199, 172, 30, 85}),
            1e-3);
}

TEST_F(FederationEquivalenceTest, TheSameSeedGivesTheSameBytes) {
  v1::JobSpec job = MakeJob(MakeLogisticRegression(), v1::WEIGHTING_EXAMPLES);
  *job.mutable_training() = MakeSgd(0.05, 0.9, 10, 4);
  const std::vector<SimulatedSite> sites = MakeSites({60, 40});

  const ParameterVector first = RunFederation(*trainer_, job, sites).value();
  EXPECT_EQ(first, RunFederation(*trainer_, job, sites).value());

  job.set_seed(43);
  EXPECT_NE(first, RunFederation(*trainer_, job, sites).value());
}

}  // namespace
}  // namespace chorale::training
