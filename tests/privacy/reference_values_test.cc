#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "privacy/accountant.h"
#include "tests/privacy/reference_file.h"

// Epsilons computed by others for a grid of rates, noise and steps, where they are to be had.
namespace chorale::privacy {
namespace {

Event EventOf(const ReferenceRow& row, const char* steps) {
  return NoisySteps(Sampling::kPoisson, row.at("q"), row.at("sigma"),
                    static_cast<std::uint64_t>(row.at(steps)));
}

TEST(ReferenceValuesTest, AreThoseOfRdp) {
  for (const ReferenceRow& row : ReadReference("epsilon_reference.csv")) {
    const StatusOr<Guarantee> guarantee =
        EpsilonFor(EventOf(row, "steps"), row.at("delta"), {.accountant = AccountantKind::kRdp});
    ASSERT_TRUE(guarantee.ok());
    EXPECT_NEAR(guarantee->epsilon, row.at("rdp_eps"), 1e-6);
    EXPECT_NEAR(guarantee->order.value(), row.at("rdp_order"), 1e-12);
  }
}

// Every `stride`-th row that has a value.
void CheckPld(const char* column, double interval, int stride) {
  int count = 0;
  for (const ReferenceRow& row : ReadReference("epsilon_reference.csv")) {
    if (std::isnan(row.at(column)) || count++ % stride != 0) continue;
    const StatusOr<Guarantee> guarantee =
        EpsilonFor(EventOf(row, "steps"), row.at("delta"), {.interval = interval});
    ASSERT_TRUE(guarantee.ok());
    // Ours leaves out less; the reference loses up to 7e-6 of epsilon to its own rounding.
    EXPECT_LE(guarantee->epsilon, row.at(column) + 1e-6);
    EXPECT_GE(guarantee->epsilon, row.at(column) - 1e-5);
  }
}

TEST(ReferenceValuesTest, AreThoseOfPldOnTheUsualGrid) { CheckPld("pld_eps_h1e-4", 1e-4, 1); }

TEST(ReferenceValuesTest, AreThoseOfPldOnAFinerGrid) { CheckPld("pld_eps_h1e-5", 1e-5, 5); }

TEST(ReferenceValuesTest, LieBetweenTheBoundsOfAnotherMethod) {
  for (const ReferenceRow& row : ReadReference("prv_crosscheck.csv")) {
    const Event event = EventOf(row, "steps");
    const StatusOr<Guarantee> pld = EpsilonFor(event, row.at("delta"), {});
    ASSERT_TRUE(pld.ok());
    EXPECT_GE(pld->epsilon, row.at("prv_lo_1e-3"));
    EXPECT_LE(pld->epsilon, row.at("opacus_prv_test_value_upper"));
    EXPECT_NEAR(pld->epsilon, row.at("pld_cd_1e-4"), 1e-5);
    const StatusOr<Guarantee> rdp =
        EpsilonFor(event, row.at("delta"), {.accountant = AccountantKind::kRdp});
    EXPECT_NEAR(rdp->epsilon, row.at("rdp_opacus_code"), 1e-6);
  }
}

}  // namespace
}  // namespace chorale::privacy
