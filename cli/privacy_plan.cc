#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>

#include "cli/output.h"
#include "cli/verbs.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_metrics.h"
#include "jobs/private_newton.h"
#include "jobs/private_preparation.h"
#include "privacy/accountant.h"
#include "privacy/statement.h"

namespace chorale::cli {
namespace {

struct Options {
  std::filesystem::path file;
  std::uint32_t sites = 4;
  OutputFormat format = OutputFormat::kText;
};

// What a private job is going to cost, and how large its noise is, from the specification alone.
struct Plan {
  v1::JobSpec spec;
  privacy::Statement statement;
  privacy::Guarantee continuous;  // By pld, of real-valued noise of the same size.
  jobs::RoundsRun most;
  std::uint64_t num_parameters = 0;
  double grid_step = 0;
  std::uint32_t honest = 1;  // Sites whose shares of the noise are counted on.
  std::optional<jobs::ClippingScale> clipping = {};  // Where it adapts.
};

// The grid of what every round adds up, and whether the noise fits it.
Status PlanSums(Plan& plan) {
  const v1::PrivacySpec& privacy = plan.spec.privacy();
  if (plan.spec.has_newton()) {
    const jobs::NoisySum sum = jobs::NewtonSumOf(plan.spec, plan.num_parameters);
    CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, jobs::GridOf(sum, privacy));
    plan.grid_step = grid.step();
    return jobs::NoiseShareOf(sum, privacy, plan.honest).status();
  }
  CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, jobs::GridOf(privacy, plan.num_parameters));
  plan.grid_step = grid.step();
  if (jobs::HasAdaptiveClipping(privacy)) {
    CHORALE_ASSIGN_OR_RETURN(plan.clipping, jobs::ClippingScaleOf(privacy, grid));
  }
  return jobs::NoiseShareOf(plan.spec, plan.num_parameters, plan.honest).status();
}

StatusOr<Plan> PlanOf(const Options& options) {
  Plan plan;
  CHORALE_ASSIGN_OR_RETURN(plan.spec, jobs::LoadJobFile(options.file));
  if (!jobs::IsPrivate(plan.spec)) {
    return InvalidArgument(options.file.string() +
                           ": the job has no privacy section, so what leaves a site is exact");
  }
  CHORALE_RETURN_IF_ERROR(jobs::CalibrateNoise(plan.spec));
  plan.most = jobs::MostRounds(plan.spec);
  CHORALE_ASSIGN_OR_RETURN(plan.statement, jobs::StatementOf(plan.spec, plan.most));
  CHORALE_ASSIGN_OR_RETURN(
      plan.continuous, privacy::EpsilonFor(jobs::EventOfRounds(plan.spec, plan.most),
                                           plan.spec.privacy().target_delta(),
                                           {.accountant = privacy::AccountantKind::kPld,
                                            .relation = jobs::RelationOf(plan.spec.privacy())}));
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan model, jobs::PlanOf(plan.spec));
  plan.num_parameters = model.layout().num_parameters();
  plan.honest =
      jobs::HonestSites(plan.spec, jobs::GroupOf(jobs::GroupRulesOf(plan.spec), options.sites));
  CHORALE_RETURN_IF_ERROR(PlanSums(plan));
  if (plan.spec.privacy().has_metrics()) {
    CHORALE_RETURN_IF_ERROR(jobs::NoiseShareOf(jobs::MetricSumOf(plan.spec.privacy().metrics()),
                                               plan.spec.privacy(), plan.honest)
                                .status());
  }
  if (plan.most.preparations > 0) {
    CHORALE_RETURN_IF_ERROR(
        jobs::NoiseShareOf(jobs::PreparationSumOf(plan.spec), plan.spec.privacy(), plan.honest)
            .status());
  }
  const auto kind =
      plan.spec.has_newton() ? jobs::MaskedKind::kNewtonSums : jobs::MaskedKind::kUpdate;
  CHORALE_RETURN_IF_ERROR(
      jobs::MaskedLayout::Create(plan.spec, kind, plan.num_parameters, options.sites).status());
  return plan;
}

