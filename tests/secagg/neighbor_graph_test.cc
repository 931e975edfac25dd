#include "secagg/neighbor_graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace chorale::secagg {
namespace {

struct Row {
  std::uint32_t members;
  double corrupt;
  double dropout;
  bool is_semi_malicious;
  std::uint32_t degree;
  std::uint32_t threshold;
};

void ExpectRow(const Row& row, double security_bits = 40, double correctness_bits = 20) {
  const auto found = FindGraph(row.members, {.corrupt_fraction = row.corrupt,
                                             .dropout_fraction = row.dropout,
                                             .security_bits = security_bits,
                                             .correctness_bits = correctness_bits,
                                             .is_semi_malicious = row.is_semi_malicious});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->out_degree, row.degree)
      << row.members << " " << row.corrupt << " " << row.dropout;
  EXPECT_EQ(found->threshold, row.threshold)
      << row.members << " " << row.corrupt << " " << row.dropout;
}

// Values of another implementation of the same conditions, Google's Federated Compute Platform.
TEST(FindGraphTest, AgreesWithAnotherImplementation) {
  for (const Row& row : std::vector<Row>{{100, .05, .05, false, 12, 6},
                                         {1000, .05, .05, false, 30, 17},
                                         {10'000, .05, .05, false, 34, 20},
                                         {1'000'000, .05, .05, false, 38, 22},
                                         {100, .05, .05, true, 16, 11},
                                         {1000, .05, .05, true, 52, 37},
                                         {10'000, .05, .05, true, 62, 44},
                                         {1'000'000, .05, .05, true, 74, 52},
                                         {100, .33, .33, false, 68, 34},
                                         {1000, .33, .33, false, 286, 150},
                                         {10'000, .33, .33, false, 422, 221},
                                         {100, .05, .33, true, 72, 39},
                                         {1000, .05, .33, true, 398, 223},
                                         {1000, .33, .05, true, 132, 109},
                                         {1000, .3, .3, true, 872, 584}}) {
    ExpectRow(row);
  }
}

TEST(FindGraphTest, GivesTheTableOfTheDesign) {
  for (const Row& row :
       std::vector<Row>{{50, .05, .05, true, 8, 6},      {50, .05, .10, true, 14, 9},
                        {50, .05, .20, true, 24, 14},    {50, .10, .10, true, 16, 11},
                        {50, .10, .20, true, 26, 16},    {50, .20, .10, true, 22, 17},
                        {200, .05, .05, true, 30, 21},   {200, .05, .10, true, 42, 27},
                        {200, .05, .20, true, 72, 42},   {200, .10, .10, true, 56, 39},
                        {200, .10, .20, true, 88, 55},   {200, .20, .10, true, 76, 57},
                        {300, .05, .05, true, 38, 27},   {300, .20, .10, true, 94, 70},
                        {500, .05, .10, true, 66, 44},   {500, .10, .20, true, 152, 97},
                        {1000, .05, .10, true, 78, 52},  {1000, .05, .20, true, 148, 90},
                        {1000, .10, .10, true, 96, 67},  {1000, .10, .20, true, 194, 124},
                        {1000, .20, .10, true, 140, 104}}) {
    ExpectRow(row);
  }
}

TEST(FindGraphTest, GivesTheTableOfHigherSecurity) {
  for (const Row& row : std::vector<Row>{{1000, .05, .05, true, 76, 55},
                                         {1000, .05, .10, true, 108, 73},
                                         {1000, .05, .20, true, 202, 124},
                                         {1000, .10, .10, true, 138, 98},
                                         {1000, .10, .20, true, 262, 169},
                                         {1000, .20, .10, true, 198, 149}}) {
    ExpectRow(row, 80, 30);
  }
}

TEST(FindGraphTest, SaysSoWhenNoGraphWillDo) {
  EXPECT_EQ(FindGraph(10, {.corrupt_fraction = .33, .dropout_fraction = .5}).status().code(),
            StatusCode::kNotFound);
}

TEST(FindGraphTest, RefusesWhatIsNoGroup) {
  EXPECT_EQ(FindGraph(2, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FindGraph(10'000'001, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FindGraph(100, {.corrupt_fraction = .5, .dropout_fraction = .5}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(FindGraph(100, {.corrupt_fraction = -.1}).ok());
  EXPECT_FALSE(FindGraph(100, {.security_bits = 0}).ok());
  EXPECT_FALSE(FindGraph(100, {.correctness_bits = 1e9}).ok());
}

TEST(DrawNeighborsTest, DrawsDistinctOthersInOrder) {
  SeededRandom random(1);
  for (const std::uint32_t members : {2u, 3u, 10u, 200u}) {
    for (std::uint32_t self = 0; self < members; self += 1 + members / 5) {
      for (const std::uint32_t degree : {0u, 1u, members / 2, members - 1}) {
        const std::vector<MemberIndex> drawn = DrawNeighbors(members, self, degree, random);

        ASSERT_EQ(drawn.size(), degree);
        EXPECT_TRUE(std::adjacent_find(drawn.begin(), drawn.end(), std::greater_equal<>()) ==
                    drawn.end());
        EXPECT_FALSE(std::binary_search(drawn.begin(), drawn.end(), self));
        EXPECT_TRUE(drawn.empty() || drawn.back() < members);
      }
    }
  }
}

// All ten sets of two among five others, 20,000 draws, seed 2: chi-square with nine degrees of
// freedom exceeds 45 with probability 9e-7.
TEST(DrawNeighborsTest, DrawsEverySetEquallyOften) {
  SeededRandom random(2);
  std::map<std::vector<MemberIndex>, double> counts;
  constexpr double kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) counts[DrawNeighbors(6, 2, 2, random)] += 1;

  double chi_square = 0;
  for (const auto& [set, count] : counts) {
    chi_square += (count - kDraws / 10) * (count - kDraws / 10) / (kDraws / 10);
  }
  EXPECT_EQ(counts.size(), 10u);
  EXPECT_LT(chi_square, 45);
}

}  // namespace
}  // namespace chorale::secagg
