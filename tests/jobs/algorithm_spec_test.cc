#include "jobs/algorithm_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "core/config/yaml.h"
#include "jobs/job_spec.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using support::ValidJob;
using testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Change = std::function<void(v1::JobSpec&)>;

// A valid job, what spoils it, and what is said of it.
struct Refusal {
  Change spoil;
  std::string message;
};

void ExpectRefusals(const v1::JobSpec& valid, const std::vector<Refusal>& refusals) {
  const Status sound = Validate(valid);
  ASSERT_TRUE(sound.ok()) << sound;
  for (const Refusal& refusal : refusals) {
    v1::JobSpec spec = valid;
    refusal.spoil(spec);
    const Status status = Validate(spec);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << refusal.message;
    EXPECT_THAT(MessageOf(status), HasSubstr(refusal.message));
  }
}

v1::JobSpec JobWith(const std::function<void(v1::AggregationSpec&)>& set) {
  v1::JobSpec spec = ValidJob();
  spec.clear_aggregation();
  set(*spec.mutable_aggregation());
  return spec;
}

// The same job solved by Newton's method.
v1::JobSpec NewtonJob() {
  v1::JobSpec spec = ValidJob();
  spec.clear_training();
  spec.clear_aggregation();
  spec.mutable_newton();
  return spec;
}

// ---------------------------------------------------------------------------- server rules

TEST(AggregationSpecTest, BoundsServerMomentum) {
  const v1::JobSpec valid = JobWith([](v1::AggregationSpec& aggregation) {
    aggregation.mutable_fedavgm()->set_weighting(v1::WEIGHTING_EXAMPLES);
    aggregation.mutable_fedavgm()->set_momentum(0.9);
  });
  const auto spoil = [](auto change) {
    return [change](v1::JobSpec& spec) { change(*spec.mutable_aggregation()->mutable_fedavgm()); };
  };

  ExpectRefusals(
      valid,
      {{spoil([](v1::FedAvgM& rule) { rule.clear_weighting(); }),
        "aggregation.fedavgm.weighting must be examples or uniform, got 0"},
       {spoil([](v1::FedAvgM& rule) { rule.set_momentum(1); }),
        "aggregation.fedavgm.momentum must be in [0, 1), got 1"},
       {spoil([](v1::FedAvgM& rule) { rule.set_momentum(-0.1); }), "must be in [0, 1), got -0.1"},
       {spoil([](v1::FedAvgM& rule) { rule.set_momentum(kNan); }), "must be in [0, 1), got nan"},
       {spoil([](v1::FedAvgM& rule) { rule.set_learning_rate(-1); }),
        "aggregation.fedavgm.learning_rate must be above 0 and at most 100"},
       {spoil([](v1::FedAvgM& rule) { rule.set_learning_rate(100.5); }), "got 100.5"}});
}

TEST(AggregationSpecTest, BoundsAdaptiveServers) {
  const v1::JobSpec valid = JobWith([](v1::AggregationSpec& aggregation) {
    aggregation.mutable_fedyogi()->set_weighting(v1::WEIGHTING_UNIFORM);
  });
  const auto spoil = [](auto change) {
    return [change](v1::JobSpec& spec) { change(*spec.mutable_aggregation()->mutable_fedyogi()); };
  };

  ExpectRefusals(valid,
                 {{spoil([](v1::FedAdaptive& rule) { rule.set_beta1(1); }),
                   "aggregation.fedyogi.beta1 must be in [0, 1), got 1"},
                  {spoil([](v1::FedAdaptive& rule) { rule.set_beta2(1.5); }),
                   "aggregation.fedyogi.beta2 must be in [0, 1), got 1.5"},
                  {spoil([](v1::FedAdaptive& rule) { rule.set_tau(-1); }),
                   "aggregation.fedyogi.tau must be finite and above 0, got -1"},
                  {spoil([](v1::FedAdaptive& rule) { rule.set_tau(kInfinity); }), "got inf"},
                  {spoil([](v1::FedAdaptive& rule) { rule.set_learning_rate(kNan); }), "got nan"},
                  {spoil([](v1::FedAdaptive& rule) { rule.clear_weighting(); }),
                   "aggregation.fedyogi.weighting"}});
}

