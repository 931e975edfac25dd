#include "cli/progress_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorale::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Time kNow{std::chrono::seconds(1000)};

v1::WatchJobResponse Running() {
  v1::WatchJobResponse message;
  v1::JobSummary& job = *message.mutable_job();
  job.set_job_id("j1");
  job.set_name("heart");
  job.set_state(v1::JOB_STATE_RUNNING);
  job.set_published_rounds(1);
  job.set_wanted_rounds(4);
  return message;
}

void AddRound(v1::WatchJobResponse& message, std::uint32_t number) {
  v1::RoundRecord& round = *message.add_ended_rounds();
  round.set_round(number);
  round.set_phase("training");
  round.set_published(true);
  round.add_sites()->set_state(v1::SITE_STATE_REPORTED);
  v1::SiteProgress& late = *round.add_sites();
  late.set_site("va");
  late.set_state(v1::SITE_STATE_STRAGGLER);
  v1::MetricValue& loss = *round.add_metrics();
  loss.set_kind(v1::METRIC_KIND_LOSS);
  loss.set_split(v1::SPLIT_TRAIN);
  loss.set_value(0.5);
  round.mutable_started_at()->set_seconds(10);
  round.mutable_ended_at()->set_seconds(12);
}

TEST(ProgressLinesTest, TellsEachRoundOnce) {
  ProgressLines lines;
  v1::WatchJobResponse message = Running();
  EXPECT_THAT(lines.Update(message), ElementsAre("job j1 (heart) running"));
  message.mutable_job()->set_reason("round 1 waits for va");
  message.mutable_job()->mutable_current()->set_round(1);
  EXPECT_THAT(lines.Update(message), IsEmpty());

  AddRound(message, 1);

  EXPECT_THAT(lines.Update(message),
              ElementsAre("round 1 published: in 1, late 1, out 0; loss 0.5; 2 s; va late"));
}

TEST(ProgressLinesTest, TellsTheEndAfterTheLastRound) {
  ProgressLines lines;
  v1::WatchJobResponse message = Running();
  AddRound(message, 4);
  message.mutable_job()->set_state(v1::JOB_STATE_FAILED);
  message.mutable_job()->set_reason("two rounds abandoned");

  EXPECT_THAT(lines.Update(message), ElementsAre(HasSubstr("round 4 published"),
                                                 "job j1 (heart) failed: two rounds abandoned"));
}

TEST(ProgressLinesTest, TellsWhyAJobEndedEarly) {
  ProgressLines lines;
  v1::WatchJobResponse message = Running();
  AddRound(message, 4);
  message.mutable_ended_rounds(0)->set_phase("newton");
  message.mutable_ended_rounds(0)->set_reason("collinear columns");
  message.mutable_job()->set_state(v1::JOB_STATE_COMPLETED);
  message.mutable_job()->set_reason("converged");

  EXPECT_THAT(lines.Update(message),
              ElementsAre("round 4 published: in 1, late 1, out 0; loss 0.5; 2 s; collinear "
                          "columns; va late",
                          "job j1 (heart) completed: converged"));
}

TEST(ProgressLinesTest, NamesRoundsThatMakeNoModelByTheirPhase) {
  ProgressLines lines;
  v1::WatchJobResponse message = Running();
  AddRound(message, 0);
  message.mutable_ended_rounds(0)->set_phase("preparation");
  AddRound(message, 5);
  message.mutable_ended_rounds(1)->set_phase("personalization");

  EXPECT_THAT(lines.Update(message),
              ElementsAre("job j1 (heart) running", HasSubstr("preparation published"),
                          testing::StartsWith("personalization published")));
}

TEST(ProgressLinesTest, TellsWhyAJobWaitsWhenTheReasonChanges) {
  ProgressLines lines;
  v1::WatchJobResponse message = Running();
  message.mutable_job()->set_state(v1::JOB_STATE_QUEUED);
  message.mutable_job()->set_reason("2 jobs before it");
  EXPECT_THAT(lines.Update(message), ElementsAre("job j1 (heart) queued: 2 jobs before it"));

  message.mutable_job()->set_reason("1 job before it");

  EXPECT_THAT(lines.Update(message), ElementsAre("job j1 (heart) queued: 1 job before it"));
}

