#include "coordinator/job_story.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "coordinator/job_event_codec.h"
#include "coordinator/round_record.h"
#include "coordinator/time_codec.h"

namespace chorale::coordinator {
namespace {

// Where the job stood when something happened.
struct Place {
  std::optional<RoundKey> round;
  std::optional<Phase> phase;
};

Place PlaceOf(const Job& job) {
  if (const Round* round = job.round()) return {round->key(), job.phase()};
  if (const auto* selecting = std::get_if<Selecting>(&job.state())) {
    return {selecting->round, selecting->phase};
  }
  return {};
}

class Story {
 public:
  Story(const JobRules& rules, const std::vector<Time>& starts) : job_(rules), starts_(starts) {}

  void Submitted(Time when) {
    next_start_ = std::ranges::upper_bound(starts_, when) - starts_.begin();
    Add(v1::STORY_KIND_SUBMITTED, when, {});
  }

  Status Take(const TimedEvent& timed) {
    TellStartsUntil(timed.time);
    const Place before = PlaceOf(job_);
    const std::size_t num_records = job_.rounds().size();
    if (const auto actions = job_.Step(timed.event, timed.time); !actions.ok()) {
      return DataLoss("a stored event does not follow from the ones before it: " +
                      MessageOf(actions.status()));
    }
    now_ = timed.time;
    before_ = before;
    std::visit(*this, timed.event);
    for (std::size_t i = num_records; i < job_.rounds().size(); ++i) TellEnd(job_.rounds()[i]);
    TellEndOfJob();
    return OkStatus();
  }

  // Until the job's end, or for good.
  std::vector<v1::StoryEntry> Finish() && {
    if (!job_.has_ended()) TellStartsUntil(Time::max());
    return std::move(entries_);
  }

  // ---- one for each event
  void operator()(const JobStarted&) { Add(v1::STORY_KIND_JOB_STARTED, now_, {}); }
  void operator()(const StartFailed& event) {
    Add(v1::STORY_KIND_START_FAILED, now_, {}).set_reason(event.reason);
  }
  void operator()(const CohortSelected& event) {
    SetSites(Add(v1::STORY_KIND_ROUND_STARTED, now_, PlaceOf(job_)), event.sites);
  }
  void operator()(const NoCohort& event) {
    Add(v1::STORY_KIND_NO_COHORT, now_, before_).set_reason(event.reason);
  }
  void operator()(const QuorumImpossible& event) {
    Add(v1::STORY_KIND_QUORUM_IMPOSSIBLE, now_, before_).set_reason(event.reason);
  }
  void operator()(const SiteReported& event) {
    SetSites(Add(v1::STORY_KIND_SITE_REPORTED, now_, {event.round, before_.phase}), {event.site});
  }
  void operator()(const SiteRefused& event) {
    v1::StoryEntry& entry = Add(v1::STORY_KIND_SITE_REFUSED, now_, {event.round, before_.phase});
    SetSites(entry, {event.site});
    entry.set_reason_code(event.refusal.code);
    entry.set_reason(event.refusal.message);
  }
  void operator()(const SiteDropped& event) {
    SetSites(Add(v1::STORY_KIND_SITE_DROPPED, now_, before_), {event.site});
  }
  void operator()(const SiteReturned& event) {
    SetSites(Add(v1::STORY_KIND_SITE_RETURNED, now_, before_), {event.site});
  }
  // Told by the round's end, or by the sites that are late.
  void operator()(const DeadlinePassed&) {
    const Round* round = job_.round();
    if (round != nullptr && before_.round == round->key()) TellLate(round->sites());
  }
  void operator()(const Interrupted&) {}      // Told by the coordinator's start.
  void operator()(const RoundAggregated&) {}  // Told by the round's end.
  void operator()(const AggregationFailed&) {}
  void operator()(const CancelRequested& event) {
    Add(v1::STORY_KIND_CANCEL_REQUESTED, now_, before_).set_reason("by " + event.by.value());
  }
  void operator()(const StepDone& event) {
    SetSites(Add(v1::STORY_KIND_STEP_DONE, now_, {event.round, before_.phase}), event.sites);
  }
  void operator()(const SessionLost& event) {
    Add(v1::STORY_KIND_SESSION_LOST, now_, before_).set_reason(event.reason);
  }

