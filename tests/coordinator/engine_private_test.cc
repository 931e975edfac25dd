#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "core/rpc/chunks.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_newton.h"
#include "tests/coordinator/engine_masking_fixture.h"
#include "tests/support/valid_job.h"
#include "training/newton_patients.h"

// Private jobs from submission to their end.
namespace chorale::coordinator {
namespace {

using testing::Each;

// ---------------------------------------------------------------------------- clipping that adapts

class EngineClippingTest : public EngineMaskingTest {
 protected:
  static v1::JobSpec AdaptiveSpec() {
    v1::JobSpec spec = support::PrivateJob();
    spec.mutable_rounds()->set_count(3);
    spec.mutable_rounds()->set_max_abandoned(2);
    spec.mutable_privacy()->set_noise_multiplier(10);
    spec.mutable_privacy()->set_clipping(v1::CLIPPING_ADAPTIVE);
    spec.mutable_privacy()->mutable_adaptive_clipping()->set_initial_norm(0.5);
    return spec;
  }
  // Makes every site's vote that of so many patients, for (or against) the norm.
  void VoteFor(double patients) {
    const auto grid = jobs::GridOf(spec_.privacy(), kNumParameters);
    const double steps = jobs::ClippingScaleOf(spec_.privacy(), *grid)->count_norm / grid->step();
    votes_ = static_cast<std::int64_t>(patients * steps);
  }
  double NormTold(const std::string& site = "north") {
    return Task(site).training().clipping_norm();
  }
};

TEST_F(EngineClippingTest, SitesAreToldTheNormThatTheirVotesMade) {
  const JobId id = Start(AdaptiveSpec());
  ExchangeKeys();
  EXPECT_EQ(NormTold(), 0.5);
  VoteFor(-10);  // Of an expected batch of 100, four sites: b = 0.5 - 40 / 200.
  DoRound();
  const double second = 0.5 * std::exp(0.2 * 0.2);
  EXPECT_DOUBLE_EQ(NormTold(), second);
  VoteFor(25);  // All of the batch.
  DoRound();
  EXPECT_DOUBLE_EQ(NormTold(), second * std::exp(-0.2 * 0.5));
  DoRound();

  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED) << shown.job().reason();
  EXPECT_EQ(shown.rounds(0).clipping_norm(), 0.5);
  EXPECT_DOUBLE_EQ(shown.rounds(1).clipping_norm(), second);
}

TEST_F(EngineClippingTest, TheNormSurvivesARestartAndARoundThatIsAbandoned) {
  const JobId id = Start(AdaptiveSpec());
  ExchangeKeys();
  VoteFor(-10);
  DoRound();
  const double norm = NormTold();
  EXPECT_NE(norm, 0.5);
  Restart();
  for (const std::string& site : kSites) Connect(site, {}, "the same process");
  EXPECT_EQ(NormTold(), norm);

  DoStep({"east"});
  Advance(std::chrono::seconds(61));  // The others are late.
  ASSERT_EQ(Shown(id).rounds_size(), 2);
  EXPECT_FALSE(Shown(id).rounds(1).published());
  ExchangeKeys();
  EXPECT_EQ(NormTold(), norm);
  DoRound();
  EXPECT_EQ(Shown(id).rounds(2).clipping_norm(), norm);
}

TEST_F(EngineClippingTest, SitesThatWereToldTwoNormsDoNotTakePart) {
  Start(AdaptiveSpec());
  ExchangeKeys();
  v1::Task lie = Task("north");
  lie.mutable_training()->set_clipping_norm(0.6);
  const std::vector<std::int64_t> gradients(kNumParameters + 1, 0);
  const auto report = sites_["north"]->Report(
      lie, spec_, crypto::DigestFromBytes(AsBytes(lie.training().global_model().digest())).value(),
      jobs::MaskedKind::kUpdate, kNumParameters, {.gradient_sum = gradients}, clock_.WallNow());
  // The round's start is signed for another task.
  EXPECT_EQ(secagg::RefusalOf(report.status()), secagg::RefusalCode::kParametersNotApproved)
      << report.status();
}
class EngineNoisyNewtonTest : public EngineMaskingTest {
 protected:
  static constexpr std::uint64_t kCoefficients = 4;

