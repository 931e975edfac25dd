#pragma once

#include "chorale/v1/jobs.pb.h"

namespace chorale::support {

// A small job that every check accepts: three inputs, two sites, three rounds, reports in the
// clear. Spoil one field of it.
[[nodiscard]] inline v1::JobSpec ValidJob() {
  v1::JobSpec spec;
  spec.set_name("heart");
  spec.set_dataset("heart-disease");
  v1::DataSpec& data = *spec.mutable_data();
  v1::FeatureSpec& age = *data.add_features();
  age.set_column("age");
  age.mutable_numeric();
  v1::FeatureSpec& pain = *data.add_features();
  pain.set_column("pain");
  for (const char* level : {"none", "mild", "strong"}) {
    pain.mutable_categorical()->add_levels(level);
  }
  data.mutable_target()->set_column("disease");
  data.mutable_target()->add_positive("1");
  data.set_standardization(v1::STANDARDIZATION_NONE);
  spec.mutable_model()->mutable_logistic_regression();
  v1::TrainingSpec& training = *spec.mutable_training();
  training.mutable_optimizer()->mutable_sgd()->set_learning_rate(0.1);
  training.set_local_epochs(1);
  training.set_batch_size(4);
  v1::MetricSpec& metric = *training.add_metrics();
  metric.set_kind(v1::METRIC_KIND_LOSS);
  metric.set_split(v1::SPLIT_TRAIN);
  v1::RoundsSpec& rounds = *spec.mutable_rounds();
  rounds.set_count(3);
  rounds.set_min_reports(2);
  rounds.mutable_deadline()->set_seconds(60);
  spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_EXAMPLES);
  spec.mutable_secure_aggregation()->mutable_none();
  spec.set_seed(7);
  return spec;
}

// The same as a step of DP-SGD a round, with noise shared by the sites: rate 0.25 of 400 patients,
// learning rate 0.5, epsilon 1 at delta 1e-4. The noise multiplier is missing.
[[nodiscard]] inline v1::JobSpec PrivateJob() {
  v1::JobSpec spec = ValidJob();
  spec.clear_secure_aggregation();
  spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_UNIFORM);
  v1::DataSpec& data = *spec.mutable_data();
  data.set_standardization(v1::STANDARDIZATION_RANGE);
  data.mutable_features(0)->mutable_numeric()->mutable_range()->set_high(120);
  v1::TrainingSpec& training = *spec.mutable_training();
  training.clear_metrics();
  training.clear_batch_size();
  training.set_local_steps(1);
  training.mutable_optimizer()->mutable_sgd()->set_learning_rate(0.5);
  spec.mutable_rounds()->set_min_reports(3);
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  privacy.set_target_epsilon(1);
  privacy.set_target_delta(1e-4);
  privacy.set_sample_rate(0.25);
  privacy.set_max_grad_norm(1);
  privacy.set_expected_patients(400);
  privacy.mutable_distributed();
  return spec;
}

// The same, solved by Newton's method: three noisy sums over all patients.
[[nodiscard]] inline v1::JobSpec PrivateNewtonJob() {
  v1::JobSpec spec = PrivateJob();
  spec.clear_training();
  spec.clear_aggregation();
  spec.mutable_newton()->set_l2_penalty(1);
  spec.mutable_privacy()->clear_sample_rate();
  return spec;
}

}  // namespace chorale::support
