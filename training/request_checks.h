#pragma once

#include <span>

#include "core/status.h"
#include "data/examples.h"
#include "models/graph.h"
#include "training/local_trainer.h"

// What the trainer looks at before it starts. INVALID_ARGUMENT throughout.
namespace chorale::training {

// Sizes of examples and model that do not fit; patients that are not numbered from 0 without gaps;
// a target that the loss cannot take: NaN or infinite, outside [0, 1] (binary, mask), no class's
// number, a negative count or time, an event other than 0 and 1. Names no value.
[[nodiscard]] Status CheckExamples(const models::GraphPlan& plan, const data::Examples& examples);

// Another number of parameters than the model has, or one that is NaN or infinite.
[[nodiscard]] Status CheckParameters(const models::GraphPlan& plan,
                                     std::span<const float> parameters);

// Everything of a request that its parts do not show alone.
[[nodiscard]] Status CheckRequest(const TrainRequest& request);

// The same of a sum of clipped gradients.
[[nodiscard]] Status CheckRequest(const ClippedSumRequest& request);

}  // namespace chorale::training
