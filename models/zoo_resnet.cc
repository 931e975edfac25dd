#include <string>
#include <utility>

#include "core/config/yaml.h"
#include "models/graph_builder.h"
#include "models/zoo_family.h"

// resnet18_gn, under the names of torchvision's resnet18: its norms are called bn there.
namespace chorale::models::zoo {
namespace {

using Value = GraphBuilder::Value;

constexpr std::uint32_t kSmallImage = 64;  // Height up to which the stem keeps the size.
constexpr std::uint32_t kDefaultWidth = 64;
constexpr std::uint32_t kDefaultGroups = 16;

class ResnetBuilder {
 public:
  explicit ResnetBuilder(std::uint32_t groups) : groups_(groups) {}

  GraphBuilder& builder() { return builder_; }

  Value Stem(const Value& input, std::uint32_t width, bool is_small) {
    const GraphBuilder::Window window =
        is_small ? GraphBuilder::Window{.kernel = 3, .padding = 1}
                 : GraphBuilder::Window{.kernel = 7, .stride = 2, .padding = 3};
    Value value = ConvolveAndNormalize("conv1", "bn1", input, width, window);
    value = builder_.Activate("relu", value, v1::ACTIVATION_RELU);
    if (is_small) return value;
    return builder_.MaxPool("maxpool", value, {.kernel = 3, .stride = 2, .padding = 1});
  }

  // A BasicBlock; with another size or number of channels, the way past it is a 1 x 1 convolution.
  Value Block(const std::string& block, const Value& input, std::uint32_t channels,
              std::uint32_t stride, bool has_downsample) {
    Value value = ConvolveAndNormalize(block + "conv1", block + "bn1", input, channels,
                                       {.kernel = 3, .stride = stride, .padding = 1});
    value = builder_.Activate(block + "relu1", value, v1::ACTIVATION_RELU);
    value = ConvolveAndNormalize(block + "conv2", block + "bn2", value, channels,
                                 {.kernel = 3, .padding = 1});
    const Value skip = has_downsample
                           ? ConvolveAndNormalize(block + "downsample.0", block + "downsample.1",
                                                  input, channels, {.kernel = 1, .stride = stride})
                           : input;
    value = builder_.Add(block + "add", value, skip);
    return builder_.Activate(block + "relu2", value, v1::ACTIVATION_RELU);
  }

 private:
  Value ConvolveAndNormalize(const Value& convolution, const Value& norm, const Value& input,
                             std::uint32_t channels, const GraphBuilder::Window& window) {
    v1::GraphNode& node = builder_.Convolution(convolution, input, channels, window);
    node.mutable_convolution()->set_no_bias(true);
    node.set_weight_initializer(v1::INITIALIZER_HE_NORMAL);
    return builder_.GroupNorm(norm, convolution, groups_);
  }

  GraphBuilder builder_;
  std::uint32_t groups_;
};

}  // namespace

Status Check(const v1::Resnet18Gn& spec, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckImage(spec.image(), field));
  const std::uint32_t width = Or(spec.width(), kDefaultWidth);
  const std::uint32_t groups = Or(spec.groups(), kDefaultGroups);
  CHORALE_RETURN_IF_ERROR(CheckIn(width, 8, 512, field + ".width"));
  if (width % groups != 0) {
    return config::FieldError(field + ".groups", "must divide the width (" + std::to_string(width) +
                                                     "), got " + std::to_string(groups));
  }
  return CheckLoss(spec, field);
}

Graph Expand(const v1::Resnet18Gn& spec, std::uint64_t inputs, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckImageInputs(spec.image(), inputs, field));
  const std::uint32_t width = Or(spec.width(), kDefaultWidth);
  const v1::ImageShape& image = spec.image();
  const v1::Loss loss = LossOf(spec);
  ResnetBuilder resnet(Or(spec.groups(), kDefaultGroups));
  GraphBuilder& builder = resnet.builder();
  Value value = builder.Input("image", {Or(image.channels(), 1), image.height(), image.width()});
  value = resnet.Stem(value, width, image.height() <= kSmallImage);
  for (std::uint32_t stage = 0; stage < 4; ++stage) {
    const std::string layer = "layer" + std::to_string(stage + 1) + ".";
    const bool halves = stage > 0;
    value = resnet.Block(layer + "0.", value, width << stage, halves ? 2 : 1, halves);
    value = resnet.Block(layer + "1.", value, width << stage, 1, false);
  }
  value = builder.GlobalMean("avgpool", value, 2);
  value = builder.Linear("fc", value, OutputsFor(loss));
  return std::move(builder).Build(value, loss);
}

}  // namespace chorale::models::zoo
