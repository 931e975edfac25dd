#include "audit/canary_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "core/random.h"
#include "tests/support/valid_job.h"
#include "training/torch_trainer.h"

namespace chorale::audit {
namespace {

// So small that chance alone makes no test fail in a lifetime of runs.
constexpr double kSignificance = 1e-9;

class CanaryRunTest : public testing::Test {
 protected:
  CanaryRunTest() { spec_.mutable_privacy()->set_noise_multiplier(1); }
  StatusOr<Evidence> Run(std::uint64_t num_canaries = 400) {
    return RunCanaries({.spec = spec_,
                        .num_canaries = num_canaries,
                        .num_sites = 4,
                        .num_rounds = 5,
                        .trainer = *trainer_,
                        .significance = kSignificance,
                        .cancelled = cancelled_});
  }

  v1::JobSpec spec_ = support::PrivateJob();
  std::unique_ptr<training::LocalTrainer> trainer_ =
      training::MakeTorchTrainer({.device = "cpu", .threads = 1}).value();
  std::atomic<bool> cancelled_ = false;
};

TEST_F(CanaryRunTest, WhatAgentsRunPassesWithEveryEncodingAndClipping) {
  for (const v1::GridEncoding encoding : {v1::GRID_ENCODING_VERIFIED, v1::GRID_ENCODING_FAST}) {
    for (const v1::Clipping clipping : {v1::CLIPPING_FLAT, v1::CLIPPING_PER_LAYER,
                                        v1::CLIPPING_AUTOMATIC, v1::CLIPPING_ADAPTIVE}) {
      spec_.mutable_privacy()->set_encoding(encoding);
      spec_.mutable_privacy()->set_clipping(clipping);
      const Evidence evidence = Run().value();
      EXPECT_EQ(evidence.num_steps, 5u);
      EXPECT_EQ(evidence.honest_sites, 2u);
      EXPECT_LT(evidence.lower_bound.epsilon, evidence.compared.guarantee.epsilon);
      EXPECT_EQ(evidence.tests.size(), 9u);
      for (const privacy::AuditTest& test : evidence.tests) {
        EXPECT_TRUE(HasPassed(test, evidence, kSignificance)) << test.name << " " << test.measured;
      }
      // The canaries were there: a patient more moved the sum by about the bound.
      EXPECT_GT(evidence.tests.back().measured, 0.98);
    }
  }
}

TEST_F(CanaryRunTest, NoiseAtEverySiteHasManyStepsARound) {
  spec_.mutable_privacy()->mutable_local();
  spec_.mutable_training()->set_local_steps(3);
  const Evidence evidence = Run().value();
  EXPECT_EQ(evidence.num_steps, 15u);
  EXPECT_EQ(evidence.honest_sites, 1u);
  EXPECT_TRUE(HasPassed(evidence, kSignificance));
}

// The real trainer with a bug in its sums.
class BuggyTrainer final : public training::LocalTrainer {
 public:
  using Bug = std::function<void(training::ClippedSumRequest& request)>;
  BuggyTrainer(training::LocalTrainer& trainer, Bug bug)
      : trainer_(trainer), bug_(std::move(bug)) {}
  StatusOr<training::TrainResult> Train(const training::TrainRequest& request) override {
    return trainer_.Train(request);
  }
  StatusOr<std::vector<float>> Predict(const models::GraphPlan& plan,
                                       std::span<const float> parameters,
                                       const data::Examples& examples) override {
    return trainer_.Predict(plan, parameters, examples);
  }
  StatusOr<training::EvaluationResult> Evaluate(const models::GraphPlan& plan,
                                                std::span<const float> parameters,
                                                const data::Examples& examples,
                                                const std::atomic<bool>* cancelled) override {
    return trainer_.Evaluate(plan, parameters, examples, cancelled);
  }
  std::string device() const override { return trainer_.device(); }
  StatusOr<training::ClippedSum> SumClippedGradients(
      const training::ClippedSumRequest& request) override {
    training::ClippedSumRequest wrong = request;
    bug_(wrong);
    return trainer_.SumClippedGradients(wrong);
  }

 private:
  training::LocalTrainer& trainer_;
  Bug bug_;
};

TEST_F(CanaryRunTest, ATrainerThatClipsTooLittleIsFoundOrHasNoEffect) {
  const std::unique_ptr<training::LocalTrainer> right = std::move(trainer_);
  trainer_ = std::make_unique<BuggyTrainer>(
      *right, [](training::ClippedSumRequest& request) { request.max_grad_norm *= 1.25; });
  // Every patient's vector is checked again in integers.
  EXPECT_TRUE(HasPassed(Run().value(), kSignificance));
  // Nobody checks again.
  spec_.mutable_privacy()->set_encoding(v1::GRID_ENCODING_FAST);
  const Evidence evidence = Run().value();
  EXPECT_FALSE(HasPassed(evidence, kSignificance));
  EXPECT_EQ(evidence.tests.back().name, "replayed_sensitivity");
  EXPECT_NEAR(evidence.tests.back().measured, 1.25, 0.02);
}

// The next batch of a shuffled pass, whoever was drawn: a loader that is billed as Poisson.
TEST_F(CanaryRunTest, AShuffledLoaderIsFound) {
  const std::unique_ptr<training::LocalTrainer> right = std::move(trainer_);
  const double rate = spec_.privacy().sample_rate();
  SeededRandom random(3);
  std::map<std::size_t, std::vector<std::uint32_t>> orders;  // Of datasets by size.
  std::vector<std::uint32_t> batch;
  trainer_ = std::make_unique<BuggyTrainer>(*right, [&](training::ClippedSumRequest& request) {
    const std::size_t patients = request.train.size();
    const auto size = static_cast<std::size_t>(rate * static_cast<double>(patients));
    std::vector<std::uint32_t>& order = orders[patients];
    if (order.size() < size) {
      order.resize(patients);
      std::iota(order.begin(), order.end(), 0u);
      for (std::size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1], order[random.NextBelow(i)]);
      }
    }
    batch.assign(order.end() - static_cast<std::ptrdiff_t>(size), order.end());
    order.resize(order.size() - size);
    request.patients = batch;
  });
  const Evidence evidence = Run().value();
  EXPECT_FALSE(HasPassed(evidence, kSignificance));
  for (const privacy::AuditTest& test : evidence.tests) {
    if (!test.name.starts_with("draw_")) continue;
    EXPECT_FALSE(HasPassed(test, evidence, kSignificance)) << test.name << " " << test.measured;
  }
}

TEST_F(CanaryRunTest, RefusesJobsWithoutPrivacyAndTooFewCanaries) {
  EXPECT_EQ(Run(10).status().code(), StatusCode::kInvalidArgument);
  spec_.clear_privacy();
  EXPECT_EQ(Run().status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::audit
