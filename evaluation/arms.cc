#include "evaluation/arms.h"

#include <algorithm>
#include <set>
#include <utility>

#include "models/model.h"
#include "training/batch_schedule.h"

namespace chorale::evaluation {
namespace {

using data::Examples;
using data::Moments;

// A site or the pool of all in one arm's standardisation.
struct Rows {
  Examples train;
  std::vector<Examples> tests;  // In the order of the sites.
};

std::vector<Moments> MomentsOf(std::span<const data::MomentSums> sums, const v1::DataSpec& spec) {
  std::vector<Moments> moments(data::NumNumericFeatures(spec));
  if (spec.standardization() == v1::STANDARDIZATION_NONE) return moments;  // Mean 0, deviation 1.
  for (std::size_t i = 0; i < moments.size(); ++i) moments[i] = data::MomentsOf(sums[i]);
  return moments;
}

std::vector<Moments> PooledMoments(std::span<const Site> sites, const v1::DataSpec& spec) {
  std::vector<data::MomentSums> total(data::NumNumericFeatures(spec));
  for (const Site& site : sites) {
    const std::vector<data::MomentSums> sums = site.dataset->TrainingMoments();
    for (std::size_t i = 0; i < total.size(); ++i) {
      total[i].count += sums[i].count;
      total[i].sum += sums[i].sum;
      total[i].sum_of_squares += sums[i].sum_of_squares;
    }
  }
  return MomentsOf(total, spec);
}

void Append(Examples& all, const Examples& more) {
  const std::uint32_t first_patient =
      all.patients.empty() ? 0 : *std::max_element(all.patients.begin(), all.patients.end()) + 1;
  all.num_inputs = more.num_inputs;
  all.inputs.insert(all.inputs.end(), more.inputs.begin(), more.inputs.end());
  all.targets.insert(all.targets.end(), more.targets.begin(), more.targets.end());
  for (const std::uint32_t patient : more.patients) all.patients.push_back(first_patient + patient);
}

std::size_t NumPositives(const Examples& examples) {
  return static_cast<std::size_t>(std::count_if(examples.targets.begin(), examples.targets.end(),
                                                [](float t) { return t >= 0.5F; }));
}

Scores Judge(std::span<const float> scores, std::span<const float> targets) {
  return {.num_rows = scores.size(),
          .accuracy = Accuracy(scores, targets),
          .auroc = Auroc(scores, targets),
          .log_loss = LogLoss(scores, targets)};
}

// Fills the scores of `arm` by running its parameters over every site's test rows.
Status Score(const ArmsRequest& request, std::span<const float> parameters,
             std::span<const Examples> tests, Arm& arm) {
  std::vector<float> all_scores;
  std::vector<float> all_targets;
  for (const Examples& test : tests) {
    std::vector<float> scores;
    if (test.size() > 0) {
      CHORALE_ASSIGN_OR_RETURN(scores,
                               request.trainer.Predict(request.job.model(), parameters, test));
    }
    arm.by_site.push_back(Judge(scores, test.targets));
    all_scores.insert(all_scores.end(), scores.begin(), scores.end());
    all_targets.insert(all_targets.end(), test.targets.begin(), test.targets.end());
  }
  arm.pooled = Judge(all_scores, all_targets);
  return OkStatus();
}

// Rounds of local training, each from where the last one ended; every round starts a new optimizer
// and a new order, as at a site of the federation. `steps` of a round may exceed what one
// specification can ask for.
StatusOr<ParameterVector> TrainAlone(const ArmsRequest& request, const Examples& train,
                                     std::string_view seed_name, std::uint64_t steps_per_round,
                                     Arm& arm) {
  constexpr std::uint64_t kMaxSteps = 1000000;
  CHORALE_ASSIGN_OR_RETURN(
      ParameterVector parameters,
      models::InitialParameters(request.job.model(), train.num_inputs, request.job.seed()));
  v1::TrainingSpec training = request.job.training();
  const auto start = std::chrono::steady_clock::now();
  for (std::uint32_t round = 1; round <= request.job.rounds().count(); ++round) {
    for (std::uint64_t left = steps_per_round; left > 0;) {
      training.set_local_steps(static_cast<std::uint32_t>(std::min(left, kMaxSteps)));
      left -= training.local_steps();
      CHORALE_ASSIGN_OR_RETURN(
          const training::TrainResult result,
          request.trainer.Train({.model = request.job.model(),
                                 .training = training,
                                 .train = train,
                                 .global_parameters = parameters,
                                 .seed = training::SeedFor(request.job.seed(), round, seed_name),
                                 .on_progress = {},
                                 .cancelled = request.cancelled}));
      for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] += result.update[i];
    }
    arm.optimizer_steps += steps_per_round;
  }
  arm.training_time = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  return parameters;
}

// Trains alone and scores. `seed_name` sets the order of examples apart from that of the other
// arms.
StatusOr<Arm> RunAlone(const ArmsRequest& request, Arm arm, const Rows& rows,
                       std::string_view seed_name, std::uint64_t steps_per_round) {
  const std::string label =
      std::string(NameOf(arm.kind)) + (arm.site.empty() ? std::string() : " " + arm.site);
  if (request.on_arm) request.on_arm(label);
  StatusOr<ParameterVector> parameters =
      TrainAlone(request, rows.train, seed_name, steps_per_round, arm);
  if (!parameters.ok()) return Annotate(parameters.status(), label + " arm");
  CHORALE_RETURN_IF_ERROR(Annotate(Score(request, *parameters, rows.tests, arm), label + " arm"));
  return arm;
}

Rows Standardize(std::span<const Site> sites, const data::Dataset& train_site,
                 std::span<const Moments> moments) {
  Rows rows{.train = train_site.Standardized(v1::SPLIT_TRAIN, moments), .tests = {}};
  for (const Site& site : sites)
    rows.tests.push_back(site.dataset->Standardized(v1::SPLIT_TEST, moments));
  return rows;
}

Status CheckRequest(const ArmsRequest& request) {
  if (request.sites.empty()) return InvalidArgument("a comparison needs at least one site");
  std::set<std::string_view> names;
  for (const Site& site : request.sites) {
    if (!names.insert(site.name).second)
      return InvalidArgument("site " + site.name + " is named twice");
  }
  CHORALE_ASSIGN_OR_RETURN(
      const ParameterLayout layout,
      models::LayoutOf(request.job.model(), data::NumInputs(request.job.data())));
  if (request.federated_parameters.size() != layout.num_parameters()) {
    return InvalidArgument(
        "the federated model has " + std::to_string(request.federated_parameters.size()) +
        " parameters, the job's model has " + std::to_string(layout.num_parameters()));
  }
  return OkStatus();
}

// What all sites together do in one round of the job.
struct RoundBudget {
  std::uint64_t steps = 0;
  std::uint64_t examples = 0;
};

RoundBudget FederatedRound(const ArmsRequest& request) {
  RoundBudget budget;
  for (const Site& site : request.sites) {
    budget.steps += training::NumSteps(request.job.training(), site.dataset->num_training_rows());
    budget.examples +=
        training::ExamplesProcessed(request.job.training(), site.dataset->num_training_rows());
  }
  return budget;
}

StatusOr<Arm> RunFederated(const ArmsRequest& request, std::span<const Moments> pooled_moments) {
  if (request.on_arm) request.on_arm(NameOf(ArmKind::kFederated));
  const bool is_per_site = request.job.data().standardization() == v1::STANDARDIZATION_PER_SITE;
  std::vector<Examples> tests;
  for (const Site& site : request.sites) {
    tests.push_back(is_per_site ? site.dataset->PerSite(v1::SPLIT_TEST)
                                : site.dataset->Standardized(v1::SPLIT_TEST, pooled_moments));
  }
  const RoundBudget round = FederatedRound(request);
  const std::uint64_t rounds = request.job.rounds().count();
  Arm arm{.kind = ArmKind::kFederated,
          .site = {},
          .optimizer_steps = rounds * round.steps,
          .examples_processed = rounds * round.examples,
          .pooled = {},
          .by_site = {}};
  CHORALE_RETURN_IF_ERROR(
      Annotate(Score(request, request.federated_parameters, tests, arm), "federated arm"));
  return arm;
}

}  // namespace

