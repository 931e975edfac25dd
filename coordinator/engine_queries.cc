#include <algorithm>
#include <memory>
#include <utility>

#include "coordinator/engine.h"
#include "coordinator/time_codec.h"

// The engine's answers to questions.
namespace chorale::coordinator {
namespace {

constexpr std::size_t kMaxUpdateBytes = 1u << 20;
constexpr std::size_t kMaxShownBytes = 2u << 20;  // Below the clients' limit of a message.

}  // namespace

StatusOr<JobEntry> Engine::LoadFinished(const JobId& id) {
  CHORALE_ASSIGN_OR_RETURN(StoredJob stored, parts_.store.LoadJob(id));
  return MakeEntry(std::move(stored.submission), stored.events);
}

StatusOr<std::vector<v1::JobSummary>> Engine::List(std::uint32_t limit) {
  CHORALE_ASSIGN_OR_RETURN(std::vector<v1::JobSummary> summaries, parts_.store.ListJobs(limit));
  for (v1::JobSummary& summary : summaries) {
    if (const JobEntry* entry = Find(JobId(summary.job_id()))) summary = SummaryOf(*entry);
  }
  return summaries;
}

StatusOr<v1::ShowJobResponse> Engine::Show(const JobId& id, std::uint32_t first_record) {
  std::optional<JobEntry> finished;
  const JobEntry* entry = Find(id);
  if (entry == nullptr) {
    CHORALE_ASSIGN_OR_RETURN(finished, LoadFinished(id));
    entry = &*finished;
  }
  v1::ShowJobResponse response;
  *response.mutable_job() = SummaryOf(*entry);
  response.set_spec(entry->submission.envelope.spec());
  const std::vector<v1::RoundRecord>& records = entry->machine.rounds();
  std::size_t bytes = response.ByteSizeLong();
  for (std::size_t i = first_record; i < records.size(); ++i) {
    bytes += records[i].ByteSizeLong();
    if (bytes > kMaxShownBytes && response.rounds_size() > 0) {
      response.set_has_more(true);
      break;
    }
    *response.add_rounds() = records[i];
  }
  return response;
}

StatusOr<JobUpdate> Engine::UpdateSince(const JobId& id, std::size_t next_round) {
  std::optional<JobEntry> finished;
  const JobEntry* entry = Find(id);
  if (entry == nullptr) {
    CHORALE_ASSIGN_OR_RETURN(finished, LoadFinished(id));
    entry = &*finished;
  }
  const std::vector<v1::RoundRecord>& rounds = entry->machine.rounds();
  JobUpdate update{.summary = SummaryOf(*entry), .rounds = {}, .next_round = next_round};
  std::size_t bytes = 0;
  while (update.next_round < rounds.size() && bytes < kMaxUpdateBytes) {
    update.rounds.push_back(rounds[update.next_round++]);
    bytes += update.rounds.back().ByteSizeLong();
  }
  update.has_more = update.next_round < rounds.size();
  update.has_ended = entry->machine.has_ended();
  return update;
}

StatusOr<ModelSnapshot> Engine::FindModel(const JobId& id) {
  std::optional<JobEntry> copy;
  if (const JobEntry* entry = Find(id)) {
    copy = *entry;
    copy->watchers.clear();
  } else {
    CHORALE_ASSIGN_OR_RETURN(copy, LoadFinished(id));
  }
  if (copy->machine.num_published() == 0) {
    return FailedPrecondition("job " + id.value() + " has published no round yet");
  }
  const crypto::BlobId model = *copy->machine.model();
  StatusOr<PayloadReader> reader = parts_.payloads.Find(model);
  if (reader.ok()) return ModelSnapshot{*std::move(copy), model, *std::move(reader)};
  if (!IsInline(model)) return reader.status();
  CHORALE_ASSIGN_OR_RETURN(Bytes bytes, parts_.store.LoadBlob(model));
  return ModelSnapshot{*std::move(copy), model,
                       PayloadReader(std::make_shared<const Bytes>(std::move(bytes)))};
}

std::vector<v1::SiteSummary> Engine::Sites() const {
  std::vector<v1::SiteSummary> summaries;
  const std::shared_ptr<const identity::Roster> roster = parts_.members.roster();
  for (const auto& [site, member] : roster->sites()) {
    v1::SiteSummary& summary = summaries.emplace_back();
    summary.set_site(site.value());
    summary.set_is_revoked(member.has_revoked_at());
    if (const auto seen = seen_.find(site); seen != seen_.end()) {
      *summary.mutable_last_seen() = ToProto(seen->second.last_seen);
      summary.set_agent_version(seen->second.agent_version);
      summary.mutable_datasets()->Add(seen->second.datasets.begin(), seen->second.datasets.end());
      if (const auto& skew = seen->second.clock_skew; skew.has_value()) {
        *summary.mutable_clock_skew() = ToProto(*skew);
      }
    }
    for (std::string& problem : ProblemsOf(site)) summary.add_problems(std::move(problem));
    if (const SiteSession* session = sessions_.FindSite(site)) {
      summary.set_is_connected(true);
      *summary.mutable_last_seen() = ToProto(session->channel->last_heard());
    }
  }
  return summaries;
}

Status Engine::Watch(const JobId& id, std::shared_ptr<JobWatcher> watcher) {
  JobEntry* entry = Find(id);
  if (entry == nullptr) {
    CHORALE_RETURN_IF_ERROR(parts_.store.LoadJob(id).status());
    return FailedPrecondition("job " + id.value() + " has ended");
  }
  if (is_draining_) return Unavailable("the coordinator is stopping: connect again later");
  entry->watchers.push_back(std::move(watcher));
  return OkStatus();
}

void Engine::Unwatch(const JobId& id, const JobWatcher* watcher) {
  JobEntry* entry = Find(id);
  if (entry == nullptr) return;
  std::erase_if(entry->watchers, [&](const auto& known) { return known.get() == watcher; });
}

}  // namespace chorale::coordinator
