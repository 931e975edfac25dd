#include <filesystem>
#include <iostream>
#include <string>

#include "models/safetensors.h"
#include "tests/training/toy_data.h"
#include "training/torch_trainer.h"

// For state_dict_test.py: write_model MODEL DIRECTORY writes model.safetensors, and in
// examples.safetensors some inputs and what we predict of them.
namespace chorale::training {
namespace {

struct Chosen {
  v1::ModelSpec model;
  std::uint64_t num_inputs = 0;
};

StatusOr<Chosen> Choose(const std::string& name) {
  Chosen chosen;
  const auto set_image = [](v1::ImageShape& image, std::uint32_t channels, std::uint32_t size) {
    image.set_channels(channels);
    image.set_height(size);
    image.set_width(size);
  };
  if (name == "mlp") {
    chosen = {MakeMlp({7, 5}, v1::ACTIVATION_GELU), 6};
  } else if (name == "ft_transformer") {
    chosen.num_inputs = 5;
    chosen.model.mutable_ft_transformer()->set_width(16);
  } else if (name == "gru") {
    chosen.num_inputs = 12;
    chosen.model.mutable_gru()->set_steps(4);
    chosen.model.mutable_gru()->set_hidden(8);
    chosen.model.mutable_gru()->set_layers(2);
  } else if (name == "cnn2d") {
    chosen.num_inputs = 12 * 12;
    set_image(*chosen.model.mutable_cnn2d()->mutable_image(), 1, 12);
  } else if (name == "resnet18_gn") {
    chosen.num_inputs = 3 * 16 * 16;
    set_image(*chosen.model.mutable_resnet18_gn()->mutable_image(), 3, 16);
    chosen.model.mutable_resnet18_gn()->set_width(16);
    chosen.model.mutable_resnet18_gn()->set_groups(4);
  } else if (name == "unet2d") {
    chosen.num_inputs = 16 * 16;
    set_image(*chosen.model.mutable_unet2d()->mutable_image(), 1, 16);
    chosen.model.mutable_unet2d()->set_depth(2);
    chosen.model.mutable_unet2d()->set_width(8);
  } else {
    return InvalidArgument("unknown model " + name);
  }
  return chosen;
}

Status Write(const std::string& name, const std::filesystem::path& directory) {
  CHORALE_ASSIGN_OR_RETURN(const Chosen chosen, Choose(name));
  CHORALE_ASSIGN_OR_RETURN(const models::GraphPlan plan,
                           models::PlanOf(chosen.model, chosen.num_inputs));
  const ParameterVector parameters = MakeParameters(plan, 4);
  const data::Examples examples = MakeExamplesFor(plan, 5, 6);
  CHORALE_ASSIGN_OR_RETURN(const auto trainer, MakeTorchTrainer({.device = "cpu", .threads = 1}));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<float> predictions,
                           trainer->Predict(plan, parameters, examples));
  CHORALE_RETURN_IF_ERROR(models::SaveSafetensors(directory / "model.safetensors", plan.layout(),
                                                  std::span<const float>(parameters), {}));
  CHORALE_ASSIGN_OR_RETURN(
      const ParameterLayout layout,
      ParameterLayout::Create({{"inputs", {examples.size(), plan.num_inputs()}},
                               {"predictions", {examples.size(), plan.num_outputs()}}}));
  std::vector<float> values = examples.inputs;
  values.insert(values.end(), predictions.begin(), predictions.end());
  return models::SaveSafetensors(directory / "examples.safetensors", layout,
                                 std::span<const float>(values), {});
}

}  // namespace
}  // namespace chorale::training

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: write_model MODEL DIRECTORY\n";
    return 2;
  }
  const chorale::Status status = chorale::training::Write(argv[1], argv[2]);
  if (status.ok()) return 0;
  std::cerr << "write_model: " << chorale::MessageOf(status) << "\n";
  return 1;
}
