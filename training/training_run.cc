#include "training/training_run.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "training/batch_gradient.h"
#include "training/batch_schedule.h"
#include "training/flat_view.h"
#include "training/optimizer.h"
#include "training/schedule.h"

namespace chorale::training {
namespace {

using at::Tensor;

// The trained numbers of the flat vector; neighbours are one range.
std::vector<Optimizer::Range> TrainableRanges(const models::GraphPlan& plan) {
  std::vector<Optimizer::Range> ranges;
  for (std::size_t i = 0; i < plan.parameters().size(); ++i) {
    if (!plan.parameters()[i].is_trainable) continue;
    const auto first = static_cast<std::int64_t>(plan.layout().tensors()[i].offset);
    const auto size = static_cast<std::int64_t>(plan.layout().tensors()[i].size);
    if (!ranges.empty() && ranges.back().first + ranges.back().size == first) {
      ranges.back().size += size;
    } else {
      ranges.push_back({first, size});
    }
  }
  return ranges;
}

// Empty for a tensor that is undefined.
ParameterVector ToVector(const Tensor& flat) {
  if (!flat.defined()) return {};
  const Tensor host = flat.to(at::kCPU);
  const float* numbers = host.data_ptr<float>();
  return {numbers, numbers + host.numel()};
}

Status Diverged(std::uint64_t batch) {
  return FailedPrecondition(
      "training diverged: the loss or a parameter became infinite or NaN by batch " +
      std::to_string(batch) +
      "; lower the learning rate, set max_gradient_norm, or standardise the inputs");
}

class Run {
 public:
  Run(const TrainRequest& request, const at::Device& device, int threads)
      : request_(request),
        device_(device),
        schedule_(request.training, request.train.patients, request.seed),
        parameters_(FlatView(request.start)
                        .to(device, at::kFloat, /*non_blocking=*/false,
                            /*copy=*/true)),
        gradient_(at::zeros_like(parameters_)),
        optimizer_({.training = request.training,
                    .trainable = TrainableRanges(request.plan),
                    .parameters = parameters_,
                    .start = request.training.has_fedprox() && request.training.fedprox().mu() != 0
                                 ? FlatView(request.start).to(device)
                                 : Tensor(),
                    .correction = Correction(),
                    .threads = threads}),
        batch_gradient_({.plan = request.plan,
                         .examples = request.train,
                         .parameters = parameters_,
                         .gradient = gradient_,
                         .threads = threads,
                         .mixed_precision = request.training.mixed_precision(),
                         .cancelled = request.cancelled}) {}

  StatusOr<TrainResult> Train() {
    std::uint64_t index = 1;
    if (request_.resume != nullptr) {
      CHORALE_RETURN_IF_ERROR(Resume(*request_.resume));
      index += request_.resume->num_batches;
    }
    for (; index <= schedule_.num_batches(); ++index) {
      CHORALE_RETURN_IF_ERROR(TrainBatch(index));
      if (is_between_steps_ && index < schedule_.num_batches() && request_.wants_checkpoint &&
          request_.wants_checkpoint()) {
        request_.on_checkpoint(CheckpointAfter(index));
      }
      if (request_.on_progress) {
        request_.on_progress(static_cast<double>(index) /
                             static_cast<double>(schedule_.num_batches()));
      }
      if (request_.cancelled != nullptr && request_.cancelled->load(std::memory_order_relaxed)) {
        return WasCancelled("after", index);
      }
    }
    return Finish();
  }

 private:
  // c - c_i, or undefined for zeros.
  Tensor Correction() const {
    const ControlVariates& control = request_.control;
    if (!request_.training.has_scaffold()) return {};
    if (control.server.empty() && control.site.empty()) return {};
    Tensor difference = at::zeros_like(FlatView(request_.start));
    if (!control.server.empty()) difference.add_(FlatView(control.server));
    if (!control.site.empty()) difference.sub_(FlatView(control.site));
    return difference.to(device_);
  }

  TrainCheckpoint CheckpointAfter(std::uint64_t num_batches) const {
    return {.num_batches = num_batches,
            .num_steps = step_,
            .sum_of_rates = optimizer_.sum_of_rates(),
            .parameters = ToVector(parameters_),
            .mean = ToVector(optimizer_.mean()),
            .variance = ToVector(optimizer_.variance())};
  }

  Status Resume(const TrainCheckpoint& checkpoint) {
    const std::size_t size = request_.start.size();
    const bool fits = checkpoint.parameters.size() == size &&
                      checkpoint.mean.size() == (optimizer_.mean().defined() ? size : 0) &&
                      checkpoint.variance.size() == (optimizer_.variance().defined() ? size : 0) &&
                      checkpoint.num_batches < schedule_.num_batches() &&
                      checkpoint.num_steps <= checkpoint.num_batches;
    if (!fits) return InvalidArgument("the checkpoint is not of this training");
    for (std::uint64_t i = 0; i < checkpoint.num_batches; ++i) {
      const BatchSchedule::Batch batch = schedule_.Next();
      step_ += batch.ends_step ? 1 : 0;
      is_between_steps_ = batch.ends_step;
    }
    if (step_ != checkpoint.num_steps || !is_between_steps_) {
      return InvalidArgument("the checkpoint is not of this training");
    }
    const c10::NoGradGuard guard;
    parameters_.copy_(FlatView(checkpoint.parameters));
    optimizer_.Resume(FlatView(checkpoint.mean), FlatView(checkpoint.variance),
                      static_cast<int>(step_), checkpoint.sum_of_rates);
    return OkStatus();
  }

