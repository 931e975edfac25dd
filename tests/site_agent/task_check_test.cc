#include "site_agent/task_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/site_agent/fixtures.h"

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
  return task;
}

v1::Task PreparationTask() {
  v1::Task task;
  task.set_task_id("job-1/0/1/north");
  task.set_job_id("job-1");
  task.mutable_preparation();
  return task;
}

TEST(TaskCheckTest, TakesATrainingTaskThatFitsItsJob) {
  const StatusOr<CheckedTask> checked = CheckTask(TrainingTask(), MakeJobSpec());

  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->facts.kind, ReportKind::kUpdate);
  EXPECT_EQ(checked->global_model->size_bytes, 12u);
  ASSERT_EQ(checked->moments.size(), 1u);
  EXPECT_EQ(checked->moments[0].standard_deviation, 9);
}

TEST(TaskCheckTest, TakesAPreparationThatFitsItsJob) {
  const StatusOr<CheckedTask> checked = CheckTask(PreparationTask(), MakeJobSpec());

  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->facts.kind, ReportKind::kMoments);
  EXPECT_FALSE(checked->global_model.has_value());
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
  };
  for (const Case& spoiled : cases) {
    v1::Task task = TrainingTask();
    spoiled.spoil(task);

    const Status status = CheckTask(task, MakeJobSpec()).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << spoiled.problem;
    EXPECT_THAT(MessageOf(status), HasSubstr(spoiled.problem));
  }
}

TEST(TaskCheckTest, RefusesMomentsThatTheJobDidNotAskFor) {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_PER_SITE);

  EXPECT_THAT(MessageOf(CheckTask(TrainingTask(), spec).status()),
              HasSubstr("task.training.moments must be empty"));
  EXPECT_THAT(MessageOf(CheckTask(PreparationTask(), spec).status()),
              HasSubstr("task.preparation must be unset"));
}

TEST(TaskCheckTest, RefusesAPreparationInALaterRound) {
  v1::Task task = PreparationTask();
  task.set_round(1);

  EXPECT_THAT(MessageOf(CheckTask(task, MakeJobSpec()).status()),
              HasSubstr("task.round must be 0 for a preparation, got 1"));
}

TEST(TaskCheckTest, RefusesAPreparationWithNothingToMeasure) {
  v1::JobSpec spec = MakeJobSpec();
  spec.mutable_data()->mutable_features()->DeleteSubrange(0, 1);

  EXPECT_FALSE(CheckTask(PreparationTask(), spec).ok());
}

}  // namespace
}  // namespace chorale::site_agent
