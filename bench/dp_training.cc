// A step of private training, each patient's gradient clipped, against one of plain training on the
// same rows, by turns in the same run: both ways of clipping that the trainer has, and what anyone
// would write first, a backward pass for each patient whose gradients are kept side by side.
#include <google/protobuf/text_format.h>
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "bench/options.h"
#include "models/model.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

namespace chorale::bench {
namespace {

constexpr double kTargetRatio = 1.10;       // Of the time of a plain step, the better way of two.
constexpr double kTargetMemoryRatio = 1.5;  // Of its memory.
constexpr int kMemoryRounds = 5;
constexpr double kMaxGradNorm = 1;
constexpr std::uint64_t kSeed = 1;

struct Setting {
  std::string name;
  models::GraphPlan plan;
  std::uint32_t patients = 0;  // One row each.
  double largest_input = 0;    // 0: numbers around 0; else whole numbers below it.
};

models::GraphPlan PlanOfText(const std::string& text) {
  v1::ModelGraph graph;
  if (!google::protobuf::TextFormat::ParseFromString(text, &graph)) std::abort();
  return models::GraphPlan::Create(std::move(graph), "graph").value();
}

constexpr const char* kMlp = R"(
  inputs { name: "x" shape: 64 }
  nodes { name: "a" inputs: "x" linear { units: 256 } }
  nodes { name: "b" inputs: "a" activation: ACTIVATION_RELU }
  nodes { name: "c" inputs: "b" linear { units: 128 } }
  nodes { name: "d" inputs: "c" activation: ACTIVATION_RELU }
  nodes { name: "y" inputs: "d" linear { units: 2 } }
  output: "y" loss { cross_entropy { num_classes: 2 } })";

// The one for MNIST that examples of private training have used since TensorFlow Privacy: 26010
// parameters.
constexpr const char* kCnn = R"(
  inputs { name: "x" shape: [1, 28, 28] }
  nodes { name: "a" inputs: "x"
          convolution { channels: 16 kernel: [8, 8] stride: [2, 2] padding: [3, 3] } }
  nodes { name: "b" inputs: "a" activation: ACTIVATION_RELU }
  nodes { name: "c" inputs: "b" pool { kind: POOL_KIND_MAX kernel: [2, 2] stride: [1, 1] } }
  nodes { name: "d" inputs: "c" convolution { channels: 32 kernel: [4, 4] stride: [2, 2] } }
  nodes { name: "e" inputs: "d" activation: ACTIVATION_RELU }
  nodes { name: "f" inputs: "e" pool { kind: POOL_KIND_MAX kernel: [2, 2] stride: [1, 1] } }
  nodes { name: "g" inputs: "f" flatten { } }
  nodes { name: "h" inputs: "g" linear { units: 32 } }
  nodes { name: "i" inputs: "h" activation: ACTIVATION_RELU }
  nodes { name: "y" inputs: "i" linear { units: 10 } }
  output: "y" loss { cross_entropy { num_classes: 10 } })";

constexpr const char* kLstm = R"(
  inputs { name: "x" shape: [48, 76] }
  nodes { name: "a" inputs: "x" recurrent { kind: RECURRENT_KIND_LSTM hidden: 128 } }
  nodes { name: "b" inputs: "a" slice { axis: 0 begin: 47 end: 48 drop_axis: true } }
  nodes { name: "y" inputs: "b" linear { units: 2 } }
  output: "y" loss { cross_entropy { num_classes: 2 } })";

std::string TransformerText() {
  std::string text = R"(
    inputs { name: "x" shape: 128 }
    nodes { name: "words" inputs: "x" embedding { rows: 5000 width: 128 } }
    nodes { name: "places" learned_constant { shape: [128, 128] } }
    nodes { name: "s0" inputs: "words" inputs: "places" add { } })";
  for (const std::string i : {"0", "1"}) {
    const std::string next = i == "0" ? "1" : "2";
    text += "nodes { name: 'n" + i + "' inputs: 's" + i + "' layer_norm { } }" +  //
            "nodes { name: 'a" + i + "' inputs: 'n" + i + "' attention { heads: 4 } }" +
            "nodes { name: 't" + i + "' inputs: 's" + i + "' inputs: 'a" + i + "' add { } }" +
            "nodes { name: 'm" + i + "' inputs: 't" + i + "' layer_norm { } }" +
            "nodes { name: 'u" + i + "' inputs: 'm" + i + "' linear { units: 512 } }" +
            "nodes { name: 'v" + i + "' inputs: 'u" + i + "' activation: ACTIVATION_GELU }" +
            "nodes { name: 'w" + i + "' inputs: 'v" + i + "' linear { units: 128 } }" +
            "nodes { name: 's" + next + "' inputs: 't" + i + "' inputs: 'w" + i + "' add { } }";
  }
  return text + R"(
    nodes { name: "turned" inputs: "s2" transpose { axes: [1, 0] } }
    nodes { name: "mean" inputs: "turned" adaptive_pool { kind: POOL_KIND_AVERAGE size: 1 } }
    nodes { name: "flat" inputs: "mean" flatten { } }
    nodes { name: "y" inputs: "flat" linear { units: 2 } }
    output: "y" loss { cross_entropy { num_classes: 2 } })";
}

