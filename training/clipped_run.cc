#include "training/clipped_run.h"

#include "training/micro_batch.h"

namespace chorale::training {
namespace {

using at::Tensor;

Tensor View(std::span<const float> values) {
  // LibTorch has no view of const memory; the view is only read.
  return at::from_blob(const_cast<float*>(values.data()),
                       {static_cast<std::int64_t>(values.size())}, at::kFloat);
}

}  // namespace

StatusOr<ClippedSum> RunClippedSum(const ClippedSumRequest& request, const at::Device& device,
                                   int threads) {
  const PatientRows patients(request.train.patients, request.patients);
  const GradSampleSetup setup{
      .plan = request.plan,
      .examples = request.train,
      .parameters = View(request.parameters).to(device),
      .rule = ClippingRule(request.clipping, request.max_grad_norm, NumLayers(request.plan)),
      .seed = request.seed,
      .threads = threads,
      .cancelled = request.cancelled};
  MicroBatch micro(setup);
  ClippedTotals totals{.sum = at::zeros_like(setup.parameters)};
  const bool is_done = request.on_patient ? micro.Tell(patients, request.on_patient, totals)
                                          : micro.Add(patients, totals);
  if (!is_done) return Cancelled("the sum of clipped gradients was cancelled");
  ClippedSum result;
  result.num_clipped = totals.num_clipped;
  result.num_not_finite = totals.num_not_finite;
  if (!request.on_patient) {
    const Tensor host = totals.sum.to(at::kCPU);
    const float* values = host.data_ptr<float>();
    result.sum.assign(values, values + host.numel());
  }
  return result;
}

}  // namespace chorale::training
