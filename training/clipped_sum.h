#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "core/parameters.h"
#include "core/status.h"
#include "data/examples.h"
#include "models/graph.h"

// What a site adds to one step of private training (DP-SGD, Abadi et al. 2016): the gradients of
// the patients that were drawn, each clipped, summed up. No noise here, and hence nothing that may
// leave the site as it is. No LibTorch either: LocalTrainer::SumClippedGradients computes it.
namespace chorale::training {

// n is the norm of a patient's gradient g, C is max_grad_norm, and c g joins the sum. Whichever is
// chosen, no patient moves the sum by more than C, but for rounding.
enum class Clipping {
  kFlat,       // c = min(1, C / (n + 1e-6))
  kPerLayer,   // Each of L layers by itself, with C / sqrt(L); a layer is a node with parameters.
  kAutomatic,  // c = C / (n + 0.01): every gradient gets about norm C (Bu et al. 2022).
};

// How gradients of single patients come about. The sums are equal but for rounding.
enum class GradSampleMode {
  kAuto,         // The faster as timed on rows that are made up: two runs may choose differently.
  kBookKeeping,  // One backward pass for many patients (Bu et al. 2022); falls back to kMicro for a
                 // patient with more rows than a pass can hold or a norm beyond float32.
  kMicro,        // A backward pass for each patient. Any model.
};

struct ClippedSumRequest {
  const models::GraphPlan& plan;  // That ValidatePrivate passed.
  const data::Examples& train;
  std::span<const float> parameters;  // [num_parameters]
  std::span<const std::uint32_t> patients =
      {};                    // Drawn: numbers of `train`, each once. May be none.
  double max_grad_norm = 1;  // C, above 0.
  Clipping clipping = Clipping::kFlat;
  GradSampleMode mode = GradSampleMode::kAuto;
  // Patients that one pass holds at most; 0: as memory allows. Larger draws take several passes,
  // whose sums add up.
  std::uint32_t max_physical_batch_size = 0;
  // Of dropout: what a patient's rows lose depends on it and the patient's number alone, never on
  // who else was drawn. A number that nobody can guess.
  std::uint64_t seed = 0;
  // Where set, told each patient's clipped gradient instead of summing them up: [num_parameters],
  // zeros where nothing is trained; and the patient's vote. One call at a time, in order of
  // `patients`, from any thread; not told of patients whose gradient is not finite. The mode is
  // then kMicro, whatever is asked for.
  std::function<void(std::span<const float> clipped, double vote)> on_patient = {};
  const std::atomic<bool>* cancelled = nullptr;  // As of TrainRequest.
};

// Private numbers, all of them: they stay at the site until noise has joined them.
struct ClippedSum {
  ParameterVector sum;  // [num_parameters]; empty under on_patient.
  // Patients whose gradient was longer than C (per layer: that of any layer than its share).
  std::uint64_t num_clipped = 0;
  // What clipping that adapts counts: each patient has a vote on C, 8 (1 - n / C) cut to [-1, 1],
  // of 1 where the gradient was an eighth shorter than C or more and of -1 where it was as much
  // longer. Not a step at C: rounding, which depends on who else was drawn where many patients
  // share a pass, moves it by about as little as the gradient.
  double votes = 0;
  // Patients whose gradient had a value that is NaN or infinite. They add nothing.
  std::uint64_t num_not_finite = 0;
  GradSampleMode mode = GradSampleMode::kMicro;  // That computed it; never kAuto.
};

// A patient's gradient is that of the sum of the losses of the patient's rows, without penalties:
// l2_penalty is known to everybody and joins after the noise. The rows are summed, never averaged,
// before clipping: their number is private, and clipping bounds the sum whatever it is.

// Models whose patients' gradients exist one by one. INVALID_ARGUMENT at `field` ("model"), with
// what to use instead: batch norm; the Cox loss.
[[nodiscard]] Status ValidatePrivate(const models::GraphPlan& plan,
                                     std::string_view field = "model");

// Bytes that SumClippedGradients() is going to need beyond the examples themselves, from above and
// for any mode. `num_drawn`: patients of a draw; `max_patient_rows`: rows of the patient that has
// most. The largest number where it would not fit. REQUIRES: num_examples > 0, threads > 0.
struct ClippedMemoryRequest {
  const models::GraphPlan& plan;
  std::uint64_t num_examples = 0;
  std::uint64_t num_drawn = 0;
  std::uint64_t max_patient_rows = 1;
  std::uint32_t max_physical_batch_size = 0;  // As of ClippedSumRequest.
  int threads = 1;
};
[[nodiscard]] std::uint64_t EstimateClippedMemory(const ClippedMemoryRequest& request);

}  // namespace chorale::training
