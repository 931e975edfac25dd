#pragma once

#include <cstdint>

#include "chorale/v1/jobs.pb.h"
#include "training/local_trainer.h"

// Learning rates over a whole job. Pure functions: no LibTorch here.
namespace chorale::training {

// What the learning rate of one step is multiplied with, in [0, 1]. `step` counts the optimizer
// steps of this round from 0, of `steps_per_round`; over the job, step g = (round - 1) *
// steps_per_round + step.
//
//   warmup       min(1, (g + 1) / warmup_steps): the first step takes the first part of the way
//   step_decay   factor ^ floor((round - 1) / every_rounds)
//   cosine       floor + (1 - floor) (1 + cos(pi g / (num_rounds steps_per_round))) / 2
//                (Loshchilov and Hutter 2017, without restarts)
//   exponential  factor ^ (g / steps_per_round): smooth within a round
//
// Warmup and decay multiply. REQUIRES: a valid schedule, place.round >= 1, steps_per_round >= 1.
[[nodiscard]] double RateFactor(const v1::LearningRateSchedule& schedule, const RoundPlace& place,
                                std::uint64_t steps_per_round, std::uint64_t step);

}  // namespace chorale::training
