#include "training/recurrent_layer.h"

#include <torch/csrc/autograd/custom_function.h>

namespace chorale::training {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Steps in the order in which they are computed.
template <typename Step>
void ForEachStep(std::int64_t steps, bool is_reverse, const Step& step) {
  for (std::int64_t i = 0; i < steps; ++i) step(is_reverse ? steps - 1 - i : i);
}

// Gates in PyTorch's order: input, forget, cell, output.
class Lstm : public torch::autograd::Function<Lstm> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& projected, const Tensor& weight_hh,
                        bool is_reverse) {
    const std::int64_t steps = projected.size(0);
    const std::int64_t hidden = weight_hh.size(1);
    const Tensor gates = at::empty_like(projected);
    const Tensor states = at::empty({steps, projected.size(1), hidden}, projected.options());
    const Tensor cells = at::empty_like(states), bent_cells = at::empty_like(states);
    const Tensor transposed = weight_hh.t();
    Tensor state, cell;
    ForEachStep(steps, is_reverse, [&](std::int64_t step) {
      Tensor z = gates[step];
      if (state.defined()) {
        at::addmm_out(z, projected[step], state, transposed);
      } else {
        z.copy_(projected[step]);
      }
      Tensor in_forget = z.narrow(1, 0, 2 * hidden), candidate = z.narrow(1, 2 * hidden, hidden);
      Tensor out = z.narrow(1, 3 * hidden, hidden);
      in_forget.sigmoid_();
      candidate.tanh_();
      out.sigmoid_();
      Tensor next = cells[step], bent = bent_cells[step], next_state = states[step];
      at::mul_out(next, z.narrow(1, 0, hidden), candidate);
      if (cell.defined()) next.addcmul_(z.narrow(1, hidden, hidden), cell);
      at::tanh_out(bent, next);
      at::mul_out(next_state, out, bent);
      cell = next;
      state = next_state;
    });
    context->save_for_backward({gates, cells, bent_cells, weight_hh});
    context->saved_data["is_reverse"] = is_reverse;
    return states;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &gates = saved[0], &cells = saved[1], &bent_cells = saved[2], &weight = saved[3];
    const bool is_reverse = context->saved_data["is_reverse"].toBool();
    const std::int64_t steps = gates.size(0), hidden = weight.size(1);
    // The derivatives of the activations, of all steps at once: a (1 - a), and 1 - a^2.
    const Tensor slopes = gates * (1 - gates);
    slopes.narrow(2, 2 * hidden, hidden).copy_(1 - gates.narrow(2, 2 * hidden, hidden).square());
    const Tensor by_cell =
        gates.narrow(2, 3 * hidden, hidden) * (1 - bent_cells.square());  // d state / d cell
    const Tensor result = at::empty_like(gates);
    Tensor by_next_state, cell_gradient;
    ForEachStep(steps, !is_reverse, [&](std::int64_t step) {
      const auto gate = [&](std::int64_t i) { return gates[step].narrow(1, i * hidden, hidden); };
      const Tensor z = result[step];
      const auto by_gate = [&](std::int64_t i) { return z.narrow(1, i * hidden, hidden); };
      const Tensor by_state =
          by_next_state.defined() ? gradients[0][step] + by_next_state : gradients[0][step];
      cell_gradient = cell_gradient.defined() ? at::addcmul(cell_gradient, by_state, by_cell[step])
                                              : by_state * by_cell[step];
      Tensor by_input = by_gate(0), by_forget = by_gate(1), by_candidate = by_gate(2),
             by_output = by_gate(3);
      const std::int64_t before = is_reverse ? step + 1 : step - 1;
      const bool is_first = before < 0 || before >= steps;
      at::mul_out(by_input, cell_gradient, gate(2));
      if (is_first) {
        by_forget.zero_();
      } else {
        at::mul_out(by_forget, cell_gradient, cells[before]);
      }
      at::mul_out(by_candidate, cell_gradient, gate(0));
      at::mul_out(by_output, by_state, bent_cells[step]);
      z.mul_(slopes[step]);
      if (is_first) return;
      cell_gradient = cell_gradient * gate(1);
      by_next_state = at::mm(z, weight);
    });
    return {result, Tensor(), Tensor()};
  }
};

