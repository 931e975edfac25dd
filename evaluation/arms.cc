#include "evaluation/arms.h"

#include <algorithm>
#include <set>
#include <utility>

#include "data/dataset.h"
#include "evaluation/arm_budget.h"
#include "evaluation/arm_rows.h"
#include "evaluation/newton_arm.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_preparation.h"
#include "models/model.h"
#include "training/batch_schedule.h"
#include "training/newton_sums.h"

namespace chorale::evaluation {
namespace {

using data::Examples;

// What all arms share.
struct Context {
  const ArmsRequest& request;
  const models::GraphPlan& plan;
  std::uint32_t num_rounds = 0;
  v1::TrainingSpec training;  // The job's, without what it adds against drift.
  std::optional<training::NewtonKind> newton;
  std::vector<Size> sizes = {};  // Of each site.
};

// The scores of `arm`: `parameters` on every site's test rows, one set for all sites or one for
// each.
Status Score(const Context& context, std::span<const ParameterVector> parameters,
             std::span<const Examples> tests, Arm& arm) {
  std::vector<float> all_predictions;
  std::vector<float> all_targets;
  for (std::size_t i = 0; i < tests.size(); ++i) {
    std::vector<float> predictions;
    if (tests[i].size() > 0) {
      CHORALE_ASSIGN_OR_RETURN(
          predictions, context.request.trainer.Predict(
                           context.plan, parameters[parameters.size() == 1 ? 0 : i], tests[i]));
    }
    arm.by_site.push_back(Judge(context.plan, predictions, tests[i].targets));
    all_predictions.insert(all_predictions.end(), predictions.begin(), predictions.end());
    all_targets.insert(all_targets.end(), tests[i].targets.begin(), tests[i].targets.end());
  }
  arm.pooled = Judge(context.plan, all_predictions, all_targets);
  return OkStatus();
}

struct Course {
  std::string_view seed_name;         // Sets the order of examples apart from other arms'.
  std::uint64_t steps_per_round = 0;  // May exceed what one specification can ask for.
  std::uint32_t first_round = 1;
  std::uint32_t last_round = 1;
};

// Training after the last round is a course of its own, as at a site.
training::RoundPlace PlaceOf(const Context& context, std::uint32_t round) {
  if (round > context.num_rounds) return {};
  return {.round = round, .num_rounds = context.num_rounds};
}

// Rounds of local training, each from where the last one ended; every round starts a new optimizer
// and a new order, as at a site of the federation.
Status Train(const Context& context, const Examples& train, const Course& course,
             ParameterVector& parameters) {
  constexpr std::uint64_t kMaxSteps = 1000000;
  const std::uint64_t seed = context.request.job.seed();
  v1::TrainingSpec training = context.training;
  for (std::uint32_t round = course.first_round; round <= course.last_round; ++round) {
    for (std::uint64_t left = course.steps_per_round; left > 0;) {
      training.set_local_steps(static_cast<std::uint32_t>(std::min(left, kMaxSteps)));
      left -= training.local_steps();
      CHORALE_ASSIGN_OR_RETURN(
          const training::TrainResult result,
          context.request.trainer.Train({.plan = context.plan,
                                         .training = training,
                                         .train = train,
                                         .start = parameters,
                                         .seed = training::SeedFor(seed, round, course.seed_name),
                                         .place = PlaceOf(context, round),
                                         .cancelled = context.request.cancelled}));
      for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] += result.update[i];
    }
  }
  return OkStatus();
}

ParameterVector StartOf(const Context& context) {
  const std::span<const float> given = context.request.initial_parameters;
  if (!given.empty()) return {given.begin(), given.end()};
  return models::InitialParameters(context.plan, context.request.job.seed());
}

// Tells that the arm begins, lets `train` fill in its cost and make its parameters, and scores it.
template <typename TrainArm>
StatusOr<Arm> RunArm(const Context& context, Arm arm, std::span<const Examples> tests,
                     TrainArm train) {
  const std::string label = LabelOf(arm);
  if (context.request.on_arm) context.request.on_arm(label);
  const auto start = std::chrono::steady_clock::now();
  StatusOr<std::vector<ParameterVector>> parameters = train(arm);
  if (!parameters.ok()) return Annotate(parameters.status(), label + " arm");
  if (arm.kind != ArmKind::kFederated && arm.kind != ArmKind::kPrivate) {
    arm.training_time = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - start);
  }
  CHORALE_RETURN_IF_ERROR(Annotate(Score(context, *parameters, tests, arm), label + " arm"));
  return arm;
}

