#include "cli/progress_view.h"

#include <algorithm>

#include "cli/job_text.h"
#include "cli/output.h"

namespace chorale::cli {
namespace {

constexpr std::size_t kBarWidth = 20;
constexpr int kMaxSiteLines = 20;

// What a job waits for while a round is under way stands in the round.
std::string ReasonOf(const v1::JobSummary& job) { return job.has_current() ? "" : job.reason(); }

std::string DescribeJob(const v1::JobSummary& job) {
  std::string text = "job " + Printable(job.job_id()) + " (" + Printable(job.name()) + ") " +
                     std::string(JobStateName(job.state()));
  if (const std::string reason = ReasonOf(job); !reason.empty()) text += ": " + Printable(reason);
  return text;
}

std::string Bar(std::uint32_t done, std::uint32_t wanted) {
  const std::size_t filled =
      wanted == 0 ? 0
                  : std::min<std::uint64_t>(kBarWidth, std::uint64_t{done} * kBarWidth / wanted);
  return "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '-') + "] " +
         std::to_string(done) + "/" + std::to_string(wanted) + " rounds";
}

std::string RoundTitle(const std::string& phase, std::uint32_t round) {
  const std::string label = RoundLabel(phase, round);
  return label == std::to_string(round) ? "round " + label : label;
}

std::string DescribeCurrent(const v1::RoundProgress& current, Time now) {
  const SiteCounts counts = CountSites(current.sites());
  std::string text = RoundTitle(current.phase(), current.round()) + ": in " +
                     std::to_string(counts.reported) + ", waiting " +
                     std::to_string(counts.waiting) + ", late " + std::to_string(counts.late) +
                     ", out " + std::to_string(counts.out);
  if (current.has_report_deadline()) {
    const Duration left = TimeOf(current.report_deadline()) - now;
    text += left > Duration::zero() ? "; " + FormatDuration(left) + " left" : "; deadline passed";
  }
  return text;
}

// Cut by characters, not in the middle of one (UTF-8).
std::string Cut(const std::string& line, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool begins_character = (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
    if (begins_character && ++characters > columns) return line.substr(0, i);
  }
  return line;
}

}  // namespace

std::string DescribeRound(const v1::RoundRecord& round) {
  const SiteCounts counts = CountSites(round.sites());
  std::string text = RoundTitle(round.phase(), round.round()) +
                     (round.published() ? " published" : " abandoned") + ": in " +
                     std::to_string(counts.reported) + ", late " + std::to_string(counts.late) +
                     ", out " + std::to_string(counts.out);
  if (const std::string loss = LossText(round); loss != "-") text += "; loss " + loss;
  if (const std::string clipping = ClippingText(round); !clipping.empty()) text += "; " + clipping;
  if (round.has_started_at() && round.has_ended_at()) {
    text += "; " + FormatDuration(TimeOf(round.ended_at()) - TimeOf(round.started_at()));
  }
  if (!round.reason().empty()) text += "; " + Printable(round.reason());
  for (const std::string& site : DescribeMissing(round.sites())) text += "; " + site;
  return text;
}

std::vector<std::string> ProgressLines::Update(const v1::WatchJobResponse& message) {
  std::vector<std::string> lines;
  const v1::JobSummary& job = message.job();
  const std::string reason = ReasonOf(job);
  const bool is_new = state_ != job.state() || (!reason.empty() && reason_ != reason);
  const bool has_ended = HasEnded(job.state());
  // The end of a job comes after its last round.
  if (is_new && !has_ended) lines.push_back(DescribeJob(job));
  for (const v1::RoundRecord& round : message.ended_rounds()) lines.push_back(DescribeRound(round));
  if (is_new && has_ended) lines.push_back(DescribeJob(job));
  state_ = job.state();
  if (is_new) reason_ = reason;
  return lines;
}

std::vector<std::string> ProgressBlock::Render(const v1::WatchJobResponse& message, Time now,
                                               std::size_t columns) {
  if (message.ended_rounds_size() > 0)
    last_round_ = message.ended_rounds(message.ended_rounds_size() - 1);
  const v1::JobSummary& job = message.job();
  std::vector<std::string> lines = {DescribeJob(job),
                                    Bar(job.published_rounds(), job.wanted_rounds())};
  if (last_round_.has_value()) lines.push_back(DescribeRound(*last_round_));
  if (job.has_current()) {
    lines.push_back(DescribeCurrent(job.current(), now));
    const SiteList& sites = job.current().sites();
    for (int i = 0; i < std::min(sites.size(), kMaxSiteLines); ++i) {
      lines.push_back("  " + Printable(sites[i].site()) + "  " + SiteStateText(sites[i]));
    }
    if (sites.size() > kMaxSiteLines)
      lines.push_back("  and " + std::to_string(sites.size() - kMaxSiteLines) + " more");
  }
  for (std::string& line : lines) {
    // A row a line: a peer's line end would break the block's height.
    std::replace(line.begin(), line.end(), '\n', ' ');
    line = Cut(line, columns);
  }
  return lines;
}

}  // namespace chorale::cli
