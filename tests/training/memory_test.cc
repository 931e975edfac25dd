#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <numeric>

#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// What Train() takes, counted where it is taken: this program replaces the allocator of the C
// library, from which LibTorch, oneDNN and `new` take theirs.
namespace {

std::atomic<std::int64_t> g_used = 0;
std::atomic<std::int64_t> g_most = 0;

void Count(std::int64_t bytes) {
  const std::int64_t now = g_used += bytes;
  std::int64_t most = g_most;
  while (now > most && !g_most.compare_exchange_weak(most, now)) {
  }
}

void* Counted(void* memory) {
  if (memory != nullptr) Count(static_cast<std::int64_t>(malloc_usable_size(memory)));
  return memory;
}

}  // namespace

extern "C" {
void* __libc_memalign(std::size_t alignment, std::size_t size);
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void __libc_free(void* memory);

void* memalign(std::size_t alignment, std::size_t size) {
  return Counted(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
void* malloc(std::size_t size) { return Counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return Counted(__libc_calloc(count, size)); }
void* realloc(void* memory, std::size_t size) {
  const auto before = static_cast<std::int64_t>(memory == nullptr ? 0 : malloc_usable_size(memory));
  void* moved = __libc_realloc(memory, size);
  if (moved != nullptr || size == 0) Count(-before);
  return Counted(moved);
}
void free(void* memory) {
  if (memory != nullptr) Count(-static_cast<std::int64_t>(malloc_usable_size(memory)));
  __libc_free(memory);
}
}

namespace chorale::training {
namespace {

struct Case {
  std::string name;
  v1::ModelSpec model;
  v1::TrainingSpec training;
  std::size_t num_examples;
  std::uint64_t num_inputs;
};

v1::ModelSpec MakeResnet() {
  v1::ModelSpec model;
  v1::Resnet18Gn& resnet = *model.mutable_resnet18_gn();
  resnet.mutable_image()->set_height(28);
  resnet.mutable_image()->set_width(28);
  resnet.set_width(16);
  return model;
}

v1::ModelSpec MakeUnet() {
  v1::ModelSpec model;
  model.mutable_unet2d()->mutable_image()->set_height(32);
  model.mutable_unet2d()->mutable_image()->set_width(32);
  return model;
}

v1::ModelSpec MakeTransformer() {
  v1::ModelSpec model;
  model.mutable_ft_transformer()->set_dropout(0.1);
  return model;
}

v1::ModelSpec MakeGru() {
  v1::ModelSpec model;
  model.mutable_gru()->set_steps(50);
  return model;
}

v1::ModelSpec MakeCoxMlp() {
  v1::ModelSpec model = MakeMlp({256, 256}, v1::ACTIVATION_RELU);
  model.mutable_mlp()->mutable_loss()->mutable_cox();
  return model;
}

std::vector<Case> Cases() {
  return {
      {"mlp_adam", MakeMlp({2048, 2048}, v1::ACTIVATION_RELU), MakeAdam(0.001, 2, 512), 1000, 200},
      {"coupled_mlp", MakeCoxMlp(), MakeSgd(0.001, 0.9, 2, 0), 30000, 20},
      {"resnet18_gn", MakeResnet(), MakeSgd(0.01, 0.9, 2, 64), 100, 28 * 28},
      {"unet2d", MakeUnet(), MakeSgd(0.01, 0, 2, 64), 100, 32 * 32},
      {"ft_transformer", MakeTransformer(), MakeAdam(0.001, 2, 1000), 1000, 60},
      {"gru", MakeGru(), MakeSgd(0.01, 0, 2, 1000), 1000, 500}};
}

class EstimateMemoryTest : public testing::TestWithParam<Case> {};

TEST_P(EstimateMemoryTest, IsAboveWhatTrainingTakesAndOfItsOrder) {
  const Case& c = GetParam();
  const models::GraphPlan plan = PlanFor(c.model, c.num_inputs);
  const ParameterVector start = models::InitialParameters(plan, 2);
  const data::Examples examples = MakeExamplesFor(plan, c.num_examples, 1);
  const int threads = 2;
  auto trainer = MakeTorchTrainer({.device = "cpu", .threads = threads}).value();

  g_most = g_used.load();
  const std::int64_t before = g_used;
  ASSERT_TRUE(
      trainer->Train({.plan = plan, .training = c.training, .train = examples, .start = start})
          .ok());
  const auto taken = static_cast<double>(g_most - before);

  const auto estimate =
      static_cast<double>(EstimateMemory(plan, c.training, c.num_examples, threads));
  RecordProperty("taken_mib", std::to_string(taken / (1 << 20)));
  RecordProperty("estimate_mib", std::to_string(estimate / (1 << 20)));
  EXPECT_GT(taken, 1 << 22) << "too small a case to say anything";
  EXPECT_GT(estimate, taken);
  EXPECT_LT(estimate, 12 * taken) << taken;
}

TEST_P(EstimateMemoryTest, IsAboveWhatEvaluatingTakes) {
  const Case& c = GetParam();
  const models::GraphPlan plan = PlanFor(c.model, c.num_inputs);
  const ParameterVector parameters = models::InitialParameters(plan, 2);
  const std::size_t num_examples = 3 * c.num_examples;  // Worth several pieces.
  const data::Examples examples = MakeExamplesFor(plan, num_examples, 1);
  const int threads = 2;
  auto trainer = MakeTorchTrainer({.device = "cpu", .threads = threads}).value();

  g_most = g_used.load();
  const std::int64_t before = g_used;
  ASSERT_TRUE(trainer->Evaluate(plan, parameters, examples, nullptr).ok());
  const auto taken = static_cast<double>(g_most - before);

  const auto estimate = static_cast<double>(EstimateEvaluationMemory(plan, num_examples, threads));
  RecordProperty("taken_mib", std::to_string(taken / (1 << 20)));
  RecordProperty("estimate_mib", std::to_string(estimate / (1 << 20)));
  EXPECT_GT(estimate, taken);
}

// Of models whose patients can be clipped one by one.
std::vector<Case> ClippedCases() {
  std::vector<Case> cases = Cases();
  std::erase_if(
      cases, [](const Case& c) { return !ValidatePrivate(PlanFor(c.model, c.num_inputs)).ok(); });
  return cases;
}

class EstimateClippedMemoryTest : public testing::TestWithParam<Case> {};

TEST_P(EstimateClippedMemoryTest, IsAboveWhatClippingTakes) {
  const Case& c = GetParam();
  const models::GraphPlan plan = PlanFor(c.model, c.num_inputs);
  const ParameterVector parameters = models::InitialParameters(plan, 2);
  data::Examples examples = MakeExamplesFor(plan, c.num_examples, 1);
  for (std::size_t row = 0; row < examples.size(); ++row) examples.patients[row] /= 2;
  const std::vector<std::uint32_t> drawn = [&] {
    std::vector<std::uint32_t> patients(c.num_examples / 2);
    std::iota(patients.begin(), patients.end(), 0u);
    return patients;
  }();
  const int threads = 2;
  auto trainer = MakeTorchTrainer({.device = "cpu", .threads = threads}).value();
  const auto estimate = static_cast<double>(EstimateClippedMemory({.plan = plan,
                                                                   .num_examples = c.num_examples,
                                                                   .num_drawn = drawn.size(),
                                                                   .max_patient_rows = 2,
                                                                   .threads = threads}));
  for (const GradSampleMode mode : {GradSampleMode::kBookKeeping, GradSampleMode::kMicro}) {
    g_most = g_used.load();
    const std::int64_t before = g_used;
    ASSERT_TRUE(trainer
                    ->SumClippedGradients({.plan = plan,
                                           .train = examples,
                                           .parameters = parameters,
                                           .patients = drawn,
                                           .mode = mode})
                    .ok());
    const auto taken = static_cast<double>(g_most - before);
    RecordProperty(mode == GradSampleMode::kMicro ? "micro_mib" : "book_keeping_mib",
                   std::to_string(taken / (1 << 20)));
    RecordProperty("estimate_mib", std::to_string(estimate / (1 << 20)));
    EXPECT_GT(estimate, taken);
    if (mode == GradSampleMode::kBookKeeping) {
      EXPECT_LT(estimate, 20 * taken);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EstimateMemoryTest, testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Models, EstimateClippedMemoryTest, testing::ValuesIn(ClippedCases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace chorale::training
