#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "cli/job_hints.h"
#include "cli/job_text.h"
#include "cli/output.h"
#include "cli/researcher_home.h"
#include "cli/verbs.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path researcher;
  std::string job_id;
  bool all = false;
  OutputFormat format = OutputFormat::kText;
};

// The whole story, page by page.
StatusOr<v1::ExplainJobResponse> Fetch(JobsClient& jobs, const std::string& job_id) {
  v1::ExplainJobResponse story;
  v1::ExplainJobRequest request;
  request.set_job_id(job_id);
  while (true) {
    CHORALE_ASSIGN_OR_RETURN(v1::ExplainJobResponse page, jobs.ExplainJob(request));
    if (page.has_more() && page.entries_size() == 0) {
      return Internal("the coordinator tells of more and sends nothing");
    }
    for (v1::StoryEntry& entry : *page.mutable_entries()) {
      *story.add_entries() = std::move(entry);
    }
    *story.mutable_job() = std::move(*page.mutable_job());
    *story.mutable_waiting_for() = std::move(*page.mutable_waiting_for());
    if (!page.has_more()) return story;
    request.set_first_entry(static_cast<std::uint64_t>(story.entries_size()));
  }
}

std::string SitesText(const v1::StoryEntry& entry) {
  std::string text;
  for (const std::string& site : entry.sites()) text += (text.empty() ? "" : " ") + Printable(site);
  return text;
}

std::string Because(const v1::StoryEntry& entry) {
  return entry.reason().empty() ? "" : ": " + Printable(entry.reason());
}

std::string WordsOf(const v1::StoryEntry& entry) {
  const std::string sites = SitesText(entry);
  const std::string step = entry.step() == "report" ? "" : " (" + Printable(entry.step()) + ")";
  switch (entry.kind()) {
    case v1::STORY_KIND_SUBMITTED:
      return "submitted";
    case v1::STORY_KIND_JOB_STARTED:
      return "started";
    case v1::STORY_KIND_START_FAILED:
      return "could not start" + Because(entry);
    case v1::STORY_KIND_NO_COHORT:
      return "nobody to ask" + Because(entry);
    case v1::STORY_KIND_QUORUM_IMPOSSIBLE:
      return "quorum out of reach" + Because(entry);
    case v1::STORY_KIND_ROUND_STARTED:
      return "asked " + sites;
    case v1::STORY_KIND_STEP_DONE:
      return "step through" + step + ": " + sites;
    case v1::STORY_KIND_SITE_REPORTED:
      return sites + " in" + step;
    case v1::STORY_KIND_SITE_REFUSED:
      return sites + " refused" + step + ": " + Printable(entry.reason_code()) +
             (entry.reason().empty() ? "" : " (" + Printable(entry.reason()) + ")");
    case v1::STORY_KIND_SITE_DROPPED:
      return sites + " lost its connection";
    case v1::STORY_KIND_SITE_RETURNED:
      return sites + " is back";
    case v1::STORY_KIND_SITE_LATE:
      return sites + " late: not reported by the deadline" + step;
    case v1::STORY_KIND_ROUND_PUBLISHED:
      return "published with " + (sites.empty() ? "nobody" : sites) + Because(entry);
    case v1::STORY_KIND_ROUND_ABANDONED:
      return "abandoned" + Because(entry);
    case v1::STORY_KIND_SESSION_LOST:
      return "begins again" + Because(entry);
    case v1::STORY_KIND_COORDINATOR_STARTED:
      return "the coordinator started again and went on";
    case v1::STORY_KIND_CANCEL_REQUESTED:
      return "cancelled " + Printable(entry.reason());
    case v1::STORY_KIND_JOB_COMPLETED:
      return "completed" + Because(entry);
    case v1::STORY_KIND_JOB_FAILED:
      return "failed" + Because(entry);
    case v1::STORY_KIND_JOB_CANCELLED:
      return "ended";
    default:
      return "something that a newer coordinator tells";
  }
}

