#include "tests/simulation/scenario.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "secagg/parameters.h"
#include "tests/simulation/parties.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t kMostTroubles = 6;
constexpr std::uint64_t kMostWritesUntilFault = 60;
// Secure aggregation takes ten times the time of reports in the clear, privacy more.
constexpr double kShareOfPrivate = 0.01;
constexpr double kShareOfMasked = 0.15;
constexpr std::uint32_t kAttemptsOfPrivateJob = 100;
// Enough for all those attempts.
constexpr double kNoiseMultiplier = 60;
constexpr double kPreparationNoise = 200;  // Without sampling each costs more.

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}

  bool Chance(double probability) { return random_.NextDouble() < probability; }
  std::uint64_t UpTo(std::uint64_t most) { return random_.NextBelow(most + 1); }
  double Rate(double most) { return most * random_.NextDouble(); }
  Duration Between(Duration least, Duration most) {
    return least + Duration(static_cast<std::int64_t>(
                       random_.NextBelow(static_cast<std::uint64_t>((most - least).count()))));
  }
  template <typename Thing>
  const Thing& OneOf(const std::vector<Thing>& things) {
    return things[random_.NextBelow(things.size())];
  }

  Weather SomeWeather() {
    Weather weather{.least_latency = milliseconds(1), .most_latency = milliseconds(10)};
    if (Chance(0.5)) weather.most_latency = Between(milliseconds(20), milliseconds(2000));
    if (Chance(0.3)) return weather;
    if (Chance(0.5)) weather.drop = Rate(0.05);
    if (Chance(0.5)) weather.duplicate = Rate(0.2);
    if (Chance(0.5)) weather.reorder = Rate(0.2);
    if (Chance(0.5)) weather.lose_call = Rate(0.3);
    if (Chance(0.7)) weather.lose_answer = Rate(0.4);
    if (Chance(0.7)) weather.repeat_call = Rate(0.4);
    return weather;
  }

  Trouble SomeTrouble(const std::vector<std::string>& sites, Duration until) {
    static const std::vector<TroubleKind> kinds = {
        TroubleKind::kKill,      TroubleKind::kKill,      TroubleKind::kPowerCut,
        TroubleKind::kPowerCut,  TroubleKind::kStop,      TroubleKind::kCut,
        TroubleKind::kDiskFault, TroubleKind::kDiskFault, TroubleKind::kDiskFault,
        TroubleKind::kDiskFull,  TroubleKind::kClockJump};
    static const std::vector<DiskFault> faults = {DiskFault::kFull, DiskFault::kError,
                                                  DiskFault::kDeath, DiskFault::kLateDeath};
    Trouble trouble{.when = Between(Duration(0), until),
                    .kind = OneOf(kinds),
                    .whom = Chance(0.4) ? "coordinator" : OneOf(sites)};
    const Duration longest = trouble.kind == TroubleKind::kCut         ? Duration(minutes(10))
                             : trouble.kind == TroubleKind::kClockJump ? Duration(minutes(20))
                                                                       : Duration(minutes(1));
    trouble.how_long = Between(milliseconds(100), Chance(0.7) ? longest / 10 : longest);
    trouble.fault = OneOf(faults);
    trouble.countdown = 1 + static_cast<int>(UpTo(kMostWritesUntilFault));
    return trouble;
  }

 private:
  SeededRandom random_;
};

// DP-SGD, a step a round, with noise shared by the sites.
void MakePrivate(v1::JobSpec& spec) {
  spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_UNIFORM);
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_RANGE);
  spec.mutable_data()->mutable_features(0)->mutable_numeric()->mutable_range()->set_high(120);
  v1::TrainingSpec& training = *spec.mutable_training();
  training.clear_metrics();
  training.clear_batch_size();
  training.clear_local_epochs();
  training.set_local_steps(1);
  spec.mutable_rounds()->set_max_abandoned(kAttemptsOfPrivateJob);
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  privacy.set_target_epsilon(1);
  privacy.set_target_delta(1e-4);
  privacy.set_sample_rate(0.5);
  privacy.set_max_grad_norm(1);
  privacy.set_expected_patients(40);
  privacy.set_noise_multiplier(kNoiseMultiplier);
  privacy.set_spare_rounds(kAttemptsOfPrivateJob);
  privacy.mutable_distributed();
  if (spec.seed() % 2 == 0) privacy.set_clipping(v1::CLIPPING_ADAPTIVE);
}

// A noisy sum before the first round.
void AddPreparation(v1::JobSpec& spec) {
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  v1::PrivatePreparation& preparation = *spec.mutable_privacy()->mutable_preparation();
  preparation.set_noise_multiplier(kPreparationNoise);
  preparation.set_spares(kAttemptsOfPrivateJob);
}

