#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>

#include "coordinator/round.h"
#include "tests/coordinator/scenario_file.h"

// Runs tests/scenarios/round_*.txt: blocks of commands, "----", and what they lead to.
//   cohort SITE... min_reports=N deadline=Ns    report SITE examples=N    refuse SITE CODE
//   drop SITE    return SITE    advance Ns      summed    sum-failed REASON
namespace chorale::coordinator {
namespace {

using std::chrono::seconds;

std::string JoinedSites(const std::vector<SiteId>& sites) {
  std::string joined;
  for (const SiteId& site : sites) joined += (joined.empty() ? "" : ",") + site.value();
  return joined;
}

// The number in "name=12" or "12s".
std::uint64_t NumberIn(const std::string& word) {
  const std::size_t begin = word.find_first_of("0123456789");
  return begin == std::string::npos ? 0 : std::stoull(word.substr(begin));
}

class Scenario {
 public:
  // What a command leads to, a line each.
  std::string Do(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    std::vector<std::string> arguments;
    for (std::string word; words >> word;) arguments.push_back(word);
    if (verb == "cohort") return Open(arguments);
    if (!round_.has_value()) return "there is no cohort\n";
    if (verb == "advance") return Advance(seconds(NumberIn(arguments.at(0))));
    if (verb == "summed") return Step(SumReady{}, "");
    if (verb == "sum-failed") return Step(SumFailed{line.substr(11)}, "");
    const SiteId site(arguments.at(0));
    if (verb == "report") {
      const std::uint64_t examples = NumberIn(arguments.at(1));
      const crypto::BlobId payload{.size_bytes = 4,
                                   .digest = {static_cast<std::uint8_t>(examples)}};
      return Step(ReportReceived{site, {.payload = payload, .num_examples = examples}},
                  site.value());
    }
    if (verb == "refuse") return Step(TaskRefusal{site, {arguments.at(1), "no"}}, site.value());
    if (verb == "drop") return Step(ConnectionLost{site}, site.value());
    if (verb == "return") return Step(ConnectionBack{site}, site.value());
    return "unknown command: " + line + "\n";
  }

 private:
  std::string Open(const std::vector<std::string>& arguments) {
    std::vector<SiteId> sites;
    RoundRules rules;
    for (const std::string& argument : arguments) {
      if (argument.starts_with("min_reports=")) {
        rules.min_reports = static_cast<std::uint32_t>(NumberIn(argument));
      } else if (argument.starts_with("deadline=")) {
        rules.deadline = seconds(NumberIn(argument));
      } else {
        sites.emplace_back(argument);
      }
    }
    StatusOr<Round> round = Round::Create({RoundNumber(1), 1}, sites, rules, now_);
    if (!round.ok()) return MessageOf(round.status()) + "\n";
    round_ = *std::move(round);
    return Tell(round_->OutstandingActions());
  }

  // Time passes as the driver sees it: every deadline on the way is told.
  std::string Advance(Duration by) {
    const Time end = now_ + by;
    std::string told;
    while (round_->NextDeadline().has_value() && *round_->NextDeadline() <= end) {
      now_ = std::max(now_, *round_->NextDeadline());
      told += Step(DeadlineReached{}, "");
    }
    now_ = end;
    return told;
  }

  std::string Step(const RoundEvent& event, const std::string& who) {
    const auto actions = round_->Step(event, now_);
    if (!actions.ok()) {
      return (who.empty() ? "" : who + ": ") + absl::StatusCodeToString(actions.status().code()) +
             " " + MessageOf(actions.status()) + "\n";
    }
    std::string told = Tell(*actions);
    if (std::holds_alternative<Published>(round_->state())) {
      std::vector<SiteId> sites;
      for (const auto& [site, report] : round_->Contributors()) sites.push_back(site);
      told += "publish contributors=" + JoinedSites(sites) + "\n";
    } else if (const auto* abandoned = std::get_if<Abandoned>(&round_->state())) {
      told += "abandon " + abandoned->reason + "\n";
    }
    return told;
  }

  static std::string Tell(const std::vector<RoundAction>& actions) {
    std::vector<SiteId> asked;
    std::string told;
    for (const RoundAction& action : actions) {
      if (const auto* ask = std::get_if<AskSite>(&action)) asked.push_back(ask->site);
      if (const auto* stop = std::get_if<StopSites>(&action)) {
        told += "stop " + JoinedSites(stop->sites) + "\n";
      }
      if (std::holds_alternative<SumReports>(action)) told += "sum\n";
    }
    if (!asked.empty()) told += "ask " + JoinedSites(asked) + "\n";
    return told;
  }

  Time now_{seconds(1'000'000)};
  std::optional<Round> round_;
};

class ScenarioTest : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(ScenarioTest, GoesAsWritten) {
  Scenario scenario;
  ExpectAsWritten(GetParam(), [&](const std::string& line) { return scenario.Do(line); });
}

INSTANTIATE_TEST_SUITE_P(Round, ScenarioTest, testing::ValuesIn(ScenarioFiles("round_")),
                         [](const auto& scenario) { return scenario.param.stem().string(); });

}  // namespace
}  // namespace chorale::coordinator
