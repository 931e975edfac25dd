#include "coordinator/aggregation/norm_bound.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "coordinator/aggregation/distances.h"

namespace chorale::coordinator {
namespace {

StatusOr<std::vector<double>> SquaredNorms(const RuleRun& run) {
  Sections updates(run);
  CHORALE_RETURN_IF_ERROR(updates.AddUpdates());
  std::vector<double> norms(updates.all().size());
  const auto step = [&](const PieceValues& values) {
    CHORALE_RETURN_IF_ERROR(CheckFinite(run, values));
    std::vector<VectorPair> vectors;
    vectors.reserve(values.size());
    for (const std::span<const float> update : values) vectors.push_back({update});
    AddSquaredDistances(vectors, norms, run.num_threads);
    return OkStatus();
  };
  CHORALE_RETURN_IF_ERROR(ForEachPiece(run, updates, step));
  return norms;
}

}  // namespace

StatusOr<HeldPayload> ApplyNormBound(const RuleRun& run, const v1::NormBound& spec) {
  if (!(spec.max_norm() > 0)) {
    return InvalidArgument("aggregation.norm_bound.max_norm must be above 0");
  }
  CHORALE_ASSIGN_OR_RETURN(std::vector<double> weights,
                           ContributionWeights(run.request.contributions, spec.weighting()));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> squared_norms, SquaredNorms(run));
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const double norm = std::sqrt(squared_norms[k]);
    if (norm > spec.max_norm()) weights[k] *= spec.max_norm() / norm;
  }
  return AddUpdates(run, weights);
}

}  // namespace chorale::coordinator