v1::JobSpec SomeJob(Draw& draw, Protection protection, std::size_t num_sites, int number) {
  v1::JobSpec spec = site_agent::MakeJobSpec();
  spec.set_name("job-" + std::to_string(number));
  spec.set_seed(draw.UpTo(1'000'000));
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_NONE);
  v1::TrainingSpec& training = *spec.mutable_training();
  training.mutable_metrics()->DeleteSubrange(1, 1);  // Tables have no test rows.
  const bool is_masked = protection != Protection::kNone;
  v1::RoundsSpec& rounds = *spec.mutable_rounds();
  rounds.set_count(1 + static_cast<std::uint32_t>(draw.UpTo(is_masked ? 1 : 2)));
  rounds.set_max_abandoned(1000);
  rounds.mutable_deadline()->set_seconds(20 + static_cast<std::int64_t>(draw.UpTo(40)));
  const std::size_t fewest = is_masked ? secagg::kMinMembers : 1;
  rounds.set_min_reports(static_cast<std::uint32_t>(fewest + draw.UpTo(num_sites - fewest)));
  if (draw.Chance(0.5)) {
    spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_UNIFORM);
  }
  if (is_masked) spec.clear_secure_aggregation();
  if (protection == Protection::kPrivate) MakePrivate(spec);
  if (protection == Protection::kPrivate && draw.Chance(0.3)) AddPreparation(spec);
  return spec;
}

Protection SomeProtection(Draw& draw) {
  if (draw.Chance(kShareOfPrivate)) return Protection::kPrivate;
  return draw.Chance(kShareOfMasked) ? Protection::kMasked : Protection::kNone;
}

std::size_t NumSites(Draw& draw, Protection protection) {
  if (protection == Protection::kNone) return 2 + draw.UpTo(Parties::kMaxSites - 2);
  if (protection == Protection::kPrivate || draw.Chance(0.7)) return secagg::kMinMembers;
  return secagg::kMinMembers + draw.UpTo(Parties::kMaxSites - secagg::kMinMembers);
}

}  // namespace

Scenario DrawScenario(std::uint64_t seed, std::optional<Protection> only) {
  Draw draw(seed);
  Scenario scenario;
  const Protection drawn = SomeProtection(draw);
  scenario.protection = only.value_or(drawn);
  const std::size_t num_sites = NumSites(draw, scenario.protection);
  const std::vector<std::string>& all = Parties::Sites();
  scenario.sites = {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(num_sites)};
  scenario.weather = draw.SomeWeather();
  scenario.rounds_of_session = 1 + static_cast<std::uint32_t>(draw.UpTo(2));
  const int num_jobs = scenario.protection == Protection::kNone && draw.Chance(0.2) ? 2 : 1;
  for (int i = 0; i < num_jobs; ++i) {
    PlannedJob job{.spec = SomeJob(draw, scenario.protection, num_sites, i + 1),
                   .when = draw.Between(Duration(0), seconds(5)),
                   .cancelled_after = {}};
    if (draw.Chance(0.05)) job.cancelled_after = draw.Between(seconds(1), minutes(2));
    scenario.jobs.push_back(std::move(job));
  }
  scenario.calm_after = draw.Between(seconds(20), minutes(3));
  const std::uint64_t num_troubles = draw.UpTo(kMostTroubles);
  // Most of it soon, when there is something to disturb.
  const Duration until = draw.Chance(0.7) ? Duration(seconds(20)) : scenario.calm_after;
  for (std::uint64_t i = 0; i < num_troubles; ++i) {
    scenario.troubles.push_back(draw.SomeTrouble(scenario.sites, until));
  }
  return scenario;
}

std::string Describe(const Trouble& trouble) {
  static constexpr std::array<const char*, 7> kNames = {
      "kill", "power cut", "stop", "cut line", "disk fault", "full disk", "clock jump"};
  static constexpr std::array<const char*, 4> kFaults = {"no space", "error", "death",
                                                         "death after"};
  std::string text = kNames.at(static_cast<std::size_t>(trouble.kind));
  if (trouble.kind == TroubleKind::kDiskFault) {
    text += std::string(" (") + kFaults.at(static_cast<std::size_t>(trouble.fault)) +
            ", at write or sync " + std::to_string(trouble.countdown) + ")";
  } else {
    text += " for " + FormatDuration(trouble.how_long);
  }
  return text;
}

std::string Describe(const Scenario& scenario) {
  std::string text = std::to_string(scenario.sites.size()) + " sites";
  for (const PlannedJob& job : scenario.jobs) {
    const v1::JobSpec& spec = job.spec;
    text += "; " + spec.name() + ": " + std::to_string(spec.rounds().count()) + " rounds of " +
            std::to_string(spec.rounds().min_reports()) + " reports at least, " +
            (spec.secure_aggregation().has_none() ? "in the clear"
             : spec.has_privacy()                 ? "masked and private"
                                                  : "masked");
  }
  return text + "; " + std::to_string(scenario.troubles.size()) + " troubles; calm after " +
         FormatDuration(scenario.calm_after);
}

}  // namespace chorale::simulation