template <typename Number>
using RowsFunction = data::ExamplesOf<Number> (Preparation::*)(const Site&, v1::Split) const;

template <typename Number>
data::ExamplesOf<Number> TrainingRows(std::span<const Site> sites, const Preparation& preparation,
                                      RowsFunction<Number> rows_of) {
  data::ExamplesOf<Number> rows;
  for (const Site& site : sites) Append(rows, (preparation.*rows_of)(site, v1::SPLIT_TRAIN));
  return rows;
}

StatusOr<ParameterVector> SolveAlone(const Context& context, const data::ExactExamples& rows,
                                     Arm& arm) {
  CHORALE_ASSIGN_OR_RETURN(
      const NewtonSolution solution,
      SolveNewton(*context.newton, rows, context.request.job.newton(), context.request.cancelled));
  arm.optimizer_steps = solution.num_steps;
  arm.examples_processed = solution.num_steps * rows.size();
  ParameterVector rounded(solution.coefficients.size());
  std::transform(solution.coefficients.begin(), solution.coefficients.end(), rounded.begin(),
                 [](double c) { return static_cast<float>(c); });
  return rounded;
}

StatusOr<ParameterVector> TrainAlone(const Context& context, const Examples& rows,
                                     const Budget& round, Arm& arm) {
  const std::uint64_t steps =
      training::StepsToProcess(round.patients, context.training, NumPatients(rows.patients));
  arm.optimizer_steps = context.num_rounds * steps;
  arm.examples_processed = context.num_rounds * round.examples;
  ParameterVector parameters = StartOf(context);
  // No site has the empty name: the order of examples of the pool is no site's.
  CHORALE_RETURN_IF_ERROR(Train(context, rows,
                                {.seed_name = arm.site,
                                 .steps_per_round = steps,
                                 .first_round = 1,
                                 .last_round = context.num_rounds},
                                parameters));
  return parameters;
}

// All rows of `sites` in one place, which one site can be too.
StatusOr<Arm> RunAlone(const Context& context, Arm arm, std::span<const Site> sites,
                       const Budget& round) {
  const Preparation preparation = Preparation::Of(sites, context.request.job.data());
  return RunArm(
      context, std::move(arm), preparation.TestRows(context.request.sites),
      [&](Arm& own) -> StatusOr<std::vector<ParameterVector>> {
        StatusOr<ParameterVector> parameters =
            context.newton
                ? SolveAlone(context,
                             TrainingRows<double>(sites, preparation, &Preparation::ExactRows), own)
                : TrainAlone(context, TrainingRows<float>(sites, preparation, &Preparation::Rows),
                             round, own);
        if (!parameters.ok()) return parameters.status();
        return std::vector<ParameterVector>{*std::move(parameters)};
      });
}

// A model that was trained elsewhere.
StatusOr<Arm> RunGiven(const Context& context, Arm arm, const Preparation& preparation) {
  return RunArm(context, std::move(arm), preparation.TestRows(context.request.sites),
                [&](Arm&) -> StatusOr<std::vector<ParameterVector>> {
                  const std::span<const float> given = context.request.federated_parameters;
                  return std::vector<ParameterVector>{ParameterVector(given.begin(), given.end())};
                });
}

StatusOr<Arm> RunFederated(const Context& context, const Preparation& preparation) {
  const Budget round = FederatedRound(context.request.job, context.sizes);
  return RunGiven(context,
                  {.kind = ArmKind::kFederated,
                   .optimizer_steps = context.num_rounds * round.steps,
                   .examples_processed = context.num_rounds * round.examples},
                  preparation);
}

