#include "training/torch_trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/cuda.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "training/clipped_run.h"
#include "training/fixed_blocks.h"
#include "training/graph_network.h"
#include "training/losses.h"
#include "training/request_checks.h"
#include "training/row_source.h"
#include "training/training_run.h"
#include "training/work_cut.h"

namespace chorale::training {
namespace {

using at::Tensor;

// Leaves one thread to every library below, so that threads come from ForEachBlock alone.
void UseOneLibraryThread() {
  at::set_num_threads(1);
  using SetThreads = void (*)(int);
  if (void* symbol = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<SetThreads>(symbol)(1);
  }
}

// LibTorch frees the activations of a batch and asks for as much again. The C library would give
// them back to the system in between and fetch them page by page, which costs up to a fifth of the
// time: it is told to keep them, for the whole process.
void KeepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

// Between two calls, no more than a little is kept.
void ReturnFreedMemory() {
#ifdef __GLIBC__
  constexpr std::size_t kMaxKeptBytes = std::size_t{1} << 28;
  if (mallinfo2().fordblks > kMaxKeptBytes) malloc_trim(0);
#endif
}

// LibTorch's exceptions and the allocator's, as Status. The messages of LibTorch tell shapes, never
// values.
template <typename Work>
auto Guarded(const at::Device& device, const Work& work) -> decltype(work()) {
  constexpr std::string_view kNoMemory =
      "not enough memory for this model and batch; lower training.batch_size or use a smaller "
      "model";
  try {
    UseOneLibraryThread();  // Partly a setting of the calling thread, which may be a new one.
    const at::DeviceGuard guard(device);
    auto result = work();
    ReturnFreedMemory();
    return result;
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(kNoMemory);
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("not enough memory") != what.npos || what.find("out of memory") != what.npos) {
      return ResourceExhausted(kNoMemory);
    }
    return Internal("LibTorch: " + what);
  } catch (const std::exception& error) {
    return Internal(std::string("LibTorch: ") + error.what());
  }
}

class TorchTrainer final : public LocalTrainer {
 public:
  TorchTrainer(at::Device device, int threads)
      : device_(device), threads_(device.is_cpu() ? threads : 1) {}

  StatusOr<TrainResult> Train(const TrainRequest& request) override {
    CHORALE_RETURN_IF_ERROR(CheckRequest(request));
    return Guarded(device_, [&] { return RunTraining(request, device_, threads_); });
  }

  StatusOr<TrainResult> TrainOnGradients(const TrainRequest& request,
                                         const GradientSource& source) override {
    CHORALE_RETURN_IF_ERROR(CheckParameters(request.plan, request.start));
    return Guarded(device_, [&] { return RunOnGradients(request, source, device_, threads_); });
  }

  StatusOr<ClippedSum> SumClippedGradients(const ClippedSumRequest& request) override {
    CHORALE_RETURN_IF_ERROR(CheckRequest(request));
    return Guarded(device_,
                   [&] { return RunClippedSum(request, device_, threads_, mode_choice_); });
  }

  StatusOr<std::vector<float>> Predict(const models::GraphPlan& plan,
                                       std::span<const float> parameters,
                                       const data::Examples& examples) override {
    CHORALE_RETURN_IF_ERROR(CheckExamples(plan, examples));
    CHORALE_RETURN_IF_ERROR(CheckParameters(plan, parameters));
    return Guarded(device_, [&]() -> StatusOr<std::vector<float>> {
      const LossFunction loss(plan.graph().loss(), device_);
      std::vector<float> predictions(examples.size() * plan.num_outputs());
      ForOutputs(plan, parameters, examples, nullptr, [&](const Piece& piece) {
        const Tensor told = loss.Link(piece.outputs).to(at::kCPU).contiguous();
        std::copy_n(told.data_ptr<float>(), told.numel(),
                    predictions.begin() + piece.first * told.size(1));
      });
      return predictions;
    });
  }

  StatusOr<EvaluationResult> Evaluate(const models::GraphPlan& plan,
                                      std::span<const float> parameters,
                                      const data::Examples& examples,
                                      const std::atomic<bool>* cancelled) override {
    if (examples.size() == 0) return InvalidArgument("there is no example to evaluate on");
    CHORALE_RETURN_IF_ERROR(CheckExamples(plan, examples));
    CHORALE_RETURN_IF_ERROR(CheckParameters(plan, parameters));
    return Guarded(device_, [&]() -> StatusOr<EvaluationResult> {
      return EvaluateOrThrow(plan, parameters, examples, cancelled);
    });
  }

  StatusOr<RowEvaluation> EvaluateRows(const models::GraphPlan& plan,
                                       std::span<const float> parameters,
                                       const data::Examples& examples,
                                       const std::atomic<bool>* cancelled) override {
    CHORALE_RETURN_IF_ERROR(CheckExamples(plan, examples));
    CHORALE_RETURN_IF_ERROR(CheckParameters(plan, parameters));
    return Guarded(device_, [&]() -> StatusOr<RowEvaluation> {
      // Row by row, so many small tensors: on the CPU, wherever the model runs.
      const LossFunction loss(plan.graph().loss(), at::kCPU);
      if (loss.couples_rows()) {
        return InvalidArgument("the loss of a row depends on the other rows");
      }
      RowEvaluation rows;
      const bool is_done =
          ForOutputs(plan, parameters, examples, cancelled, [&](const Piece& piece) {
            AddRows(loss, piece.outputs.to(at::kCPU), piece.targets.to(at::kCPU), rows);
          });
      if (!is_done) return Cancelled("the evaluation was cancelled");
      return rows;
    });
  }