// Of the noise in such a sum over all sites, in patients.
double DeviationOf(const jobs::NoisySum& sum, const Plan& plan, std::uint32_t sites) {
  const double shares = static_cast<double>(sites) / plan.honest;
  return sum.noise_multiplier * sum.norm * std::sqrt(shares);
}

void PrintClipping(const Plan& plan, const Options& options, std::ostream& out) {
  const v1::PrivacySpec& privacy = plan.spec.privacy();
  const v1::AdaptiveClipping clipping = jobs::AdaptiveClippingOf(privacy);
  out << "clipping         adapts from norm " << clipping.initial_norm() << " to the "
      << clipping.target_quantile() << " quantile of gradients: standard deviation "
      << jobs::CountDeviation(privacy, *plan.clipping, options.sites, plan.honest)
      << " patients on its count, within the same epsilon, and to gradients the noise multiplier "
         "is "
      << jobs::NoiseMultiplierOfGradients(privacy, *plan.clipping) << '\n';
}

std::string NoiseText(const Plan& plan) {
  const v1::PrivacySpec& privacy = plan.spec.privacy();
  std::ostringstream text;
  if (plan.spec.has_newton()) {
    const training::NewtonBounds bounds = jobs::NewtonBoundsOf(plan.spec, plan.num_parameters);
    const jobs::NewtonDeviations noise = jobs::NewtonDeviationsOf(plan.spec, plan.num_parameters);
    text << noise.gradient << " on every sum of gradients, to which a patient adds at most "
         << bounds.gradient << ", and " << noise.hessian
         << " on the diagonal of every sum of Hessians, to which a patient adds at most "
         << bounds.hessian;
    return text.str();
  }
  const double sigma = privacy.noise_multiplier() * privacy.max_grad_norm();
  text << sigma << " on every sum of gradients, " << sigma / jobs::ExpectedBatch(privacy)
       << " on their mean over " << jobs::ExpectedBatch(privacy) << " expected patients";
  return text.str();
}

void PrintText(const Plan& plan, const Options& options, std::ostream& out) {
  const v1::PrivacySpec& privacy = plan.spec.privacy();
  out << "guarantee        " << privacy::ToText(plan.statement) << '\n'
      << "tighter bound    epsilon " << privacy::RoundUp(plan.continuous.epsilon, 6)
      << " by pld, if the noise were not on a grid: an approximation\n"
      << "noise multiplier " << privacy.noise_multiplier() << '\n'
      << "noise            standard deviation " << NoiseText(plan) << '\n'
      << "grid             steps of " << plan.grid_step << " for " << plan.num_parameters
      << " parameters\n";
  if (privacy.has_distributed()) {
    out << "noise at a site  1/" << plan.honest << " of its variance, for " << options.sites
        << " sites: enough with " << plan.honest << " honest sites in a sum\n";
  }
  if (plan.clipping) PrintClipping(plan, options, out);
  if (privacy.has_metrics()) {
    out << "metrics          " << plan.most.with_metrics << " sums at noise multiplier "
        << privacy.metrics().noise_multiplier() << ": standard deviation "
        << DeviationOf(jobs::MetricSumOf(privacy.metrics()), plan, options.sites)
        << " patients on every number in them\n";
  }
  if (plan.most.preparations > 0) {
    out << "preparation      up to " << plan.most.preparations << " sums at noise multiplier "
        << privacy.preparation().noise_multiplier() << ": standard deviation "
        << DeviationOf(jobs::PreparationSumOf(plan.spec), plan, options.sites)
        << " patients on every number in them\n";
  }
}