 private:
  v1::StoryEntry& Add(v1::StoryKind kind, Time when, const Place& place) {
    v1::StoryEntry& entry = entries_.emplace_back();
    entry.set_kind(kind);
    *entry.mutable_time() = ToProto(when);
    if (place.round.has_value()) {
      entry.set_round(place.round->number.value());
      entry.set_attempt(place.round->attempt);
      entry.set_step(NameOf(place.round->step));
    }
    if (place.phase.has_value()) entry.set_phase(NameOf(*place.phase));
    return entry;
  }

  static void SetSites(v1::StoryEntry& entry, const std::vector<SiteId>& sites) {
    for (const SiteId& site : sites) entry.add_sites(site.value());
  }

  void TellLate(const SiteStatuses& sites) {
    std::vector<SiteId> late;
    for (const auto& [site, status] : sites) {
      if (std::holds_alternative<Straggler>(status)) late.push_back(site);
    }
    if (!late.empty()) SetSites(Add(v1::STORY_KIND_SITE_LATE, now_, before_), late);
  }

  void TellEnd(const v1::RoundRecord& record) {
    if (!record.published()) {
      std::vector<SiteId> late;
      for (const v1::SiteProgress& site : record.sites()) {
        if (site.state() == v1::SITE_STATE_STRAGGLER) late.emplace_back(site.site());
      }
      if (!late.empty()) SetSites(Add(v1::STORY_KIND_SITE_LATE, now_, before_), late);
    }
    v1::StoryEntry& entry =
        Add(record.published() ? v1::STORY_KIND_ROUND_PUBLISHED : v1::STORY_KIND_ROUND_ABANDONED,
            now_, before_);
    entry.set_round(record.round());
    entry.set_phase(record.phase());
    entry.set_reason(record.reason());
    for (const v1::SiteProgress& site : record.sites()) {
      if (site.state() == v1::SITE_STATE_REPORTED) entry.add_sites(site.site());
    }
  }

  void TellEndOfJob() {
    if (const auto* completed = std::get_if<Completed>(&job_.state())) {
      Add(v1::STORY_KIND_JOB_COMPLETED, now_, {}).set_reason(completed->reason);
    } else if (const auto* failed = std::get_if<Failed>(&job_.state())) {
      Add(v1::STORY_KIND_JOB_FAILED, now_, {}).set_reason(failed->reason);
    } else if (std::holds_alternative<CancelledBy>(job_.state())) {
      Add(v1::STORY_KIND_JOB_CANCELLED, now_, {});
    }
  }

  void TellStartsUntil(Time time) {
    for (; next_start_ < static_cast<std::ptrdiff_t>(starts_.size()) &&
           starts_[static_cast<std::size_t>(next_start_)] <= time;
         ++next_start_) {
      Add(v1::STORY_KIND_COORDINATOR_STARTED, starts_[static_cast<std::size_t>(next_start_)],
          PlaceOf(job_));
    }
  }

  Job job_;
  const std::vector<Time>& starts_;
  std::ptrdiff_t next_start_ = 0;
  Time now_{};    // Of the event that is told.
  Place before_;  // Where the job stood before it.
  std::vector<v1::StoryEntry> entries_;
};

}  // namespace

StatusOr<std::vector<v1::StoryEntry>> TellStory(const StoredJob& job, const JobRules& rules,
                                                const std::vector<Time>& starts) {
  Story story(rules, starts);
  story.Submitted(job.submission.submitted_at);
  for (const v1::JobEvent& event : job.events) {
    CHORALE_ASSIGN_OR_RETURN(const TimedEvent timed, Decode(event));
    CHORALE_RETURN_IF_ERROR(story.Take(timed));
  }
  return std::move(story).Finish();
}

}  // namespace chorale::coordinator
