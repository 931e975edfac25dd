#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "training/layer_tape.h"

// The gradients of patients by the parameters of one layer, from what a LayerTape holds: their
// norms, and their sum with a factor for each patient. Neither needs one gradient a patient where
// it would be large: squared norms of sums of outer products follow from Gram matrices (ghost
// norms, Goodfellow 2015, arXiv 1510.01799; Li et al. 2021, arXiv 2110.05679), and the sum is one
// product.
namespace chorale::training {

// Where the rows of patients stand in a pass: patients with equally many rows side by side.
struct PassLayout {
  struct Group {
    std::int64_t first_patient = 0;
    std::int64_t num_patients = 0;
    std::int64_t first_row = 0;
    std::int64_t rows_each = 0;
  };
  std::vector<Group> groups;
  std::int64_t num_patients = 0;
  at::Tensor owners;  // The patient of each row, 64 bits. [rows]
};

// What joins the gradient of a parameter.
struct GradientPart {
  std::size_t parameter = 0;
  std::int64_t first = 0;  // Along axis 0 of the parameter.
  at::Tensor values;
  at::Tensor rows;  // Where defined: along axis 0, the place of each of `values`.
};
// Adds `part` to the parameter's gradient.
void AddPart(const GradientPart& part, const at::Tensor& gradient);

// Not thread-safe.
class LayerGradient {
 public:
  virtual ~LayerGradient() = default;
  // Adds each patient's squared norm to `squares`. [num_patients], float64. Called once, first.
  virtual void AddSquares(const at::Tensor& squares) = 0;
  // Appends the sum of `factors` times the patients' gradients. [num_patients], of the type
  // computed in.
  virtual void AddSum(const at::Tensor& factors, std::vector<GradientPart>& parts) = 0;
};

// `gradient`: of the loss by the record's output. The layout must outlive it.
[[nodiscard]] std::unique_ptr<LayerGradient> MakeLayerGradient(LayerRecord record,
                                                               const at::Tensor& gradient,
                                                               const PassLayout& layout);

// Whether norms come from Gram matrices rather than from gradients of [outs, ins] a patient, summed
// over `positions`. The first bound is that of memory (mixed ghost norm, Bu et al. 2022, arXiv
// 2205.10683); the second one of time, where to write a gradient and to read it again is counted as
// `kPasses` multiply-adds a number.
[[nodiscard]] constexpr bool UsesGhostNorm(std::int64_t positions, std::int64_t outs,
                                           std::int64_t ins) {
  constexpr std::int64_t kPasses = 8;
  return positions == 1 || (2 * positions * positions <= outs * ins &&
                            positions * positions * (outs + ins) <= kPasses * outs * ins);
}

}  // namespace chorale::training
