#include "training/clipped_run.h"

#include "training/book_keeping.h"
#include "training/flat_view.h"
#include "training/micro_batch.h"

namespace chorale::training {

StatusOr<ClippedSum> RunClippedSum(const ClippedSumRequest& request, const at::Device& device,
                                   int threads, ModeChoice& choice) {
  const PatientRows patients(request.train.patients, request.patients);
  const GradSampleSetup setup{
      .plan = request.plan,
      .examples = request.train,
      .parameters = FlatView(request.parameters).to(device),
      .rule = ClippingRule(request.clipping, request.max_grad_norm, NumLayers(request.plan)),
      .seed = request.seed,
      .threads = threads,
      .cancelled = request.cancelled};
  ClippedSum result;
  result.mode = request.on_patient ? GradSampleMode::kMicro : request.mode;
  if (result.mode == GradSampleMode::kAuto) {
    result.mode = choice.For(setup, patients, request.max_physical_batch_size);
  }
  ClippedTotals totals{.sum = at::zeros_like(setup.parameters)};
  bool is_done = false;
  if (request.on_patient) {
    is_done = MicroBatch(setup).Tell(patients, request.on_patient, totals);
  } else if (result.mode == GradSampleMode::kBookKeeping) {
    is_done = BookKeeping(setup, request.max_physical_batch_size).Add(patients, totals);
  } else {
    is_done = MicroBatch(setup).Add(patients, totals);
  }
  if (!is_done) return Cancelled("the sum of clipped gradients was cancelled");
  result.num_clipped = totals.num_clipped;
  result.num_not_finite = totals.num_not_finite;
  result.votes = totals.votes;
  if (!request.on_patient) {
    const at::Tensor host = totals.sum.to(at::kCPU);
    const float* values = host.data_ptr<float>();
    result.sum.assign(values, values + host.numel());
  }
  return result;
}

}  // namespace chorale::training
