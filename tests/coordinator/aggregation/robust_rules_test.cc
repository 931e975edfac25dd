#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "coordinator/aggregation/distances.h"
#include "coordinator/aggregation/multi_krum.h"
#include "coordinator/aggregation/order_statistics.h"
#include "tests/coordinator/aggregation/rule_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RobustRulesTest : public RuleFixture {
 protected:
  static std::vector<std::span<const float>> Spans(const std::vector<std::vector<float>>& vectors) {
    return {vectors.begin(), vectors.end()};
  }
  std::vector<std::vector<float>> DrawMany(std::size_t count, std::size_t size) {
    std::vector<std::vector<float>> vectors;
    for (std::size_t k = 0; k < count; ++k) vectors.push_back(Draw(size));
    return vectors;
  }
};

// base + the mean of the sorted values in [trimmed, end - trimmed), by sorting each coordinate.
std::vector<float> NaiveTrimmedMean(const std::vector<float>& base,
                                    const std::vector<std::vector<float>>& updates,
                                    std::size_t trimmed) {
  std::vector<float> next;
  for (std::size_t i = 0; i < base.size(); ++i) {
    std::vector<double> column;
    for (const auto& update : updates) column.push_back(static_cast<double>(update[i]));
    std::sort(column.begin(), column.end());
    const double sum = std::accumulate(column.begin() + static_cast<std::ptrdiff_t>(trimmed),
                                       column.end() - static_cast<std::ptrdiff_t>(trimmed), 0.0);
    next.push_back(static_cast<float>(static_cast<double>(base[i]) +
                                      sum / static_cast<double>(column.size() - 2 * trimmed)));
  }
  return next;
}

// ---------------------------------------------------------------------------- order statistics

// All numbers of sites up to some borders of the sorting network, so that a wrong comparison shows.
TEST_F(RobustRulesTest, TakesTheMedianAndTheTrimmedMeanThatSortingGives) {
  for (const std::size_t num_sites : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 13u, 16u, 17u, 33u}) {
    const std::vector<float> base = Draw(700);
    const auto updates = DrawMany(num_sites, 700);
    std::vector<float> next(700);

    AddMedian(base, Spans(updates), next, 2);
    EXPECT_EQ(next, NaiveTrimmedMean(base, updates, (num_sites - 1) / 2)) << num_sites;

    for (std::size_t trimmed = 0; 2 * trimmed < num_sites; ++trimmed) {
      AddTrimmedMean(base, Spans(updates), trimmed, next, 2);
      EXPECT_EQ(next, NaiveTrimmedMean(base, updates, trimmed)) << num_sites << ' ' << trimmed;
    }
  }
}