StatusOr<Arm> RunPersonalised(const Context& context, const Preparation& preparation) {
  Context own = context;
  own.training.set_local_epochs(context.request.job.personalization().local_epochs());
  return RunArm(own, {.kind = ArmKind::kPersonalised}, preparation.TestRows(own.request.sites),
                [&](Arm& arm) -> StatusOr<std::vector<ParameterVector>> {
                  std::vector<ParameterVector> all;
                  for (std::size_t i = 0; i < own.sizes.size(); ++i) {
                    const Site& site = own.request.sites[i];
                    const Budget budget = BudgetOf(own.training, own.sizes[i]);
                    all.emplace_back(own.request.federated_parameters.begin(),
                                     own.request.federated_parameters.end());
                    CHORALE_RETURN_IF_ERROR(Train(own, preparation.Rows(site, v1::SPLIT_TRAIN),
                                                  {.seed_name = site.name,
                                                   .steps_per_round = budget.steps,
                                                   .first_round = own.num_rounds + 1,
                                                   .last_round = own.num_rounds + 1},
                                                  all.back()));
                    arm.optimizer_steps += budget.steps;
                    arm.examples_processed += budget.examples;
                  }
                  return all;
                });
}

std::optional<std::size_t> NumPositives(models::TargetKind kind, const Examples& examples) {
  if (kind != models::TargetKind::kBinary && kind != models::TargetKind::kSurvival) {
    return std::nullopt;
  }
  std::size_t count = 0;
  // Survival: the event stands behind the time.
  for (std::size_t i = examples.num_targets - 1; i < examples.targets.size();
       i += examples.num_targets) {
    if (examples.targets[i] >= 0.5F) ++count;
  }
  return count;
}

// Fills in what is to be told of a site's rows, and their size.
void CountRows(const Site& site, Context& context, Comparison& comparison) {
  const Preparation preparation = Preparation::PerSite();
  const Examples train = preparation.Rows(site, v1::SPLIT_TRAIN);
  const Examples test = preparation.Rows(site, v1::SPLIT_TEST);
  context.sizes.push_back({.rows = train.size(), .patients = NumPatients(train.patients)});
  comparison.sites.push_back({.site = site.name,
                              .train_rows = train.size(),
                              .test_rows = test.size(),
                              .train_positives = NumPositives(comparison.target, train),
                              .test_positives = NumPositives(comparison.target, test),
                              .dropped_rows = site.dataset->num_dropped_rows()});
}

Status CheckParameters(std::span<const float> parameters, const models::GraphPlan& plan,
                       const std::string& what) {
  if (parameters.size() == plan.layout().num_parameters()) return OkStatus();
  return InvalidArgument(what + " has " + std::to_string(parameters.size()) +
                         " parameters, the job's model has " +
                         std::to_string(plan.layout().num_parameters()));
}

Status CheckRequest(const ArmsRequest& request, const models::GraphPlan& plan) {
  if (request.sites.empty()) return InvalidArgument("a comparison needs at least one site");
  std::set<std::string_view> names;
  for (const Site& site : request.sites) {
    if (!names.insert(site.name).second)
      return InvalidArgument("site " + site.name + " is named twice");
  }
  if (MeasuresOf(plan.target_kind()).empty()) {
    return InvalidArgument(
        "models whose target is a mask cannot be compared: pixels of one image "
        "are no independent rows");
  }
  if (!request.initial_parameters.empty()) {
    CHORALE_RETURN_IF_ERROR(CheckParameters(request.initial_parameters, plan, "the initial model"));
  }
  if (jobs::HasPrivatePreparation(request.job)) {
    const Status sound = data::Validate(request.noisy_moments, request.job.data());
    if (!sound.ok()) {
      return InvalidArgument(
          "the job standardises by noisy moments, which the run record of the job must have: " +
          MessageOf(sound));
    }
  }
  return CheckParameters(request.federated_parameters, plan, "the federated model");
}

