#include "audit/canary_run.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "core/crypto/random.h"
#include "core/crypto/secret_bytes.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "models/graph.h"
#include "privacy/audit/draw_scores.h"
#include "site_agent/noisy_sums.h"

namespace chorale::audit {
namespace {

constexpr std::uint64_t kMostCanaries = std::uint64_t{1} << 20;
// Of the loss: far enough below the output, which is 0, for a gradient that is positive and longer
// than any bound.
constexpr float kTarget = -1e12F;
// Of all canaries together: one run says nothing where delta allows that some are simply published.
constexpr double kMostDeltas = 0.01;
// Steps that are replayed to see who is drawn: two passes of a loader that deals patients out, as
// far as that is affordable. Batches of a fixed size show in far fewer.
constexpr double kReplayedPasses = 2;
constexpr std::uint64_t kLeastReplays = 16;
constexpr std::uint64_t kMostReplays = 128;

StatusOr<models::GraphPlan> ModelOf(std::uint64_t num_canaries) {
  v1::ModelGraph graph;
  v1::GraphInput& input = *graph.add_inputs();
  input.set_name("canary");
  input.add_shape(1);
  v1::GraphNode& table = *graph.add_nodes();
  table.set_name("table");
  table.add_inputs("canary");
  table.mutable_embedding()->set_rows(static_cast<std::uint32_t>(num_canaries));
  table.mutable_embedding()->set_width(1);
  v1::GraphNode& row = *graph.add_nodes();
  row.set_name("row");
  row.add_inputs("table");
  row.mutable_flatten();
  graph.set_output("row");
  graph.mutable_loss()->mutable_mean_squared_error();
  return models::GraphPlan::Create(std::move(graph), "canaries");
}

void AddCanary(std::uint64_t canary, data::Examples& examples) {
  examples.patients.push_back(static_cast<std::uint32_t>(examples.size()));
  examples.inputs.push_back(static_cast<float>(canary));
  examples.targets.push_back(kTarget);
}

struct Run {
  const CanaryRunRequest& request;
  models::GraphPlan plan;
  ParameterVector parameters;
  privacy::CanaryPlan canaries;
  std::vector<data::Examples> sites;         // Those that are in, dealt out.
  double sensitivity = 0;                    // In steps of the grid.
  std::optional<double> clipping_norm = {};  // Where clipping adapts: that of the first round.

