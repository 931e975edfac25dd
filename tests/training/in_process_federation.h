#pragma once

#include <string>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/examples.h"
#include "models/model.h"
#include "training/local_trainer.h"

namespace chorale::training {

struct SimulatedSite {
  std::string name;
  data::Examples train;
};

// Every round of `job` with all sites, in this process and without a network: the arithmetic of a
// federation alone.
inline StatusOr<ParameterVector> RunFederation(LocalTrainer& trainer, const v1::JobSpec& job,
                                               const std::vector<SimulatedSite>& sites) {
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan,
                           models::PlanOf(job.model(), sites.front().train.num_inputs));
  ParameterVector global = models::InitialParameters(plan, job.seed());
  const bool is_uniform = job.aggregation().fedavg().weighting() == v1::WEIGHTING_UNIFORM;
  for (std::uint32_t round = 1; round <= job.rounds().count(); ++round) {
    std::vector<double> sum(global.size());
    double total_weight = 0;
    for (const SimulatedSite& site : sites) {
      CHORALE_ASSIGN_OR_RETURN(const TrainResult result,
                               trainer.Train({.plan = plan,
                                              .training = job.training(),
                                              .train = site.train,
                                              .start = global,
                                              .seed = SeedFor(job.seed(), round, site.name),
                                              .place = {round, job.rounds().count()}}));
      const double weight = is_uniform ? 1 : static_cast<double>(result.num_examples);
      total_weight += weight;
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * double{result.update[i]};
    }
    for (std::size_t i = 0; i < sum.size(); ++i) {
      global[i] = static_cast<float>(double{global[i]} + sum[i] / total_weight);
    }
  }
  return global;
}

}  // namespace chorale::training