TEST(AggregationSpecTest, HasNoSecondBetaForFedadagrad) {
  const v1::JobSpec valid = JobWith([](v1::AggregationSpec& aggregation) {
    aggregation.mutable_fedadagrad()->set_weighting(v1::WEIGHTING_UNIFORM);
  });

  ExpectRefusals(
      valid,
      {{[](v1::JobSpec& spec) { spec.mutable_aggregation()->mutable_fedadagrad()->set_beta2(0.9); },
        "aggregation.fedadagrad.beta2 is not of fedadagrad"}});
}

TEST(AggregationSpecTest, AsksOneSiteARoundUnderCyclicTraining) {
  v1::JobSpec valid =
      JobWith([](v1::AggregationSpec& aggregation) { aggregation.mutable_cyclic(); });
  valid.mutable_rounds()->set_min_reports(1);

  ExpectRefusals(valid, {{[](v1::JobSpec& spec) { spec.mutable_rounds()->set_min_reports(2); },
                          "rounds.min_reports must be 1 under aggregation.cyclic"},
                         {[](v1::JobSpec& spec) { spec.mutable_rounds()->set_cohort_size(3); },
                          "rounds.cohort_size must be 0 under aggregation.cyclic"}});
}

TEST(AggregationSpecTest, BoundsRobustRules) {
  v1::JobSpec trimmed = JobWith([](v1::AggregationSpec& aggregation) {
    aggregation.mutable_trimmed_mean()->set_trimmed_share(0.2);
  });
  v1::JobSpec bounded = JobWith([](v1::AggregationSpec& aggregation) {
    aggregation.mutable_norm_bound()->set_weighting(v1::WEIGHTING_UNIFORM);
    aggregation.mutable_norm_bound()->set_max_norm(3);
  });
  const auto share = [](double value) {
    return [value](v1::JobSpec& spec) {
      spec.mutable_aggregation()->mutable_trimmed_mean()->set_trimmed_share(value);
    };
  };
  const auto norm = [](double value) {
    return [value](v1::JobSpec& spec) {
      spec.mutable_aggregation()->mutable_norm_bound()->set_max_norm(value);
    };
  };

  EXPECT_TRUE(Validate(JobWith([](v1::AggregationSpec& aggregation) {
                aggregation.mutable_median();
              })).ok());
  ExpectRefusals(trimmed, {{share(0), "trimmed_share must be above 0 and below 0.5, got 0"},
                           {share(0.5), "got 0.5"},
                           {share(kNan), "got nan"}});
  ExpectRefusals(bounded, {{norm(0), "aggregation.norm_bound.max_norm must be finite and above 0"},
                           {norm(kInfinity), "got inf"}});
}

