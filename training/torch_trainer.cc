#include "training/torch_trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/cuda.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <new>
#include <utility>

#include "models/model.h"
#include "training/batch_schedule.h"
#include "training/fixed_blocks.h"

// One file of this length on purpose: every file that includes LibTorch costs 10 s and 1.3 GB to
// compile.
namespace chorale::training {
namespace {

using at::Tensor;

// Fixed, because the places where work is cut decide the order of additions.
constexpr std::int64_t kTileRows = 256;          // Of a matrix product.
constexpr std::int64_t kTileColumns = 256;       // Of a matrix product.
constexpr std::int64_t kElementBlock = 1 << 15;  // Of an element-wise pass.
constexpr std::int64_t kMaxRows = 8192;  // Rows in flight: bounds the memory of activations.
// Below this many multiplications, or elements, waking a second thread costs more than it saves,
// the more so on a machine that is busy with other agents.
constexpr std::int64_t kMinParallelWork = 1 << 23;
constexpr std::int64_t kMinParallelElements = 1 << 17;

constexpr double kAdamBeta1 = 0.9;
constexpr double kAdamBeta2 = 0.999;
constexpr double kAdamEpsilon = 1e-8;

// Leaves one thread to every library below, so that threads come from ForEachBlock alone.
void UseOneLibraryThread() {
  at::set_num_threads(1);
  using SetThreads = void (*)(int);
  if (void* symbol = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<SetThreads>(symbol)(1);
  }
}

Tensor Copy(std::span<const float> values, at::IntArrayRef shape, const at::Device& device) {
  // LibTorch has no view of const memory; the view below is only read.
  const Tensor view = at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat);
  Tensor copy = at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device));
  return copy.copy_(view);
}

ParameterVector ToVector(const Tensor& tensor) {
  const Tensor host = tensor.to(at::kCPU).contiguous();
  const float* values = host.data_ptr<float>();
  return {values, values + host.numel()};
}

// Maths on one device in an order that the number of threads does not change.
class Arithmetic {
 public:
  Arithmetic(at::Device device, int threads)
      : device_(device), threads_(device.is_cpu() ? threads : 1) {}

  const at::Device& device() const { return device_; }
  Tensor Empty(at::IntArrayRef shape) const {
    return at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device_));
  }
  Tensor Zeros(at::IntArrayRef shape) const { return Empty(shape).zero_(); }

  // out = beta * out + a b. [m, n], [m, k], [k, n]
  void Product(const Tensor& out, double beta, const Tensor& a, const Tensor& b) const {
    Tiles(
        out, a.size(1),
        [&](const Tensor& tile, std::int64_t row, std::int64_t column) {
          tile.addmm_(a.narrow(0, row, tile.size(0)), b.narrow(1, column, tile.size(1)), beta);
        },
        [&] { out.addmm_(a, b, beta); });
  }

  // out = a b + bias. [m, n], [m, k], [k, n], [n]
  void Affine(Tensor& out, const Tensor& a, const Tensor& b, const Tensor& bias) const {
    Tiles(
        out, a.size(1),
        [&](Tensor& tile, std::int64_t row, std::int64_t column) {
          at::addmm_out(tile, bias.narrow(0, column, tile.size(1)), a.narrow(0, row, tile.size(0)),
                        b.narrow(1, column, tile.size(1)));
        },
        [&] { at::addmm_out(out, bias, a, b); });
  }

  // Calls `pass` with the same elements of every tensor, block by block. REQUIRES: flat tensors of
  // one size.
  template <typename Pass, typename... Tensors>
  void ForElements(const Pass& pass, Tensors... flat) const {
    const std::int64_t size = std::get<0>(std::tie(flat...)).numel();
    if (!device_.is_cpu() || size <= kElementBlock) return pass(flat...);
    ForEachBlock(size < kMinParallelElements ? 1 : threads_, size, kElementBlock,
                 [&](std::int64_t first, std::int64_t count) {
                   const c10::InferenceMode guard;
                   pass(flat.narrow(0, first, count)...);
                 });
  }

 private:
  template <typename PerTile, typename Whole>
  void Tiles(const Tensor& out, std::int64_t depth, const PerTile& per_tile,
             const Whole& whole) const {
    const std::int64_t rows = out.size(0);
    const std::int64_t columns = out.size(1);
    if (!device_.is_cpu() || (rows <= kTileRows && columns <= kTileColumns)) return whole();
    const std::int64_t across = (columns + kTileColumns - 1) / kTileColumns;
    const std::int64_t down = (rows + kTileRows - 1) / kTileRows;
    const int threads = rows * columns * depth < kMinParallelWork ? 1 : threads_;
    ForEachBlock(threads, across * down, 1, [&](std::int64_t index, std::int64_t) {
      const c10::InferenceMode guard;
      const std::int64_t row = index / across * kTileRows;
      const std::int64_t column = index % across * kTileColumns;
      Tensor tile = out.narrow(0, row, std::min(kTileRows, rows - row))
                        .narrow(1, column, std::min(kTileColumns, columns - column));
      per_tile(tile, row, column);
    });
  }

  at::Device device_;
  int threads_;
};