std::string_view NameOf(ArmKind kind) {
  switch (kind) {
    case ArmKind::kLocal:
      return "local";
    case ArmKind::kFederated:
      return "federated";
    case ArmKind::kCentralized:
      return "centralized";
  }
  return "unknown";
}

StatusOr<Comparison> CompareArms(const ArmsRequest& request) {
  CHORALE_RETURN_IF_ERROR(CheckRequest(request));
  const v1::DataSpec& spec = request.job.data();
  const v1::TrainingSpec& training = request.job.training();
  const std::uint64_t rounds = request.job.rounds().count();
  Comparison comparison;

  for (const Site& site : request.sites) {
    const std::vector<Moments> moments = MomentsOf(site.dataset->TrainingMoments(), spec);
    const Rows rows = Standardize(request.sites, *site.dataset, moments);
    const std::size_t index = comparison.sites.size();
    comparison.sites.push_back({.site = site.name,
                                .train_rows = rows.train.size(),
                                .train_positives = NumPositives(rows.train),
                                .test_rows = rows.tests[index].size(),
                                .test_positives = NumPositives(rows.tests[index]),
                                .dropped_rows = site.dataset->num_dropped_rows()});
    Arm arm{.kind = ArmKind::kLocal,
            .site = site.name,
            .examples_processed = rounds * training::ExamplesProcessed(training, rows.train.size()),
            .pooled = {},
            .by_site = {}};
    CHORALE_ASSIGN_OR_RETURN(arm, RunAlone(request, std::move(arm), rows, site.name,
                                           training::NumSteps(training, rows.train.size())));
    comparison.arms.push_back(std::move(arm));
  }

  const std::vector<Moments> pooled_moments = PooledMoments(request.sites, spec);
  CHORALE_ASSIGN_OR_RETURN(Arm federated, RunFederated(request, pooled_moments));
  comparison.arms.push_back(std::move(federated));

  Rows pooled;
  for (const Site& site : request.sites) {
    Append(pooled.train, site.dataset->Standardized(v1::SPLIT_TRAIN, pooled_moments));
    pooled.tests.push_back(site.dataset->Standardized(v1::SPLIT_TEST, pooled_moments));
  }
  const std::uint64_t steps =
      training::StepsToProcess(FederatedRound(request).examples, training, pooled.train.size());
  Arm centralized{.kind = ArmKind::kCentralized,
                  .site = {},
                  .examples_processed = rounds * FederatedRound(request).examples,
                  .pooled = {},
                  .by_site = {}};
  // No site has the empty name, so this order of examples is no site's.
  CHORALE_ASSIGN_OR_RETURN(centralized,
                           RunAlone(request, std::move(centralized), pooled, "", steps));
  comparison.arms.push_back(std::move(centralized));
  return comparison;
}

}  // namespace chorale::evaluation
