#include "site_agent/task_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/site_agent/fixtures.h"
#include "tests/support/valid_job.h"

namespace chorale::site_agent {
namespace {

using testing::HasSubstr;

v1::Task TrainingTask() {
  v1::Task task;
  task.set_task_id("job-1/1/1/north");
  task.set_job_id("job-1");
  task.set_round(1);
  v1::TrainingTask& training = *task.mutable_training();
  training.mutable_global_model()->set_size_bytes(12);
  training.mutable_global_model()->set_digest(std::string(32, 'd'));
  v1::FeatureMoments& moments = *training.add_moments();
  moments.set_mean(50);
  moments.set_standard_deviation(9);
  moments.set_imputed(51);
  return task;
}

void SetBlob(v1::BlobDescriptor& blob, std::uint64_t size_bytes) {
  blob.set_size_bytes(size_bytes);
  blob.set_digest(std::string(32, 'd'));
}

v1::Task NewtonTask() {
  v1::Task task = TrainingTask();
  const v1::FeatureMoments moments = task.training().moments(0);
  SetBlob(*task.mutable_newton()->mutable_coefficients(), 24);
  *task.mutable_newton()->add_moments() = moments;
  return task;
}

v1::Task PersonalizationTask() {
  v1::Task task = TrainingTask();
  task.set_job_id("j1");
  task.set_round(11);
  const v1::FeatureMoments moments = task.training().moments(0);
  SetBlob(*task.mutable_personalization()->mutable_global_model(), 12);
  *task.mutable_personalization()->add_moments() = moments;
  return task;
}

StatusOr<CheckedTask> Check(const v1::Task& task, const v1::JobSpec& spec) {
  return CheckTask(task, spec, MakePlan(spec));
}

v1::Task PreparationTask() {
  v1::Task task;
  task.set_task_id("job-1/0/1/north");
  task.set_job_id("job-1");
  task.mutable_preparation();
  return task;
}

TEST(TaskCheckTest, TakesATrainingTaskThatFitsItsJob) {
  const StatusOr<CheckedTask> checked = Check(TrainingTask(), MakeJobSpec());

  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->facts.kind, ReportKind::kUpdate);
  EXPECT_EQ(checked->model->size_bytes, 12u);
  ASSERT_EQ(checked->moments.size(), 1u);
  EXPECT_EQ(checked->moments[0].standard_deviation, 9);
  EXPECT_EQ(checked->moments[0].imputed, 51);
  EXPECT_EQ(checked->round, 1u);
  EXPECT_FALSE(checked->control_variate.has_value());
}

TEST(TaskCheckTest, TakesAPreparationThatFitsItsJob) {
  const StatusOr<CheckedTask> checked = Check(PreparationTask(), MakeJobSpec());

  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->facts.kind, ReportKind::kPreparation);
  EXPECT_FALSE(checked->model.has_value());
}