models::GraphPlan Resnet() {
  v1::ModelSpec spec;
  spec.mutable_resnet18_gn()->set_width(20);
  spec.mutable_resnet18_gn()->set_groups(4);
  v1::ImageShape& image = *spec.mutable_resnet18_gn()->mutable_image();
  image.set_channels(3);
  image.set_height(64);
  image.set_width(64);
  return models::PlanOf(spec, 3 * 64 * 64).value();
}

std::vector<Setting> Settings(bool is_quick) {
  return {{"mlp", PlanOfText(kMlp), 256},
          {"mnist_cnn", PlanOfText(kCnn), 256},
          {"lstm", PlanOfText(kLstm), 64},
          {"transformer", PlanOfText(TransformerText()), 16, 5000},
          {"resnet_gn", Resnet(), is_quick ? 8u : 32u}};
}

struct Way {
  std::string name;
  std::function<Status()> run;
  std::vector<double> seconds = {};
  std::vector<double> cpu_seconds = {};  // Of all threads: tells more where others use the machine.
  std::vector<double> peak_bytes = {};   // Beyond what was there before.
};

std::uint64_t StatusBytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1)) * 1024;
  }
  return 0;
}

double CpuSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Adds the times of one run.
Status Time(Way& way) {
  const auto start = std::chrono::steady_clock::now();
  const double cpu_start = CpuSeconds();
  CHORALE_RETURN_IF_ERROR(way.run());
  way.cpu_seconds.push_back(CpuSeconds() - cpu_start);
  way.seconds.push_back(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return OkStatus();
}

// While it lives, large allocations go back to the system when they are freed, so that resident
// memory is what is held and not what the allocator keeps for later.
class FreesAtOnce {
 public:
  FreesAtOnce() { ::mallopt(M_MMAP_THRESHOLD, 1 << 14); }
  FreesAtOnce(const FreesAtOnce&) = delete;
  FreesAtOnce& operator=(const FreesAtOnce&) = delete;
  // Where the threshold moves to by itself in a process that computes.
  ~FreesAtOnce() { ::mallopt(M_MMAP_THRESHOLD, 1 << 25); }
};

// Resident memory beyond that before the run.
Status MeasureMemory(Way& way) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";
  const std::uint64_t before = StatusBytes("VmRSS");
  CHORALE_RETURN_IF_ERROR(way.run());
  const std::uint64_t peak = StatusBytes("VmHWM");
  way.peak_bytes.push_back(static_cast<double>(peak - std::min(peak, before)));
  return OkStatus();
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Of the same round, so that whatever else the machine does concerns both.
double MedianRatio(const std::vector<double>& values, const std::vector<double>& base) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / base[i]);
  return Median(ratios);
}

data::Examples ExamplesFor(const Setting& setting) {
  data::Examples examples = training::MakeExamplesFor(setting.plan, setting.patients, kSeed);
  if (setting.largest_input > 0) {
    SeededRandom random(kSeed);
    for (float& value : examples.inputs) {
      value = static_cast<float>(std::floor(random.NextDouble() * setting.largest_input));
    }
  }
  return examples;
}

// When measuring one setting ends, whichever comes first.
struct Limits {
  int rounds;
  double seconds;
};

