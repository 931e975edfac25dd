#include "tests/coordinator/coordinator_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

// A report of three chunks whose transfer breaks, over the wire.
class ResumedReportTest : public CoordinatorTest {
 protected:
  ResumedReportTest() {
    v1::JobSpec spec = Spec();
    v1::MultilayerPerceptron& mlp = *spec.mutable_model()->mutable_mlp();
    mlp.set_activation(v1::ACTIVATION_RELU);
    mlp.add_hidden_units(1000);
    mlp.add_hidden_units(600);
    EXPECT_TRUE(north_.Connect().ok());
    EXPECT_TRUE(south_.Connect().ok());
    job_ = MustSubmit(spec);
    const v1::Task task = *north_.NextTask();
    task_ = task.task_id();
    update_.resize(task.training().global_model().size_bytes());
    EXPECT_EQ(NumChunks(update_.size()), 3u);
  }
  ByteSpan update() const { return update_; }

  WireSite north_ = Site("north");
  WireSite south_ = Site("south");
  std::string job_;
  std::string task_;
  Bytes update_;
};

TEST_F(ResumedReportTest, GoesOnWhereTheTransferBroke) {
  WireSite::PartialReport(north_, task_, update(), 0, 2).Break();

  const StatusOr<std::uint64_t> received = north_.FindReport(task_, update());
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(*received, 2 * kChunkBytes);
  EXPECT_TRUE(WireSite::PartialReport(north_, task_, update(), 2, 1).Finish().ok());
  EXPECT_TRUE(south_.ReportBytes(south_.NextTask()->task_id(), update(), 10).ok());
  const v1::WatchJobResponse end = WatchToTheEnd(job_);
  EXPECT_EQ(end.job().state(), v1::JOB_STATE_COMPLETED) << end.job().reason();
  for (const v1::SiteProgress& site : end.ended_rounds(0).sites()) {
    EXPECT_EQ(site.state(), v1::SITE_STATE_REPORTED);
  }
}

TEST_F(ResumedReportTest, TakesThePlaceOfATransferThatDoesNotKnowItIsDead) {
  WireSite::PartialReport dead(north_, task_, update(), 0, 1);

  const StatusOr<std::uint64_t> received = north_.FindReport(task_, update());

  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_LE(*received, kChunkBytes);  // The chunk may have been on its way.
  EXPECT_FALSE(dead.Finish().ok());
  const auto from = static_cast<std::size_t>(*received / kChunkBytes);
  EXPECT_TRUE(WireSite::PartialReport(north_, task_, update(), from, 3 - from).Finish().ok());
}

TEST_F(ResumedReportTest, MayBeginAnewAllTheSame) {
  WireSite::PartialReport(north_, task_, update(), 0, 2).Break();
  ASSERT_EQ(*north_.FindReport(task_, update()), 2 * kChunkBytes);

  EXPECT_TRUE(WireSite::PartialReport(north_, task_, update(), 0, 3).Finish().ok());
}

TEST_F(ResumedReportTest, HoldsNothingOfAnotherPayload) {
  WireSite::PartialReport(north_, task_, update(), 0, 2).Break();
  Bytes other = update_;
  other.back() ^= 1;

  EXPECT_EQ(*north_.FindReport(task_, other), 0u);
  const grpc::Status status = WireSite::PartialReport(north_, task_, other, 2, 1).Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("begin anew"));
}

TEST_F(ResumedReportTest, TellsNothingOfAnotherSitesTask) {
  WireSite::PartialReport(north_, task_, update(), 0, 2).Break();

  EXPECT_EQ(south_.FindReport(task_, update()).status().code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(*north_.FindReport(task_, update()), 2 * kChunkBytes);
}

TEST_F(ResumedReportTest, RefusesAGapAndKeepsNothingOfItsTransfer) {
  WireSite::PartialReport(north_, task_, update(), 0, 1).Break();
  ASSERT_EQ(*north_.FindReport(task_, update()), kChunkBytes);

  EXPECT_EQ(WireSite::PartialReport(north_, task_, update(), 2, 1).Finish().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(*north_.FindReport(task_, update()), 0u);
}

}  // namespace
}  // namespace chorale::coordinator
