#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "training/batch_schedule.h"
#include "training/local_trainer.h"
#include "training/work_cut.h"

namespace chorale::training {
namespace {

// Copies of each activation while gradients are computed: the value, its gradient, and what the
// library needs besides (reordered operands, unfolded windows).
constexpr double kCopiesOfActivations = 3;
// The same of gradients of single patients, where those of layers wait for the factors of clipping.
constexpr double kCopiesOfClippedActivations = 4;
// The same without gradients: the value, and what the library needs besides.
constexpr double kCopiesWithoutGradients = 2;
// For each row: scores, hazards, sums and places, of 64 bits.
constexpr double kNumbersOfCox = 32;
// What LibTorch keeps whatever it computes.
constexpr double kFixedBytes = 1 << 25;
// Of BatchSchedule: rows, patients and the order of both.
constexpr double kBytesPerExample = 5 * sizeof(std::uint64_t);

double VectorsOf(const v1::TrainingSpec& training, double pieces) {
  // Parameters, their gradient, the update; for each piece a gradient and reordered weights.
  double vectors = 3 + 2 * pieces;
  const v1::OptimizerSpec& optimizer = training.optimizer();
  if (optimizer.has_adam() || optimizer.has_adamw()) vectors += 2;
  if (optimizer.sgd().momentum() != 0) vectors += 1;
  if (training.has_fedprox()) vectors += 1;
  if (training.has_scaffold()) vectors += 2;
  return vectors;
}

// Rows in flight at once, from above, and the pieces they are in.
struct InFlight {
  double rows = 0;
  double pieces = 0;
};

// Of `rows` in pieces of `piece`.
InFlight InFlightOf(std::uint64_t rows, std::uint64_t piece, int threads) {
  const std::uint64_t pieces =
      std::min<std::uint64_t>((rows + piece - 1) / piece, static_cast<std::uint64_t>(threads));
  return {static_cast<double>(piece * pieces), static_cast<double>(pieces)};
}

// Numbers of one example that a pass without gradients holds at once, from above.
double MostNumbersAtOnce(const models::GraphPlan& plan) {
  const auto numbers = [](const models::Shape& shape) {
    double product = 1;
    for (const std::uint64_t size : shape) product *= static_cast<double>(size);
    return product;
  };
  const std::vector<std::vector<std::size_t>> releases = plan.ReleasesByStep();
  auto held = static_cast<double>(plan.num_inputs() + plan.num_targets());
  double most = held;
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    held += numbers(plan.steps()[i].output);
    most = std::max(most, held + static_cast<double>(plan.steps()[i].num_kept));
    for (const std::size_t value : releases[i]) held -= numbers(plan.shape_of(value));
  }
  return most;
}

std::uint64_t ToBytes(double bytes) {
  constexpr auto kLargest = std::numeric_limits<std::uint64_t>::max();
  return bytes >= static_cast<double>(kLargest) ? kLargest : static_cast<std::uint64_t>(bytes);
}

}  // namespace

std::uint64_t EstimateMemory(const models::GraphPlan& plan, const v1::TrainingSpec& training,
                             std::uint64_t num_examples, int threads,
                             std::uint64_t max_patient_rows) {
  const std::uint64_t patients = std::min<std::uint64_t>(BatchPatients(training, num_examples),
                                                         std::numeric_limits<std::uint32_t>::max());
  const std::uint64_t most_rows =
      std::min(num_examples, patients * std::max<std::uint64_t>(1, max_patient_rows));
  // A larger batch may be cut into smaller pieces: the worse of the two ends counts.
  const std::uint64_t least_rows = std::min(patients, num_examples);
  const InFlight least = InFlightOf(least_rows, TrainingPieceRows(plan, least_rows), threads);
  const InFlight most = InFlightOf(most_rows, TrainingPieceRows(plan, most_rows), threads);
  const double rows = std::max(least.rows, most.rows);
  const double pieces = std::max(least.pieces, most.pieces);

  const double numbers_per_row =
      kCopiesOfActivations * static_cast<double>(plan.num_activations()) +
      2 * static_cast<double>(plan.num_inputs() + plan.num_targets());
  const double bytes = kFixedBytes + kBytesPerExample * static_cast<double>(num_examples) +
                       sizeof(float) * (rows * numbers_per_row +
                                        VectorsOf(training, pieces) *
                                            static_cast<double>(plan.layout().num_parameters()));
  return ToBytes(bytes);
}

std::uint64_t EstimateClippedMemory(const ClippedMemoryRequest& request) {
  const models::GraphPlan& plan = request.plan;
  const std::uint64_t patient_rows = std::max<std::uint64_t>(1, request.max_patient_rows);
  const std::uint64_t drawn = std::clamp<std::uint64_t>(request.num_drawn, 1, request.num_examples);
  const std::uint64_t most_rows = std::min(
      request.num_examples,
      std::min<std::uint64_t>(drawn, std::numeric_limits<std::uint32_t>::max()) *
          std::min<std::uint64_t>(patient_rows, std::numeric_limits<std::uint32_t>::max()));
  // A pass holds whole patients: as many rows as a piece, or a single patient's, if those fit.
  std::uint64_t rows = std::max(PassRows(plan, drawn), PassRows(plan, most_rows));
  rows = std::max(rows, std::min(patient_rows, MaxRowsAtOnce(plan)));
  std::uint64_t patients = std::min({rows, drawn, MaxPatientsAtOnce(plan)});
  if (request.max_physical_batch_size > 0) {
    patients = std::min<std::uint64_t>(patients, request.max_physical_batch_size);
  }
  const double passes =
      static_cast<double>(std::min<std::uint64_t>(drawn, static_cast<unsigned>(request.threads)));
  const double numbers_per_row =
      kCopiesOfClippedActivations * static_cast<double>(plan.num_activations()) +
      2 * static_cast<double>(plan.num_inputs() + plan.num_targets());
  // Parameters and two sums; for each pass a sum, a gradient and reordered weights; what is formed
  // comes with a copy of one layer's squares.
  const double numbers =
      (3 + 3 * passes) * static_cast<double>(plan.layout().num_parameters()) +
      passes * (static_cast<double>(rows) * numbers_per_row +
                2 * static_cast<double>(patients) * static_cast<double>(FormedNumbers(plan)));
  return ToBytes(kFixedBytes + kBytesPerExample * static_cast<double>(request.num_examples) +
                 sizeof(float) * numbers);
}

std::uint64_t EstimateEvaluationMemory(const models::GraphPlan& plan, std::uint64_t num_examples,
                                       int threads) {
  const InFlight predicted =
      InFlightOf(num_examples, PredictionPieceRows(plan, num_examples), threads);
  const double numbers_per_row = kCopiesWithoutGradients * MostNumbersAtOnce(plan);
  // Cox takes the outputs and targets of all rows at once, and is computed in double precision.
  const double told =
      plan.graph().loss().has_cox()
          ? 2 * static_cast<double>(plan.num_outputs() + plan.num_targets()) + kNumbersOfCox
          : 0;
  // Reordered weights for each piece.
  const double parameters = predicted.pieces * static_cast<double>(plan.layout().num_parameters());
  return ToBytes(kFixedBytes +
                 sizeof(float) * (predicted.rows * numbers_per_row +
                                  told * static_cast<double>(num_examples) + parameters));
}

}  // namespace chorale::training
