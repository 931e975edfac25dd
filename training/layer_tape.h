#pragma once

#include <ATen/ATen.h>

#include <cstdint>
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

// What a forward pass leaves behind. Not thread-safe.
class LayerTape {
 public:
  // Makes a gradient by `output` come about; returns its number.
  std::size_t Watch(const at::Tensor& output) {
    if (!output.requires_grad()) output.set_requires_grad(true);
    outputs_.push_back(output);
    versions_.push_back(output._version());
    return outputs_.size() - 1;
  }
  void Add(LayerRecord record) { records_.push_back(std::move(record)); }

  [[nodiscard]] const std::vector<LayerRecord>& records() const { return records_; }
  // Once. Throws when one was changed since: its gradient would be another value's.
  [[nodiscard]] std::vector<at::Tensor> TakeOutputs() {
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      TORCH_CHECK(outputs_[i]._version() == versions_[i], "an output on the tape was changed");
    }
    return std::move(outputs_);
  }

 private:
  std::vector<LayerRecord> records_;
  std::vector<at::Tensor> outputs_;
  std::vector<std::int64_t> versions_;
};

}  // namespace chorale::training
