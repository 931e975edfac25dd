#include "training/batch_gradient.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "training/fixed_blocks.h"
#include "training/work_cut.h"

namespace chorale::training {
namespace {

using at::Tensor;

// Another seed for each piece, so that no two drop alike (splitmix64, Steele et al. 2014).
std::uint64_t PieceSeed(std::uint64_t seed, std::int64_t index) {
  std::uint64_t z = seed + (static_cast<std::uint64_t>(index) + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

BatchGradient::BatchGradient(const Setup& setup)
    : plan_(setup.plan),
      network_(setup.plan),
      loss_(setup.plan.graph().loss(), setup.parameters.device()),
      rows_(setup.examples, setup.parameters.device()),
      device_(setup.parameters.device()),
      mixed_precision_(setup.mixed_precision && !device_.is_cpu()),
      cancelled_(setup.cancelled),
      workers_(static_cast<std::size_t>(device_.is_cpu() ? setup.threads : 1)) {
  for (Worker& worker : workers_) {
    worker.views = network_.Views(setup.parameters);
    for (std::size_t i = 0; i < worker.views.size(); ++i) {
      if (setup.plan.parameters()[i].is_trainable) worker.leaves.push_back(worker.views[i]);
    }
  }
  const std::vector<Tensor> totals = network_.Views(setup.gradient);
  for (std::size_t i = 0; i < totals.size(); ++i) {
    if (setup.plan.parameters()[i].is_trainable) totals_.push_back(totals[i].detach());
  }
}

BatchGradient::Result BatchGradient::Compute(const Batch& batch) {
  const auto size = static_cast<std::int64_t>(batch.rows.size());
  const auto piece = static_cast<std::int64_t>(
      device_.is_cpu() ? TrainingPieceRows(plan_, static_cast<std::uint64_t>(size))
                       : DevicePieceRows(plan_, static_cast<std::uint64_t>(size)));
  const std::int64_t pieces = (size + piece - 1) / piece;
  Result result;
  std::atomic<bool> was_cancelled = false;
  const auto compute = [&](int worker, std::int64_t index) {
    if (IsCancelled()) was_cancelled = true;
    if (was_cancelled) return;
    Batch part = batch;
    part.rows = batch.rows.subspan(static_cast<std::size_t>(index * piece),
                                   static_cast<std::size_t>(std::min(piece, size - index * piece)));
    ComputePiece(part, index, workers_[static_cast<std::size_t>(worker)]);
  };
  const auto commit = [&](int worker, std::int64_t index) {
    if (was_cancelled) return;
    Worker& own = workers_[static_cast<std::size_t>(worker)];
    AddPiece(batch.replaces && index == 0, own);
    result.loss += own.loss;
  };
  ForEachInOrder(static_cast<int>(workers_.size()), pieces, compute, commit);
  result.was_cancelled = was_cancelled;
  return result;
}

void BatchGradient::ComputePiece(const Batch& batch, std::int64_t index, Worker& worker) {
  const c10::AutoGradMode with_gradients(true);
  const RowSource::Rows rows =
      batch.is_range ? rows_.Range(batch.rows.front(), static_cast<std::int64_t>(batch.rows.size()))
                     : rows_.Gather(batch.rows, worker.buffer);
  const Tensor outputs = network_.Forward(worker.views, rows.inputs,
                                          {.is_training = true,
                                           .seed = PieceSeed(batch.seed, index),
                                           .products_in_bfloat16 = mixed_precision_});
  const Tensor loss = loss_.Sum(outputs, rows.targets);
  worker.loss = batch.wants_loss ? batch.scale * loss.item<double>() : 0;
  worker.gradients = torch::autograd::grad(
      {loss}, worker.leaves, /*grad_outputs=*/{at::scalar_tensor(batch.scale, loss.options())},
      /*retain_graph=*/c10::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
}

void BatchGradient::AddPiece(bool replaces, Worker& worker) {
  const c10::NoGradGuard guard;
  for (std::size_t i = 0; i < totals_.size(); ++i) {
    const Tensor& part = worker.gradients[i];
    if (!part.defined()) {  // This parameter has no say.
      if (replaces) totals_[i].zero_();
    } else if (replaces) {
      totals_[i].copy_(part);
    } else {
      totals_[i].add_(part);
    }
  }
  worker.gradients.clear();
}

}  // namespace chorale::training
