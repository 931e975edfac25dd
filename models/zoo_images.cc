#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/config/yaml.h"
#include "models/graph_builder.h"
#include "models/zoo_family.h"

// Networks for images of moderate size: cnn2d, unet2d.
namespace chorale::models::zoo {
namespace {

using Value = GraphBuilder::Value;

constexpr std::uint32_t kMaxFilters = 4096;
constexpr std::uint32_t kMaxUnits = 65536;
constexpr std::uint32_t kUnetGroups = 8;
constexpr std::uint32_t kDefaultDepth = 3;
constexpr std::uint32_t kDefaultUnetWidth = 16;

constexpr GraphBuilder::Window kSameSize{.kernel = 3, .padding = 1};
constexpr GraphBuilder::Window kHalving{.kernel = 2, .stride = 2};

Value InputOf(GraphBuilder& builder, const v1::ImageShape& image) {
  return builder.Input("image", {Or(image.channels(), 1), image.height(), image.width()});
}

Widths FiltersOf(const v1::Cnn2d& spec) {
  if (!spec.filters().empty()) return spec.filters();
  Widths filters;
  filters.Add(16);
  filters.Add(32);
  return filters;
}

// Convolution, norm, ReLU: twice.
Value DoubleConvolution(GraphBuilder& builder, const std::string& level, const Value& input,
                        std::uint32_t channels) {
  Value value = input;
  for (const char* number : {"1", "2"}) {
    builder.Convolution(level + "conv" + number, value, channels, kSameSize);
    value = builder.GroupNorm(level + "norm" + number, level + "conv" + number, kUnetGroups);
    value = builder.Activate(level + "relu" + number, value, v1::ACTIVATION_RELU);
  }
  return value;
}

}  // namespace

Status Check(const v1::Cnn2d& spec, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckImage(spec.image(), field));
  CHORALE_RETURN_IF_ERROR(CheckWidths(spec.filters(), 0, kMaxFilters, field + ".filters"));
  const Widths filters = FiltersOf(spec);
  const std::uint32_t shorter = std::min(spec.image().height(), spec.image().width());
  if (shorter >> filters.size() == 0) {
    return config::FieldError(field + ".filters",
                              "must be few enough to halve " + std::to_string(shorter) +
                                  " pixels after each, got " + std::to_string(filters.size()));
  }
  CHORALE_RETURN_IF_ERROR(CheckIn(Or(spec.hidden(), 64), 1, kMaxUnits, field + ".hidden"));
  return CheckLoss(spec, field);
}

Graph Expand(const v1::Cnn2d& spec, std::uint64_t inputs, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckImageInputs(spec.image(), inputs, field));
  const Widths filters = FiltersOf(spec);
  const v1::Loss loss = LossOf(spec);
  GraphBuilder builder;
  Value value = InputOf(builder, spec.image());
  for (int i = 0; i < filters.size(); ++i) {
    const std::string number = std::to_string(i);
    builder.Convolution("convs." + number, value, filters[i], kSameSize);
    value = builder.Activate("relus." + number, "convs." + number, v1::ACTIVATION_RELU);
    value = builder.MaxPool("pools." + number, value, kHalving);
  }
  value = builder.Linear("hidden", builder.Flatten("flat", value), Or(spec.hidden(), 64));
  value = builder.Activate("relu", value, v1::ACTIVATION_RELU);
  value = builder.Linear("head", value, OutputsFor(loss));
  return std::move(builder).Build(value, loss);
}

Status Check(const v1::Unet2d& spec, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckImage(spec.image(), field));
  const std::uint32_t depth = Or(spec.depth(), kDefaultDepth);
  const std::uint32_t width = Or(spec.width(), kDefaultUnetWidth);
  CHORALE_RETURN_IF_ERROR(CheckIn(depth, 1, 6, field + ".depth"));
  CHORALE_RETURN_IF_ERROR(CheckIn(width, 8, 256, field + ".width"));
  if (width % kUnetGroups != 0) {
    return config::FieldError(field + ".width",
                              "must be a multiple of 8, got " + std::to_string(width));
  }
  const std::uint32_t multiple = 1u << depth;
  for (const auto& [axis, size] :
       {std::pair{"height", spec.image().height()}, std::pair{"width", spec.image().width()}}) {
    if (size % multiple == 0) continue;
    return config::FieldError(field + ".image." + axis, "must be a multiple of 2^depth (" +
                                                            std::to_string(multiple) + "), got " +
                                                            std::to_string(size));
  }
  return OkStatus();
}

Graph Expand(const v1::Unet2d& spec, std::uint64_t inputs, const std::string& field) {
  CHORALE_RETURN_IF_ERROR(CheckImageInputs(spec.image(), inputs, field));
  const std::uint32_t depth = Or(spec.depth(), kDefaultDepth);
  const std::uint32_t width = Or(spec.width(), kDefaultUnetWidth);
  v1::Loss loss;
  loss.mutable_binary_cross_entropy();
  GraphBuilder builder;
  Value value = InputOf(builder, spec.image());
  std::vector<Value> skips;
  for (std::uint32_t i = 0; i < depth; ++i) {
    const std::string level = "down." + std::to_string(i) + ".";
    value = DoubleConvolution(builder, level, value, width << i);
    skips.push_back(value);
    value = builder.MaxPool(level + "pool", value, kHalving);
  }
  value = DoubleConvolution(builder, "middle.", value, width << depth);
  for (std::uint32_t i = 0; i < depth; ++i) {
    const std::string level = "up." + std::to_string(i) + ".";
    const std::uint32_t channels = width << (depth - 1 - i);
    // Channels are halved before the pixels are repeated: the same result for a quarter of the
    // work.
    builder.Convolution(level + "reduce", value, channels, {.kernel = 1});
    builder.Node(level + "upsample", {level + "reduce"}).mutable_upsample()->set_factor(2);
    value = builder.Concat(level + "concat", skips[depth - 1 - i], level + "upsample", 0);
    value = DoubleConvolution(builder, level, value, channels);
  }
  builder.Convolution("head", value, 1, {.kernel = 1});
  return std::move(builder).Build("head", loss);
}

}  // namespace chorale::models::zoo