  static v1::JobSpec NewtonSpec() {
    v1::JobSpec spec = support::PrivateNewtonJob();
    spec.mutable_rounds()->set_count(2);
    EXPECT_TRUE(jobs::CalibrateNoise(spec).ok());
    return spec;
  }
  // Reports sums that say this gradient, in every coordinate, and this multiple of the unit matrix.
  Status ReportSums(const std::string& site, double gradient, double hessian) {
    const training::NewtonBounds bounds = jobs::NewtonBoundsOf(spec_, kCoefficients);
    const double step =
        jobs::GridOf(jobs::NewtonSumOf(spec_, kCoefficients), spec_.privacy())->step();
    std::vector<std::int64_t> sums(training::NewtonVectorSize(kCoefficients));
    std::size_t place = 0;
    for (; place < kCoefficients; ++place) {
      sums[place] =
          std::llround(gradient * std::sqrt(1 - bounds.hessian_share) / bounds.gradient / step);
    }
    for (std::size_t i = 0; i < kCoefficients; place += kCoefficients - i++) {
      sums[place] = std::llround(hessian * std::sqrt(bounds.hessian_share) / bounds.hessian / step);
    }
    const v1::Task task = Task(site);
    CHORALE_ASSIGN_OR_RETURN(
        const MaskedSite::MaskedReport report,
        sites_.at(site)->Report(
            task, spec_,
            crypto::DigestFromBytes(AsBytes(task.newton().coefficients().digest())).value(),
            jobs::MaskedKind::kNewtonSums, kCoefficients, {.noisy_sums = sums}, clock_.WallNow()));
    return Send(site, report.vector, report.masked_input);
  }
  void DoNewtonRound(double gradient, double hessian) {
    for (const std::string& site : kSites) {
      const Status reported = ReportSums(site, gradient, hessian);
      EXPECT_TRUE(reported.ok()) << site << ": " << reported;
    }
    DoWork();
    for (int step = 0; step < 2; ++step) {
      DoStep(kSites);
      DoWork();
    }
  }
  std::vector<double> CoefficientsOf(const JobId& id) {
    const auto model = engine_->FindModel(id);
    EXPECT_TRUE(model.ok()) << model.status();
    Bytes bytes(model->reader.size_bytes());
    EXPECT_TRUE(model->reader.ReadAt(0, bytes).ok());
    return *DoublesFromBytes(bytes);
  }
};

TEST_F(EngineNoisyNewtonTest, EveryRoundIsAStepFromTheSumOverSites) {
  const JobId id = Start(NewtonSpec());
  ExchangeKeys();
  // The Hessian is above its floor; the penalty of 1 is on all but the intercept.
  DoNewtonRound(-40, 100);
  std::vector<double> expected(kCoefficients, 160.0 / 401);
  expected.back() = 160.0 / 400;
  EXPECT_THAT(CoefficientsOf(id), testing::Pointwise(testing::DoubleNear(1e-4), expected));
  // Flat but for noise: the floor is half of deviation * sqrt(2 p), with the shares of four sites
  // where two are counted on.
  DoNewtonRound(10, 0);
  const double floor = 0.5 * jobs::NewtonDeviationsOf(spec_, kCoefficients).hessian *
                       std::sqrt(4.0 / 2) * std::sqrt(2.0 * kCoefficients);
  for (std::size_t i = 0; i + 1 < kCoefficients; ++i) {
    expected[i] -= (40 + expected[i]) / (floor + 1);
  }
  expected.back() -= 40 / floor;
  EXPECT_THAT(CoefficientsOf(id), testing::Pointwise(testing::DoubleNear(1e-4), expected));

  const v1::ShowJobResponse shown = Shown(id);
  EXPECT_EQ(shown.job().state(), v1::JOB_STATE_COMPLETED);
  EXPECT_EQ(shown.job().reason(), "");
  ASSERT_EQ(shown.rounds_size(), 2);
  for (const v1::RoundRecord& record : shown.rounds()) {
    EXPECT_TRUE(record.published());
    EXPECT_EQ(record.num_examples(), 0u);
  }
}

TEST_F(EngineNoisyNewtonTest, AStepOfALogisticRegressionIsAtMostTenLong) {
  const JobId id = Start(NewtonSpec());
  ExchangeKeys();
  DoNewtonRound(-1e9, 0);
  EXPECT_THAT(CoefficientsOf(id), Each(testing::DoubleNear(5, 0.2)));
}

}  // namespace
}  // namespace chorale::coordinator
