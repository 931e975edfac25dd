#include "training/optimizer.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "training/fixed_blocks.h"

namespace chorale::training {
namespace {

using at::Tensor;

// Fixed, because the places where work is cut decide the order of additions.
constexpr std::int64_t kBlock = 1 << 16;
// Below this many numbers, waking a second thread costs more than it saves, the more so on a
// machine that is busy with other agents.
constexpr std::int64_t kMinParallelNumbers = 1 << 17;

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;
constexpr double kDefaultWeightDecay = 0.01;

double LearningRate(const v1::OptimizerSpec& spec) {
  if (spec.has_adam()) return spec.adam().learning_rate();
  if (spec.has_adamw()) return spec.adamw().learning_rate();
  return spec.sgd().learning_rate();
}

bool IsAdaptive(const v1::OptimizerSpec& spec) { return spec.has_adam() || spec.has_adamw(); }

double WeightDecay(const v1::OptimizerSpec& spec) {
  if (!spec.has_adamw()) return 0;
  return spec.adamw().weight_decay() == 0 ? kDefaultWeightDecay : spec.adamw().weight_decay();
}

}  // namespace

Optimizer::Optimizer(Setup setup)
    : training_(setup.training),
      parameters_(std::move(setup.parameters)),
      start_(std::move(setup.start)),
      correction_(std::move(setup.correction)),
      threads_(setup.threads) {
  const v1::OptimizerSpec& spec = training_.optimizer();
  if (IsAdaptive(spec) || spec.sgd().momentum() != 0) mean_ = at::zeros_like(parameters_);
  if (IsAdaptive(spec)) variance_ = at::zeros_like(parameters_);
  std::int64_t total = 0;
  for (const Range& range : setup.trainable) {
    total += range.size;
    // A device that is not the CPU computes a pass at once.
    const std::int64_t block = parameters_.is_cpu() ? kBlock : range.size;
    for (std::int64_t done = 0; done < range.size; done += block) {
      blocks_.push_back({range.first + done, std::min(block, range.size - done)});
    }
  }
  if (total < kMinParallelNumbers || !parameters_.is_cpu()) threads_ = 1;
}

void Optimizer::Resume(const Tensor& mean, const Tensor& variance, int num_steps,
                       double sum_of_rates) {
  if (mean_.defined()) mean_.copy_(mean);
  if (variance_.defined()) variance_.copy_(variance);
  step_ = num_steps;
  sum_of_rates_ = sum_of_rates;
}

template <typename Pass>
void Optimizer::ForBlocks(const Pass& pass) const {
  ForEachBlock(threads_, static_cast<std::int64_t>(blocks_.size()), 1,
               [&](std::int64_t index, std::int64_t) {
                 const c10::NoGradGuard guard;
                 pass(static_cast<std::size_t>(index), blocks_[static_cast<std::size_t>(index)]);
               });
}

Optimizer::Block Optimizer::Cut(const Range& range, const Tensor& gradient) const {
  const auto cut = [&](const Tensor& flat) {
    return flat.defined() ? flat.narrow(0, range.first, range.size) : Tensor();
  };
  return {cut(parameters_), cut(gradient), cut(start_),
          cut(correction_), cut(mean_),    cut(variance_)};
}

void Optimizer::Step(const Tensor& gradient, double rate_factor) {
  const double rate = LearningRate(training_.optimizer()) * rate_factor;
  ++step_;
  sum_of_rates_ += rate;
  const double clip = ClipFactor(gradient);
  ForBlocks([&](std::size_t, const Range& range) {
    const Block block = Cut(range, gradient);
    if (clip != 1) block.gradient.mul_(clip);
    if (training_.l2_penalty() != 0) block.gradient.add_(block.parameters, training_.l2_penalty());
    if (start_.defined()) {
      const double mu = training_.fedprox().mu();
      block.gradient.add_(block.parameters, mu).sub_(block.start, mu);
    }
    if (correction_.defined()) block.gradient.add_(block.correction);
    Update(block, rate);
  });
}

// 1, or what scales the gradient down to the bound. Squares are added up in blocks, and those in
// order.
double Optimizer::ClipFactor(const Tensor& gradient) const {
  const double bound = training_.max_gradient_norm();
  if (bound == 0) return 1;
  std::vector<double> squares(blocks_.size());
  ForBlocks([&](std::size_t index, const Range& range) {
    const Tensor block = gradient.narrow(0, range.first, range.size);
    squares[index] = block.dot(block).item<double>();
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  const double norm = std::sqrt(sum);
  return norm > bound ? bound / norm : 1;
}

void Optimizer::Update(const Block& block, double rate) const {
  if (!IsAdaptive(training_.optimizer())) return Descend(block, rate);
  AdamUpdate(block, rate);
}

void Optimizer::Descend(const Block& block, double rate) const {
  const v1::Sgd& sgd = training_.optimizer().sgd();
  if (sgd.momentum() == 0) {
    block.parameters.add_(block.gradient, -rate);
    return;
  }
  block.mean.mul_(sgd.momentum()).add_(block.gradient);
  if (sgd.nesterov()) {
    block.parameters.add_(block.gradient, -rate).add_(block.mean, -rate * sgd.momentum());
  } else {
    block.parameters.add_(block.mean, -rate);
  }
}

// Epsilon outside the bias-corrected root, as in PyTorch.
void Optimizer::AdamUpdate(const Block& block, double rate) const {
  const double decay = WeightDecay(training_.optimizer());
  if (decay != 0) block.parameters.mul_(1 - rate * decay);
  const double correction1 = 1 - std::pow(kBeta1, step_);
  const double correction2 = std::sqrt(1 - std::pow(kBeta2, step_));
  block.mean.mul_(kBeta1).add_(block.gradient, 1 - kBeta1);
  block.variance.mul_(kBeta2).addcmul_(block.gradient, block.gradient, 1 - kBeta2);
  block.parameters.addcdiv_(block.mean, block.variance.sqrt().div_(correction2).add_(kEpsilon),
                            -rate / correction1);
}

}  // namespace chorale::training