TEST(TaskCheckTest, RefusesEveryFactThatDoesNotFit) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  struct Case {
    const char* problem;
    std::function<void(v1::Task&)> spoil;
  };
  const Case cases[] = {
      {"task.work", [](auto& t) { t.clear_training(); }},
      {"task.round must be in [1, 10], got 0", [](auto& t) { t.set_round(0); }},
      {"task.round must be in [1, 10], got 11", [](auto& t) { t.set_round(11); }},
      {"size_bytes must be 12, got 16",
       [](auto& t) { t.mutable_training()->mutable_global_model()->set_size_bytes(16); }},
      {"size_bytes must be 12",
       [](auto& t) { t.mutable_training()->mutable_global_model()->set_size_bytes(~0ull); }},
      {"digest must have 32 bytes",
       [](auto& t) { t.mutable_training()->mutable_global_model()->set_digest("short"); }},
      {"digest must have 32 bytes", [](auto& t) { t.mutable_training()->clear_global_model(); }},
      {"task.training", [](auto& t) { t.mutable_training()->clear_moments(); }},
      {"task.training", [](auto& t) { t.mutable_training()->add_moments()->set_mean(1); }},
      {"task.training", [](auto& t) { t.mutable_training()->mutable_moments(0)->set_mean(kNan); }},
      {"task.training",
       [](auto& t) { t.mutable_training()->mutable_moments(0)->set_standard_deviation(0); }},
      {"task.training",
       [](auto& t) { t.mutable_training()->mutable_moments(0)->set_standard_deviation(-1); }},
      {"task.training",
       [](auto& t) { t.mutable_training()->mutable_moments(0)->set_standard_deviation(kNan); }},
      {"imputed value that is finite",
       [](auto& t) { t.mutable_training()->mutable_moments(0)->set_imputed(kNan); }},
      {"task.training.control_variate must be unset for a job without scaffold",
       [](auto& t) { SetBlob(*t.mutable_training()->mutable_control_variate(), 12); }},
      {"task.newton must be unset", [](auto& t) { t = NewtonTask(); }},
      {"task.personalization must be unset", [](auto& t) { t = PersonalizationTask(); }},
  };
  for (const Case& spoiled : cases) {
    v1::Task task = TrainingTask();
    spoiled.spoil(task);

    const Status status = Check(task, MakeJobSpec()).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << spoiled.problem;
    EXPECT_THAT(MessageOf(status), HasSubstr(spoiled.problem));
  }
}

TEST(TaskCheckTest, TakesAControlVariateOfTheModelsSizeUnderScaffold) {
  v1::Task task = TrainingTask();
  task.set_job_id("j1");
  EXPECT_TRUE(Check(task, MakeScaffoldSpec()).ok());  // The first round has none.

  SetBlob(*task.mutable_training()->mutable_control_variate(), 12);
  const StatusOr<CheckedTask> checked = Check(task, MakeScaffoldSpec());
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->control_variate->size_bytes, 12u);

  SetBlob(*task.mutable_training()->mutable_control_variate(), 24);
  EXPECT_THAT(MessageOf(Check(task, MakeScaffoldSpec()).status()),
              HasSubstr("task.training.control_variate.size_bytes must be 12, got 24"));
}

TEST(TaskCheckTest, TakesAClippingNormThatTheJobCanHaveComeTo) {
  v1::JobSpec spec = support::PrivateJob();
  spec.mutable_privacy()->set_clipping(v1::CLIPPING_ADAPTIVE);
  spec.mutable_privacy()->mutable_adaptive_clipping()->set_initial_norm(0.5);
  v1::Task task = TrainingTask();
  task.set_job_id("j1");
  task.set_round_start("start");
  task.mutable_training()->clear_moments();
  SetBlob(*task.mutable_training()->mutable_global_model(), 16);
  const auto check = [&](std::uint32_t round, double norm) {
    task.set_round(round);
    task.mutable_training()->set_clipping_norm(norm);
    return Check(task, spec);
  };
  EXPECT_EQ(check(1, 0.5).value().clipping_norm, 0.5);
  EXPECT_EQ(check(2, 0.48).value().clipping_norm, 0.48);
  EXPECT_THAT(MessageOf(check(1, 0).status()),
              HasSubstr("task.training.clipping_norm must be in [0.5, 0.5] in round 1, got 0"));
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double wrong : {0.45, 0.0, -0.5, kInfinity, kNan}) {
    EXPECT_EQ(check(1, wrong).status().code(), StatusCode::kInvalidArgument) << wrong;
  }
  EXPECT_FALSE(check(2, 0.7).ok());

  spec.mutable_privacy()->set_clipping(v1::CLIPPING_FLAT);
  spec.mutable_privacy()->clear_adaptive_clipping();
  EXPECT_THAT(MessageOf(check(1, 0.5).status()), HasSubstr("task.training.clipping_norm must be "
                                                           "unset"));
  EXPECT_EQ(check(1, 0).value().clipping_norm, std::nullopt);
}