  StatusOr<std::unique_ptr<site_agent::NoisySums>> Open(const data::Examples& examples,
                                                        privacy::NoiseKey key) const {
    return site_agent::NoisySums::Create({.spec = request.spec,
                                          .plan = plan,
                                          .examples = examples,
                                          .honest_sites = canaries.num_sites,
                                          .trainer = request.trainer,
                                          .num_threads = request.num_threads,
                                          .clipping_norm = clipping_norm,
                                          .cancelled = request.cancelled},
                                         std::move(key));
  }
};

StatusOr<Run> Plant(const CanaryRunRequest& request) {
  if (!jobs::IsPrivate(request.spec)) return InvalidArgument("the job has no privacy section");
  if (request.spec.has_newton()) {
    return InvalidArgument("an audit tests steps of DP-SGD, and the job has newton");
  }
  if (request.num_canaries < 64 || request.num_canaries > kMostCanaries) {
    return InvalidArgument("an audit takes 64 to 1048576 canaries, got " +
                           std::to_string(request.num_canaries));
  }
  const v1::PrivacySpec& privacy = request.spec.privacy();
  CHORALE_ASSIGN_OR_RETURN(models::GraphPlan plan, ModelOf(request.num_canaries));
  const std::uint64_t num_parameters = plan.layout().num_parameters();
  const std::uint32_t honest = jobs::HonestSites(
      request.spec, jobs::GroupOf(jobs::GroupRulesOf(request.spec), request.num_sites));
  CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, jobs::GridOf(privacy, num_parameters));
  CHORALE_ASSIGN_OR_RETURN(const privacy::NoiseShare share,
                           jobs::NoiseShareOf(request.spec, num_parameters, honest));
  Run run{.request = request,
          .plan = std::move(plan),
          .parameters = ParameterVector(num_parameters),
          .canaries = {.is_in = std::vector<std::uint8_t>(request.num_canaries),
                       .sample_rate = privacy.sample_rate(),
                       .contribution = grid.ClipNorm(jobs::EncodingOf(privacy)) / grid.step(),
                       .share_variance = privacy::ToDouble(share.variance),
                       .num_sites = honest},
          .sites = std::vector<data::Examples>(honest),
          .sensitivity = share.sensitivity};
  if (jobs::HasAdaptiveClipping(privacy)) {
    CHORALE_ASSIGN_OR_RETURN(const jobs::ClippingScale scale, jobs::ClippingScaleOf(privacy, grid));
    run.canaries.contribution = scale.gradient_norm / grid.step();
    run.clipping_norm = jobs::AdaptiveClippingOf(privacy).initial_norm();
  }
  for (data::Examples& site : run.sites) site.num_inputs = 1;
  crypto::SecureRandom random;
  for (std::uint64_t canary = 0; canary < request.num_canaries; ++canary) {
    if (random.NextBelow(2) == 0) continue;
    run.canaries.is_in[canary] = 1;
    AddCanary(canary, run.sites[canary % honest]);
  }
  return run;
}

// What the sums of a round's first steps are moved by when `more` takes the place of `fewer`, in
// steps of the grid: the same key twice, which no agent does. [steps][num_canaries], and where
// clipping adapts the votes behind them.
StatusOr<std::vector<std::vector<double>>> Replay(const Run& run, const data::Examples& fewer,
                                                  const data::Examples& more,
                                                  std::uint64_t num_steps) {
  crypto::SecretBytes key(std::size_t{32});
  crypto::SecureRandom().Fill(key.MutableReveal());
  std::vector<std::vector<double>> moved(num_steps);
  for (const auto& [examples, sign] : {std::pair(&fewer, -1.0), std::pair(&more, 1.0)}) {
    CHORALE_ASSIGN_OR_RETURN(privacy::NoiseKey same,
                             privacy::NoiseKey::Create(crypto::SecretBytes(key.Reveal()),
                                                       JobId("audit"), SiteId("replay")));
    CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<site_agent::NoisySums> noisy,
                             run.Open(*examples, std::move(same)));
    for (std::uint64_t step = 0; step < num_steps; ++step) {
      CHORALE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> sum,
                               noisy->Sum(step, run.parameters));
      moved[step].resize(sum.size());
      for (std::size_t i = 0; i < sum.size(); ++i) {
        moved[step][i] += sign * static_cast<double>(sum[i]);
      }
    }
  }
  return moved;
}

// The first site's canaries, and those that are out as well.
StatusOr<privacy::AuditTest> ReplayNeighbours(const Run& run) {
  data::Examples more = run.sites.front();
  for (std::uint64_t canary = 0; canary < run.canaries.is_in.size(); ++canary) {
    if (run.canaries.is_in[canary] == 0) AddCanary(canary, more);
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<std::vector<double>> moved,
                           Replay(run, run.sites.front(), more, 1));
  const std::span<const double> canaries(moved[0].data(), run.canaries.is_in.size());
  // Canaries are alike: each has an equal part in what votes moved.
  const auto num_drawn =
      canaries.size() - static_cast<std::size_t>(std::ranges::count(canaries, 0.0));
  const double votes = moved[0].size() > canaries.size() ? moved[0].back() : 0.0;
  const double vote = votes / static_cast<double>(std::max<std::size_t>(num_drawn, 1));
  // Those that were there move nothing now.
  double most = std::abs(vote) / run.sensitivity;
  bool is_elsewhere = false;
  for (std::size_t i = 0; i < canaries.size(); ++i) {
    if (canaries[i] == 0) continue;
    most = std::max(most, std::hypot(canaries[i], vote) / run.sensitivity);
    is_elsewhere |= run.canaries.is_in[i] != 0;
  }
  return privacy::AuditTest{"replayed_sensitivity", most, 1, most > 1 || is_elsewhere ? 0.0 : 1.0};
}

