#include "training/request_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/training/toy_data.h"

namespace chorale::training {
namespace {

using testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

v1::ModelSpec MlpWith(const v1::Loss& loss) {
  v1::ModelSpec model = MakeMlp({3}, v1::ACTIVATION_RELU);
  if (loss.kind_case() != v1::Loss::KIND_NOT_SET) *model.mutable_mlp()->mutable_loss() = loss;
  return model;
}

v1::Loss Classes() {
  v1::Loss loss;
  loss.mutable_cross_entropy()->set_num_classes(3);
  return loss;
}
v1::Loss Counts() {
  v1::Loss loss;
  loss.mutable_poisson();
  return loss;
}
v1::Loss Numbers() {
  v1::Loss loss;
  loss.mutable_mean_squared_error();
  return loss;
}
v1::Loss Survival() {
  v1::Loss loss;
  loss.mutable_cox();
  return loss;
}

TEST(CheckExamplesTest, AcceptsWhatEachLossTakes) {
  for (const v1::Loss& loss : {v1::Loss(), Classes(), Counts(), Numbers(), Survival()}) {
    const models::GraphPlan plan = PlanFor(MlpWith(loss), 4);
    EXPECT_TRUE(CheckExamples(plan, MakeExamplesFor(plan, 10, 1)).ok()) << loss.ShortDebugString();
  }
}

TEST(CheckExamplesTest, RefusesTargetsThatTheLossCannotTakeAndTellsTheRow) {
  struct Bad {
    v1::Loss loss;
    std::size_t place;  // In targets.
    float value;
    const char* message;
  };
  for (const Bad& bad : {Bad{{}, 4, 1.5F, "row 5"}, Bad{{}, 4, -0.1F, "in [0, 1]"},
                         Bad{{}, 4, kNaN, "in [0, 1]"}, Bad{Classes(), 4, 3, "3 classes"},
                         Bad{Classes(), 4, -1, "3 classes"}, Bad{Classes(), 4, 0.5F, "3 classes"},
                         Bad{Counts(), 4, -1, "count"}, Bad{Numbers(), 4, kNaN, "finite"},
                         Bad{Survival(), 4, -1, "row 3"}, Bad{Survival(), 5, 0.5F, "event"}}) {
    const models::GraphPlan plan = PlanFor(MlpWith(bad.loss), 4);
    data::Examples examples = MakeExamplesFor(plan, 10, 1);
    examples.targets[bad.place] = bad.value;

    const Status status = CheckExamples(plan, examples);

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << bad.message;
    EXPECT_THAT(MessageOf(status), HasSubstr(bad.message));
  }
}

TEST(CheckExamplesTest, RefusesSizesThatDoNotFit) {
  const models::GraphPlan plan = PlanFor(MakeLogisticRegression(), 4);
  const std::vector<std::function<void(data::Examples&)>> spoils = {
      [](data::Examples& e) { e.inputs.pop_back(); },
      [](data::Examples& e) { e.targets.push_back(1); },
      [](data::Examples& e) { e.num_inputs = 5; },
      [](data::Examples& e) { e.num_targets = 2; },
      [](data::Examples& e) { e.patients.pop_back(); },
  };
  for (std::size_t i = 0; i < spoils.size(); ++i) {
    data::Examples examples = MakeToyExamples(10, 4, 1);
    spoils[i](examples);
    EXPECT_EQ(CheckExamples(plan, examples).code(), StatusCode::kInvalidArgument) << i;
  }
}

TEST(CheckExamplesTest, RefusesPatientsThatAreNotNumberedWithoutGaps) {
  const models::GraphPlan plan = PlanFor(MakeLogisticRegression(), 4);
  data::Examples examples = MakeToyExamples(4, 4, 1);
  for (const auto& patients : std::vector<std::vector<std::uint32_t>>{
           {0, 1, 3, 3}, {1, 1, 2, 3}, {0, 1, 2, 4}, {0, 0, 0, 4000000000u}}) {
    examples.patients = patients;
    EXPECT_THAT(MessageOf(CheckExamples(plan, examples)), HasSubstr("numbered from 0"));
  }
  examples.patients = {1, 0, 0, 1};
  EXPECT_TRUE(CheckExamples(plan, examples).ok());
}

TEST(CheckRequestTest, RefusesUnsoundControlVariatesAndRounds) {
  const models::GraphPlan plan = PlanFor(MakeLogisticRegression(), 4);
  const data::Examples examples = MakeToyExamples(10, 4, 1);
  const v1::TrainingSpec training = MakeSgd(0.1, 0, 1, 0);
  const ParameterVector start(5), few(4), bad = {0, 0, kNaN, 0, 0};
  TrainRequest request{.plan = plan, .training = training, .train = examples, .start = start};
  ASSERT_TRUE(CheckRequest(request).ok());

  for (const auto& variate : {few, bad}) {
    request.control = {.server = variate};
    EXPECT_THAT(MessageOf(CheckRequest(request)), HasSubstr("control variate"));
    request.control = {.site = variate};
    EXPECT_THAT(MessageOf(CheckRequest(request)), HasSubstr("control variate"));
  }
  request.control = {};
  request.place.round = 0;
  EXPECT_THAT(MessageOf(CheckRequest(request)), HasSubstr("counted from 1"));
}

}  // namespace
}  // namespace chorale::training
