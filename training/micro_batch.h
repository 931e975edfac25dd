#pragma once

#include <vector>

#include "training/grad_samples.h"
#include "training/graph_network.h"
#include "training/losses.h"
#include "training/row_source.h"

namespace chorale::training {

// Gradients of patients one by one: a backward pass for each, on threads. Any model whose rows do
// not mix; what other engines are tested against. Not thread-safe.
class MicroBatch {
 public:
  // Plan and examples must outlive it.
  explicit MicroBatch(const GradSampleSetup& setup);

  // Adds the patients' clipped gradients to `totals`, in an order that depends on their number
  // alone. False when it was cancelled meanwhile; the totals are then worth nothing.
  [[nodiscard]] bool Add(const PatientRows& patients, ClippedTotals& totals);

  // Tells each patient's clipped gradient and vote instead; `totals` only counts.
  using OnPatient = std::function<void(std::span<const float> clipped, double vote)>;
  [[nodiscard]] bool Tell(const PatientRows& patients, const OnPatient& on_patient,
                          ClippedTotals& totals);

 private:
  // What one thread has for itself.
  struct Worker {
    std::vector<at::Tensor> views;   // As GraphNetwork::Views.
    std::vector<at::Tensor> leaves;  // Those of them that are trained.
    RowSource::Rows buffer;
    at::Tensor sum;                 // [num_parameters], of the block in hand.
    std::vector<at::Tensor> parts;  // Views of it, one a leaf.
    ClippedTotals counts;           // Without a sum.
  };
  // The gradients of one patient, by leaf; undefined where the parameter has no say.
  std::vector<at::Tensor> GradientsOf(std::uint32_t patient, std::span<const std::int64_t> rows,
                                      Worker& worker) const;
  // Sets the worker's sum to the clipped gradient, or adds it.
  void Clip(const std::vector<at::Tensor>& gradients, bool replaces, Worker& worker) const;
  bool Run(const PatientRows& patients, std::int64_t block,
           const std::function<void(Worker&)>& commit, ClippedTotals& totals);

  GradSampleSetup setup_;
  GraphNetwork network_;
  LossFunction loss_;
  RowSource rows_;
  std::vector<std::size_t> layers_;  // Of the leaves.
  std::size_t num_layers_;
  std::vector<Worker> workers_;
};

}  // namespace chorale::training