// A chain of affine layers with one activation between them and one logit at the end: every model
// of the zoo. All parameters, and all gradients, are views of one flat buffer in the order of the
// layout.
class Network {
 public:
  Network(const v1::ModelSpec& spec, const ParameterLayout& layout,
          std::span<const float> parameters, const Arithmetic& arithmetic)
      : arithmetic_(arithmetic),
        activation_(spec.mlp().activation()),
        parameters_(
            Copy(parameters, {static_cast<std::int64_t>(parameters.size())}, arithmetic.device())),
        gradient_(arithmetic.Zeros(parameters_.sizes())) {
    for (std::size_t i = 0; i + 1 < layout.tensors().size(); i += 2) {
      layers_.push_back(MakeLayer(layout.tensors()[i], layout.tensors()[i + 1]));
    }
  }

  const Tensor& parameters() const { return parameters_; }
  const Tensor& gradient() const { return gradient_; }

  // Logits of `inputs` [rows, num_inputs], valid until the next call. [rows, 1]
  const Tensor& Logits(const Tensor& inputs) {
    UseRows(inputs.size(0));
    const Tensor* input = &inputs;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      Activations& act = rows_->layers[i];
      arithmetic_.Affine(act.before, *input, layers_[i].weight_t, layers_[i].bias);
      if (i + 1 < layers_.size()) Activate(act);
      input = &act.after;
    }
    return rows_->layers.back().before;
  }

  // Adds to the gradient that of the summed loss of these rows, times `scale`. REQUIRES:
  // Logits(inputs) was the last call.
  void AddGradient(const Tensor& inputs, const Tensor& targets, double scale) {
    Activations& last = rows_->layers.back();
    at::sigmoid_out(last.delta, last.before).sub_(targets).mul_(scale);
    for (std::size_t i = layers_.size(); i-- > 0;) {
      const Tensor delta_t = rows_->layers[i].delta_t;
      arithmetic_.Product(layers_[i].grad_weight, 1, delta_t,
                          i == 0 ? inputs : rows_->layers[i - 1].after);
      layers_[i].grad_bias.addmv_(delta_t, rows_->ones);
      if (i == 0) break;
      arithmetic_.Product(rows_->layers[i - 1].delta, 0, rows_->layers[i].delta, layers_[i].weight);
      Deactivate(rows_->layers[i - 1]);
    }
  }

 private:
  struct Layer {
    Tensor weight, weight_t, grad_weight;  // [out, in], [in, out], [out, in]
    Tensor bias, grad_bias;                // [out]
  };
  struct Activations {
    Tensor before, after;   // Around the activation; the last layer has none. [rows, out]
    Tensor delta, delta_t;  // Derivative of the loss by `before`. [rows, out], [out, rows]
  };
  struct Rows {
    std::int64_t size = 0;
    Tensor ones;  // [rows]
    std::vector<Activations> layers;
  };

  Layer MakeLayer(const TensorLayout& weight, const TensorLayout& bias) const {
    const auto out = static_cast<std::int64_t>(weight.shape[0]);
    const auto in = static_cast<std::int64_t>(weight.shape[1]);
    const auto view = [](const Tensor& flat, const TensorLayout& at) {
      return flat.narrow(0, static_cast<std::int64_t>(at.offset),
                         static_cast<std::int64_t>(at.size));
    };
    Layer layer;
    layer.weight = view(parameters_, weight).view({out, in});
    layer.weight_t = layer.weight.t();
    layer.grad_weight = view(gradient_, weight).view({out, in});
    layer.bias = view(parameters_, bias);
    layer.grad_bias = view(gradient_, bias);
    return layer;
  }

  // Buffers for this many rows. A training run meets two sizes at most, the batch and the last
  // batch of an epoch.
  void UseRows(std::int64_t size) {
    if (rows_ != nullptr && rows_->size == size) return;
    std::swap(recent_[0], recent_[1]);
    rows_ = &recent_[0];
    if (rows_->size == size) return;
    *rows_ = Rows{.size = size, .ones = arithmetic_.Empty({size}).fill_(1), .layers = {}};
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const std::int64_t units = layers_[i].weight.size(0);
      Activations act;
      act.before = arithmetic_.Empty({size, units});
      if (i + 1 < layers_.size()) act.after = arithmetic_.Empty({size, units});
      act.delta = arithmetic_.Empty({size, units});
      act.delta_t = act.delta.t();
      rows_->layers.push_back(std::move(act));
    }
  }

  void Activate(Activations& act) const {
    arithmetic_.ForElements(
        [&](Tensor before, Tensor after) {
          if (activation_ == v1::ACTIVATION_TANH) {
            at::tanh_out(after, before);
          } else if (activation_ == v1::ACTIVATION_GELU) {
            at::gelu_out(after, before);
          } else {
            at::clamp_min_out(after, before, 0);
          }
        },
        act.before.view(-1), act.after.view(-1));
  }

  // From the derivative by `after` to that by `before`.
  void Deactivate(Activations& act) const {
    arithmetic_.ForElements(
        [&](Tensor before, Tensor after, Tensor delta) {
          if (activation_ == v1::ACTIVATION_TANH) {
            at::tanh_backward_out(delta, delta, after);
          } else if (activation_ == v1::ACTIVATION_GELU) {
            at::gelu_backward_out(delta, delta, before);
          } else {
            at::threshold_backward_out(delta, delta, before, 0);
          }
        },
        act.before.view(-1), act.after.view(-1), act.delta.view(-1));
  }

  Arithmetic arithmetic_;
  v1::Activation activation_;
  Tensor parameters_, gradient_;  // [num_parameters]
  std::vector<Layer> layers_;
  Rows recent_[2];
  Rows* rows_ = nullptr;
};