StatusOr<nlohmann::ordered_json> Measure(const Setting& setting, int threads, Limits limits) {
  const data::Examples examples = ExamplesFor(setting);
  const ParameterVector start = models::InitialParameters(setting.plan, kSeed);
  std::vector<std::uint32_t> all(setting.patients);
  std::iota(all.begin(), all.end(), 0u);
  CHORALE_ASSIGN_OR_RETURN(const auto trainer,
                           training::MakeTorchTrainer({.device = "cpu", .threads = threads}));
  const v1::TrainingSpec plain = training::MakeSgd(0.01, 0, 1, 0);
  training::ClippedSumRequest request{.plan = setting.plan,
                                      .train = examples,
                                      .parameters = start,
                                      .patients = all,
                                      .max_grad_norm = kMaxGradNorm};
  const auto clip = [&](training::GradSampleMode mode) {
    return [&, mode] {
      request.mode = mode;
      return trainer->SumClippedGradients(request).status();
    };
  };
  // One gradient a patient, all of them kept: what no engine of ours does.
  std::vector<float> side_by_side;
  const auto naive = [&] {
    side_by_side.clear();
    request.on_patient = [&](std::span<const float> gradient, double) {
      side_by_side.insert(side_by_side.end(), gradient.begin(), gradient.end());
    };
    const Status status = clip(training::GradSampleMode::kMicro)();
    request.on_patient = {};
    std::vector<double> sum(start.size());
    for (std::size_t i = 0; i < side_by_side.size(); ++i) sum[i % start.size()] += side_by_side[i];
    side_by_side = std::vector<float>();
    return status;
  };
  std::vector<Way> ways = {
      {"plain",
       [&] {
         return trainer
             ->Train({.plan = setting.plan, .training = plain, .train = examples, .start = start})
             .status();
       }},
      {"book_keeping", clip(training::GradSampleMode::kBookKeeping)},
      {"micro", clip(training::GradSampleMode::kMicro)},
      {"side_by_side", naive}};
  double spent_seconds = 0;
  for (int round = 0; round < limits.rounds && (round < 4 || spent_seconds < limits.seconds);
       ++round) {
    for (Way& way : ways) {
      CHORALE_RETURN_IF_ERROR(Time(way));
      spent_seconds += way.seconds.back();
      if (round > 0) continue;  // The first warms up.
      way.seconds.clear();
      way.cpu_seconds.clear();
    }
  }
  // Which thread holds how much when differs from run to run.
  const FreesAtOnce frees_at_once;
  for (int round = 0; round < kMemoryRounds; ++round) {
    for (Way& way : ways) CHORALE_RETURN_IF_ERROR(MeasureMemory(way));
  }

  nlohmann::ordered_json row = {{"model", setting.name},
                                {"threads", threads},
                                {"parameters", setting.plan.layout().num_parameters()},
                                {"patients", setting.patients},
                                {"rounds", ways[0].seconds.size()}};
  for (const Way& way : ways) {
    row[way.name + "_ms"] = 1e3 * Median(way.seconds);
    row[way.name + "_peak_mb"] = Median(way.peak_bytes) / (1 << 20);
    if (&way == &ways[0]) continue;
    row[way.name + "_ratio"] = MedianRatio(way.seconds, ways[0].seconds);
    row[way.name + "_cpu_ratio"] = MedianRatio(way.cpu_seconds, ways[0].cpu_seconds);
  }
  const bool is_together = row["book_keeping_ratio"] < row["micro_ratio"];
  const Way& best = is_together ? ways[1] : ways[2];
  const double memory = Median(best.peak_bytes) / std::max(1.0, Median(ways[0].peak_bytes));
  row["best"] = best.name;
  row["best_ratio"] = row[best.name + "_ratio"];
  row["best_cpu_ratio"] = row[best.name + "_cpu_ratio"];
  row["target_ratio"] = kTargetRatio;
  row["best_memory_ratio"] = memory;
  row["target_memory_ratio"] = kTargetMemoryRatio;
  return row;
}

void Print(const nlohmann::ordered_json& row) {
  std::cout << std::left << std::setw(13) << row["model"].get<std::string>() << std::right
            << std::setw(8) << row["threads"].get<int>() << std::setprecision(1);
  for (const char* name : {"plain_ms", "book_keeping_ms", "micro_ms", "side_by_side_ms"}) {
    std::cout << std::setw(14) << row[name].get<double>();
  }
  std::cout << std::setprecision(3) << std::setw(12) << row["best_ratio"].get<double>()
            << std::setw(12) << row["best_cpu_ratio"].get<double>() << std::setprecision(2)
            << std::setw(14) << row["best_memory_ratio"].get<double>() << std::endl;
}

// Takes `--model NAME` out of the arguments: that one alone. Empty: all.
StatusOr<std::string> TakeModel(std::vector<std::string>& arguments) {
  const auto found = std::find(arguments.begin(), arguments.end(), "--model");
  if (found == arguments.end()) return std::string();
  if (found + 1 == arguments.end()) return InvalidArgument("--model needs a name");
  std::string name = found[1];
  arguments.erase(found, found + 2);
  return name;
}

Status Run(std::vector<std::string> arguments) {
  CHORALE_ASSIGN_OR_RETURN(const std::string model, TakeModel(arguments));
  CHORALE_ASSIGN_OR_RETURN(const Options options, ParseOptions(arguments));
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const Limits limits = options.is_quick ? Limits{20, 4} : Limits{60, 40};
  nlohmann::ordered_json result = {{"bench", "dp_training"}, {"machine", Machine()}};
  std::cout << "model         threads      plain ms  book-keep ms      micro ms  side-by-side"
               "  best/plain     by CPU  memory/plain\n"
            << std::fixed;
  for (const Setting& setting : Settings(options.is_quick)) {
    if (!model.empty() && setting.name != model) continue;
    for (const int threads : cores > 1 ? std::vector<int>{1, cores} : std::vector<int>{1}) {
      CHORALE_ASSIGN_OR_RETURN(const nlohmann::ordered_json row, Measure(setting, threads, limits));
      Print(row);
      result["results"].push_back(row);
    }
  }
  return WriteJson(options, result.dump(2));
}

}  // namespace
}  // namespace chorale::bench

int main(int argc, char** argv) {
  return chorale::bench::Finish(
      chorale::bench::Run(std::vector<std::string>(argv + 1, argv + argc)));
}
