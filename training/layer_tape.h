#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "chorale/v1/model.pb.h"

namespace chorale::training {

// One use of parameters in a forward pass, with all that the gradient of each row can be told from
// once the gradient of the loss by the output is known (book-keeping, Bu et al. 2022, arXiv
// 2210.00038). Parameters are numbers of the plan.
struct LayerRecord {
  enum class Kind {
    kAffine,       // output = input W^T + b over the last axis; part of W and b
    kConvolution,  // Of `node`.
    kEmbedding,    // input: whole numbers
    kChannelNorm,  // input: what is scaled and shifted, normalised by `node`; [rows, channels, ...]
    kLayerNorm,    // The same, of the last axis.
    kConstant,     // output: the parameter, for each row
  };
  Kind kind = Kind::kAffine;
  const v1::GraphNode* node = nullptr;
  std::size_t weight = 0;
  bool has_bias = false;        // The parameter `bias`.
  std::size_t bias = 0;         // Used where has_bias.
  std::int64_t first_out = 0;   // Of kAffine: the first output of W and b that is used.
  at::Tensor input;             // [rows, ...], detached
  std::size_t output = 0;       // The number that Watch() gave.
  bool is_steps_first = false;  // The output is [steps, rows, ...].
  // Of a GRU's recurrent product: the reset gate, by which the last third of the gradient is
  // multiplied. [rows, steps, hidden], else undefined.
  at::Tensor reset = {};
};

// What a forward pass leaves behind. Nothing of it outlives its use: a record is handed out while
// the backward pass is at its output. Not thread-safe.
class LayerTape {
 public:
  using OnGradient = std::function<void(LayerRecord record, const at::Tensor& gradient)>;
  explicit LayerTape(OnGradient on_gradient) : on_gradient_(std::move(on_gradient)) {}
  LayerTape(const LayerTape&) = delete;
  LayerTape& operator=(const LayerTape&) = delete;

  // Makes a gradient by `output` come about; returns its number. No operation may change it in
  // place afterwards: the gradient would be another value's.
  std::size_t Watch(const at::Tensor& output);
  void Add(LayerRecord record) { records_.push_back(std::move(record)); }

  // Hands each record to `on_gradient` with the gradient of `loss` by its output, those without
  // gradient excepted. Once.
  void Backward(const at::Tensor& loss);

 private:
  void Tell(std::size_t output, const at::Tensor& gradient);

  OnGradient on_gradient_;
  std::vector<LayerRecord> records_;
  std::size_t num_outputs_ = 0;
  // Outputs that need no earlier ones to be differentiated, and their numbers.
  std::vector<at::Tensor> leaves_;
  std::vector<std::size_t> numbers_;
};

}  // namespace chorale::training