nlohmann::ordered_json ToJson(const Plan& plan, const Options& options) {
  const v1::PrivacySpec& privacy = plan.spec.privacy();
  nlohmann::ordered_json json = {{"epsilon", plan.statement.guarantee.epsilon},
                                 {"delta", plan.statement.guarantee.delta},
                                 {"order", plan.statement.guarantee.order.value_or(0)},
                                 {"accountant", privacy::NameOf(plan.statement.accountant)},
                                 {"privacy_unit", privacy::NameOf(plan.statement.unit)},
                                 {"neighboring_relation", privacy::NameOf(plan.statement.relation)},
                                 {"sampling", plan.statement.sampling},
                                 {"holds_for", plan.statement.holds_for},
                                 {"epsilon_continuous_pld", plan.continuous.epsilon},
                                 {"noise_multiplier", privacy.noise_multiplier()},
                                 {"max_grad_norm", privacy.max_grad_norm()},
                                 {"steps", plan.most.rounds * jobs::StepsPerRound(plan.spec)},
                                 {"num_parameters", plan.num_parameters},
                                 {"grid_step", plan.grid_step},
                                 {"honest_sites", plan.honest}};
  if (plan.clipping) {
    const v1::AdaptiveClipping clipping = jobs::AdaptiveClippingOf(privacy);
    json["adaptive_clipping"] = {
        {"initial_norm", clipping.initial_norm()},
        {"target_quantile", clipping.target_quantile()},
        {"learning_rate", clipping.learning_rate()},
        {"deviation_in_patients",
         jobs::CountDeviation(privacy, *plan.clipping, options.sites, plan.honest)},
        {"noise_multiplier_of_gradients",
         jobs::NoiseMultiplierOfGradients(privacy, *plan.clipping)}};
  }
  if (plan.spec.has_newton()) {
    const training::NewtonBounds bounds = jobs::NewtonBoundsOf(plan.spec, plan.num_parameters);
    const jobs::NewtonDeviations noise = jobs::NewtonDeviationsOf(plan.spec, plan.num_parameters);
    json["newton"] = {{"max_hessian_norm", bounds.hessian},
                      {"hessian_share", bounds.hessian_share},
                      {"gradient_deviation", noise.gradient},
                      {"hessian_deviation", noise.hessian}};
  } else {
    json["sample_rate"] = privacy.sample_rate();
  }
  if (privacy.has_metrics()) {
    json["metrics"] = {{"sums", plan.most.with_metrics},
                       {"noise_multiplier", privacy.metrics().noise_multiplier()},
                       {"deviation_in_patients",
                        DeviationOf(jobs::MetricSumOf(privacy.metrics()), plan, options.sites)}};
  }
  if (plan.most.preparations > 0) {
    json["preparation"] = {{"sums", plan.most.preparations},
                           {"noise_multiplier", privacy.preparation().noise_multiplier()},
                           {"deviation_in_patients",
                            DeviationOf(jobs::PreparationSumOf(plan.spec), plan, options.sites)}};
  }
  return json;
}

Status Run(const Options& options, const Terminal& terminal) {
  CHORALE_ASSIGN_OR_RETURN(const Plan plan, PlanOf(options));
  if (options.format == OutputFormat::kJson) {
    terminal.out << ToJson(plan, options).dump(2) << '\n';
  } else {
    PrintText(plan, options, terminal.out);
  }
  return OkStatus();
}

}  // namespace

void AddPrivacyPlan(CLI::App& group, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* verb = group.add_subcommand(
      "plan", "What a private job would cost every patient, and its noise: nothing is spent");
  verb->add_option("job.yaml", options->file, "The job")->required();
  verb->add_option("--sites", options->sites, "Sites that take part (default: 4)")
      ->check(CLI::Range(1, 1000));
  AddFormatOption(*verb, options->format);
  verb->callback([options, &command] {
    command.Choose([options, &command] { return Run(*options, command.terminal()); });
  });
}

}  // namespace chorale::cli
