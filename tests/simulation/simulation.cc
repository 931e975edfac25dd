#include "tests/simulation/simulation.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "jobs/signed_job.h"
#include "tests/simulation/coordinator_party.h"
#include "tests/simulation/network.h"
#include "tests/simulation/scenario.h"
#include "tests/simulation/site_party.h"
#include "tests/simulation/witness.h"
#include "tests/support/temporary_directory.h"

namespace chorale::simulation {
namespace {

// Within which every job must have ended once nothing goes wrong any more.
constexpr Duration kPatience = std::chrono::hours(1);
// After the last job: late copies of calls arrive.
constexpr Duration kAftermath = std::chrono::seconds(30);
constexpr std::uint64_t kMostSteps = 1'000'000;
constexpr Duration kPauseBeforeRestart = std::chrono::seconds(2);

// FNV-1a, to tell one story from another.
void Mix(std::string_view line, std::uint64_t& story) {
  for (const char c : line) {
    story = (story ^ static_cast<std::uint8_t>(c)) * 1099511628211ull;
  }
}

// Where the machines of a seed keep their files: the same path each time, since stories quote it.
class Scratch {
 public:
  explicit Scratch(std::uint64_t seed) : path_(Parent() / ("seed-" + std::to_string(seed))) {
    std::filesystem::create_directory(path_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  static const std::filesystem::path& Parent() {
    static const support::TemporaryDirectory parent(support::Medium::kMemory);
    return parent.path();
  }
  const std::filesystem::path path_;
};

class Federation {
 public:
  Federation(std::uint64_t seed, std::optional<Protection> only, Parties& parties,
             World::Report trace)
      : directory_(seed),
        scenario_(DrawScenario(seed, only)),
        world_(seed, std::move(trace)),
        parties_(parties),
        witness_(world_, parties),
        network_(world_),
        coordinator_(world_, network_, witness_, parties, directory_.path() / "coordinator") {
    network_.Join(coordinator_);
    for (const std::string& site : scenario_.sites) {
      auto party = std::make_unique<SiteParty>(
          world_, network_, witness_, parties, coordinator_, site, directory_.path() / site,
          parties.ConfigOf(site, scenario_.protection == Protection::kPrivate));
      network_.Join(site, *party);
      sites_.emplace(site, std::move(party));
    }
  }

  Outcome Run() {
    world_.Tell("scenario", Describe(scenario_));
    network_.SetWeather(scenario_.weather);
    coordinator_.SetRoundsOfSession(scenario_.rounds_of_session);
    coordinator_.Start();
    for (auto& [name, site] : sites_) site->Start();
    for (const PlannedJob& job : scenario_.jobs) {
      world_.After(job.when, [this, &job] { Submit(job); });
    }
    for (const Trouble& trouble : scenario_.troubles) {
      world_.After(trouble.when, [this, &trouble] {
        if (!is_calm_) Begin(trouble);
      });
    }
    world_.After(scenario_.calm_after, [this] { CalmDown(); });
    std::optional<Time> end;
    while (!world_.violation().has_value() && world_.Step()) {
      const bool is_over = HaveAllEnded();
      if (is_over && !end.has_value()) end = world_.now() + kAftermath;
      if (end.has_value() && world_.now() >= *end) break;
      if (!is_over && world_.elapsed() > scenario_.calm_after + kPatience) {
        world_.Violate("a job has not ended " + FormatDuration(kPatience) +
                       " after the last trouble: " + WhatWaits());
      }
      if (world_.num_steps() > kMostSteps) world_.Violate("it goes on and on");
    }
    return {.violation = world_.violation(),
            .scenario = Describe(scenario_),
            .num_steps = world_.num_steps(),
            .duration = world_.elapsed(),
            .num_published = witness_.num_published(),
            .num_masked_reports = witness_.num_masked_reports(),
            .num_charges = witness_.num_charges()};
  }

 private:
  // ---- the researcher, who tries again until there is an answer

  void Submit(const PlannedJob& job) {
    if (!submissions_.contains(job.spec.name())) {
      submissions_[job.spec.name()] = {.researcher = ResearcherId("ada"),
                                       .idempotency_key = "key of " + job.spec.name(),
                                       .envelope = jobs::SignJob(job.spec, parties_.researcher()),
                                       .spec = job.spec};
    }
    const coordinator::Submission& submission = submissions_.at(job.spec.name());
    const auto again = [this, &job] {
      world_.After(std::chrono::seconds(3), [this, &job] { Submit(job); });
    };
    if (!coordinator_.IsUp() || world_.Chance(network_.weather().lose_call)) return again();
    const StatusOr<JobId> answer = coordinator_.Submit(submission);
    if (!answer.ok()) {
      world_.Tell("researcher", "is told: ", MessageOf(answer.status()));
      return again();
    }
    witness_.Accepted(*answer);
    if (world_.Chance(network_.weather().lose_answer)) return again();
    world_.Tell("researcher", "has submitted ", answer->value());
    accepted_.insert(*answer);
    if (job.cancelled_after.has_value()) {
      world_.After(*job.cancelled_after, [this, id = *answer] { Cancel(id); });
    }
  }

  void Cancel(const JobId& id) {
    const Status answer =
        coordinator_.IsUp() ? coordinator_.Cancel(id) : Unavailable("connection refused");
    if (answer.ok() || answer.code() == StatusCode::kFailedPrecondition) return;
    world_.After(std::chrono::seconds(3), [this, id] { Cancel(id); });
  }

  bool HaveAllEnded() {
    if (accepted_.size() < scenario_.jobs.size()) return false;
    if (ended_.size() == accepted_.size()) return true;
    if (world_.now() < next_look_) return false;
    next_look_ = world_.now() + std::chrono::seconds(1);
    for (const JobId& id : accepted_) {
      if (ended_.contains(id)) continue;
      const auto shown = coordinator_.Show(id);
      if (!shown.has_value()) continue;
      switch (shown->job().state()) {
        case v1::JOB_STATE_COMPLETED:
        case v1::JOB_STATE_CANCELLED:
          world_.Tell("researcher", "sees ", id.value(), " ended: ", shown->job().reason());
          ended_.insert(id);
          break;
        case v1::JOB_STATE_FAILED:
          world_.Violate("a job has failed that could go on: " + shown->job().reason());
          break;
        default:
          break;
      }
    }
    return ended_.size() == accepted_.size();
  }

  std::string WhatWaits() {
    for (const JobId& id : accepted_) {
      if (ended_.contains(id)) continue;
      const auto shown = coordinator_.Show(id);
      return id.value() + ", " + (shown.has_value() ? shown->job().ShortDebugString() : "unknown");
    }
    return "a submission was never accepted";
  }

  // ---- troubles

  // The machine that is meant, and how its process ends and begins.
  struct Target {
    Machine& machine;
    std::function<void(bool)> crash;
    std::function<void()> start;
    std::function<void()> stop;
  };
  Target Find(const std::string& whom) {
    if (whom == "coordinator") {
      return {coordinator_.machine(), [this](bool power) { coordinator_.Crash(power); },
              [this] { coordinator_.Start(); }, [this] { coordinator_.Stop(); }};
    }
    SiteParty& site = *sites_.at(whom);
    return {site.machine(), [&site](bool power) { site.Crash(power); }, [&site] { site.Start(); },
            [&site] { site.Stop(); }};
  }

  void Begin(const Trouble& trouble) {
    const Target target = Find(trouble.whom);
    world_.Tell("trouble", Describe(trouble), ": ", trouble.whom);
    switch (trouble.kind) {
      case TroubleKind::kKill:
      case TroubleKind::kPowerCut:
        target.crash(trouble.kind == TroubleKind::kPowerCut);
        return world_.After(trouble.how_long, target.start);
      case TroubleKind::kStop:
        return target.stop();
      case TroubleKind::kCut:
        for (const auto& [name, site] : sites_) {
          if (trouble.whom == "coordinator" || trouble.whom == name) {
            network_.Cut(name, world_.now() + trouble.how_long);
          }
        }
        return;
      case TroubleKind::kDiskFault:
        return target.machine.disk().Arm(trouble.fault, trouble.countdown);
      case TroubleKind::kDiskFull:
        target.machine.disk().SetFull(true);
        return world_.After(trouble.how_long,
                            [this, &trouble] { Find(trouble.whom).machine.disk().SetFull(false); });
      case TroubleKind::kClockJump: {
        const bool is_back = trouble.how_long.count() % 2 == 0;
        target.machine.SetSkew(is_back ? -std::chrono::hours(1) : std::chrono::hours(1));
        return world_.After(trouble.how_long,
                            [this, &trouble] { Find(trouble.whom).machine.SetSkew(Duration(0)); });
      }
    }
  }

  void CalmDown() {
    world_.Tell("trouble", "is over");
    is_calm_ = true;
    network_.SetWeather({});
    network_.Mend();
    std::vector<std::string> all = scenario_.sites;
    all.emplace_back("coordinator");
    for (const std::string& whom : all) {
      const Target target = Find(whom);
      target.machine.disk().Disarm();
      target.machine.disk().SetFull(false);
      target.machine.SetSkew(Duration(0));
      world_.After(kPauseBeforeRestart, target.start);
    }
  }

  const Scratch directory_;
  const Scenario scenario_;
  World world_;
  Parties& parties_;
  Witness witness_;
  Network network_;
  CoordinatorParty coordinator_;
  std::map<std::string, std::unique_ptr<SiteParty>> sites_;
  std::map<std::string, coordinator::Submission> submissions_;
  std::set<JobId> accepted_;
  std::set<JobId> ended_;
  Time next_look_{};
  bool is_calm_ = false;
};

}  // namespace

Outcome Simulate(std::uint64_t seed, std::optional<Protection> only, Parties& parties,
                 const World::Report& trace) {
  std::uint64_t story = 14695981039346656037ull;
  World::Report report;
  if (trace != nullptr) {
    report = [&](std::string_view line) {
      Mix(line, story);
      trace(line);
    };
  }
  Outcome outcome = Federation(seed, only, parties, std::move(report)).Run();
  outcome.story = story;
  return outcome;
}

}  // namespace chorale::simulation
