// Samples that the trainer passes through a model in a second, against a bare LibTorch loop of the
// same model written with torch::nn (torch::optim::SGD, the same rows in the same batches, the same
// number of threads given to LibTorch), by turns in the same run.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "bench/options.h"
#include "models/model.h"
#include "tests/training/reference_models.h"
#include "tests/training/toy_data.h"
#include "training/batch_schedule.h"
#include "training/torch_trainer.h"

namespace chorale::bench {
namespace {

constexpr double kTargetRatio = 0.97;  // Overhead of at most 3 %.
constexpr std::uint64_t kSeed = 1;

struct Setting {
  std::string name;
  v1::ModelSpec model;
  std::uint64_t num_inputs = 0;
  std::uint32_t batch_size = 0;
  std::uint32_t num_batches = 0;  // Of one measurement.
};

// When measuring one setting ends, whichever comes first.
struct Limits {
  int repetitions;
  double seconds;
};

v1::ImageShape Grey28() {
  v1::ImageShape image;
  image.set_channels(1);
  image.set_height(28);
  image.set_width(28);
  return image;
}

// A table of 100 columns, images of 28 x 28 pixels as those of MedMNIST.
std::vector<Setting> Settings() {
  std::vector<Setting> settings(4);
  settings[0] = {"mlp", training::MakeMlp({512, 256}, v1::ACTIVATION_RELU), 100, 512, 20};
  settings[1] = {"cnn2d", {}, 28 * 28, 128, 5};
  *settings[1].model.mutable_cnn2d()->mutable_image() = Grey28();
  settings[2] = {"resnet18_gn", {}, 28 * 28, 32, 3};
  *settings[2].model.mutable_resnet18_gn()->mutable_image() = Grey28();
  settings[3] = {"ft_transformer", {}, 30, 512, 3};
  settings[3].model.mutable_ft_transformer();
  return settings;
}

v1::TrainingSpec TrainingOf(const Setting& setting) {
  return training::MakeSgd(0.01, 0.9, setting.num_batches, setting.batch_size);
}

// As a program without our trainer would set them.
void GiveThreadsToLibraries(int threads) {
  at::set_num_threads(threads);
  using SetThreads = void (*)(int);
  if (void* symbol = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<SetThreads>(symbol)(threads);
  }
}

// The yardstick.
class BareLoop {
 public:
  BareLoop(const Setting& setting, const models::GraphPlan& plan, const data::Examples& examples,
           const at::Device& device)
      : spec_(TrainingOf(setting)),
        examples_(examples),
        device_(device),
        model_(
            training::MakeReference(setting.model, static_cast<std::int64_t>(setting.num_inputs))),
        inputs_(ToTensor(examples.inputs).to(device)),
        targets_(ToTensor(examples.targets).to(device)) {
    training::LoadParameters(plan, models::InitialParameters(plan, kSeed), *model_);
    model_->to(device);
    model_->train();
  }

  // The loss of the last batch.
  double Run() {
    torch::optim::SGD optimizer(model_->parameters(), torch::optim::SGDOptions(0.01).momentum(0.9));
    training::BatchSchedule schedule(spec_, examples_.patients, kSeed);
    torch::Tensor order, loss;
    for (std::uint64_t i = 0; i < schedule.num_batches(); ++i) {
      const auto batch = schedule.Next();
      if (batch.begins_epoch) {
        order = torch::tensor(
                    std::vector<std::int64_t>(schedule.order().begin(), schedule.order().end()))
                    .to(device_);
      }
      const torch::Tensor rows = order.narrow(0, static_cast<std::int64_t>(batch.first),
                                              static_cast<std::int64_t>(batch.size));
      optimizer.zero_grad();
      loss = torch::binary_cross_entropy_with_logits(model_->forward(inputs_.index_select(0, rows)),
                                                     targets_.index_select(0, rows));
      loss.backward();
      optimizer.step();
    }
    return loss.item<double>();
  }

 private:
  torch::Tensor ToTensor(const std::vector<float>& values) const {
    const auto rows = static_cast<std::int64_t>(examples_.size());
    return torch::from_blob(const_cast<float*>(values.data()),
                            {rows, static_cast<std::int64_t>(values.size()) / rows});
  }

