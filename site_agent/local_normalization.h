#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/parameters.h"
#include "core/status.h"
#include "models/graph.h"

// FedBN (Li et al. 2021): the parameters of norm layers stay at a site. They are kept side by side,
// in the order of the flat vector.
namespace chorale::site_agent {

// How many parameters belong to norm layers.
[[nodiscard]] std::size_t NumNormalization(const models::GraphPlan& plan);

// The norm layers' part of `parameters` [num_parameters].
[[nodiscard]] ParameterVector NormalizationOf(const models::GraphPlan& plan,
                                              std::span<const float> parameters);

// Puts it back. INVALID_ARGUMENT, and nothing is changed, unless the sizes fit.
[[nodiscard]] Status OverlayNormalization(const models::GraphPlan& plan,
                                          std::span<const float> normalization,
                                          std::span<float> parameters);

// Makes the norm layers' part 0: an update that keeps it at home. REQUIRES: [num_parameters].
void ClearNormalization(const models::GraphPlan& plan, std::span<float> parameters);

}  // namespace chorale::site_agent
