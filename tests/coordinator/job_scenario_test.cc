#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>

#include "coordinator/job.h"
#include "coordinator/job_event_codec.h"
#include "coordinator/round_record.h"
#include "tests/coordinator/scenario_file.h"

// Runs tests/scenarios/job_*.txt: blocks of commands, "----", and what they lead to. After every
// block the stored events are replayed and must give the same job.
//   job rounds=N min_reports=N deadline=Ns abandoned=N [preparation] [newton] [personalize]
//       [patience=N]                     started               cohort SITE...
//   report SITE [loss=X]                 refuse SITE CODE      drop SITE      return SITE
//   advance Ns                           cancel                prepared       personalized loss=X
//   model [state] [note=WORD] [converged=WORD]                 sum-failed REASON
namespace chorale::coordinator {
namespace {

using std::chrono::seconds;

const SiteId& SiteOf(const JobAction& action) { return std::get<Dispatch>(action).site; }

class JobScenario {
 public:
  // What a command leads to, a line each.
  std::string Do(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    Arguments arguments;
    for (std::string word; words >> word;) {
      const std::size_t equals = word.find('=');
      if (equals == std::string::npos) {
        arguments.words.push_back(word);
      } else {
        arguments.values[word.substr(0, equals)] = word.substr(equals + 1);
      }
    }
    if (verb == "job") return Open(arguments);
    if (!job_.has_value()) return "there is no job\n";
    if (verb == "advance") return Advance(seconds(std::stoul(arguments.words.at(0))));
    const auto event = EventOf(verb, arguments, line);
    return event.has_value() ? Step(*event) : "unknown command: " + line + "\n";
  }

  // The stored events give the same job.
  void ExpectReplays() const {
    if (!job_.has_value()) return;
    const StatusOr<Job> replayed = Replay(job_->rules(), events_);
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    EXPECT_EQ(replayed->OutstandingActions(), job_->OutstandingActions());
    EXPECT_EQ(replayed->state().index(), job_->state().index());
    EXPECT_EQ(replayed->phase(), job_->phase());
    EXPECT_EQ(replayed->model(), job_->model());
    EXPECT_EQ(replayed->server_state(), job_->server_state());
    EXPECT_EQ(replayed->rounds().size(), job_->rounds().size());
  }

 private:
  struct Arguments {
    std::vector<std::string> words;
    std::map<std::string, std::string> values;
    [[nodiscard]] bool Has(const std::string& word) const {
      return std::find(words.begin(), words.end(), word) != words.end();
    }
    [[nodiscard]] std::string ValueOf(const std::string& name) const {
      const auto value = values.find(name);
      return value == values.end() ? "" : value->second;
    }
    [[nodiscard]] std::uint32_t NumberOf(const std::string& name, std::uint32_t otherwise) const {
      const std::string value = ValueOf(name);
      return value.empty() ? otherwise : static_cast<std::uint32_t>(std::stoul(value));
    }
  };

  std::string Open(const Arguments& arguments) {
    JobRules rules{.num_rounds = arguments.NumberOf("rounds", 1),
                   .min_reports = arguments.NumberOf("min_reports", 1),
                   .max_abandoned = arguments.NumberOf("abandoned", 0),
                   .deadline = seconds(arguments.NumberOf("deadline", 60)),
                   .needs_preparation = arguments.Has("preparation"),
                   .uses_newton = arguments.Has("newton"),
                   .personalizes = arguments.Has("personalize")};
    if (const std::uint32_t patience = arguments.NumberOf("patience", 0); patience > 0) {
      rules.early_stop = EarlyStopRules{.split = v1::SPLIT_TEST, .patience = patience};
    }
    job_.emplace(rules);
    return Tell(job_->OutstandingActions());
  }

  static v1::MetricValue LossOf(const Arguments& arguments) {
    v1::MetricValue loss;
    loss.set_kind(v1::METRIC_KIND_LOSS);
    loss.set_split(v1::SPLIT_TEST);
    loss.set_value(std::stod(arguments.ValueOf("loss")));
    loss.set_num_examples(1);
    return loss;
  }