// Turns the gradient into a step. The L2 penalty joins the gradient, as `weight_decay` does in
// PyTorch.
class Optimizer {
 public:
  Optimizer(const v1::TrainingSpec& spec, const Arithmetic& arithmetic, const Tensor& parameters)
      : spec_(spec.optimizer()), l2_penalty_(spec.l2_penalty()), arithmetic_(arithmetic) {
    if (spec_.has_adam() || spec_.sgd().momentum() != 0)
      mean_ = arithmetic.Zeros(parameters.sizes());
    if (spec_.has_adam()) variance_ = arithmetic.Zeros(parameters.sizes());
  }

  void Step(const Tensor& parameters, const Tensor& gradient) {
    ++step_;
    if (l2_penalty_ != 0) {
      arithmetic_.ForElements([&](Tensor grad, Tensor values) { grad.add_(values, l2_penalty_); },
                              gradient, parameters);
    }
    if (spec_.has_adam()) return AdamStep(parameters, gradient);
    const double rate = spec_.sgd().learning_rate();
    const double momentum = spec_.sgd().momentum();
    if (momentum == 0) {
      arithmetic_.ForElements([&](Tensor values, Tensor grad) { values.add_(grad, -rate); },
                              parameters, gradient);
      return;
    }
    arithmetic_.ForElements(
        [&](Tensor values, Tensor grad, Tensor mean) {
          mean.mul_(momentum).add_(grad);
          values.add_(mean, -rate);
        },
        parameters, gradient, mean_);
  }

