#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/graph.h"
#include "training/clipping.h"
#include "training/patient_rows.h"

namespace chorale::training {

// What computes the clipped gradients of patients: MicroBatch or BookKeeping.
struct GradSampleSetup {
  const models::GraphPlan& plan;
  const data::Examples& examples;
  // Its type is that of the computation: float32; float64 where a test wants to see more digits.
  at::Tensor parameters;  // [num_parameters]
  ClippingRule rule;
  std::uint64_t seed = 0;  // As of ClippedSumRequest.
  int threads = 1;
  const std::atomic<bool>* cancelled = nullptr;  // May be null.

  [[nodiscard]] bool IsCancelled() const {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }
};

// What has been added up so far.
struct ClippedTotals {
  at::Tensor sum;  // [num_parameters], zeros where nothing is trained.
  std::uint64_t num_clipped = 0;
  std::uint64_t num_not_finite = 0;
  double votes = 0;

  void Count(ClippingRule::Verdict verdict) {
    num_clipped += verdict.is_clipped ? 1 : 0;
    votes += verdict.vote;
    num_not_finite += verdict.is_finite ? 0 : 1;
  }
};

// Of dropout for one patient's rows (splitmix64, Steele et al. 2014).
[[nodiscard]] inline std::uint64_t SeedOfPatient(std::uint64_t seed, std::uint32_t patient) {
  std::uint64_t z = seed + (std::uint64_t{patient} + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace chorale::training