  std::optional<JobEvent> EventOf(const std::string& verb, const Arguments& arguments,
                                  const std::string& line) {
    if (verb == "started") return JobStarted{Blob(0)};
    if (verb == "cancel") return CancelRequested{ResearcherId("ada")};
    if (verb == "prepared") return RoundAggregated{Preparation{.moments = Moments(1)}};
    if (verb == "personalized") return RoundAggregated{RoundMetrics{LossOf(arguments)}};
    if (verb == "sum-failed") return AggregationFailed{line.substr(11)};
    if (verb == "model") {
      RoundAggregated event{.result = Blob(++num_models_),
                            .converged = arguments.ValueOf("converged"),
                            .note = arguments.ValueOf("note")};
      if (arguments.Has("state")) event.server_state = Blob(100);
      return event;
    }
    if (verb == "cohort") {
      CohortSelected event;
      for (const std::string& site : arguments.words) event.sites.emplace_back(site);
      return event;
    }
    if (arguments.words.empty()) return std::nullopt;
    const SiteId site(arguments.words[0]);
    const RoundKey key = job_->round() == nullptr ? RoundKey{} : job_->round()->key();
    if (verb == "report") {
      Report report{.payload = Blob(1), .num_examples = 1};
      if (arguments.values.contains("loss")) report.metrics = {LossOf(arguments)};
      return SiteReported{key, site, std::move(report)};
    }
    if (verb == "refuse") return SiteRefused{key, site, {arguments.words.at(1), "no"}};
    if (verb == "drop") return SiteDropped{site};
    if (verb == "return") return SiteReturned{site};
    return std::nullopt;
  }

  // Time passes as the driver sees it: every deadline on the way is told.
  std::string Advance(Duration by) {
    const Time end = now_ + by;
    std::string told;
    while (job_->NextDeadline().has_value() && *job_->NextDeadline() <= end) {
      now_ = std::max(now_, *job_->NextDeadline());
      told += job_->round() != nullptr ? Step(DeadlinePassed{}) : Step(NoCohort{"nobody came"});
    }
    now_ = end;
    return told;
  }

  std::string Step(const JobEvent& event) {
    const auto actions = job_->Step(event, now_);
    if (!actions.ok()) {
      return absl::StatusCodeToString(actions.status().code()) + " " + MessageOf(actions.status()) +
             "\n";
    }
    events_.push_back(Encode(event, now_));
    return Tell(*actions);
  }

  std::string Tell(const std::vector<JobAction>& actions) const {
    std::string told;
    std::string asked;
    for (const JobAction& action : actions) {
      if (std::holds_alternative<MakeInitialModel>(action)) told += "make the initial model\n";
      if (const auto* find = std::get_if<FindCohort>(&action)) told += "find " + Words(find->round);
      if (std::holds_alternative<Dispatch>(action)) {
        asked += (asked.empty() ? "" : ",") + SiteOf(action).value();
      }
      if (std::holds_alternative<Aggregate>(action)) told += "sum\n";
      if (const auto* record = std::get_if<RecordRound>(&action)) {
        told += Words(job_->rounds().at(record->index));
      }
      if (std::holds_alternative<Ended>(action)) told += End();
    }
    if (!asked.empty()) told += "ask " + asked + "\n";
    return told;
  }

  [[nodiscard]] std::string Words(RoundKey round) const {
    return "a cohort of " + std::string(NameOf(*job_->phase())) + " round " +
           std::to_string(round.number.value()) + ", attempt " + std::to_string(round.attempt) +
           (job_->server_state().has_value() ? ", with state" : "") + "\n";
  }

  static std::string Words(const v1::RoundRecord& record) {
    std::string told = "record " + record.phase() + " round " + std::to_string(record.round()) +
                       (record.published() ? " published" : " abandoned");
    for (const v1::MetricValue& metric : record.metrics()) {
      std::ostringstream loss;
      loss << ", loss " << metric.value();
      told += loss.str();
    }
    return told + (record.reason().empty() ? "" : ": " + record.reason()) + "\n";
  }

  [[nodiscard]] std::string End() const {
    if (const auto* completed = std::get_if<Completed>(&job_->state())) {
      return "completed" + (completed->reason.empty() ? "" : ": " + completed->reason) + "\n";
    }
    if (const auto* failed = std::get_if<Failed>(&job_->state())) {
      return "failed: " + failed->reason + "\n";
    }
    return "cancelled\n";
  }

  static crypto::BlobId Blob(std::uint8_t mark) { return {.size_bytes = 16, .digest = {mark}}; }

  Time now_{seconds(1'000'000)};
  std::optional<Job> job_;
  std::vector<v1::JobEvent> events_;
  std::uint8_t num_models_ = 0;
};

class JobScenarioTest : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(JobScenarioTest, GoesAsWritten) {
  JobScenario scenario;
  ExpectAsWritten(
      GetParam(), [&](const std::string& line) { return scenario.Do(line); },
      [&] { scenario.ExpectReplays(); });
}

INSTANTIATE_TEST_SUITE_P(Job, JobScenarioTest, testing::ValuesIn(ScenarioFiles("job_")),
                         [](const auto& scenario) { return scenario.param.stem().string(); });

}  // namespace
}  // namespace chorale::coordinator