 private:
  // Kingma and Ba 2015, algorithm 1, with epsilon outside the bias-corrected root as in PyTorch.
  void AdamStep(const Tensor& parameters, const Tensor& gradient) {
    const double correction1 = 1 - std::pow(kAdamBeta1, step_);
    const double correction2 = std::sqrt(1 - std::pow(kAdamBeta2, step_));
    const double rate = spec_.adam().learning_rate() / correction1;
    arithmetic_.ForElements(
        [&](Tensor values, Tensor grad, Tensor mean, Tensor variance) {
          mean.mul_(kAdamBeta1).add_(grad, 1 - kAdamBeta1);
          variance.mul_(kAdamBeta2).addcmul_(grad, grad, 1 - kAdamBeta2);
          values.addcdiv_(mean, variance.sqrt().div_(correction2).add_(kAdamEpsilon), -rate);
        },
        parameters, gradient, mean_, variance_);
  }

  v1::OptimizerSpec spec_;
  double l2_penalty_;
  Arithmetic arithmetic_;
  Tensor mean_, variance_;  // [num_parameters]
  int step_ = 0;
};

// The examples on the device, and the batch under way in buffers that are allocated once.
class Batches {
 public:
  Batches(const data::Examples& examples, const BatchSchedule& schedule,
          const Arithmetic& arithmetic)
      : arithmetic_(arithmetic),
        inputs_(Copy(examples.inputs,
                     {static_cast<std::int64_t>(examples.size()),
                      static_cast<std::int64_t>(examples.num_inputs)},
                     arithmetic.device())),
        targets_(Copy(examples.targets, {inputs_.size(0), 1}, arithmetic.device())),
        is_full_(schedule.is_full_batch()) {
    if (is_full_) return;
    batch_inputs_ = arithmetic.Empty(
        {kMaxRows < inputs_.size(0) ? kMaxRows : inputs_.size(0), inputs_.size(1)});
    batch_targets_ = arithmetic.Empty({batch_inputs_.size(0), 1});
  }

  // The order of the next epoch. [num_examples]
  void Reorder(std::span<const std::int64_t> order) {
    if (is_full_) return;
    const Tensor view = at::from_blob(const_cast<std::int64_t*>(order.data()),
                                      {static_cast<std::int64_t>(order.size())}, at::kLong);
    order_ = view.to(arithmetic_.device());  // A view on the CPU, a copy elsewhere.
  }

  struct Rows {
    Tensor inputs, targets;  // [size, num_inputs], [size, 1]
  };
  // REQUIRES: size <= kMaxRows. Valid until the next call.
  Rows Take(std::int64_t first, std::int64_t size) {
    if (is_full_) return {inputs_.narrow(0, first, size), targets_.narrow(0, first, size)};
    Rows rows{batch_inputs_.narrow(0, 0, size), batch_targets_.narrow(0, 0, size)};
    const Tensor chosen = order_.narrow(0, first, size);
    at::index_select_out(rows.inputs, inputs_, 0, chosen);
    at::index_select_out(rows.targets, targets_, 0, chosen);
    return rows;
  }

 private:
  Arithmetic arithmetic_;
  Tensor inputs_, targets_;  // [num_examples, num_inputs], [num_examples, 1]
  Tensor batch_inputs_, batch_targets_;
  Tensor order_;
  bool is_full_;
};

