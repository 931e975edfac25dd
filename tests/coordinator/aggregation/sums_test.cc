#include <limits>

#include "coordinator/aggregation/newton_sums.h"
#include "coordinator/aggregation/preparation_sums.h"
#include "tests/coordinator/aggregation/rule_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SumsTest : public RuleFixture {
 protected:
  std::vector<Contribution> Contribute(const std::vector<std::vector<double>>& payloads) {
    std::vector<Contribution> contributions;
    for (std::size_t k = 0; k < payloads.size(); ++k) {
      const std::string name(1, static_cast<char>('a' + k));
      contributions.push_back({SiteId(name), Keep(payloads[k]), 1});
    }
    return contributions;
  }
};

TEST_F(SumsTest, AddsTheSumsOfAllSites) {
  const auto sums = SumPreparation(*payloads_, Contribute({{1, 2}, {3, 4}, {5, 6}}), 2);

  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_THAT(*sums, ElementsAre(9, 12));
}

TEST_F(SumsTest, LosesNothingBesideALargeSum) {
  const auto sums = SumPreparation(*payloads_, Contribute({{1e16}, {1}, {1}, {-1e16}}), 1);

  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_THAT(*sums, ElementsAre(2));
}

TEST_F(SumsTest, PassesOnASumThatIsNotFinite) {
  const double most = std::numeric_limits<double>::max();

  const auto sums = SumNewton(*payloads_, Contribute({{most, 1, 0, 0}, {most, 1, 0, 0}}), 1);

  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(sums->at(0), std::numeric_limits<double>::infinity());
}

TEST_F(SumsTest, NamesTheSiteOfAPayloadOfAnotherSize) {
  const auto contributions = Contribute({{1, 2}, {3}});

  const auto sums = SumPreparation(*payloads_, contributions, 2);

  EXPECT_EQ(sums.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(sums.status()), HasSubstr("site b"));
}

TEST_F(SumsTest, RefusesToAddNothing) {
  EXPECT_EQ(SumPreparation(*payloads_, {}, 2).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(SumNewton(*payloads_, {}, 2).status().code(), StatusCode::kInvalidArgument);
}

// ---------------------------------------------------------------------------- Newton's sums

// Loss, rows, gradient (2), Hessian (3).
const std::vector<double> kSums = {0.5, 10, 1, -1, 2, -1, 3};

Status Check(const std::vector<double>& sums, std::uint64_t num_examples = 10) {
  return CheckNewtonSums(AsBytes(std::span<const double>(sums)), 2, num_examples);
}

TEST(NewtonSumsCheckTest, AcceptsSumsThatRowsCanHave) {
  EXPECT_TRUE(Check(kSums).ok());
  EXPECT_EQ(NewtonPayloadBytes(2), kSums.size() * sizeof(double));
}

TEST(NewtonSumsCheckTest, RefusesSumsThatNoRowsCanHave) {
  for (const auto& [index, value] :
       std::vector<std::pair<std::size_t, double>>{{0, std::numeric_limits<double>::quiet_NaN()},
                                                   {1, 11},
                                                   {3, std::numeric_limits<double>::infinity()},
                                                   {4, -1},
                                                   {6, -1e-3}}) {
    std::vector<double> sums = kSums;
    sums[index] = value;
    EXPECT_EQ(Check(sums).code(), StatusCode::kInvalidArgument) << index;
  }
  EXPECT_EQ(Check({1, 2, 3}).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::coordinator