// As the federation's model sees rows.
Preparation PreparationOfFederation(const ArmsRequest& request) {
  if (jobs::HasPrivatePreparation(request.job)) return Preparation::By(request.noisy_moments);
  return request.job.data().standardization() == v1::STANDARDIZATION_PER_SITE
             ? Preparation::PerSite()
             : Preparation::Of(request.sites, request.job.data());
}

}  // namespace

std::string_view NameOf(ArmKind kind) {
  switch (kind) {
    case ArmKind::kLocal:
      return "local";
    case ArmKind::kFederated:
      return "federated";
    case ArmKind::kPersonalised:
      return "personalised";
    case ArmKind::kPrivate:
      return "private";
    case ArmKind::kCentralized:
      return "centralized";
  }
  return "unknown";
}

std::string LabelOf(const Arm& arm) {
  return std::string(NameOf(arm.kind)) + (arm.site.empty() ? std::string() : " " + arm.site);
}

StatusOr<Arm> JudgePrivate(const ArmsRequest& request) {
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan, jobs::PlanOf(request.job));
  CHORALE_RETURN_IF_ERROR(CheckRequest(request, plan));
  const Context context{
      .request = request,
      .plan = plan,
      .num_rounds = request.published_rounds.value_or(request.job.rounds().count()),
      .training = request.job.training(),
      .newton = std::nullopt};
  // How many rows the steps met is nobody's to know.
  return RunGiven(
      context,
      {.kind = ArmKind::kPrivate,
       .optimizer_steps = std::uint64_t{context.num_rounds} * jobs::StepsPerRound(request.job)},
      PreparationOfFederation(request));
}

Status AddPrivate(Arm arm, Comparison& comparison) {
  const auto place = std::ranges::find(comparison.arms, ArmKind::kCentralized,
                                       [](const Arm& a) { return a.kind; });
  if (place == comparison.arms.end() || place->pooled.num_rows != arm.pooled.num_rows ||
      place->pooled.metrics.size() != arm.pooled.metrics.size()) {
    return InvalidArgument(
        "the private model is judged on other test rows, or by other measures, than the other "
        "arms: both jobs must use the same rows and kind of target");
  }
  comparison.arms.insert(place, std::move(arm));
  return OkStatus();
}

StatusOr<Comparison> CompareArms(const ArmsRequest& request) {
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan, jobs::PlanOf(request.job));
  CHORALE_RETURN_IF_ERROR(CheckRequest(request, plan));
  Context context{.request = request,
                  .plan = plan,
                  .num_rounds = request.published_rounds.value_or(request.job.rounds().count()),
                  .training = request.job.training(),
                  .newton = std::nullopt};
  context.training.clear_drift_control();
  if (request.job.has_newton()) context.newton = training::NewtonKindOf(request.job.model());

  Comparison comparison{.target = plan.target_kind(), .sites = {}, .arms = {}};
  for (const Site& site : request.sites) CountRows(site, context, comparison);
  for (std::size_t i = 0; i < request.sites.size(); ++i) {
    const Budget budget = context.newton ? Budget{} : BudgetOf(context.training, context.sizes[i]);
    CHORALE_ASSIGN_OR_RETURN(
        Arm arm, RunAlone(context, {.kind = ArmKind::kLocal, .site = request.sites[i].name},
                          request.sites.subspan(i, 1), budget));
    comparison.arms.push_back(std::move(arm));
  }

  const Preparation shared = PreparationOfFederation(request);
  CHORALE_ASSIGN_OR_RETURN(Arm federated, RunFederated(context, shared));
  comparison.arms.push_back(std::move(federated));
  if (request.job.has_personalization()) {
    CHORALE_ASSIGN_OR_RETURN(Arm personalised, RunPersonalised(context, shared));
    comparison.arms.push_back(std::move(personalised));
  }
  CHORALE_ASSIGN_OR_RETURN(Arm centralized,
                           RunAlone(context, {.kind = ArmKind::kCentralized}, request.sites,
                                    FederatedRound(request.job, context.sizes)));
  comparison.arms.push_back(std::move(centralized));
  return comparison;
}

}  // namespace chorale::evaluation