// Nobody, and everybody: without noise in between it shows who is drawn. Rounds as agents run them.
StatusOr<std::vector<privacy::AuditTest>> ReplayDraws(const Run& run) {
  data::Examples nobody;
  nobody.num_inputs = 1;
  data::Examples everybody = nobody;
  for (std::uint64_t canary = 0; canary < run.canaries.is_in.size(); ++canary) {
    AddCanary(canary, everybody);
  }
  const double rate = run.canaries.sample_rate;
  CHORALE_ASSIGN_OR_RETURN(privacy::DrawScores scores,
                           privacy::DrawScores::Create(run.canaries.is_in.size(), rate));
  std::uint64_t left =
      std::max(kLeastReplays, static_cast<std::uint64_t>(std::min(
                                  kReplayedPasses / rate, static_cast<double>(kMostReplays))));
  while (left > 0) {
    const std::uint64_t steps = std::min(left, jobs::StepsPerRound(run.request.spec));
    CHORALE_ASSIGN_OR_RETURN(const std::vector<std::vector<double>> moved,
                             Replay(run, nobody, everybody, steps));
    for (std::vector<double> by : moved) {
      by.resize(run.canaries.is_in.size());
      std::vector<std::uint8_t> is_drawn(by.size());
      std::ranges::transform(by, is_drawn.begin(),
                             [](double move) -> std::uint8_t { return move != 0 ? 1 : 0; });
      scores.AddStep(is_drawn);
    }
    left -= steps;
  }
  return scores.Tests();
}

Status RunRound(const Run& run, std::uint64_t round, privacy::CanaryScores& scores) {
  const std::uint64_t steps = jobs::StepsPerRound(run.request.spec);
  std::vector<std::unique_ptr<site_agent::NoisySums>> sites;
  for (std::size_t site = 0; site < run.sites.size(); ++site) {
    CHORALE_ASSIGN_OR_RETURN(
        std::unique_ptr<site_agent::NoisySums> sums,
        run.Open(run.sites[site], privacy::NoiseKey::Generate(
                                      JobId("audit"), SiteId("site-" + std::to_string(site + 1)))));
    sites.push_back(std::move(sums));
  }
  for (std::uint64_t step = 0; step < steps; ++step) {
    std::vector<std::vector<std::int64_t>> sums;
    for (const std::unique_ptr<site_agent::NoisySums>& site : sites) {
      CHORALE_ASSIGN_OR_RETURN(std::vector<std::int64_t> sum, site->Sum(step, run.parameters));
      sum.resize(run.canaries.is_in.size());  // Votes are the same of every canary.
      sums.push_back(std::move(sum));
    }
    scores.AddStep(sums);
    if (run.request.on_progress) {
      run.request.on_progress(static_cast<double>(round * steps + step + 1) /
                              static_cast<double>(run.request.num_rounds * steps));
    }
  }
  return OkStatus();
}

}  // namespace

bool HasPassed(const privacy::AuditTest& test, const Evidence& evidence, double significance) {
  return test.p_value * static_cast<double>(evidence.tests.size()) >= significance;
}

bool HasPassed(const Evidence& evidence, double significance) {
  return evidence.lower_bound.epsilon <= evidence.compared.guarantee.epsilon &&
         std::ranges::all_of(evidence.tests, [&](const privacy::AuditTest& test) {
           return HasPassed(test, evidence, significance);
         });
}

StatusOr<Evidence> RunCanaries(const CanaryRunRequest& request) {
  CHORALE_ASSIGN_OR_RETURN(const Run run, Plant(request));
  Evidence evidence;
  CHORALE_ASSIGN_OR_RETURN(evidence.claimed,
                           jobs::StatementOf(request.spec, {.rounds = request.num_rounds}));
  CHORALE_ASSIGN_OR_RETURN(privacy::CanaryScores scores,
                           privacy::CanaryScores::Create(run.canaries));
  CHORALE_ASSIGN_OR_RETURN(const privacy::AuditTest neighbours, ReplayNeighbours(run));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<privacy::AuditTest> draws, ReplayDraws(run));
  for (std::uint64_t round = 0; round < request.num_rounds; ++round) {
    CHORALE_RETURN_IF_ERROR(RunRound(run, round, scores));
  }
  evidence.tests = scores.Tests();
  evidence.tests.insert(evidence.tests.end(), draws.begin(), draws.end());
  evidence.tests.push_back(neighbours);
  v1::JobSpec strict = request.spec;
  strict.mutable_privacy()->set_target_delta(
      std::min(request.spec.privacy().target_delta(),
               kMostDeltas / static_cast<double>(request.num_canaries)));
  CHORALE_ASSIGN_OR_RETURN(evidence.compared,
                           jobs::StatementOf(strict, {.rounds = request.num_rounds}));
  evidence.lower_bound =
      privacy::OneRunEpsilon(scores.log_ratios(), run.canaries.is_in,
                             strict.privacy().target_delta(), request.significance);
  evidence.num_steps = scores.num_steps();
  evidence.honest_sites = run.canaries.num_sites;
  return evidence;
}

}  // namespace chorale::audit