TEST(AggregationSpecTest, MultiKrumNeedsEnoughReports) {
  v1::JobSpec valid = JobWith(
      [](v1::AggregationSpec& aggregation) { aggregation.mutable_multi_krum()->set_byzantine(1); });
  valid.mutable_rounds()->set_min_reports(5);
  const auto byzantine = [](std::uint32_t value) {
    return [value](v1::JobSpec& spec) {
      spec.mutable_aggregation()->mutable_multi_krum()->set_byzantine(value);
    };
  };

  ExpectRefusals(
      valid,
      {{byzantine(0), "aggregation.multi_krum.byzantine must be at least 1, got 0"},
       {byzantine(2),
        "rounds.min_reports must be at least 2 * "
        "aggregation.multi_krum.byzantine + 3 = 7, got 5"},
       {byzantine(4'000'000'000), "= 8000000003, got 5"},
       {[](v1::JobSpec& spec) {
          spec.mutable_aggregation()->mutable_multi_krum()->set_selected(5);
        },
        "aggregation.multi_krum.selected must be at most rounds.min_reports - byzantine = 4, "
        "got 5"}});
}

TEST(AggregationSpecTest, NamesItsRules) {
  ExpectRefusals(ValidJob(),
                 {{[](v1::JobSpec& spec) { spec.clear_aggregation(); },
                   "aggregation must name a rule: fedavg, fedavgm, fedadam, fedyogi, fedadagrad, "
                   "cyclic, median, trimmed_mean, multi_krum or norm_bound"}});
}

TEST(AggregationSpecTest, FillsInWhatIsLeftOut) {
  v1::AggregationSpec aggregation;
  aggregation.mutable_fedadam()->set_beta1(0.5);
  const v1::FedAdaptive adam = WithDefaults(aggregation).fedadam();
  aggregation.mutable_fedavgm();
  const v1::FedAvgM momentum = WithDefaults(aggregation).fedavgm();
  aggregation.mutable_fedadagrad();
  const v1::FedAdaptive adagrad = WithDefaults(aggregation).fedadagrad();

  EXPECT_EQ(adam.learning_rate(), 0.01);
  EXPECT_EQ(adam.beta1(), 0.5);
  EXPECT_EQ(adam.beta2(), 0.99);
  EXPECT_EQ(adam.tau(), 0.001);
  EXPECT_EQ(momentum.learning_rate(), 1);
  EXPECT_EQ(adagrad.beta1(), 0.9);
  EXPECT_EQ(adagrad.beta2(), 0);
}

TEST(AggregationSpecTest, ScaffoldGoesWithPlainAveragingOnly) {
  v1::JobSpec valid = ValidJob();
  valid.mutable_training()->mutable_scaffold();

  ExpectRefusals(
      valid,
      {{[](v1::JobSpec& spec) {
          spec.mutable_aggregation()->mutable_fedadam()->set_weighting(v1::WEIGHTING_UNIFORM);
        },
        "aggregation must be fedavg under training.scaffold"},
       {[](v1::JobSpec& spec) {
          spec.mutable_training()->mutable_optimizer()->mutable_sgd()->set_momentum(0.9);
        },
        "training"}});
}

TEST(AggregationSpecTest, RunningVariancesAreNotForOptimizersAtTheServer) {
  v1::JobSpec valid = ValidJob();
  ASSERT_TRUE(config::ParseYaml(R"(
inputs: [{name: x, shape: [3]}]
nodes:
  - {name: norm, inputs: [x], batch_norm: {}}
  - {name: head, inputs: [norm], linear: {units: 1}}
output: head
)",
                                "graph.yaml", *valid.mutable_model()->mutable_graph())
                  .ok());
  const auto with = [](auto* rule) { rule->set_weighting(v1::WEIGHTING_UNIFORM); };
  constexpr const char* kProblem = "aggregation must not be an optimizer at the server";

  ExpectRefusals(
      valid,
      {{[&](v1::JobSpec& spec) { with(spec.mutable_aggregation()->mutable_fedavgm()); }, kProblem},
       {[&](v1::JobSpec& spec) { with(spec.mutable_aggregation()->mutable_fedadam()); }, kProblem},
       {[&](v1::JobSpec& spec) { with(spec.mutable_aggregation()->mutable_fedyogi()); }, kProblem},
       {[&](v1::JobSpec& spec) { with(spec.mutable_aggregation()->mutable_fedadagrad()); },
        kProblem}});
  // Norm layers that stay at home are not the server's.
  with(valid.mutable_aggregation()->mutable_fedadam());
  valid.mutable_training()->set_local_normalization(true);
  EXPECT_TRUE(Validate(valid).ok()) << Validate(valid);
}

// ---------------------------------------------------------------------------- newton

TEST(NewtonSpecTest, StandsInPlaceOfTrainingAndAggregation) {
  ExpectRefusals(
      NewtonJob(),
      {{[](v1::JobSpec& spec) { *spec.mutable_training() = ValidJob().training(); },
        "training must be left out with newton"},
       {[](v1::JobSpec& spec) { *spec.mutable_aggregation() = ValidJob().aggregation(); },
        "aggregation must be left out with newton"},
       {[](v1::JobSpec& spec) { spec.mutable_initial_model()->set_file("start.safetensors"); },
        "initial_model must be left out with newton"},
       {[](v1::JobSpec& spec) { spec.mutable_personalization()->set_local_epochs(1); },
        "personalization is not possible with newton"},
       {[](v1::JobSpec& spec) { spec.mutable_rounds()->set_cohort_size(2); },
        "rounds.cohort_size must be 0 under newton"},
       {[](v1::JobSpec& spec) {
          v1::EarlyStop& stop = *spec.mutable_rounds()->mutable_early_stop();
          stop.mutable_metric()->set_kind(v1::METRIC_KIND_LOSS);
          stop.set_patience(1);
        },
        "rounds.early_stop.metric must be one of training.metrics"}});
}

TEST(NewtonSpecTest, SolvesFourModelsOnly) {
  v1::JobSpec spec = NewtonJob();
  spec.mutable_model()->mutable_mlp()->add_hidden_units(4);
  spec.mutable_model()->mutable_mlp()->set_activation(v1::ACTIVATION_RELU);
  EXPECT_THAT(MessageOf(Validate(spec)), HasSubstr("newton solves logistic_regression, "
                                                   "linear_regression, poisson_regression and cox, "
                                                   "not mlp"));

  spec = NewtonJob();
  spec.mutable_model()->mutable_linear_regression();
  spec.mutable_data()->mutable_target()->clear_positive();
  spec.mutable_data()->mutable_target()->mutable_numeric();
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  spec.mutable_model()->mutable_poisson_regression();
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

  spec = NewtonJob();
  spec.mutable_model()->mutable_cox();
  spec.mutable_data()->mutable_target()->mutable_survival()->set_time_column("days");
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);
  EXPECT_EQ(PlanOf(spec)->layout().num_parameters(), 3u);  // No intercept.
}