TEST(TaskCheckTest, TakesNewtonOnCoefficientsOfEightBytes) {
  const StatusOr<CheckedTask> checked = Check(NewtonTask(), MakeNewtonSpec());

  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->facts.kind, ReportKind::kNewtonSums);
  EXPECT_EQ(checked->model->size_bytes, 24u);
  EXPECT_EQ(checked->moments.size(), 1u);
}

TEST(TaskCheckTest, RefusesNewtonThatDoesNotFit) {
  struct Case {
    const char* problem;
    std::function<void(v1::Task&)> spoil;
  };
  const Case cases[] = {
      {"task.newton.coefficients.size_bytes must be 24, got 12",
       [](auto& t) { t.mutable_newton()->mutable_coefficients()->set_size_bytes(12); }},
      {"digest must have 32 bytes", [](auto& t) { t.mutable_newton()->clear_coefficients(); }},
      {"task.round must be in [1, 10], got 0", [](auto& t) { t.set_round(0); }},
      {"task.round must be in [1, 10], got 11", [](auto& t) { t.set_round(11); }},
      {"task.newton", [](auto& t) { t.mutable_newton()->clear_moments(); }},
      {"task.training must be unset", [](auto& t) { t = TrainingTask(); }},
      {"task.personalization must be unset", [](auto& t) { t = PersonalizationTask(); }},
  };
  for (const Case& spoiled : cases) {
    v1::Task task = NewtonTask();
    spoiled.spoil(task);

    const Status status = Check(task, MakeNewtonSpec()).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << spoiled.problem;
    EXPECT_THAT(MessageOf(status), HasSubstr(spoiled.problem));
  }
}

TEST(TaskCheckTest, TakesAPersonalizationAfterTheLastRound) {
  const StatusOr<CheckedTask> checked = Check(PersonalizationTask(), MakePersonalSpec());

  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->facts.kind, ReportKind::kPersonalMetrics);
  EXPECT_EQ(checked->round, 11u);
}

TEST(TaskCheckTest, RefusesAPersonalizationThatDoesNotFit) {
  struct Case {
    const char* problem;
    std::function<void(v1::Task&)> spoil;
  };
  const Case cases[] = {
      {"task.round must be in [11, 11], got 10", [](auto& t) { t.set_round(10); }},
      {"task.round must be in [11, 11], got 12", [](auto& t) { t.set_round(12); }},
      {"task.personalization.global_model.size_bytes must be 12, got 8",
       [](auto& t) { t.mutable_personalization()->mutable_global_model()->set_size_bytes(8); }},
      {"task.personalization", [](auto& t) { t.mutable_personalization()->clear_moments(); }},
      {"task.job_id", [](auto& t) { t.set_job_id("../elsewhere"); }},
      {"task.job_id", [](auto& t) { t.set_job_id(""); }},
  };
  for (const Case& spoiled : cases) {
    v1::Task task = PersonalizationTask();
    spoiled.spoil(task);

    const Status status = Check(task, MakePersonalSpec()).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << spoiled.problem;
    EXPECT_THAT(MessageOf(status), HasSubstr(spoiled.problem));
  }
}

TEST(TaskCheckTest, AJobThatMayEndEarlyIsPersonalizedEarly) {
  v1::JobSpec spec = MakePersonalSpec();
  *spec.mutable_rounds()->mutable_early_stop()->mutable_metric() = spec.training().metrics(0);
  spec.mutable_rounds()->mutable_early_stop()->set_patience(1);
  v1::Task task = PersonalizationTask();

  task.set_round(2);
  EXPECT_TRUE(Check(task, spec).ok());
  task.set_round(1);
  EXPECT_FALSE(Check(task, spec).ok());
}

TEST(TaskCheckTest, AJobIdThatIsNoNameIsRefusedWhereItBecomesADirectory) {
  v1::Task task = TrainingTask();
  for (const char* id : {"..", ".", "a/b", "/etc", "A", "a.b", "-a"}) {
    task.set_job_id(id);

    EXPECT_THAT(MessageOf(Check(task, MakeScaffoldSpec()).status()), HasSubstr("task.job_id"));
    EXPECT_TRUE(Check(task, MakeJobSpec()).ok());  // Leaves nothing on disk.
  }
}