TEST(ProgressLinesTest, TellsWhyARunningJobHasNoRound) {
  ProgressLines lines;
  v1::WatchJobResponse message = Running();
  (void)lines.Update(message);
  message.mutable_job()->set_reason("waiting for sites: 2 of 3 connected");

  EXPECT_THAT(lines.Update(message),
              ElementsAre("job j1 (heart) running: waiting for sites: 2 of 3 connected"));
  EXPECT_THAT(lines.Update(message), IsEmpty());
}

TEST(ProgressBlockTest, ShowsTheRoundUnderWayWithItsSites) {
  ProgressBlock block;
  v1::WatchJobResponse message = Running();
  v1::RoundProgress& current = *message.mutable_job()->mutable_current();
  current.set_round(2);
  current.set_phase("training");
  current.mutable_report_deadline()->set_seconds(1040);
  v1::SiteProgress& in = *current.add_sites();
  in.set_site("cleveland");
  in.set_state(v1::SITE_STATE_REPORTED);
  v1::SiteProgress& waiting = *current.add_sites();
  waiting.set_site("va");
  waiting.set_state(v1::SITE_STATE_PENDING);

  EXPECT_THAT(block.Render(message, kNow, 100),
              ElementsAre("job j1 (heart) running", "[#####---------------] 1/4 rounds",
                          "round 2: in 1, waiting 1, late 0, out 0; 40 s left", "  cleveland  in",
                          "  va  waiting"));
}

TEST(ProgressBlockTest, KeepsTheLastRoundWithItsLoss) {
  ProgressBlock block;
  v1::WatchJobResponse message = Running();
  AddRound(message, 1);
  (void)block.Render(message, kNow, 100);

  const auto lines = block.Render(Running(), kNow, 100);

  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[2], HasSubstr("loss 0.5"));
}

TEST(ProgressBlockTest, TakesOneRowALineWhateverAPeerSends) {
  ProgressBlock block;
  v1::WatchJobResponse message = Running();
  message.mutable_job()->set_state(v1::JOB_STATE_QUEUED);
  message.mutable_job()->set_reason("one\ntwo \xc3\xa9\xc3\xa9\xc3\xa9" + std::string(200, 'x') +
                                    "\x1b[2J");

  const auto lines = block.Render(message, kNow, 32);

  EXPECT_EQ(lines[0], "job j1 (heart) queued: one two \xc3\xa9");
  for (const std::string& line : lines) EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(ProgressBlockTest, CutsALongListOfSites) {
  ProgressBlock block;
  v1::WatchJobResponse message = Running();
  for (int i = 0; i < 64; ++i)
    message.mutable_job()->mutable_current()->add_sites()->set_site("s" + std::to_string(i));

  const auto lines = block.Render(message, kNow, 100);

  EXPECT_EQ(lines.back(), "  and 44 more");
  EXPECT_EQ(lines.size(), 24u);
}

TEST(ProgressViewTest, TellsTheClippingNormOfARound) {
  v1::RoundRecord round;
  round.set_phase("training");
  round.set_round(4);
  round.set_published(true);
  round.set_clipping_norm(1.25);

  EXPECT_EQ(DescribeRound(round), "round 4 published: in 0, late 0, out 0; clipping norm 1.25");
}

TEST(ProgressViewTest, CallsTheRoundBeforeTheFirstByItsPhase) {
  v1::RoundRecord round;
  round.set_phase("preparation");
  round.set_reason("quorum not reached");

  EXPECT_EQ(DescribeRound(round), "preparation abandoned: in 0, late 0, out 0; quorum not reached");
}

}  // namespace
}  // namespace chorale::cli
