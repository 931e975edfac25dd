#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/engine.h"
#include "coordinator/job_story.h"

// The engine's answers to: why?
namespace chorale::coordinator {
namespace {

constexpr std::size_t kMaxStoryBytes = 1u << 20;
constexpr Duration kRefusedAgentsAreToldFor = std::chrono::hours(24);

std::string InTime(Time when, Time now) {
  return when > now ? "in " + FormatDuration(when - now) : "now";
}

// Who a round under way waits for, and until when.
std::vector<std::string> WaitingForSites(const Round& round, Time now) {
  std::vector<std::string> reasons;
  const std::string what = round.key().step == RoundStep::kReport
                               ? "its report"
                               : "its answer (" + std::string(NameOf(round.key().step)) + ")";
  const std::string until = ", due " + InTime(round.report_deadline(), now);
  for (const auto& [site, status] : round.sites()) {
    if (std::holds_alternative<Pending>(status)) {
      reasons.push_back(site.value() + ": " + what + until);
    } else if (const auto* dropped = std::get_if<Dropped>(&status)) {
      reasons.push_back(site.value() + ": its connection was lost; the round goes on without it " +
                        InTime(dropped->waited_for_until, now));
    }
  }
  return reasons;
}

}  // namespace

StatusOr<v1::ExplainJobResponse> Engine::Explain(const JobId& id, std::uint64_t first_entry) {
  CHORALE_ASSIGN_OR_RETURN(const StoredJob stored, parts_.store.LoadJob(id));
  const JobEntry* entry = Find(id);
  std::optional<JobEntry> finished;
  if (entry == nullptr) {
    CHORALE_ASSIGN_OR_RETURN(finished, MakeEntry(stored.submission, stored.events));
    entry = &*finished;
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<v1::StoryEntry> story,
                           TellStory(stored, RulesOf(entry->spec), parts_.state.starts));
  v1::ExplainJobResponse response;
  *response.mutable_job() = SummaryOf(*entry);
  std::size_t bytes = 0;
  for (std::size_t i = first_entry; i < story.size(); ++i) {
    bytes += story[i].ByteSizeLong();
    if (bytes > kMaxStoryBytes && response.entries_size() > 0) {
      response.set_has_more(true);
      break;
    }
    *response.add_entries() = story[i];
  }
  if (!entry->machine.has_ended()) {
    for (std::string& reason : WaitingFor(*entry)) response.add_waiting_for(std::move(reason));
  }
  return response;
}

std::vector<std::string> Engine::WaitingFor(const JobEntry& entry) const {
  std::vector<std::string> reasons;
  const Round* round = entry.machine.round();
  if (round != nullptr && std::holds_alternative<Collecting>(round->state())) {
    reasons = WaitingForSites(*round, Now());
    for (const auto& [site, status] : round->sites()) {
      for (const std::string& problem : ProblemsOf(site)) {
        reasons.push_back(site.value() + ": " + problem);
      }
    }
  } else {
    reasons.push_back(SummaryOf(entry).reason());
    if (const auto* selecting = std::get_if<Selecting>(&entry.machine.state())) {
      reasons.back() += "; gives up " + InTime(selecting->deadline, Now());
    }
  }
  if (retry_at_.has_value()) {
    reasons.push_back("the coordinator's disk: what happens cannot be stored; its log says why");
  }
  return reasons;
}

std::vector<std::string> Engine::ProblemsOf(const SiteId& site) const {
  std::vector<std::string> problems;
  const auto seen = seen_.find(site);
  if (seen == seen_.end()) return problems;
  if (const auto& skew = seen->second.clock_skew;
      skew.has_value() && std::chrono::abs(*skew) > kTolerableSkew) {
    problems.push_back("its clock is " + FormatDuration(std::chrono::abs(*skew)) +
                       (skew->count() > 0 ? " ahead of" : " behind") +
                       " the coordinator's: set the one that is wrong");
  }
  if (rolled_back_.contains(site)) {
    problems.push_back("its privacy ledger lacks row " + std::to_string(seen->second.receipt->seq) +
                       ", which it told before: an older copy was restored, and private jobs are "
                       "refused");
  }
  if (const auto refused = refused_agents_.find(site);
      refused != refused_agents_.end() &&
      parts_.clock.WallNow() - refused->second.first < kRefusedAgentsAreToldFor) {
    problems.push_back("an agent was refused at " + FormatTime(refused->second.first) + ": " +
                       refused->second.second);
  }
  return problems;
}

}  // namespace chorale::coordinator