bool IsOrdinary(v1::StoryKind kind) {
  return kind == v1::STORY_KIND_ROUND_STARTED || kind == v1::STORY_KIND_SITE_REPORTED ||
         kind == v1::STORY_KIND_STEP_DONE || kind == v1::STORY_KIND_ROUND_PUBLISHED;
}

bool IsOfSameRound(const v1::StoryEntry& a, const v1::StoryEntry& b) {
  return a.attempt() > 0 && a.round() == b.round() && a.attempt() == b.attempt() &&
         a.phase() == b.phase();
}

std::string RoundText(const v1::StoryEntry& entry) {
  if (entry.attempt() == 0) return "-";
  const std::string label = RoundLabel(entry.phase(), entry.round());
  return entry.attempt() == 1 ? label : label + ", try " + std::to_string(entry.attempt());
}

// A row for each entry; without `all`, one for a round in which nothing went wrong.
void PrintStory(const v1::ExplainJobResponse& story, bool all, std::ostream& out) {
  Table table({"TIME (UTC)", "ROUND", "WHAT HAPPENED"});
  const auto& entries = story.entries();
  for (int i = 0; i < entries.size();) {
    int end = i + 1;
    while (end < entries.size() && IsOfSameRound(entries[i], entries[end])) ++end;
    const bool is_ordinary =
        std::all_of(entries.begin() + i, entries.begin() + end,
                    [](const auto& entry) { return IsOrdinary(entry.kind()); });
    const bool is_over = entries[end - 1].kind() == v1::STORY_KIND_ROUND_PUBLISHED;
    for (int j = !all && is_ordinary && is_over ? end - 1 : i; j < end; ++j) {
      table.AddRow({TimeCell(true, entries[j].time()), RoundText(entries[j]), WordsOf(entries[j])});
    }
    i = end;
  }
  table.Print(out);
}

void PrintText(const v1::ExplainJobResponse& story, bool all, std::ostream& out) {
  const v1::JobSummary& job = story.job();
  out << "job " << Printable(job.job_id()) << " (" << Printable(job.name()) << ") is "
      << JobStateName(job.state()) << ", " << job.published_rounds() << " of "
      << job.wanted_rounds() << " rounds published";
  if (!job.reason().empty()) out << ": " << Printable(job.reason());
  out << "\n\n";
  PrintStory(story, all, out);
  if (story.waiting_for_size() > 0) out << "\nIt waits for\n";
  for (const std::string& reason : story.waiting_for()) out << "  " << Printable(reason) << '\n';
  const std::vector<Hint> hints = HintsOf(story);
  out << (hints.empty() ? "\nNothing went wrong.\n" : "\nWhat to do\n");
  for (const Hint& hint : hints) out << "  " << hint.what << "\n    " << hint.to_do << '\n';
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const Researcher researcher,
                           OpenResearcher(options.researcher, terminal.clock.WallNow()));
  CHORALE_ASSIGN_OR_RETURN(const v1::ExplainJobResponse story,
                           Fetch(*researcher.jobs, options.job_id));
  if (options.format == OutputFormat::kText) {
    PrintText(story, options.all, terminal.out);
    return OkStatus();
  }
  CHORALE_ASSIGN_OR_RETURN(const std::string text, ToJson(story, JsonStyle::kLine));
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(text);
  json.erase("has_more");
  json["hints"] = nlohmann::ordered_json::array();
  for (const Hint& hint : HintsOf(story)) {
    json["hints"].push_back({{"what", hint.what}, {"to_do", hint.to_do}});
  }
  terminal.out << json.dump(1) << '\n';
  return OkStatus();
}

}  // namespace

void AddJobWhy(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "why", "Tells a job's whole story: who was late or refused and why, retries, what to do");
  verb->add_option("id", options->job_id, "The job")->required();
  verb->add_flag("--all", options->all,
                 "Every report of every round, also where nothing went wrong");
  AddResearcherOption(*verb, options->researcher);
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
