#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "models/graph.h"
#include "training/graph_network.h"
#include "training/losses.h"
#include "training/row_source.h"

namespace chorale::training {

// The gradient of a batch by autograd: pieces of the batch (work_cut.h) on threads, their gradients
// added up in order. The bytes do not depend on the number of threads. Not thread-safe.
class BatchGradient {
 public:
  struct Setup {
    const models::GraphPlan& plan;
    const data::Examples& examples;
    at::Tensor parameters;  // Read, and running values of batch norm written. [num_parameters]
    at::Tensor gradient;    // [num_parameters], zeros where nothing is trained.
    int threads = 1;
    bool mixed_precision = false;
    const std::atomic<bool>* cancelled = nullptr;  // May be null.
  };
  // Plan and examples must outlive it.
  explicit BatchGradient(const Setup& setup);

  struct Batch {
    std::span<const std::int64_t> rows;  // Of the examples.
    bool is_range = false;               // The rows are neighbours, in order.
    double scale = 1;                    // What the summed loss of the rows is multiplied with.
    std::uint64_t seed = 0;              // Of dropout.
    bool replaces = true;                // Sets the gradient instead of adding to it.
    bool wants_loss = true;              // On CUDA, telling it waits for the device.
  };
  struct Result {
    double loss = 0;             // The summed loss, scaled; 0 where it was not wanted.
    bool was_cancelled = false;  // Then the gradient is worth nothing.
  };
  [[nodiscard]] Result Compute(const Batch& batch);

 private:
  // What one thread has for itself.
  struct Worker {
    std::vector<at::Tensor> views;   // As GraphNetwork::Views.
    std::vector<at::Tensor> leaves;  // Those of them that are trained.
    RowSource::Rows buffer;
    std::vector<at::Tensor> gradients;  // Of the leaves, for the piece in hand.
    double loss = 0;
  };
  void ComputePiece(const Batch& batch, std::int64_t index, Worker& worker);
  void AddPiece(bool replaces, Worker& worker);
  [[nodiscard]] bool IsCancelled() const {
    return cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed);
  }

  const models::GraphPlan& plan_;
  GraphNetwork network_;
  LossFunction loss_;
  RowSource rows_;
  at::Device device_;
  bool mixed_precision_;
  const std::atomic<bool>* cancelled_;
  std::vector<Worker> workers_;
  std::vector<at::Tensor> totals_;  // Views of the gradient, one a leaf.
};

}  // namespace chorale::training