Status CheckSizes(const v1::ModelSpec& model, std::span<const float> parameters,
                  const data::Examples& examples, const ParameterLayout& layout) {
  if (examples.num_inputs == 0 || examples.inputs.size() != examples.size() * examples.num_inputs) {
    return InvalidArgument("the examples have " + std::to_string(examples.inputs.size()) +
                           " input values, " + std::to_string(examples.size()) + " rows of " +
                           std::to_string(examples.num_inputs) + " were expected");
  }
  if (parameters.size() != layout.num_parameters()) {
    return InvalidArgument("a " + models::KindName(model) + " for " +
                           std::to_string(examples.num_inputs) + " inputs has " +
                           std::to_string(layout.num_parameters()) + " parameters, got " +
                           std::to_string(parameters.size()));
  }
  if (!AllFinite(parameters)) {
    return InvalidArgument("the parameters to start from hold a value that is NaN or infinite");
  }
  return OkStatus();
}

Status Diverged(std::uint64_t step) {
  return FailedPrecondition(
      "training diverged: the loss or a parameter became infinite or NaN by step " +
      std::to_string(step) + "; lower the learning rate, or standardise the inputs");
}

// LibTorch's exceptions and the allocator's, as Status. The messages of LibTorch tell shapes, never
// values.
template <typename Work>
auto Guarded(const Work& work) -> decltype(work()) {
  try {
    UseOneLibraryThread();  // Partly a setting of the calling thread, which may be a new one.
    const c10::InferenceMode guard;
    return work();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(
        "not enough memory for this model and batch; lower training.batch_size or use a smaller "
        "model");
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("not enough memory") != what.npos || what.find("out of memory") != what.npos) {
      return ResourceExhausted(
          "not enough memory for this model and batch; lower training.batch_size or use a smaller "
          "model");
    }
    return Internal("LibTorch: " + what);
  } catch (const std::exception& error) {
    return Internal(std::string("LibTorch: ") + error.what());
  }
}

class TorchTrainer final : public LocalTrainer {
 public:
  explicit TorchTrainer(const Arithmetic& arithmetic) : arithmetic_(arithmetic) {}

  StatusOr<TrainResult> Train(const TrainRequest& request) override {
    return Guarded([&]() -> StatusOr<TrainResult> { return TrainOrThrow(request); });
  }

