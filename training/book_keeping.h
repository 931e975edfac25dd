#pragma once

#include <vector>

#include "training/grad_samples.h"
#include "training/graph_network.h"
#include "training/layer_gradients.h"
#include "training/losses.h"
#include "training/row_source.h"

namespace chorale::training {

// Gradients of many patients in one backward pass, as far as the outputs of layers; the rest is
// layer_gradients.h (book-keeping, Bu et al. 2022, arXiv 2210.00038). No gradient of a parameter is
// ever computed by autograd. Passes run on threads. Not thread-safe.
class BookKeeping {
 public:
  // `max_patients`: as ClippedSumRequest::max_physical_batch_size. Plan and examples must outlive
  // it.
  BookKeeping(const GradSampleSetup& setup, std::uint32_t max_patients);

  // Adds the patients' clipped gradients to `totals`, in an order that depends on the patients'
  // numbers of rows alone. Patients with too many rows for a pass, or with a norm that does not fit
  // into the type computed in, go through MicroBatch. False when it was cancelled meanwhile; the
  // totals are then worth nothing.
  [[nodiscard]] bool Add(const PatientRows& patients, ClippedTotals& totals);

 private:
  // What one thread has for itself.
  struct Worker {
    std::vector<at::Tensor> views;  // As GraphNetwork::Views, without gradients.
    RowSource::Rows buffer;
    std::vector<GradientPart> parts;  // Of the pass in hand.
    ClippedTotals counts;             // Without a sum.
    std::vector<std::size_t> left;    // Places of patients for whom a pass will not do.
  };
  struct Measured;
  using Places = std::vector<std::size_t>;  // Of patients.

  [[nodiscard]] std::vector<Places> Cut(const PatientRows& patients, Places& left) const;
  Measured Measure(std::span<const std::int64_t> rows, std::span<const GraphNetwork::Part> parts,
                   const PassLayout& layout, Worker& worker) const;
  void RunPass(const PatientRows& patients, Places places, Worker& worker) const;

  GradSampleSetup setup_;
  std::uint32_t max_patients_;
  GraphNetwork network_;
  LossFunction loss_;
  RowSource rows_;
  std::vector<std::size_t> layers_;  // Of the parameters.
  std::size_t num_layers_;
  std::vector<Worker> workers_;
};

}  // namespace chorale::training