  Status WasCancelled(std::string_view when, std::uint64_t batch) const {
    return Cancelled("training was cancelled " + std::string(when) + " batch " +
                     std::to_string(batch) + " of " + std::to_string(schedule_.num_batches()));
  }

  // One batch of the mean loss of its rows, and the step where it ends one.
  Status TrainBatch(std::uint64_t index) {
    const BatchSchedule::Batch batch = schedule_.Next();
    // On CUDA, asking for the loss waits for the device: once an epoch is often enough.
    const bool wants_loss = device_.is_cpu() || batch.ends_epoch;
    const BatchGradient::Result result = batch_gradient_.Compute(
        {.rows = schedule_.order().subspan(batch.first, batch.size),
         .is_range = schedule_.is_full_batch(),
         .scale = 1 / (static_cast<double>(batch.size) * static_cast<double>(batch.step_batches)),
         .seed = request_.seed + index,
         .replaces = batch.begins_step,
         .wants_loss = wants_loss});
    if (result.was_cancelled) return WasCancelled("in", index);
    if (!std::isfinite(result.loss)) return Diverged(index);
    is_between_steps_ = batch.ends_step;
    if (batch.ends_step) {
      optimizer_.Step(gradient_, RateFactor(request_.training.schedule(), request_.place,
                                            schedule_.num_steps(), step_++));
    }
    if (batch.ends_epoch && !at::isfinite(parameters_).all().item<bool>()) return Diverged(index);
    return OkStatus();
  }

  TrainResult Finish() const {
    const Tensor host = parameters_.to(at::kCPU);
    const float* local = host.data_ptr<float>();
    TrainResult result{.update = ParameterVector(request_.start.size()),
                       .control_change = {},
                       .num_examples = request_.train.size()};
    for (std::size_t i = 0; i < result.update.size(); ++i) {
      result.update[i] = local[i] - request_.start[i];
    }
    if (request_.training.has_scaffold()) result.control_change = ControlChange(result.update);
    return result;
  }

  // Option II of SCAFFOLD: the next c_i is c_i - c + (start - local) / (steps * rate); where rates
  // differ from step to step, their sum stands in the place of steps * rate.
  ParameterVector ControlChange(const ParameterVector& update) const {
    ParameterVector change(update.size());
    const std::span<const float> server = request_.control.server;
    const double rates = optimizer_.sum_of_rates();
    for (const Optimizer::Range& range : TrainableRanges(request_.plan)) {
      for (auto i = static_cast<std::size_t>(range.first);
           i < static_cast<std::size_t>(range.first + range.size); ++i) {
        const double moved = rates > 0 ? -double{update[i]} / rates : 0;
        change[i] = static_cast<float>(moved - (server.empty() ? 0.0 : double{server[i]}));
      }
    }
    return change;
  }

  const TrainRequest& request_;
  at::Device device_;
  BatchSchedule schedule_;
  Tensor parameters_, gradient_;  // [num_parameters]
  Optimizer optimizer_;
  BatchGradient batch_gradient_;
  std::uint64_t step_ = 0;
  bool is_between_steps_ = false;
};

}  // namespace

StatusOr<TrainResult> RunOnGradients(const TrainRequest& request, const GradientSource& source,
                                     const at::Device& device, int threads) {
  const Tensor start = FlatView(request.start);
  const Tensor parameters = start.to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  Optimizer optimizer({.training = request.training,
                       .trainable = TrainableRanges(request.plan),
                       .parameters = parameters,
                       .start = request.training.has_fedprox() ? start.to(device) : Tensor(),
                       .correction = Tensor(),
                       .threads = threads});
  const std::uint64_t num_steps = request.training.local_steps();
  for (std::uint64_t step = 0; step < num_steps; ++step) {
    if (request.cancelled != nullptr && request.cancelled->load(std::memory_order_relaxed)) {
      return Cancelled("training was cancelled after step " + std::to_string(step) + " of " +
                       std::to_string(num_steps));
    }
    const Tensor host = parameters.to(at::kCPU);
    CHORALE_ASSIGN_OR_RETURN(
        const ParameterVector gradient,
        source(step, std::span<const float>(host.data_ptr<float>(), request.start.size())));
    if (gradient.size() != request.start.size()) return Internal("a gradient of another size");
    // The optimizer writes into what it is given.
    optimizer.Step(FlatView(gradient).to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true),
                   RateFactor(request.training.schedule(), request.place, num_steps, step));
    if (request.on_progress) {
      request.on_progress(static_cast<double>(step + 1) / static_cast<double>(num_steps));
    }
  }
  const Tensor host = parameters.to(at::kCPU);
  if (!at::isfinite(host).all().item<bool>()) return Diverged(num_steps);
  TrainResult result{.update = ParameterVector(request.start.size()), .control_change = {}};
  const float* local = host.data_ptr<float>();
  for (std::size_t i = 0; i < result.update.size(); ++i) {
    result.update[i] = local[i] - request.start[i];
  }
  return result;
}

StatusOr<TrainResult> RunTraining(const TrainRequest& request, const at::Device& device,
                                  int threads) {
  return Run(request, device, threads).Train();
}

}  // namespace chorale::training