// Gates in PyTorch's order: reset, update, candidate.
class Gru : public torch::autograd::Function<Gru> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& projected,
                               const Tensor& weight_hh, const Tensor& bias_hh, bool is_reverse) {
    const std::int64_t steps = projected.size(0), rows = projected.size(1);
    const std::int64_t hidden = weight_hh.size(1);
    const Tensor gates = at::empty_like(projected);
    const Tensor states = at::empty({steps, rows, hidden}, projected.options());
    const Tensor recurrent = at::empty_like(states);  // What the reset gate multiplies.
    const Tensor transposed = weight_hh.t();
    Tensor state = at::zeros({rows, hidden}, projected.options());
    ForEachStep(steps, is_reverse, [&](std::int64_t step) {
      const Tensor h = at::addmm(bias_hh, state, transposed);
      Tensor z = gates[step], next = states[step];
      z.copy_(projected[step]);
      Tensor both = z.narrow(1, 0, 2 * hidden), candidate = z.narrow(1, 2 * hidden, hidden);
      both.add_(h.narrow(1, 0, 2 * hidden)).sigmoid_();
      recurrent[step].copy_(h.narrow(1, 2 * hidden, hidden));
      candidate.addcmul_(z.narrow(1, 0, hidden), recurrent[step]).tanh_();
      at::lerp_out(next, candidate, state, z.narrow(1, hidden, hidden));
      state = next;
    });
    const Tensor reset = gates.narrow(2, 0, hidden);
    context->save_for_backward({gates, recurrent, StatesBefore(states, is_reverse), weight_hh});
    context->saved_data["is_reverse"] = is_reverse;
    context->mark_non_differentiable({reset});
    return {states, reset};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &gates = saved[0], &recurrent = saved[1], &before = saved[2], &weight = saved[3];
    const bool is_reverse = context->saved_data["is_reverse"].toBool();
    const std::int64_t steps = gates.size(0), hidden = weight.size(1);
    const auto gate_of_all = [&](std::int64_t i) { return gates.narrow(2, i * hidden, hidden); };
    const Tensor reset = gate_of_all(0), update = gate_of_all(1), candidate = gate_of_all(2);
    // Derivatives of a state by the gates before their activations, of all steps at once.
    const Tensor by_update = (before - candidate) * (update * (1 - update));
    const Tensor by_candidate = (1 - update) * (1 - candidate.square());
    const Tensor by_reset = by_candidate * recurrent * (reset * (1 - reset));
    const Tensor slopes = at::cat({by_reset, by_update, by_candidate}, 2);
    const Tensor result = at::empty_like(gates);
    Tensor by_next_state;
    ForEachStep(steps, !is_reverse, [&](std::int64_t step) {
      const Tensor by_state =
          by_next_state.defined() ? gradients[0][step] + by_next_state : gradients[0][step];
      Tensor z = result[step];
      at::mul_out(z, slopes[step], by_state.repeat({1, 3}));
      Tensor by_product = z.clone();
      by_product.narrow(1, 2 * hidden, hidden).mul_(reset[step]);
      by_next_state = at::addmm(by_state * update[step], by_product, weight);
    });
    return {result, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

RecurrentOutputs RunRecurrent(const RecurrentInputs& in) {
  if (in.is_lstm) return {Lstm::apply(in.projected, in.weight_hh, in.is_reverse), Tensor()};
  const variable_list told = Gru::apply(in.projected, in.weight_hh, in.bias_hh, in.is_reverse);
  return {told[0], told[1]};
}

Tensor StatesBefore(const Tensor& states, bool is_reverse) {
  const Tensor shifted = at::zeros_like(states);
  const std::int64_t rest = states.size(0) - 1;
  shifted.narrow(0, is_reverse ? 0 : 1, rest)
      .copy_(states.detach().narrow(0, is_reverse ? 1 : 0, rest));
  return shifted;
}

}  // namespace chorale::training
