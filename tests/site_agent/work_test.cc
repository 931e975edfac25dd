#include "site_agent/work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/preparation.h"
#include "jobs/signed_job.h"
#include "tests/site_agent/work_fixture.h"
#include "tests/support/real_data.h"
#include "training/newton_sums.h"

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

using WorkTest = WorkFixture;

TEST_F(WorkTest, SumsTheColumnsOfTheTrainingRows) {
  const Report report = RunAndRelease(PreparationTask());

  double sum = 0, squares = 0;
  for (int age = 40; age < 80; ++age) sum += age, squares += age * age;
  EXPECT_THAT(std::get<std::vector<double>>(report.payload),
              ElementsAre(40, sum, squares, 0, 20, 20, 0));
  EXPECT_EQ(report.num_examples, 40u);
  EXPECT_EQ(trainer_.num_trainings, 0);
}

TEST_F(WorkTest, AHistogramLeavesWhereTheJobNeedsQuantiles) {
  spec_.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_ROBUST);

  const Report report = RunAndRelease(PreparationTask());

  EXPECT_THAT(std::get<std::vector<double>>(report.payload), SizeIs(4 + data::kNumBins + 3));
}

TEST_F(WorkTest, PreparesWithoutATrainerButDoesNotTrain) {
  trainer_pointer_ = nullptr;

  EXPECT_EQ(CodeOf(PreparationTask()), "no refusal");
  EXPECT_EQ(CodeOf(TrainingTask()), "TRAINER_UNAVAILABLE");
}

TEST_F(WorkTest, AForgedOrAlteredJobIsRefused) {
  v1::Task task = TrainingTask();
  (*task.mutable_job()->mutable_signature())[3] ^= 1;
  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");

  task = TrainingTask();
  spec_.set_seed(8);
  task.mutable_job()->set_spec(spec_.SerializeAsString());
  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AJobOfAnotherFederationIsRefused) {
  support::TestPki other("choir");
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, other.Load(v1::PARTY_ROLE_RESEARCHER, "ada"));

  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AJobSignedByASiteIsRefused) {
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, pki_->Load(v1::PARTY_ROLE_SITE, "north"));

  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AnExpiredResearcherIsRefused) {
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, pki_->LoadExpired(v1::PARTY_ROLE_RESEARCHER, "eve"));

  EXPECT_EQ(CodeOf(task), "SIGNATURE_INVALID");
}

TEST_F(WorkTest, AnInvalidSpecificationIsRefused) {
  spec_.mutable_rounds()->set_count(0);

  EXPECT_EQ(CodeOf(TrainingTask()), "JOB_INVALID");
}

TEST_F(WorkTest, AnotherResearcherIsRefusedBeforeTheTableIsRead) {
  std::filesystem::remove(directory_.path() / "heart.csv");
  v1::Task task = TrainingTask();
  *task.mutable_job() = jobs::SignJob(spec_, pki_->Load(v1::PARTY_ROLE_RESEARCHER, "bob"));

  EXPECT_EQ(CodeOf(task), "RESEARCHER_NOT_ALLOWED");
  EXPECT_EQ(source_.num_fetches, 0);
  EXPECT_EQ(num_admitted_, 0);
}

TEST_F(WorkTest, AnUnknownDatasetIsRefused) {
  spec_.set_dataset("stroke");

  EXPECT_EQ(CodeOf(TrainingTask()), "DATASET_UNKNOWN");
}

TEST_F(WorkTest, TooFewRowsAreRefusedBeforeTheModelIsFetched) {
  WriteFile(directory_.path() / "heart.csv", MakeCsv(9, 3));

  EXPECT_EQ(CodeOf(TrainingTask()), "COHORT_MIN");
  EXPECT_EQ(source_.num_fetches, 0);
}

TEST_F(WorkTest, AModelOfAnotherSizeIsNeverFetched) {
  v1::Task task = TrainingTask();
  task.mutable_training()->mutable_global_model()->set_size_bytes(1ull << 50);

  EXPECT_EQ(CodeOf(task), "TASK_INVALID");
  EXPECT_EQ(source_.num_fetches, 0);
}

TEST_F(WorkTest, AModelOfOtherBytesIsRefused) {
  const v1::Task task = TrainingTask();
  source_.Swap(task.training().global_model(), AsBytes(ParameterVector{1, 2, 4}));

  EXPECT_EQ(CodeOf(task), "TASK_INVALID");
}

TEST_F(WorkTest, AModelThatIsNotFiniteIsRefused) {
  model_ = {1, std::numeric_limits<float>::infinity(), 3};

  EXPECT_EQ(CodeOf(TrainingTask()), "TASK_INVALID");
  EXPECT_EQ(trainer_.num_trainings, 0);
}