  v1::TrainingSpec spec_;
  const data::Examples& examples_;
  at::Device device_;
  training::ReferencePtr model_;
  torch::Tensor inputs_, targets_;
};

template <typename Run>
double SecondsOf(Run run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// What a task takes to and from a device once is no part of a sample's cost: more batches there.
constexpr std::uint32_t kDeviceBatches = 20;

StatusOr<nlohmann::ordered_json> Measure(const Setting& setting, const std::string& device,
                                         int threads, Limits limits) {
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan,
                           models::PlanOf(setting.model, setting.num_inputs));
  const std::size_t num_rows = std::size_t{setting.batch_size} * setting.num_batches;
  const data::Examples examples = training::MakeExamplesFor(plan, num_rows, kSeed);
  const ParameterVector start = models::InitialParameters(plan, kSeed);
  const v1::TrainingSpec spec = TrainingOf(setting);
  CHORALE_ASSIGN_OR_RETURN(const auto trainer,
                           training::MakeTorchTrainer({.device = device, .threads = threads}));
  BareLoop bare(setting, plan, examples, at::Device(trainer->device()));

  // The fastest of some repetitions: what the machine can do when nothing else runs. Both take
  // turns, so that whatever else it does concerns both.
  double our_seconds = std::numeric_limits<double>::infinity();
  double bare_seconds = our_seconds;
  double spent_seconds = 0;
  for (int i = 0; i < limits.repetitions && (i < 2 || spent_seconds < limits.seconds); ++i) {
    Status status = OkStatus();
    const double ours = SecondsOf([&] {
      status = trainer
                   ->Train({.plan = plan,
                            .training = spec,
                            .train = examples,
                            .start = start,
                            .seed = kSeed})
                   .status();
    });
    CHORALE_RETURN_IF_ERROR(status);
    GiveThreadsToLibraries(threads);
    double loss = 0;
    const double theirs = SecondsOf([&] { loss = bare.Run(); });
    if (!std::isfinite(loss)) return Internal("the bare loop diverged");
    if (i > 0) {  // The first of each warms up.
      our_seconds = std::min(our_seconds, ours);
      bare_seconds = std::min(bare_seconds, theirs);
    }
    spent_seconds += ours + theirs;
  }
  const double ratio = bare_seconds / our_seconds;
  return nlohmann::ordered_json{
      {"model", setting.name},
      {"device", trainer->device()},
      {"threads", threads},
      {"parameters", plan.layout().num_parameters()},
      {"batch_size", setting.batch_size},
      {"samples_per_s", static_cast<double>(num_rows) / our_seconds},
      {"bare_samples_per_s", static_cast<double>(num_rows) / bare_seconds},
      {"ratio", ratio},
      {"target_ratio", kTargetRatio},
      {"ratio_to_target", ratio / kTargetRatio}};
}

// Takes `--device NAME` out of the arguments.
StatusOr<std::string> TakeDevice(std::vector<std::string>& arguments) {
  const auto found = std::find(arguments.begin(), arguments.end(), "--device");
  if (found == arguments.end()) return std::string("cpu");
  if (found + 1 == arguments.end()) return InvalidArgument("--device needs a name: cpu or cuda");
  std::string device = found[1];
  arguments.erase(found, found + 2);
  return device;
}

Status Run(std::vector<std::string> arguments) {
  CHORALE_ASSIGN_OR_RETURN(const std::string device, TakeDevice(arguments));
  CHORALE_ASSIGN_OR_RETURN(const Options options, ParseOptions(arguments));
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<int> thread_counts = {1};
  if (cores > 1 && device == "cpu") thread_counts.push_back(cores);
  const Limits limits = options.is_quick ? Limits{20, 4} : Limits{100, 60};

  nlohmann::ordered_json result = {{"bench", "training"}, {"machine", Machine()}};
  std::cout << "model            threads  samples/s  bare samples/s  ratio\n" << std::fixed;
  for (Setting setting : Settings()) {
    if (device != "cpu") setting.num_batches *= kDeviceBatches;
    for (const int threads : thread_counts) {
      CHORALE_ASSIGN_OR_RETURN(const nlohmann::ordered_json row,
                               Measure(setting, device, threads, limits));
      std::cout << std::left << std::setw(16) << setting.name << std::right << std::setw(8)
                << threads << std::setprecision(0) << std::setw(11)
                << row["samples_per_s"].get<double>() << std::setw(16)
                << row["bare_samples_per_s"].get<double>() << std::setprecision(3) << std::setw(7)
                << row["ratio"].get<double>() << std::endl;
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
