#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace chorale::training {

// One LSTM or GRU layer in one direction, as PyTorch defines them, that is differentiated by its
// projected inputs alone: no gradient of a weight is ever computed, step by step or otherwise.
struct RecurrentInputs {
  bool is_lstm = true;  // Else a GRU.
  bool is_reverse = false;
  // x W_ih^T + b_ih; of an LSTM with b_hh as well. Watched by whoever wants its gradient, which is
  // that of the gates before their activations. [steps, rows, gates * hidden]
  at::Tensor projected;
  at::Tensor weight_hh;  // [gates * hidden, hidden]
  at::Tensor bias_hh;    // [gates * hidden], of a GRU
};
struct RecurrentOutputs {
  at::Tensor states;  // After each step. [steps, rows, hidden]
  at::Tensor reset;   // Of a GRU: its reset gates, detached. [steps, rows, hidden]
};
[[nodiscard]] RecurrentOutputs RunRecurrent(const RecurrentInputs& inputs);

// The state before each step, detached. [steps, rows, hidden]
[[nodiscard]] at::Tensor StatesBefore(const at::Tensor& states, bool is_reverse);

}  // namespace chorale::training