TEST_F(RobustRulesTest, TakesTheSameMedianForAnyNumberOfThreadsAndOrderOfSites) {
  const std::vector<float> base = Draw(100'003);
  auto updates = DrawMany(5, base.size());
  std::vector<float> alone(base.size());
  std::vector<float> together(base.size());
  AddMedian(base, Spans(updates), alone, 1);

  std::reverse(updates.begin(), updates.end());
  AddMedian(base, Spans(updates), together, 3);

  EXPECT_EQ(alone, together);
}

TEST_F(RobustRulesTest, KeepsHostileValuesOutOfTheMedian) {
  const float huge = std::numeric_limits<float>::max();
  auto request = MakeRequest({1, 1}, {{0.5, 1}, {huge, -huge}, {1, 2}});
  request.rule.mutable_median();

  EXPECT_THAT(NextModel(request), ElementsAre(2, 2));
}

TEST_F(RobustRulesTest, TrimsAtEitherEnd) {
  auto request = MakeRequest({0}, {{1000}, {1}, {2}, {3}, {-500}});
  request.rule.mutable_trimmed_mean()->set_trimmed_share(0.2);

  EXPECT_THAT(NextModel(request), ElementsAre(2));
}

TEST_F(RobustRulesTest, TrimsTheWholePartOfTheShare) {
  EXPECT_EQ(NumTrimmed(0.2, 5), 1u);
  EXPECT_EQ(NumTrimmed(0.2, 4), 0u);
  EXPECT_EQ(NumTrimmed(0.29, 100), 29u);  // 0.29 * 100 is below 29 in binary.
  EXPECT_EQ(NumTrimmed(0.49, 2), 0u);
  EXPECT_EQ(NumTrimmed(0.4999999999, 4), 1u);
  EXPECT_EQ(NumTrimmed(0.7, 5), 2u);
  EXPECT_EQ(NumTrimmed(std::numeric_limits<double>::quiet_NaN(), 5), 0u);
}

TEST_F(RobustRulesTest, AppliesOrderStatisticsToModelsOfManyPieces) {
  const std::vector<float> model = Draw(700'001);
  const auto updates = DrawMany(6, model.size());
  auto request = MakeRequest(model, updates);
  request.rule.mutable_trimmed_mean()->set_trimmed_share(0.34);

  EXPECT_EQ(NextModel(request), NaiveTrimmedMean(model, updates, 2));
}

TEST_F(RobustRulesTest, NamesTheSiteWhoseUpdateIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  auto median = MakeRequest({1}, {{1}, {nan}, {1}});
  median.rule.mutable_median();
  auto krum = MakeRequest({1}, {{1}, {nan}, {1}, {1}, {1}});
  krum.rule.mutable_multi_krum()->set_byzantine(1);
  auto bound = MakeRequest({1}, {{1}, {std::numeric_limits<float>::infinity()}});
  bound.rule.mutable_norm_bound()->set_weighting(v1::WEIGHTING_UNIFORM);
  bound.rule.mutable_norm_bound()->set_max_norm(1);

  for (const ServerRuleRequest& request : {median, krum, bound}) {
    const auto result = Apply(request);
    EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(result.status()), HasSubstr("site-b"));
  }
}

// ---------------------------------------------------------------------------- distances

TEST_F(RobustRulesTest, AddsSquaredDistancesTheSameInPiecesAndThreads) {
  const std::vector<float> a = Draw(50'001);
  const std::vector<float> b = Draw(a.size());
  double naive = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    naive += difference * difference;
  }
  std::vector<double> whole = {0, 0};
  std::vector<double> pieces = {0, 0};

  AddSquaredDistances(std::vector<VectorPair>{{a, b}, {a}}, whole, 1);
  for (std::size_t begin = 0; begin < a.size(); begin += 8192) {
    const std::size_t size = std::min<std::size_t>(8192, a.size() - begin);
    const auto part = std::span(a).subspan(begin, size);
    AddSquaredDistances(std::vector<VectorPair>{{part, std::span(b).subspan(begin, size)}, {part}},
                        pieces, 3);
  }

  EXPECT_EQ(whole, pieces);
  EXPECT_NEAR(whole[0], naive, 1e-10 * naive);
}

TEST_F(RobustRulesTest, MeasuresTheLargestFloatsWithoutOverflow) {
  const std::vector<float> a(10, std::numeric_limits<float>::max());
  const std::vector<float> b(10, std::numeric_limits<float>::lowest());
  std::vector<double> total = {0};

  AddSquaredDistances(std::vector<VectorPair>{{a, b}}, total, 1);

  EXPECT_TRUE(std::isfinite(total[0]));
}

// ---------------------------------------------------------------------------- multi-Krum

TEST_F(RobustRulesTest, SelectsUpdatesThatAreNearTheirNeighbours) {
  // On a line: 0, 1, 2, 10, 100, with two nearest neighbours: scores 5, 2, 5, 64 + 81, ....
  const std::vector<double> places = {0, 1, 2, 10, 100};
  std::vector<double> distances;
  for (std::size_t i = 0; i < places.size(); ++i) {
    for (std::size_t j = i + 1; j < places.size(); ++j) {
      distances.push_back((places[i] - places[j]) * (places[i] - places[j]));
    }
  }

  EXPECT_THAT(SelectNearest(distances, 5, 2, 1), ElementsAre(1u));
  EXPECT_THAT(SelectNearest(distances, 5, 2, 2),
              ElementsAre(0u, 1u));  // The tie goes to the first.
  EXPECT_THAT(SelectNearest(distances, 5, 2, 4), ElementsAre(0u, 1u, 2u, 3u));
}

TEST_F(RobustRulesTest, AveragesTheUpdatesThatKrumSelects) {
  auto request = MakeRequest({10, 0}, {{1, 1}, {-90, 90}, {1.5, 1}, {2, 1}, {1, 2}});
  request.rule.mutable_multi_krum()->set_byzantine(1);
  request.rule.mutable_multi_krum()->set_selected(3);

  // Squared distances among a, c, d, e: ac .25, ad 1, ae 1, cd .25, ce 1.25, de 2: scores of two
  // neighbours a 1.25, c .5, d 1.25, e 2.25.
  EXPECT_THAT(NextModel(request), ElementsAre(11.5, 1));
}

TEST_F(RobustRulesTest, SelectsAsManyAsHaveNeighboursByDefault) {
  auto request = MakeRequest({0}, {{1}, {2}, {3.5}, {100}, {-50}});
  request.rule.mutable_multi_krum()->set_byzantine(1);

  // Scores with two neighbours: 7.25, 3.25, 8.5, ...: the first two.
  EXPECT_THAT(NextModel(request), ElementsAre(1.5));
}

TEST_F(RobustRulesTest, RefusesTooFewReportsForKrum) {
  auto few = MakeRequest({1}, {{1}, {1}, {1}, {1}});
  few.rule.mutable_multi_krum()->set_byzantine(1);
  auto many_selected = MakeRequest({1}, {{1}, {1}, {1}, {1}, {1}});
  many_selected.rule.mutable_multi_krum()->set_byzantine(1);
  many_selected.rule.mutable_multi_krum()->set_selected(5);
  auto overflowing = many_selected;
  overflowing.rule.mutable_multi_krum()->set_byzantine(std::numeric_limits<std::uint32_t>::max());

  for (const ServerRuleRequest& request : {few, many_selected, overflowing}) {
    const auto result = Apply(request);
    EXPECT_EQ(result.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(MessageOf(result.status()), HasSubstr("reports"));
  }
}

TEST_F(RobustRulesTest, SelectsTheSameForAnyNumberOfThreads) {
  const std::vector<float> model = Draw(200'003);
  auto request = MakeRequest(model, DrawMany(7, model.size()));
  request.rule.mutable_multi_krum()->set_byzantine(2);

  const auto alone = Apply(request, 1);
  const auto together = Apply(request, 3);

  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(together.ok()) << together.status();
  EXPECT_EQ(alone->model.id(), together->model.id());
}

// ---------------------------------------------------------------------------- norm bound

TEST_F(RobustRulesTest, ScalesLongUpdatesDownAndLeavesShortOnes) {
  auto request = MakeRequest({0, 0}, {{30, 40}, {0.75, 1}});
  request.rule.mutable_norm_bound()->set_weighting(v1::WEIGHTING_UNIFORM);
  request.rule.mutable_norm_bound()->set_max_norm(5);

  EXPECT_THAT(NextModel(request), ElementsAre(1.875, 2.5));
}

TEST_F(RobustRulesTest, BoundsTheNormOfAllPiecesTogether) {
  const std::size_t size = 600'000;
  auto request = MakeRequest(std::vector<float>(size, 0), {std::vector<float>(size, 3)});
  request.rule.mutable_norm_bound()->set_weighting(v1::WEIGHTING_EXAMPLES);
  request.rule.mutable_norm_bound()->set_max_norm(std::sqrt(static_cast<double>(size)));

  const std::vector<float> next = NextModel(request);

  EXPECT_THAT(next, testing::Each(1.0F));
}

TEST_F(RobustRulesTest, RefusesABoundThatIsNone) {
  auto request = MakeRequest({0}, {{1}});
  request.rule.mutable_norm_bound()->set_weighting(v1::WEIGHTING_UNIFORM);

  EXPECT_EQ(Apply(request).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::coordinator
