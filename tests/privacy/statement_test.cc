#include "privacy/statement.h"

#include <gtest/gtest.h>

#include <cmath>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

TEST(StatementTest, NeverPrintsAnEpsilonAlone) {
  const Statement statement{
      .guarantee = {.epsilon = 1.828243652, .delta = 1e-5, .order = {}, .interval = {}},
      .unit = PrivacyUnit::kPatient,
      .relation = NeighboringRelation::kAddOrRemoveOne,
      .sampling = "poisson",
      .accountant = AccountantKind::kPld,
      .holds_for = "1000 steps over one site's dataset"};
  EXPECT_EQ(ToText(statement),
            "epsilon 1.82825 at delta 1e-05 per patient, neighbours by add-remove, sampling "
            "poisson, accountant pld, for 1000 steps over one site's dataset");
}

TEST(StatementTest, SaysThatThereIsNoBound) {
  const Statement statement{
      .guarantee = {.epsilon = kInfinity, .delta = 1e-5, .order = {}, .interval = {}},
      .unit = PrivacyUnit::kRecord,
      .relation = NeighboringRelation::kReplaceOne,
      .sampling = "none",
      .accountant = AccountantKind::kRdp,
      .holds_for = "one release"};
  EXPECT_EQ(ToText(statement),
            "epsilon unbounded at delta 1e-05 per record, neighbours by replace, sampling none, "
            "accountant rdp, for one release");
}

TEST(RoundUpTest, NeverGoesDown) {
  EXPECT_EQ(RoundUp(1.2345671, 6), 1.23457);
  EXPECT_EQ(RoundUp(1.2345601, 6), 1.23457);
  EXPECT_EQ(RoundUp(0.00012345601, 4), 0.0001235);
  EXPECT_EQ(RoundUp(123456.1, 3), 124000);
  for (double value = 1.1e-7; value < 1e8; value *= 1.37) {
    for (const int digits : {3, 6, 7}) {
      EXPECT_GE(RoundUp(value, digits), value);
      EXPECT_LE(RoundUp(value, digits), value * (1 + std::pow(10, 1 - digits)));
      EXPECT_EQ(RoundUp(RoundUp(value, digits), digits), RoundUp(value, digits)) << value;
    }
  }
}

TEST(RoundUpTest, LeavesShortDecimalsAlone) {
  for (const double value : {0.0, 1e-5, 0.1, 0.3, 1.1, 7.0, 1e-10, 12.5, 3e5}) {
    EXPECT_EQ(RoundUp(value, 6), value);
  }
}

}  // namespace
}  // namespace chorale::privacy
