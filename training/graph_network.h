#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "models/graph.h"
#include "training/layer_tape.h"

namespace chorale::training {

// Executes a plan on LibTorch; autograd does the rest. Immutable; safe for concurrent use by
// threads with views of their own, on one device.
class GraphNetwork {
 public:
  // The plan must outlive the network.
  explicit GraphNetwork(const models::GraphPlan& plan);

  // The parameters in plan order, as views into `flat` [num_parameters]: what is written there is
  // seen here, and running values of batch norm are written through. Every trainable one is a leaf
  // of its own autograd graph.
  [[nodiscard]] std::vector<at::Tensor> Views(const at::Tensor& flat) const;

  // Neighbouring rows with a seed of their own.
  struct Part {
    std::int64_t rows = 0;
    std::uint64_t seed = 0;
  };
  struct Mode {
    bool is_training = false;           // Dropout drops, batch norm takes the batch's moments.
    std::uint64_t seed = 0;             // Of dropout.
    std::span<const Part> parts = {};   // All rows, where each part drops by its own seed instead.
    bool products_in_bfloat16 = false;  // Linear, convolution and attention; results are float32.
    // Where set, every use of parameters is recorded, and `views` need no gradients.
    LayerTape* tape = nullptr;
  };
  // Outputs of `inputs` [rows, num_inputs] with the parameters `views`. [rows, num_outputs]
  [[nodiscard]] at::Tensor Forward(const std::vector<at::Tensor>& views, const at::Tensor& inputs,
                                   const Mode& mode) const;

 private:
  [[nodiscard]] std::vector<at::Generator> Generators(const Mode& mode,
                                                      const at::Device& device) const;

  const models::GraphPlan& plan_;
  std::vector<std::vector<std::size_t>> releases_;  // [num_nodes]
};

}  // namespace chorale::training
