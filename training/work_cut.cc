#include "training/work_cut.h"

#include <algorithm>
#include <bit>

namespace chorale::training {
namespace {

constexpr std::uint64_t kMaxRows = 8192;
constexpr std::uint64_t kMaxPieces = 64;
// Numbers of activations in flight in one piece: 256 MiB of float32, and its gradients; 64 MiB in
// one that is predicted, since no job's batch size bounds those.
constexpr std::uint64_t kMaxActivations = std::uint64_t{1} << 26;
// The same on a CUDA device, which needs many rows at once to be busy: 4 GiB of float32.
constexpr std::uint64_t kMaxDeviceActivations = std::uint64_t{1} << 30;
// Numbers of gradients of single patients that a pass may form: 128 MiB of float32.
constexpr std::uint64_t kMaxFormed = std::uint64_t{1} << 25;
constexpr std::uint64_t kMaxPredictedActivations = std::uint64_t{1} << 24;
// Multiply-adds of one piece, forward. Backward takes twice as many: together about a second.
constexpr std::uint64_t kMaxWork = 3 * (std::uint64_t{1} << 32);
// Multiply-adds that take as long as the passes over one number of an activation.
constexpr std::uint64_t kWorkPerActivation = 16;
// Multiply-adds beside which these cost about 3 %, as measured: setting up one node; adding up one
// parameter's gradient, in cache and beyond it, where a convolution reorders its weights as well.
constexpr std::uint64_t kMinWorkPerNode = std::uint64_t{1} << 23;
constexpr std::uint64_t kMinWorkPerParameter = 128;
constexpr std::uint64_t kMinWorkPerDistantParameter = 512;
constexpr std::uint64_t kParametersInCache = std::uint64_t{1} << 20;

std::uint64_t DivideUp(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// Of one row, forward.
std::uint64_t WorkOf(const models::GraphPlan& plan) {
  return plan.multiply_adds() + kWorkPerActivation * plan.num_activations() + 1;
}

std::uint64_t RowsWithin(const models::GraphPlan& plan, std::uint64_t max_activations) {
  return max_activations / std::max<std::uint64_t>(1, plan.num_activations() + plan.num_inputs());
}

std::uint64_t RowsInFlight(const models::GraphPlan& plan, std::uint64_t max_activations) {
  const std::uint64_t by_memory = RowsWithin(plan, max_activations);
  const std::uint64_t by_time = kMaxWork / WorkOf(plan);
  return std::clamp<std::uint64_t>(std::min(by_memory, by_time), 1, kMaxRows);
}

// `rows` in pieces of equal size, each with at least `min_work` multiply-adds and no more than
// `max_rows`. A power of two of them: so that common numbers of threads have equal shares.
std::uint64_t EvenRows(const models::GraphPlan& plan, std::uint64_t rows, std::uint64_t min_work,
                       std::uint64_t max_rows) {
  const std::uint64_t min_rows = DivideUp(min_work, WorkOf(plan));
  const std::uint64_t pieces =
      std::bit_floor(std::clamp<std::uint64_t>(rows / min_rows, 1, kMaxPieces));
  return std::min(DivideUp(rows, pieces), max_rows);
}

std::uint64_t SetUpWork(const models::GraphPlan& plan) {
  return kMinWorkPerNode * plan.steps().size();
}

std::uint64_t SummingWork(const models::GraphPlan& plan) {
  const std::uint64_t parameters = plan.layout().num_parameters();
  const std::uint64_t near = std::min(parameters, kParametersInCache);
  return near * kMinWorkPerParameter + (parameters - near) * kMinWorkPerDistantParameter;
}

}  // namespace

std::uint64_t TrainingPieceRows(const models::GraphPlan& plan, std::uint64_t batch_rows) {
  if (plan.couples_examples()) return batch_rows;
  return EvenRows(plan, batch_rows, std::max(SetUpWork(plan), SummingWork(plan)),
                  RowsInFlight(plan, kMaxActivations));
}

std::uint64_t FormedNumbers(const models::GraphPlan& plan) {
  std::uint64_t formed = 0;
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const v1::GraphNode& node = plan.graph().nodes(static_cast<int>(i));
    const models::GraphStep& step = plan.steps()[i];
    if (node.has_embedding() || (node.has_linear() && step.output.size() == 1)) continue;
    for (std::size_t j = 0; j < step.num_parameters; ++j) {
      formed += plan.layout().tensors()[step.first_parameter + j].size;
    }
  }
  return formed;
}

std::uint64_t PassRows(const models::GraphPlan& plan, std::uint64_t num_rows) {
  const std::uint64_t kept = plan.num_activations() + 1;
  return DivideUp(TrainingPieceRows(plan, num_rows),
                  std::bit_floor((kept + FormedNumbers(plan)) / kept));
}

std::uint64_t MaxPatientsAtOnce(const models::GraphPlan& plan) {
  return std::max<std::uint64_t>(1, kMaxFormed / std::max<std::uint64_t>(1, FormedNumbers(plan)));
}

std::uint64_t MaxRowsAtOnce(const models::GraphPlan& plan) {
  return RowsInFlight(plan, kMaxActivations);
}

std::uint64_t PredictionPieceRows(const models::GraphPlan& plan, std::uint64_t num_rows) {
  return EvenRows(plan, num_rows, SetUpWork(plan), RowsInFlight(plan, kMaxPredictedActivations));
}

std::uint64_t DevicePieceRows(const models::GraphPlan& plan, std::uint64_t num_rows) {
  if (plan.couples_examples()) return num_rows;
  const std::uint64_t rows = std::max<std::uint64_t>(1, RowsWithin(plan, kMaxDeviceActivations));
  return DivideUp(num_rows, DivideUp(num_rows, rows));
}

}  // namespace chorale::training
