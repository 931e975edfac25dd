#include "coordinator/aggregation/server_optimizer.h"

#include <cmath>
#include <limits>

#include "tests/coordinator/aggregation/rule_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;

// One coordinate.
struct Outcome {
  float model = 0;
  float m = 0;
  float v = 0;
};

Outcome StepOne(const Adaptive& rule, double update, std::vector<float> m, std::vector<float> v) {
  const std::vector<float> model = {1};
  const std::vector<double> updates = {update};
  Outcome next;
  StepAdaptive(rule,
               {.model = model,
                .mean_update = updates,
                .m = m,
                .v = v,
                .next_model = {&next.model, 1},
                .next_m = {&next.m, 1},
                .next_v = {&next.v, 1}},
               1);
  return next;
}

constexpr Adaptive kRule{.learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.75, .tau = 0.5};

TEST(ServerOptimizerTest, StartsAdamFromTauSquaredWithoutCorrectingBias) {
  const Outcome next = StepOne(kRule, 2, {}, {});

  EXPECT_FLOAT_EQ(next.m, 1);
  EXPECT_FLOAT_EQ(next.v, 0.75 * 0.25 + 0.25 * 4);
  EXPECT_FLOAT_EQ(next.model, static_cast<float>(1 + 0.1 * 1 / (std::sqrt(1.1875) + 0.5)));
}

TEST(ServerOptimizerTest, GoesOnFromTheStateOfAdam) {
  const Outcome next = StepOne(kRule, 2, {3}, {9});

  EXPECT_FLOAT_EQ(next.m, 2.5);
  EXPECT_FLOAT_EQ(next.v, 0.75 * 9 + 0.25 * 4);
  EXPECT_FLOAT_EQ(next.model, static_cast<float>(1 + 0.1 * 2.5 / (std::sqrt(7.75) + 0.5)));
}

TEST(ServerOptimizerTest, MovesYogisSecondMomentBySignAlone) {
  Adaptive rule = kRule;
  rule.second_moment = SecondMoment::kYogi;

  EXPECT_FLOAT_EQ(StepOne(rule, 2, {0}, {9}).v, 8);  // Above the square: down by a quarter of it.
  EXPECT_FLOAT_EQ(StepOne(rule, 2, {0}, {1}).v, 2);  // Below: up.
  EXPECT_FLOAT_EQ(StepOne(rule, 2, {0}, {4}).v, 4);  // Equal: it stays.
}

TEST(ServerOptimizerTest, SumsAdagradsSquares) {
  Adaptive rule = kRule;
  rule.second_moment = SecondMoment::kAdagrad;

  EXPECT_FLOAT_EQ(StepOne(rule, 2, {0}, {5}).v, 9);
}

TEST(ServerOptimizerTest, StaysWhereItIsWithoutUpdates) {
  for (const SecondMoment kind :
       {SecondMoment::kAdam, SecondMoment::kYogi, SecondMoment::kAdagrad}) {
    Adaptive rule = kRule;
    rule.second_moment = kind;

    const Outcome next = StepOne(rule, 0, {}, {});

    EXPECT_EQ(next.model, 1);
    EXPECT_EQ(next.m, 0);
  }
}

class ServerOptimizerRuleTest : public RuleFixture {};

TEST_F(ServerOptimizerRuleTest, AddsMomentum) {
  auto request = MakeRequest({1, 1}, {{1, 0}, {3, 2}});
  auto& rule = *request.rule.mutable_fedavgm();
  rule.set_weighting(v1::WEIGHTING_UNIFORM);
  rule.set_learning_rate(0.5);
  rule.set_momentum(0.25);
  request.state = Keep<float>({4, 8});

  const auto result = Apply(request);

  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Load(result->state->id()), ElementsAre(3, 3));
  EXPECT_THAT(Load(result->model.id()), ElementsAre(2.5, 2.5));
}

// Sizes at which m and v do not begin at chunks; compared with the definition, and with itself on
// other numbers of threads.
TEST_F(ServerOptimizerRuleTest, KeepsBothMomentsOfModelsOfAnySize) {
  for (const std::size_t size : {1u, 10'000u, 262'144u, 300'001u}) {
    const std::vector<float> model = Draw(size);
    const std::vector<std::vector<float>> updates = {Draw(size), Draw(size), Draw(size)};
    std::vector<float> state = Draw(2 * size);
    for (float& value : state) value = std::abs(value);
    auto request = MakeRequest(model, updates);
    auto& rule = *request.rule.mutable_fedadam();
    rule.set_weighting(v1::WEIGHTING_EXAMPLES);
    rule.set_learning_rate(0.1);
    rule.set_beta1(0.9);
    rule.set_beta2(0.99);
    rule.set_tau(0.001);
    request.state = Keep(state);

    const auto alone = Apply(request, 1);
    const auto together = Apply(request, 3);

    ASSERT_TRUE(alone.ok()) << alone.status();
    ASSERT_TRUE(together.ok()) << together.status();
    EXPECT_EQ(alone->model.id(), together->model.id());
    EXPECT_EQ(alone->state->id(), together->state->id());
    const std::vector<float> next = Load(alone->model.id());
    const std::vector<float> moments = Load(alone->state->id());
    ASSERT_EQ(moments.size(), 2 * size);
    for (std::size_t i = 0; i < size; ++i) {
      const double update =
          (10.0 * updates[0][i] + 20.0 * updates[1][i] + 30.0 * updates[2][i]) / 60;
      const double m = 0.9 * state[i] + 0.1 * update;
      const double v = 0.99 * state[size + i] + 0.01 * update * update;
      ASSERT_NEAR(moments[i], m, 1e-7);
      ASSERT_NEAR(moments[size + i], v, 1e-7);
      ASSERT_NEAR(next[i], model[i] + 0.1 * m / (std::sqrt(v) + 0.001),
                  1e-6 * (1 + std::abs(next[i])));
    }
  }
}

TEST_F(ServerOptimizerRuleTest, RefusesMomentsBeyondFloat32) {
  auto request = MakeRequest({0}, {{std::numeric_limits<float>::max()}});
  auto& rule = *request.rule.mutable_fedadagrad();
  rule.set_weighting(v1::WEIGHTING_UNIFORM);
  rule.set_learning_rate(0.1);
  rule.set_tau(0.001);

  const auto result = Apply(request);

  EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(result.status()), HasSubstr("training diverged"));
}

}  // namespace
}  // namespace chorale::coordinator