TEST_F(WorkTest, ATaskBeyondTheMemoryOfTheSiteIsRefusedBeforeAnythingIsFetched) {
  const std::pair<v1::JobSpec, std::function<v1::Task()>> cases[] = {
      {MakeJobSpec(), [this] { return TrainingTask(); }},
      {MakeJobSpec(), [this] { return PreparationTask(); }},
      {MakePersonalSpec(), [this] { return PersonalizationTask(); }},
      {MakeNewtonSpec(), [this] {
         return NewtonTask({0, 0, 0});
       }}};
  for (const auto& [spec, make_task] : cases) {
    spec_ = spec;
    const int fetched_before = source_.num_fetches;
    config_.set_max_memory_bytes(20);
    EXPECT_EQ(CodeOf(make_task()), "RESOURCE_LIMIT");
    EXPECT_EQ(source_.num_fetches, fetched_before);
    config_.set_max_memory_bytes(1u << 30);
    EXPECT_EQ(CodeOf(make_task()), "no refusal");
  }
  EXPECT_EQ(num_admitted_, 4);
}

TEST_F(WorkTest, StepsOverFewPatientsAreManyPasses) {
  std::string table = "age,sex,sick,split,person\n";
  for (int i = 0; i < 40; ++i) {
    table += std::to_string(40 + i) + ",f,yes,train,p" + std::to_string(i % 2) + "\n";
  }
  WriteFile(directory_.path() / "heart.csv", table);
  spec_.mutable_training()->set_local_steps(3);
  EXPECT_EQ(CodeOf(TrainingTask()), "no refusal");  // 40 patients: a pass, rounded up.

  config_.mutable_datasets(0)->set_patient_column("person");
  Restart();

  EXPECT_EQ(CodeOf(TrainingTask()), "LOCAL_EPOCHS_LIMIT");  // 2 patients: three.
}

TEST_F(WorkTest, WhatTrainingNeedsIsPartOfTheEstimate) {
  const v1::Task task = TrainingTask();
  const std::uint64_t training = training::EstimateMemory(MakePlan(spec_), spec_.training(), 40, 1);
  // Inputs, target and patient of 60 rows; three copies of the model.
  const std::uint64_t beside = 60 * 16 + 3 * 12;
  config_.set_max_memory_bytes(training + beside);
  EXPECT_EQ(CodeOf(task), "no refusal");

  config_.set_max_memory_bytes(training);

  EXPECT_EQ(CodeOf(task), "RESOURCE_LIMIT");
}

TEST_F(WorkTest, WhatEvaluatingNeedsIsPartOfTheEstimate) {
  // Many rows of a small model, trained in small batches: its metrics take more than its training.
  WriteFile(directory_.path() / "heart.csv", MakeCsv(40, 60000));
  const v1::Task task = TrainingTask();
  const models::GraphPlan plan = MakePlan(spec_);
  const std::uint64_t training = training::EstimateMemory(plan, spec_.training(), 40, 1);
  const std::uint64_t evaluation = training::EstimateEvaluationMemory(plan, 60000, 1);
  ASSERT_GT(evaluation, training);
  const std::uint64_t beside = 60040 * 16 + 3 * 12;
  config_.set_max_memory_bytes(evaluation + beside);
  EXPECT_EQ(CodeOf(task), "no refusal");

  config_.set_max_memory_bytes(evaluation + beside - 1);
  EXPECT_EQ(CodeOf(task), "RESOURCE_LIMIT");

  spec_.mutable_training()->clear_metrics();
  EXPECT_EQ(CodeOf(TrainingTask()), "no refusal");
}

TEST_F(WorkTest, CoxTakesItsRowsTwice) {
  spec_ = MakeNewtonSpec();
  spec_.mutable_model()->mutable_cox();
  spec_.mutable_data()->mutable_target()->mutable_survival()->set_time_column("days");
  config_.mutable_policy()->mutable_allow(0)->set_models(0, "cox");
  std::string table = "age,sex,sick,days,split\n";
  for (int i = 0; i < 40; ++i) table += std::to_string(40 + i) + ",f,yes,3,train\n";
  WriteFile(directory_.path() / "heart.csv", table);
  const v1::Task task = NewtonTask({0, 0});
  // Inputs, targets and patient of 40 rows in double precision; the sums of 2 coefficients.
  const std::uint64_t needed = 2 * (2 * 40 * 20) + 4 * 8 * 7;
  config_.set_max_memory_bytes(needed);
  EXPECT_EQ(CodeOf(task), "no refusal");

  config_.set_max_memory_bytes(needed - 1);

  EXPECT_EQ(CodeOf(task), "RESOURCE_LIMIT");
}