TEST(TaskCheckTest, RefusesMomentsThatTheJobDidNotAskFor) {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_PER_SITE);

  EXPECT_THAT(MessageOf(Check(TrainingTask(), spec).status()),
              HasSubstr("task.training.moments must be empty"));
  EXPECT_THAT(MessageOf(Check(PreparationTask(), spec).status()),
              HasSubstr("task.preparation must be unset"));
}

TEST(TaskCheckTest, RefusesAPreparationInALaterRound) {
  v1::Task task = PreparationTask();
  task.set_round(1);

  EXPECT_THAT(MessageOf(Check(task, MakeJobSpec()).status()),
              HasSubstr("task.round must be 0 for a preparation, got 1"));
}

TEST(TaskCheckTest, RefusesAPreparationWithNothingToMeasure) {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_data()->mutable_features()->DeleteSubrange(0, 1);

  EXPECT_FALSE(Check(PreparationTask(), spec).ok());
}

// ---------------------------------------------------------------------------- secure aggregation

v1::JobSpec MaskedSpec() {
  v1::JobSpec spec = MakeJobSpec();
  spec.clear_secure_aggregation();
  return spec;
}

TEST(TaskCheckTest, AMaskedReportNeedsTheOpeningOfItsRound) {
  v1::Task task = TrainingTask();
  EXPECT_THAT(MessageOf(Check(task, MaskedSpec()).status()), HasSubstr("task.round_start"));
  task.set_round_start(std::string(65536, 'x'));
  const auto checked = Check(task, MaskedSpec());
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->round_start.size(), 65536u);
  task.set_round_start(std::string(65537, 'x'));
  EXPECT_FALSE(Check(task, MaskedSpec()).ok());
  // In the clear there is none.
  task.set_round_start("x");
  EXPECT_THAT(MessageOf(Check(task, MakeJobSpec()).status()), HasSubstr("must be empty"));
}

TEST(TaskCheckTest, AStepNamesAMessageWithinTheBoundsOfItsKind) {
  v1::Task task;
  task.set_job_id("job-1");
  SetBlob(*task.mutable_consistency_check()->mutable_survivors(), 100);
  ASSERT_TRUE(IsStep(task));
  const auto step = CheckStep(task, MaskedSpec());
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(step->answer, secagg::MessageKind::kConsistencySignature);
  EXPECT_EQ(step->message.size_bytes, 100u);

  SetBlob(*task.mutable_consistency_check()->mutable_survivors(),
          secagg::MaxBytes(secagg::MessageKind::kSurvivors) + 1);
  EXPECT_FALSE(CheckStep(task, MaskedSpec()).ok());
  SetBlob(*task.mutable_consistency_check()->mutable_survivors(), 0);
  EXPECT_FALSE(CheckStep(task, MaskedSpec()).ok());
}

TEST(TaskCheckTest, AStepOfAJobInTheClearIsRefused) {
  v1::Task task;
  task.set_job_id("job-1");
  SetBlob(*task.mutable_unmasking()->mutable_signatures(), 100);
  EXPECT_FALSE(CheckStep(task, MakeJobSpec()).ok());
  EXPECT_TRUE(CheckStep(task, MaskedSpec()).ok());
  task.set_job_id("../job");
  EXPECT_FALSE(CheckStep(task, MaskedSpec()).ok());
}

TEST(TaskCheckTest, ALargeCertificateIsRefused) {
  v1::Task task;
  task.set_job_id("job-1");
  SetBlob(*task.mutable_advertise_keys()->mutable_manifest(), 100);
  task.mutable_advertise_keys()->set_coordinator_certificate(std::string(16385, 'x'));
  EXPECT_FALSE(CheckStep(task, MaskedSpec()).ok());
}

TEST(TaskCheckTest, ATaskThatReportsIsNoStep) {
  EXPECT_FALSE(IsStep(TrainingTask()));
  EXPECT_FALSE(IsStep(v1::Task()));
}

}  // namespace
}  // namespace chorale::site_agent