  std::string device() const override { return device_.str(); }

 private:
  // What the model says of some neighbouring rows, and what is true of them.
  struct Piece {
    std::int64_t first = 0;
    Tensor outputs;  // [rows, num_outputs]
    Tensor targets;  // [rows, num_targets]
  };

  // Calls `use` with every piece in order, one at a time. False when it was cancelled meanwhile.
  template <typename Use>
  bool ForOutputs(const models::GraphPlan& plan, std::span<const float> parameters,
                  const data::Examples& examples, const std::atomic<bool>* cancelled,
                  const Use& use) const {
    const auto total = static_cast<std::int64_t>(examples.size());
    if (total == 0) return true;
    const c10::NoGradGuard no_gradients;
    const GraphNetwork network(plan);
    const RowSource source(examples, device_);
    // The views are only read.
    const std::vector<Tensor> views =
        network.Views(at::from_blob(const_cast<float*>(parameters.data()),
                                    {static_cast<std::int64_t>(parameters.size())}, at::kFloat)
                          .to(device_));
    const auto rows =
        static_cast<std::int64_t>(device_.is_cpu() ? PredictionPieceRows(plan, examples.size())
                                                   : DevicePieceRows(plan, examples.size()));
    std::vector<Piece> of_worker(static_cast<std::size_t>(threads_));
    std::atomic<bool> was_cancelled = false;
    const auto compute = [&](int worker, std::int64_t index) {
      if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) was_cancelled = true;
      if (was_cancelled) return;
      const c10::InferenceMode guard;
      const std::int64_t first = index * rows;
      const RowSource::Rows taken = source.Range(first, std::min(rows, total - first));
      of_worker[static_cast<std::size_t>(worker)] = {
          first, network.Forward(views, taken.inputs, {}), taken.targets};
    };
    const auto commit = [&](int worker, std::int64_t) {
      if (was_cancelled) return;
      const c10::InferenceMode guard;
      use(std::exchange(of_worker[static_cast<std::size_t>(worker)], {}));
    };
    ForEachInOrder(threads_, (total + rows - 1) / rows, compute, commit);
    return !was_cancelled;
  }

  static void AddRows(const LossFunction& loss, const Tensor& outputs, const Tensor& targets,
                      RowEvaluation& rows) {
    for (std::int64_t i = 0; i < outputs.size(0); ++i) {
      const Tensor output = outputs.narrow(0, i, 1);
      const Tensor target = targets.narrow(0, i, 1);
      rows.losses.push_back(loss.Sum(output, target).item<float>());
      if (const auto right = loss.NumRight(output, target)) {
        rows.right.push_back(right->item<float>());
      }
    }
    const Tensor told = loss.Link(outputs).contiguous();
    rows.told.insert(rows.told.end(), told.data_ptr<float>(),
                     told.data_ptr<float>() + told.numel());
  }

  StatusOr<EvaluationResult> EvaluateOrThrow(const models::GraphPlan& plan,
                                             std::span<const float> parameters,
                                             const data::Examples& examples,
                                             const std::atomic<bool>* cancelled) const {
    const LossFunction loss(plan.graph().loss(), device_);
    double sum = 0;
    std::optional<double> num_right;
    std::vector<Tensor> outputs, targets;  // Where the loss needs all rows at once.
    const auto use = [&](const Piece& piece) {
      if (loss.couples_rows()) {
        outputs.push_back(piece.outputs);
        targets.push_back(piece.targets);
        return;
      }
      sum += loss.Sum(piece.outputs, piece.targets).item<double>();
      if (const auto right = loss.NumRight(piece.outputs, piece.targets)) {
        num_right = num_right.value_or(0) + right->item<double>();
      }
    };
    if (!ForOutputs(plan, parameters, examples, cancelled, use)) {
      return Cancelled("the evaluation was cancelled");
    }
    if (loss.couples_rows()) {
      const c10::InferenceMode guard;
      sum = loss.Sum(at::cat(outputs), at::cat(targets)).item<double>();
    }
    const auto rows = static_cast<double>(examples.size());
    EvaluationResult result{.loss = sum / rows, .accuracy = std::nullopt};
    if (num_right) result.accuracy = *num_right / rows;
    return result;
  }

  at::Device device_;
  int threads_;
  ModeChoice mode_choice_;
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
  return Guarded(at::kCPU, [&]() -> StatusOr<std::unique_ptr<LocalTrainer>> {
    CHORALE_ASSIGN_OR_RETURN(const at::Device device, DeviceOf(options.device));
    // float32 means float32: less is what mixed_precision asks for.
    at::globalContext().setAllowTF32CuDNN(false);
    KeepFreedMemory();
    return std::make_unique<TorchTrainer>(device, options.threads);
  });
}

}  // namespace chorale::training
