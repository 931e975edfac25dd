// Tasks that train: rounds, what a site keeps between them, and what comes after the last one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>

#include "models/safetensors.h"
#include "tests/site_agent/work_fixture.h"

namespace chorale::site_agent {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using WorkTrainingTest = WorkFixture;

std::vector<float> Update(const Report& report) {
  return std::get<std::vector<float>>(report.payload);
}

TEST_F(WorkTrainingTest, TrainsFromTheGlobalModel) {
  const Report report = RunAndRelease(TrainingTask());

  EXPECT_THAT(trainer_.last_start, ElementsAre(1, 2, 3));
  EXPECT_EQ(trainer_.last_seed, training::SeedFor(7, 1, "north"));
  EXPECT_EQ(Update(report), std::vector<float>(3, 0.5f));
  EXPECT_EQ(report.num_examples, 40u);
  ASSERT_THAT(report.metrics, SizeIs(2));
  EXPECT_EQ(report.metrics[1].num_examples(), 20u);
  EXPECT_EQ(num_admitted_, 1);
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "state" / "jobs"));
}

TEST_F(WorkTrainingTest, TellsTheTrainerWhereTheRoundStands) {
  Done(TrainingTask(4));

  EXPECT_EQ(trainer_.last_place.round, 4u);
  EXPECT_EQ(trainer_.last_place.num_rounds, 10u);
}

TEST_F(WorkTrainingTest, EachFailureOfTrainingHasItsCode) {
  const std::pair<Status, const char*> cases[] = {
      {FailedPrecondition("the loss is NaN"), "TRAINING_DIVERGED"},
      {ResourceExhausted("memory"), "RESOURCE_LIMIT"},
      {InvalidArgument("a target"), "DATA_INVALID"},
      {Internal("bug"), "INTERNAL_ERROR"}};
  for (const auto& [failure, code] : cases) {
    trainer_.failure = failure;

    EXPECT_EQ(CodeOf(TrainingTask()), code);
  }
}

TEST_F(WorkTrainingTest, AnUpdateThatIsNotFiniteIsADivergence) {
  trainer_.value = std::numeric_limits<float>::quiet_NaN();

  EXPECT_EQ(CodeOf(TrainingTask()), "TRAINING_DIVERGED");
}

TEST_F(WorkTrainingTest, AMachineOutOfMemoryRefuses) {
  trainer_.during_training = [] { throw std::bad_alloc(); };

  EXPECT_EQ(CodeOf(TrainingTask()), "RESOURCE_LIMIT");
}

TEST_F(WorkTrainingTest, StopsWhenCancelled) {
  trainer_.during_training = [this] { cancellation_.Cancel(); };

  EXPECT_TRUE(std::holds_alternative<WorkWasCancelled>(Run(TrainingTask())));
}

TEST_F(WorkTrainingTest, StopsWhileItEvaluatesWhenCancelled) {
  trainer_.during_evaluation = [this] { cancellation_.Cancel(); };

  EXPECT_TRUE(std::holds_alternative<WorkWasCancelled>(Run(TrainingTask())));
  EXPECT_EQ(trainer_.num_trainings, 0);
}

TEST_F(WorkTrainingTest, AResultOfAnotherSizeIsAFault) {
  spec_ = MakeScaffoldSpec();
  trainer_.num_missing = 1;

  EXPECT_EQ(CodeOf(TrainingTask()), "INTERNAL_ERROR");
}

// ---------------------------------------------------------------------------- SCAFFOLD

class ScaffoldTest : public WorkFixture {
 protected:
  ScaffoldTest() { spec_ = MakeScaffoldSpec(); }
  // With the server's control variate, as from the second round on.
  v1::Task Task(std::uint32_t round, int attempt = 1) {
    v1::Task task = TrainingTask(round);
    task.set_task_id("j1/" + std::to_string(round) + "/" + std::to_string(attempt) + "/north");
    if (round > 1) {
      *task.mutable_training()->mutable_control_variate() = source_.Add(AsBytes(server_variate_));
    }
    return task;
  }

  ParameterVector server_variate_ = {7, 8, 9};
};

TEST_F(ScaffoldTest, ReportsTheUpdateAndThenTheChangeOfTheControlVariate) {
  const Report report = RunAndRelease(Task(1));

  EXPECT_THAT(Update(report), ElementsAre(0.5f, 0.5f, 0.5f, 0.25f, 0.25f, 0.25f));
  EXPECT_THAT(trainer_.last_server_variate, IsEmpty());
  EXPECT_THAT(trainer_.last_site_variate, IsEmpty());
}

TEST_F(ScaffoldTest, TheSitesControlVariateAddsUpOverRoundsAndRestarts) {
  RunAndRelease(Task(1));
  Restart();
  trainer_.control_value = 1;
  RunAndRelease(Task(2));
  EXPECT_THAT(trainer_.last_server_variate, ElementsAre(7, 8, 9));
  EXPECT_THAT(trainer_.last_site_variate, Each(0.25f));
  Restart();

  RunAndRelease(Task(3));

  EXPECT_THAT(trainer_.last_site_variate, Each(1.25f));
}

