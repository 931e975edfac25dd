#include "training/mode_choice.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <limits>

#include "core/random.h"
#include "models/model.h"
#include "training/book_keeping.h"
#include "training/flat_view.h"
#include "training/micro_batch.h"
#include "training/work_cut.h"

namespace chorale::training {
namespace {

// Of a run that is timed: enough for passes of their usual size, and within about a second.
constexpr std::uint64_t kMaxPatients = 64;
constexpr std::uint64_t kMaxWork = std::uint64_t{1} << 33;

// Rows that look like anything; where an embedding reads the input, numbers of its rows.
data::Examples MadeUp(const models::GraphPlan& plan, std::uint64_t num_patients,
                      std::uint64_t rows_each) {
  const auto num_values = static_cast<std::size_t>(plan.graph().inputs_size());
  std::vector<double> scales(num_values, 1);
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const v1::GraphNode& node = plan.graph().nodes(static_cast<int>(i));
    if (!node.has_embedding() || plan.steps()[i].inputs[0] >= num_values) continue;
    scales[plan.steps()[i].inputs[0]] = static_cast<double>(node.embedding().rows());
  }
  SeededRandom random(1);
  data::Examples examples{.num_inputs = plan.num_inputs(),
                          .num_targets = plan.num_targets(),
                          .inputs = {},
                          .targets = {},
                          .patients = {}};
  const std::uint64_t num_rows = num_patients * rows_each;
  for (std::uint64_t row = 0; row < num_rows; ++row) {
    for (std::size_t i = 0; i < num_values; ++i) {
      std::uint64_t numbers = 1;
      for (const std::uint64_t size : plan.shape_of(i)) numbers *= size;
      for (std::uint64_t j = 0; j < numbers; ++j) {
        examples.inputs.push_back(static_cast<float>(scales[i] * random.NextDouble()));
      }
    }
    examples.patients.push_back(static_cast<std::uint32_t>(row / rows_each));
  }
  examples.targets.resize(num_rows * plan.num_targets());
  return examples;
}

// Of the second run: the first one warms up. Infinite where it was cancelled.
template <typename Engine>
double SecondsOf(Engine engine, const PatientRows& patients, const at::Tensor& like) {
  double seconds = 0;
  for (int i = 0; i < 2; ++i) {
    ClippedTotals totals{.sum = at::zeros_like(like)};
    const auto start = std::chrono::steady_clock::now();
    if (!engine.Add(patients, totals)) return std::numeric_limits<double>::infinity();
    seconds = totals.sum.sum().template item<double>();  // Waits for a device.
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return seconds;
}

}  // namespace

GradSampleMode ModeChoice::For(const GradSampleSetup& setup, const PatientRows& patients,
                               std::uint32_t max_patients) {
  if (patients.num_patients() == 0) return GradSampleMode::kMicro;
  const models::GraphPlan& plan = setup.plan;
  const std::uint64_t rows_each =
      std::bit_ceil(std::max<std::uint64_t>(1, patients.num_rows() / patients.num_patients()));
  const std::uint64_t work = (plan.multiply_adds() + 16 * plan.num_activations() + 1) * rows_each;
  const std::uint64_t num_patients =
      std::min(std::bit_ceil(std::uint64_t{patients.num_patients()}),
               std::clamp<std::uint64_t>(kMaxWork / work, 2, kMaxPatients));
  const Key key(plan.digest(), num_patients, rows_each, max_patients);
  if (const auto known = choices_.find(key); known != choices_.end()) return known->second;

  const data::Examples examples = MadeUp(plan, num_patients, rows_each);
  const ParameterVector initial = models::InitialParameters(plan, 1);
  GradSampleSetup made_up{.plan = plan,
                          .examples = examples,
                          .parameters = FlatView(initial).to(setup.parameters.options()),
                          .rule = setup.rule,
                          .seed = 1,
                          .threads = setup.threads,
                          .cancelled = setup.cancelled};
  std::vector<std::uint32_t> all(num_patients);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint32_t>(i);
  const PatientRows rows(examples.patients, all);
  const double together = SecondsOf(BookKeeping(made_up, max_patients), rows, made_up.parameters);
  const double one_by_one = SecondsOf(MicroBatch(made_up), rows, made_up.parameters);
  if (setup.IsCancelled()) return GradSampleMode::kMicro;
  const GradSampleMode choice =
      together < one_by_one ? GradSampleMode::kBookKeeping : GradSampleMode::kMicro;
  choices_.emplace(key, choice);
  return choice;
}

}  // namespace chorale::training
