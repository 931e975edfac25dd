#include "coordinator/aggregation/server_rule.h"

#include <cmath>
#include <limits>

#include "coordinator/aggregation/rule_run.h"
#include "tests/coordinator/aggregation/rule_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ServerRuleTest : public RuleFixture {
 protected:
  ServerRuleRequest Averaging(const std::vector<float>& model,
                              const std::vector<std::vector<float>>& updates,
                              v1::Weighting weighting = v1::WEIGHTING_UNIFORM) {
    ServerRuleRequest request = MakeRequest(model, updates);
    request.rule.mutable_fedavg()->set_weighting(weighting);
    return request;
  }
  StatusCode CodeOf(const ServerRuleRequest& request) { return Apply(request).status().code(); }
};

TEST_F(ServerRuleTest, WeighsByExamples) {
  // 10 and 20 examples.
  const auto request = Averaging({10, 20}, {{3, 6}, {6, 12}}, v1::WEIGHTING_EXAMPLES);

  EXPECT_THAT(NextModel(request), ElementsAre(15, 30));
}

TEST_F(ServerRuleTest, WeighsUniformly) {
  EXPECT_THAT(NextModel(Averaging({10, 20}, {{1, 2}, {5, 10}})), ElementsAre(13, 26));
}

// Sizes around the borders of inline payloads, pieces and chunks.
TEST_F(ServerRuleTest, AveragesModelsOfAnySizeTheSameForAnyNumberOfThreads) {
  for (const std::size_t size : {1u, 16384u, 16385u, 262144u, 262145u, 900001u}) {
    const std::vector<float> model = Draw(size);
    const std::vector<std::vector<float>> updates = {Draw(size), Draw(size)};
    const auto request = Averaging(model, updates, v1::WEIGHTING_EXAMPLES);

    const auto alone = Apply(request, 1);
    const auto together = Apply(request, 3);

    ASSERT_TRUE(alone.ok()) << alone.status();
    ASSERT_TRUE(together.ok()) << together.status();
    EXPECT_EQ(alone->model.id(), together->model.id()) << size;
    EXPECT_FALSE(alone->state.has_value());
    const std::vector<float> next = Load(alone->model.id());
    ASSERT_EQ(next.size(), size);
    for (std::size_t i = 0; i < size; ++i) {
      ASSERT_NEAR(next[i], model[i] + (updates[0][i] + 2 * updates[1][i]) / 3, 1e-6) << size;
    }
  }
}

TEST_F(ServerRuleTest, RefusesAModelBeyondFloat32) {
  const float huge = std::numeric_limits<float>::max();

  const auto next = Apply(Averaging({huge}, {{huge}}));

  EXPECT_EQ(next.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(next.status()), HasSubstr("training diverged"));
}

TEST_F(ServerRuleTest, RefusesUpdatesAndStatesOfAnotherSize) {
  auto short_state = MakeRequest({1, 2}, {{1, 1}});
  short_state.rule.mutable_fedadam()->set_weighting(v1::WEIGHTING_UNIFORM);
  short_state.state = Keep<float>({0, 0});
  auto unexpected_state = Averaging({1, 2}, {{1, 1}});
  unexpected_state.state = Keep<float>({0, 0});
  auto no_control_variate = Averaging({1, 2}, {{1, 1}});
  no_control_variate.has_control_variates = true;

  EXPECT_EQ(CodeOf(Averaging({1, 2}, {{1}})), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(short_state), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(unexpected_state), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(no_control_variate), StatusCode::kInvalidArgument);
}

TEST_F(ServerRuleTest, NamesTheSiteWhoseUpdateIsGone) {
  auto request = Averaging({1}, {{1}});
  request.contributions[0].payload.digest = {1};

  const auto next = Apply(request);

  EXPECT_EQ(next.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(next.status()), HasSubstr("site-a"));
}

TEST_F(ServerRuleTest, StopsWhenItIsTold) {
  const auto request = Averaging(Draw(900'001), {Draw(900'001)});
  cancelled_ = true;

  EXPECT_EQ(CodeOf(request), StatusCode::kCancelled);
}

TEST_F(ServerRuleTest, RefusesToApplyNoRuleOrToNothing) {
  EXPECT_EQ(CodeOf(MakeRequest({1}, {{1}})), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Averaging({1}, {})), StatusCode::kInvalidArgument);
}

TEST_F(ServerRuleTest, RefusesWeightsThatDoNotExist) {
  const std::vector<Contribution> no_examples = {{SiteId("a"), {}, 0}};

  for (const auto& weights : {ContributionWeights({}, v1::WEIGHTING_UNIFORM),
                              ContributionWeights(no_examples, v1::WEIGHTING_EXAMPLES),
                              ContributionWeights(no_examples, v1::WEIGHTING_UNSPECIFIED)}) {
    EXPECT_EQ(weights.status().code(), StatusCode::kInvalidArgument);
  }
}

// ---------------------------------------------------------------------------- cyclic

TEST_F(ServerRuleTest, PassesTheModelOnUnderCyclicTraining) {
  auto request = MakeRequest({1, 2}, {{0.5, -1}});
  request.rule.mutable_cyclic();

  EXPECT_THAT(NextModel(request), ElementsAre(1.5, 1));
}

TEST_F(ServerRuleTest, TakesOneReportUnderCyclicTraining) {
  auto request = MakeRequest({1}, {{1}, {1}});
  request.rule.mutable_cyclic();

  EXPECT_EQ(CodeOf(request), StatusCode::kInvalidArgument);
}

// ---------------------------------------------------------------------------- scaffold

TEST_F(ServerRuleTest, DividesControlVariatesByTheWholeCohort) {
  auto request = Averaging({1, 2}, {{1, 1, 4, 8}, {3, 5, 8, 0}});
  request.has_control_variates = true;
  request.cohort_size = 4;
  request.state = Keep<float>({10, 20});

  const auto result = Apply(request);

  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Load(result->model.id()), ElementsAre(3, 5));
  EXPECT_THAT(Load(result->state->id()), ElementsAre(13, 22));
}

TEST_F(ServerRuleTest, StartsControlVariatesAtZero) {
  auto request = Averaging({1, 2}, {{1, 1, 4, 8}}, v1::WEIGHTING_EXAMPLES);
  request.has_control_variates = true;

  const auto result = Apply(request);

  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Load(result->state->id()), ElementsAre(4, 8));
}

// The second halves of payloads do not begin at a chunk.
TEST_F(ServerRuleTest, KeepsUpdatesAndControlVariatesOfLargeModelsApart) {
  const std::size_t size = 300'001;
  std::vector<float> payload = Draw(2 * size);
  auto request = Averaging(std::vector<float>(size, 1), {payload});
  request.has_control_variates = true;
  request.state = Keep(std::vector<float>(size, 2));

  const auto result = Apply(request);

  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<float> model = Load(result->model.id());
  const std::vector<float> state = Load(result->state->id());
  for (std::size_t i = 0; i < size; ++i) {
    ASSERT_EQ(model[i], static_cast<float>(1.0 + payload[i]));
    ASSERT_EQ(state[i], static_cast<float>(2.0 + payload[size + i]));
  }
}

TEST_F(ServerRuleTest, AveragesControlVariatesByFedavgAlone) {
  auto other_rule = MakeRequest({1}, {{1, 1}});
  other_rule.rule.mutable_median();
  other_rule.has_control_variates = true;
  auto small_cohort = Averaging({1}, {{1, 1}, {1, 1}});
  small_cohort.has_control_variates = true;
  small_cohort.cohort_size = 1;

  EXPECT_EQ(CodeOf(other_rule), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(small_cohort), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::coordinator