  StatusOr<std::vector<float>> Predict(const v1::ModelSpec& model,
                                       std::span<const float> parameters,
                                       const data::Examples& examples) override {
    return Guarded([&]() -> StatusOr<std::vector<float>> {
      CHORALE_RETURN_IF_ERROR(models::Validate(model, "model"));
      CHORALE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                               models::LayoutOf(model, examples.num_inputs));
      CHORALE_RETURN_IF_ERROR(CheckSizes(model, parameters, examples, layout));
      Network network(model, layout, parameters, arithmetic_);
      const std::span<const float> inputs(examples.inputs);
      std::vector<float> scores;
      scores.reserve(examples.size());
      for (std::size_t first = 0; first < examples.size(); first += kMaxRows) {
        const std::size_t rows = std::min<std::size_t>(kMaxRows, examples.size() - first);
        const Tensor block =
            Copy(inputs.subspan(first * examples.num_inputs, rows * examples.num_inputs),
                 {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(examples.num_inputs)},
                 arithmetic_.device());
        const ParameterVector part = ToVector(at::sigmoid(network.Logits(block)));
        scores.insert(scores.end(), part.begin(), part.end());
      }
      return scores;
    });
  }

  std::string device() const override { return arithmetic_.device().str(); }

 private:
  StatusOr<TrainResult> TrainOrThrow(const TrainRequest& request) const {
    CHORALE_RETURN_IF_ERROR(models::Validate(request.model, "model"));
    CHORALE_RETURN_IF_ERROR(Validate(request.training, "training"));
    if (request.train.size() == 0) return InvalidArgument("there is no example to train on");
    CHORALE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                             models::LayoutOf(request.model, request.train.num_inputs));
    CHORALE_RETURN_IF_ERROR(
        CheckSizes(request.model, request.global_parameters, request.train, layout));

    BatchSchedule schedule(request.training, request.train.size(), request.seed);
    Batches batches(request.train, schedule, arithmetic_);
    Network network(request.model, layout, request.global_parameters, arithmetic_);
    Optimizer optimizer(request.training, arithmetic_, network.parameters());
    for (std::uint64_t step = 1; step <= schedule.num_steps(); ++step) {
      const BatchSchedule::Batch batch = schedule.Next();
      if (batch.begins_epoch) batches.Reorder(schedule.order());
      const bool is_sound = Step(batch, batches, network, optimizer);
      if (!is_sound) return Diverged(step);
      if (request.on_progress) {
        request.on_progress(static_cast<double>(step) / static_cast<double>(schedule.num_steps()));
      }
      if (request.cancelled != nullptr && request.cancelled->load(std::memory_order_relaxed)) {
        return Cancelled("training was cancelled after step " + std::to_string(step) + " of " +
                         std::to_string(schedule.num_steps()));
      }
    }
    TrainResult result{.update = ToVector(network.parameters()),
                       .num_examples = request.train.size()};
    for (std::size_t i = 0; i < result.update.size(); ++i)
      result.update[i] -= request.global_parameters[i];
    return result;
  }

  // One optimizer step on the mean loss of the batch, taken kMaxRows rows at a time. At the end of
  // an epoch, false when the loss or a parameter is NaN or infinite.
  bool Step(const BatchSchedule::Batch& batch, Batches& batches, Network& network,
            Optimizer& optimizer) const {
    const auto size = static_cast<std::int64_t>(batch.size);
    bool is_sound = true;
    arithmetic_.ForElements([](Tensor gradient) { gradient.zero_(); }, network.gradient());
    for (std::int64_t done = 0; done < size; done += kMaxRows) {
      const Batches::Rows rows = batches.Take(static_cast<std::int64_t>(batch.first) + done,
                                              std::min(kMaxRows, size - done));
      const Tensor& logits = network.Logits(rows.inputs);
      if (batch.ends_epoch) {
        const Tensor loss = at::binary_cross_entropy_with_logits(logits, rows.targets);
        is_sound = is_sound && std::isfinite(loss.item<float>());
      }
      network.AddGradient(rows.inputs, rows.targets, 1.0 / static_cast<double>(size));
    }
    optimizer.Step(network.parameters(), network.gradient());
    if (!batch.ends_epoch) return true;
    return is_sound && at::isfinite(network.parameters()).all().item<bool>();
  }

  Arithmetic arithmetic_;
};

StatusOr<at::Device> DeviceOf(const std::string& name) {
  if (name == "cpu") return at::Device(at::kCPU);
  if (name == "auto") {
    return torch::cuda::is_available() ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  }
  int index = 0;
  if (name != "cuda") {
    const char* first = name.data() + std::min<std::size_t>(name.size(), 5);
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(first, end, index);
    if (!name.starts_with("cuda:") || error != std::errc() || rest != end || index < 0 ||
        index > 127) {
      return InvalidArgument("device must be auto, cpu, cuda or cuda:N, got \"" + name + "\"");
    }
  }
  const auto available = static_cast<int>(torch::cuda::device_count());
  if (!torch::cuda::is_available() || index >= available) {
    return FailedPrecondition("device " + name + " was asked for, but LibTorch sees " +
                              std::to_string(available) + " CUDA devices; use device: auto or cpu");
  }
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

}  // namespace

StatusOr<std::unique_ptr<LocalTrainer>> MakeTorchTrainer(const DeviceOptions& options) {
  if (options.threads < 1 || options.threads > 1024) {
    return InvalidArgument("threads must be in [1, 1024], got " + std::to_string(options.threads));
  }
  return Guarded([&]() -> StatusOr<std::unique_ptr<LocalTrainer>> {
    CHORALE_ASSIGN_OR_RETURN(const at::Device device, DeviceOf(options.device));
    return std::make_unique<TorchTrainer>(Arithmetic(device, options.threads));
  });
}

}  // namespace chorale::training
