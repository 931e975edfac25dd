#include "training/micro_batch.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "training/fixed_blocks.h"
#include "training/tensor_squares.h"
#include "training/work_cut.h"

namespace chorale::training {
namespace {

using at::Tensor;

// Of a draw: so many threads have something to do, whatever it costs to add up their sums.
constexpr std::int64_t kMaxBlocks = 64;

}  // namespace

MicroBatch::MicroBatch(const GradSampleSetup& setup)
    : setup_(setup),
      network_(setup.plan),
      loss_(setup.plan.graph().loss(), setup.parameters.device()),
      rows_(setup.examples, setup.parameters.device()),
      num_layers_(NumLayers(setup.plan)),
      workers_(static_cast<std::size_t>(setup.parameters.is_cpu() ? setup.threads : 1)) {
  const std::vector<std::size_t> layers = LayersOfParameters(setup.plan);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (setup.plan.parameters()[i].is_trainable) layers_.push_back(layers[i]);
  }
  for (Worker& worker : workers_) {
    worker.views = network_.Views(setup.parameters);
    worker.sum = at::zeros_like(setup.parameters);
    const std::vector<Tensor> parts = network_.Views(worker.sum);
    for (std::size_t i = 0; i < worker.views.size(); ++i) {
      if (!setup.plan.parameters()[i].is_trainable) continue;
      worker.leaves.push_back(worker.views[i]);
      worker.parts.push_back(parts[i].detach());
    }
  }
}

bool MicroBatch::Add(const PatientRows& patients, ClippedTotals& totals) {
  const auto size = static_cast<std::int64_t>(patients.num_patients());
  const auto commit = [&](Worker& worker) { totals.sum.add_(worker.sum); };
  return Run(patients, (size + kMaxBlocks - 1) / kMaxBlocks, commit, totals);
}

bool MicroBatch::Tell(const PatientRows& patients, const OnPatient& on_patient,
                      ClippedTotals& totals) {
  const auto commit = [&](Worker& worker) {
    if (worker.counts.num_not_finite > 0) return;
    const Tensor host = worker.sum.to(at::kCPU, at::kFloat);
    on_patient({host.data_ptr<float>(), static_cast<std::size_t>(host.numel())},
               worker.counts.votes);
  };
  return Run(patients, 1, commit, totals);
}

bool MicroBatch::Run(const PatientRows& patients, std::int64_t block,
                     const std::function<void(Worker&)>& commit, ClippedTotals& totals) {
  const auto size = static_cast<std::int64_t>(patients.num_patients());
  if (size == 0) return true;
  std::atomic<bool> was_cancelled = false;
  const auto compute = [&](int index_of_worker, std::int64_t index) {
    Worker& worker = workers_[static_cast<std::size_t>(index_of_worker)];
    worker.counts = {};
    for (std::int64_t i = index * block; i < std::min(size, (index + 1) * block); ++i) {
      if (setup_.IsCancelled()) was_cancelled = true;
      if (was_cancelled) return;
      const auto at = static_cast<std::size_t>(i);
      Clip(GradientsOf(patients.patient(at), patients.rows(at), worker), i == index * block,
           worker);
    }
  };
  const auto add = [&](int index_of_worker, std::int64_t) {
    if (was_cancelled) return;
    Worker& worker = workers_[static_cast<std::size_t>(index_of_worker)];
    const c10::NoGradGuard guard;
    commit(worker);
    totals.num_clipped += worker.counts.num_clipped;
    totals.num_not_finite += worker.counts.num_not_finite;
    totals.votes += worker.counts.votes;
  };
  ForEachInOrder(static_cast<int>(workers_.size()), (size + block - 1) / block, compute, add);
  return !was_cancelled;
}

std::vector<Tensor> MicroBatch::GradientsOf(std::uint32_t patient,
                                            std::span<const std::int64_t> rows,
                                            Worker& worker) const {
  const c10::AutoGradMode with_gradients(true);
  const auto most = static_cast<std::size_t>(MaxRowsAtOnce(setup_.plan));
  std::vector<Tensor> sums;
  for (std::size_t first = 0; first < rows.size(); first += most) {
    const std::span<const std::int64_t> some =
        rows.subspan(first, std::min(most, rows.size() - first));
    const RowSource::Rows taken = rows_.Gather(some, worker.buffer);
    // Rows beyond the first of these drop by another seed.
    const GraphNetwork::Part part{.rows = static_cast<std::int64_t>(some.size()),
                                  .seed = SeedOfPatient(setup_.seed, patient) + first};
    const auto type = setup_.parameters.scalar_type();
    const Tensor outputs = network_.Forward(worker.views, taken.inputs.to(type),
                                            {.is_training = true, .parts = {&part, 1}});
    std::vector<Tensor> gradients = torch::autograd::grad(
        {loss_.Sum(outputs, taken.targets.to(type))}, worker.leaves, /*grad_outputs=*/{},
        /*retain_graph=*/c10::nullopt, /*create_graph=*/false, /*allow_unused=*/true);
    if (first == 0) {
      sums = std::move(gradients);
      continue;
    }
    for (std::size_t i = 0; i < sums.size(); ++i) {
      if (sums[i].defined()) sums[i] = sums[i] + gradients[i];
    }
  }
  return sums;
}

void MicroBatch::Clip(const std::vector<Tensor>& gradients, bool replaces, Worker& worker) const {
  const c10::NoGradGuard guard;
  std::vector<double> squares(num_layers_), factors(num_layers_);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].defined()) squares[layers_[i]] += SquareOf(gradients[i]).item<double>();
  }
  const ClippingRule::Verdict verdict = setup_.rule.Decide(squares, factors);
  worker.counts.Count(verdict);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    Tensor& part = worker.parts[i];
    // Not multiplied by 0, which NaN and infinity would survive.
    const bool adds = verdict.is_finite && gradients[i].defined();
    if (adds && replaces) {
      at::mul_out(part, gradients[i], at::scalar_tensor(factors[layers_[i]], part.options()));
    } else if (adds) {
      part.add_(gradients[i], factors[layers_[i]]);
    } else if (replaces) {
      part.zero_();
    }
  }
}

}  // namespace chorale::training
