#include "site_agent/local_normalization.h"

#include <algorithm>

namespace chorale::site_agent {
namespace {

// Calls `visit` with place and size of every tensor of a norm layer.
template <typename Visit>
void ForEach(const models::GraphPlan& plan, Visit visit) {
  const std::vector<TensorLayout>& tensors = plan.layout().tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (plan.parameters()[i].is_normalization) visit(tensors[i].offset, tensors[i].size);
  }
}

}  // namespace

std::size_t NumNormalization(const models::GraphPlan& plan) {
  std::size_t count = 0;
  ForEach(plan, [&count](std::uint64_t, std::uint64_t size) { count += size; });
  return count;
}

ParameterVector NormalizationOf(const models::GraphPlan& plan, std::span<const float> parameters) {
  ParameterVector values;
  values.reserve(NumNormalization(plan));
  ForEach(plan, [&](std::uint64_t offset, std::uint64_t size) {
    const std::span<const float> tensor = parameters.subspan(offset, size);
    values.insert(values.end(), tensor.begin(), tensor.end());
  });
  return values;
}

Status OverlayNormalization(const models::GraphPlan& plan, std::span<const float> normalization,
                            std::span<float> parameters) {
  if (normalization.size() != NumNormalization(plan) ||
      parameters.size() != plan.layout().num_parameters()) {
    return InvalidArgument("the norm layers of another model");
  }
  ForEach(plan, [&](std::uint64_t offset, std::uint64_t size) {
    std::ranges::copy(normalization.first(size), parameters.begin() + offset);
    normalization = normalization.subspan(size);
  });
  return OkStatus();
}

void ClearNormalization(const models::GraphPlan& plan, std::span<float> parameters) {
  ForEach(plan, [&](std::uint64_t offset, std::uint64_t size) {
    std::ranges::fill(parameters.subspan(offset, size), 0.0f);
  });
}

}  // namespace chorale::site_agent