TEST(NewtonSpecTest, HasBounds) {
  const auto spoil = [](auto change) {
    return [change](v1::JobSpec& spec) { change(*spec.mutable_newton()); };
  };
  ExpectRefusals(
      NewtonJob(),
      {{spoil([](v1::NewtonSpec& newton) { newton.set_l2_penalty(-1); }),
        "newton.l2_penalty must be finite and at least 0, got -1"},
       {spoil([](v1::NewtonSpec& newton) { newton.set_l2_penalty(kInfinity); }), "got inf"},
       {spoil([](v1::NewtonSpec& newton) { newton.set_damping(1.01); }),
        "newton.damping must be above 0 and at most 1 (or left out), got 1.01"},
       {spoil([](v1::NewtonSpec& newton) { newton.set_damping(-0.5); }), "got -0.5"},
       {spoil([](v1::NewtonSpec& newton) { newton.set_tolerance(1e-15); }),
        "newton.tolerance must be in [1e-14, 1] (or left out), got 1e-15"},
       {spoil([](v1::NewtonSpec& newton) { newton.set_tolerance(kNan); }), "got nan"}});
}

TEST(NewtonSpecTest, BoundsTheCoefficients) {
  v1::JobSpec spec = NewtonJob();
  v1::DataSpec& data = *spec.mutable_data();
  data.clear_features();
  for (std::uint64_t i = 0; i < kMaxCoefficients - 1; ++i) {
    v1::FeatureSpec& feature = *data.add_features();
    feature.set_column("x" + std::to_string(i));
    feature.mutable_numeric();
  }
  EXPECT_TRUE(Validate(spec).ok()) << Validate(spec);

  v1::FeatureSpec& one_more = *data.add_features();
  one_more.set_column("one-more");
  one_more.mutable_numeric();

  EXPECT_THAT(MessageOf(Validate(spec)),
              HasSubstr("newton solves for at most 2048 coefficients, the model has 2049"));
}

TEST(NewtonSpecTest, TravelsInDoublePrecisionWithDefaults) {
  EXPECT_EQ(BytesPerParameter(NewtonJob()), 8u);
  EXPECT_EQ(BytesPerParameter(ValidJob()), 4u);
  EXPECT_EQ(WithDefaults(v1::NewtonSpec()).damping(), 1);
  EXPECT_EQ(WithDefaults(v1::NewtonSpec()).tolerance(), 1e-10);
}

}  // namespace
}  // namespace chorale::jobs