TEST_F(ScaffoldTest, ACrashBeforeTheReportIsReleasedLeavesTheControlVariateAlone) {
  RunAndRelease(Task(1));
  Done(Task(2));
  Restart();

  RunAndRelease(Task(2));

  EXPECT_THAT(trainer_.last_site_variate, Each(0.25f));
}

TEST_F(ScaffoldTest, ARoundThatIsTriedAgainStartsFromTheSameControlVariate) {
  RunAndRelease(Task(1));
  RunAndRelease(Task(2));
  RunAndRelease(Task(2, 2));
  EXPECT_THAT(trainer_.last_site_variate, Each(0.25f));

  RunAndRelease(Task(3));

  EXPECT_THAT(trainer_.last_site_variate, Each(0.5f));
}

TEST_F(ScaffoldTest, AFailedRoundLeavesTheControlVariateAlone) {
  RunAndRelease(Task(1));
  trainer_.failure = FailedPrecondition("the loss is NaN");
  EXPECT_EQ(CodeOf(Task(2)), "TRAINING_DIVERGED");
  trainer_.failure = OkStatus();

  RunAndRelease(Task(3));

  EXPECT_THAT(trainer_.last_site_variate, Each(0.25f));
}

TEST_F(ScaffoldTest, AControlVariateThatIsNotFiniteIsRefused) {
  server_variate_[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(CodeOf(Task(2)), "TASK_INVALID");

  trainer_.control_value = std::numeric_limits<float>::infinity();
  EXPECT_EQ(CodeOf(Task(1)), "TRAINING_DIVERGED");
}

TEST_F(ScaffoldTest, AnotherJobUnderTheSameIdIsRefused) {
  RunAndRelease(Task(1));
  spec_.set_seed(8);

  EXPECT_EQ(CodeOf(Task(2)), "TASK_INVALID");
}

TEST_F(ScaffoldTest, ADamagedControlVariateIsNotUsed) {
  RunAndRelease(Task(1));
  const std::filesystem::path file = directory_.path() / "state/jobs/j1/next.safetensors";
  std::string bytes = ReadWholeFile(file);
  bytes.back() ^= 1;
  WriteFile(file, bytes);
  const int num_trainings = trainer_.num_trainings;

  EXPECT_EQ(CodeOf(Task(2)), "INTERNAL_ERROR");
  EXPECT_EQ(trainer_.num_trainings, num_trainings);
}

// ---------------------------------------------------------------------------- FedBN

// Parameters 6 to 13 of 17 belong to the norm layer.
class LocalNormTest : public WorkFixture {
 protected:
  LocalNormTest() {
    spec_ = MakeNormSpec();
    model_ = ParameterVector(17, 1);
    v1::PolicyRule& rule = *config_.mutable_policy()->mutable_allow(0);
    rule.set_models(0, ToHex(MakePlan(spec_).digest()));
    rule.set_max_parameters(17);
  }
  static std::vector<float> Layers(float others, float norm) {
    std::vector<float> values(17, others);
    std::fill(values.begin() + 6, values.begin() + 14, norm);
    return values;
  }
};

TEST_F(LocalNormTest, NormLayersStayAtTheSite) {
  const Report report = RunAndRelease(TrainingTask(1));

  EXPECT_EQ(trainer_.last_start, Layers(1, 1));  // The first round starts from the global ones.
  EXPECT_EQ(Update(report), Layers(0.5f, 0));
}

TEST_F(LocalNormTest, TheSitesNormLayersTakeThePlaceOfTheGlobalOnes) {
  RunAndRelease(TrainingTask(1));
  model_ = ParameterVector(17, 3);
  Restart();

  RunAndRelease(TrainingTask(2));
  EXPECT_EQ(trainer_.last_start, Layers(3, 1.5f));
  EXPECT_EQ(trainer_.last_evaluated, Layers(3, 1.5f));  // Metrics are of the model as used here.

  RunAndRelease(TrainingTask(3));
  EXPECT_EQ(trainer_.last_start, Layers(3, 2));
}

TEST_F(LocalNormTest, ARoundThatWasNotReleasedLeavesNoNormLayers) {
  Done(TrainingTask(1));

  RunAndRelease(TrainingTask(1));

  EXPECT_EQ(trainer_.last_start, Layers(1, 1));
}

TEST_F(LocalNormTest, UnderScaffoldTheirControlVariateStaysZero) {
  spec_.mutable_training()->mutable_scaffold();
  const Report report = RunAndRelease(TrainingTask(1));

  std::vector<float> expected = Layers(0.5f, 0);
  for (const float change : Layers(0.25f, 0)) expected.push_back(change);
  EXPECT_EQ(Update(report), expected);

  RunAndRelease(TrainingTask(2));
  EXPECT_EQ(trainer_.last_site_variate, Layers(0.25f, 0));
  EXPECT_EQ(trainer_.last_start, Layers(1, 1.5f));
}

TEST_F(LocalNormTest, APersonalizedModelHasTheSitesNormLayers) {
  spec_.mutable_personalization()->set_local_epochs(1);
  RunAndRelease(TrainingTask(10));
  model_ = ParameterVector(17, 3);

  Done(PersonalizationTask());

  EXPECT_EQ(trainer_.last_start, Layers(3, 1.5f));
  EXPECT_EQ(trainer_.last_evaluated, Layers(3.5f, 2));
}

// ---------------------------------------------------------------------------- personalization

class PersonalizationTest : public WorkFixture {
 protected:
  PersonalizationTest() {
    spec_ = MakePersonalSpec();
    spec_.mutable_personalization()->set_local_epochs(1);
  }
  std::filesystem::path file_ = directory_.path() / "state/models/j1/personal.safetensors";
};

TEST_F(PersonalizationTest, KeepsTheModelAndReportsOnlyMetricsOfIt) {
  const Report report = RunAndRelease(PersonalizationTask());

  EXPECT_THAT(std::get<std::vector<double>>(report.payload),
              ElementsAre(0.7 * 40, 40, 0.8 * 20, 20));
  EXPECT_THAT(report.metrics, IsEmpty());
  EXPECT_EQ(report.num_examples, 40u);
  EXPECT_THAT(trainer_.last_start, ElementsAre(1, 2, 3));
  EXPECT_THAT(trainer_.last_evaluated, ElementsAre(1.5f, 2.5f, 3.5f));
  const auto kept = models::LoadSafetensors(file_, 1 << 20);
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_THAT(kept->values, ElementsAre(1.5f, 2.5f, 3.5f));
  EXPECT_EQ(kept->layout, MakePlan(spec_).layout());
}

TEST_F(PersonalizationTest, WithoutMetricsTheReportIsEmptyAndLeaves) {
  spec_.mutable_training()->clear_metrics();

  RunAndRelease(PersonalizationTask());

  const auto outgoing = journal_->LoadReport(TaskId("j1/11/1/north"));
  ASSERT_TRUE(outgoing.ok()) << outgoing.status();
  EXPECT_THAT(std::get<Bytes>(outgoing->payload), IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(file_));
}

TEST_F(PersonalizationTest, NothingOfTheModelIsInTheReportThatLeaves) {
  RunAndRelease(PersonalizationTask());
  const auto outgoing = journal_->LoadReport(TaskId("j1/11/1/north"));
  ASSERT_TRUE(outgoing.ok()) << outgoing.status();

  const std::string left =
      outgoing->header.SerializeAsString() + ToString(std::get<Bytes>(outgoing->payload));
  EXPECT_EQ(std::get<Bytes>(outgoing->payload).size(), 4 * sizeof(double));
  for (const float value : {1.5f, 2.5f, 3.5f, 0.5f}) {
    EXPECT_EQ(left.find(std::string(reinterpret_cast<const char*>(&value), sizeof(value))),
              std::string::npos);
  }
}

TEST_F(PersonalizationTest, TrainsForItselfForAsLongAsTheJobSays) {
  spec_.mutable_training()->mutable_fedprox()->set_mu(1);
  spec_.mutable_personalization()->set_local_epochs(2);

  Done(PersonalizationTask());

  EXPECT_EQ(trainer_.last_training.local_epochs(), 2u);
  EXPECT_FALSE(trainer_.last_training.has_fedprox());
  EXPECT_EQ(trainer_.last_place.round, 1u);  // A schedule of its own.
  EXPECT_EQ(trainer_.last_place.num_rounds, 1u);
}

TEST_F(PersonalizationTest, AfterScaffoldItTrainsWithoutControlVariates) {
  spec_.mutable_training()->mutable_scaffold();
  RunAndRelease(TrainingTask(10));

  const Report report = RunAndRelease(PersonalizationTask());

  EXPECT_FALSE(trainer_.last_training.has_scaffold());
  EXPECT_THAT(trainer_.last_site_variate, IsEmpty());
  EXPECT_THAT(std::get<std::vector<double>>(report.payload), SizeIs(4));
}

TEST_F(PersonalizationTest, AMetricOverFewRowsStays) {
  WriteFile(directory_.path() / "heart.csv", MakeCsv(40, 9));

  const Report report = RunAndRelease(PersonalizationTask());

  EXPECT_THAT(std::get<std::vector<double>>(report.payload), ElementsAre(0.7 * 40, 40, 0, 0));
}

TEST_F(PersonalizationTest, ADivergedTrainingKeepsNoModel) {
  trainer_.value = std::numeric_limits<float>::infinity();

  EXPECT_EQ(CodeOf(PersonalizationTask()), "TRAINING_DIVERGED");

  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(PersonalizationTest, ACancelledTrainingKeepsNoModel) {
  trainer_.during_training = [this] { cancellation_.Cancel(); };

  EXPECT_TRUE(std::holds_alternative<WorkWasCancelled>(Run(PersonalizationTask())));

  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(PersonalizationTest, NeedsATrainer) {
  trainer_pointer_ = nullptr;

  EXPECT_EQ(CodeOf(PersonalizationTask()), "TRAINER_UNAVAILABLE");
}

}  // namespace
}  // namespace chorale::site_agent