TEST_F(WorkTest, SumsForNewtonAreThoseOfTheRows) {
  spec_ = MakeNewtonSpec();
  const std::vector<double> coefficients = {0.25, -0.5, 1.0 / 3};

  const Report report = RunAndRelease(NewtonTask(coefficients));

  data::ExactExamples rows{.num_inputs = 2, .inputs = {}, .targets = {}, .patients = {}};
  for (int i = 0; i < 40; ++i) {
    rows.inputs.insert(rows.inputs.end(), {(40 + i - 60) / 10.0, i % 2 == 0 ? 0.0 : 1.0});
    rows.targets.push_back(i % 3 == 0 ? 1 : 0);
  }
  const auto expected = training::NewtonSums(training::NewtonKind::kLogistic, rows, coefficients);
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(std::get<std::vector<double>>(report.payload), *expected);
  EXPECT_EQ(report.num_examples, 40u);
  EXPECT_TRUE(report.metrics.empty());
}

TEST_F(WorkTest, SumsForNewtonOnHeartRowsAreThoseOfTheRows) {
  const auto table = support::FindRealData("heart_disease/heart_disease_740.csv");
  if (!table) return;
  std::filesystem::copy_file(*table, directory_.path() / "heart.csv",
                             std::filesystem::copy_options::overwrite_existing);
  spec_ = MakeNewtonSpec();
  v1::DataSpec& data = *spec_.mutable_data();
  data.clear_features();
  for (const char* column : {"age", "sex", "trestbps", "chol", "thalach", "oldpeak"}) {
    data.add_features()->set_column(column);
    data.mutable_features(data.features_size() - 1)->mutable_numeric();
  }
  data.mutable_target()->set_column("num");
  data.mutable_target()->clear_positive();
  for (const char* positive : {"1", "2", "3", "4"}) data.mutable_target()->add_positive(positive);
  data.set_standardization(v1::STANDARDIZATION_PER_SITE);
  config_.mutable_policy()->mutable_allow(0)->set_max_parameters(7);
  v1::Task task = NewtonTask(std::vector<double>(7, 0.1));
  task.mutable_newton()->clear_moments();

  const Report report = RunAndRelease(task);

  const auto dataset = data::Dataset::Load(config_.datasets(0), directory_.path(), data);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const auto expected =
      training::NewtonSums(training::NewtonKind::kLogistic, dataset->PerSiteExact(v1::SPLIT_TRAIN),
                           std::vector<double>(7, 0.1));
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(std::get<std::vector<double>>(report.payload), *expected);
  EXPECT_GT(report.num_examples, 300u);
}

TEST_F(WorkTest, NewtonNeedsNoTrainer) {
  spec_ = MakeNewtonSpec();
  trainer_pointer_ = nullptr;

  EXPECT_EQ(CodeOf(NewtonTask({0, 0, 0})), "no refusal");
}

TEST_F(WorkTest, CoefficientsThatAreNotFiniteOrOtherBytesAreRefused) {
  spec_ = MakeNewtonSpec();
  EXPECT_EQ(CodeOf(NewtonTask({0, std::numeric_limits<double>::quiet_NaN(), 0})), "TASK_INVALID");

  const v1::Task task = NewtonTask({0, 0, 0});
  source_.Swap(task.newton().coefficients(), AsBytes(std::vector<double>{0, 0, 1}));

  EXPECT_EQ(CodeOf(task), "TASK_INVALID");
}

TEST_F(WorkTest, TargetsThatTheModelCannotHaveAreTheSitesFault) {
  spec_ = MakeNewtonSpec();
  spec_.mutable_model()->mutable_poisson_regression();
  spec_.mutable_data()->mutable_target()->Clear();
  spec_.mutable_data()->mutable_target()->set_column("visits");
  spec_.mutable_data()->mutable_target()->mutable_numeric();
  config_.mutable_policy()->mutable_allow(0)->set_models(0, "poisson_regression");
  std::string table = "age,sex,visits,split\n";
  for (int i = 0; i < 12; ++i) table += std::to_string(50 + i) + ",f,2,train\n";
  WriteFile(directory_.path() / "heart.csv", table);
  EXPECT_EQ(CodeOf(NewtonTask({0, 0, 0})), "no refusal");

  WriteFile(directory_.path() / "heart.csv", table + "50,m,-1,train\n");

  EXPECT_EQ(CodeOf(NewtonTask({0, 0, 0})), "DATA_INVALID");
}

TEST_F(WorkTest, AnEmptyTaskIsRefused) { EXPECT_NE(CodeOf(v1::Task()), "no refusal"); }

}  // namespace
}  // namespace chorale::site_agent
