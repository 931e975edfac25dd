#include "tests/training/reference_models.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace chorale::training {
namespace {

using torch::Tensor;
namespace nn = torch::nn;

std::int64_t Or(std::uint32_t value, std::int64_t otherwise) {
  return value == 0 ? otherwise : value;
}

template <typename Spec>
std::int64_t OutputsOf(const Spec& spec) {
  return spec.loss().has_cross_entropy() ? spec.loss().cross_entropy().num_classes() : 1;
}

Tensor Activate(v1::Activation activation, const Tensor& x) {
  switch (activation) {
    case v1::ACTIVATION_TANH:
      return torch::tanh(x);
    case v1::ACTIVATION_GELU:
      return torch::gelu(x);
    case v1::ACTIVATION_SILU:
      return torch::silu(x);
    default:
      return torch::relu(x);
  }
}

class OneLinear : public ReferenceModel {
 public:
  OneLinear(std::int64_t inputs, bool bias)
      : linear_(register_module("linear", nn::Linear(nn::LinearOptions(inputs, 1).bias(bias)))) {}
  Tensor forward(Tensor x) override { return linear_(x); }

 private:
  nn::Linear linear_;
};

class Mlp : public ReferenceModel {
 public:
  Mlp(std::vector<std::int64_t> widths, v1::Activation activation) : activation_(activation) {
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      layers_->push_back(nn::Linear(widths[i], widths[i + 1]));
    }
    register_module("layers", layers_);
  }
  Tensor forward(Tensor x) override {
    for (std::size_t i = 0; i < layers_->size(); ++i) {
      x = layers_[i]->as<nn::Linear>()->forward(x);
      if (i + 1 < layers_->size()) x = Activate(activation_, x);
    }
    return x;
  }

 private:
  v1::Activation activation_;
  nn::ModuleList layers_;
};

struct TableBlock : nn::Module {
  TableBlock(std::int64_t width, std::int64_t hidden)
      : norm(register_module("norm", nn::LayerNorm(nn::LayerNormOptions({width})))),
        linear1(register_module("linear1", nn::Linear(width, hidden))),
        linear2(register_module("linear2", nn::Linear(hidden, width))) {}
  Tensor forward(const Tensor& x) { return x + linear2(torch::relu(linear1(norm(x)))); }
  nn::LayerNorm norm;
  nn::Linear linear1, linear2;
};

class TabularResnet : public ReferenceModel {
 public:
  TabularResnet(const v1::TabularResnet& spec, std::int64_t inputs) {
    const std::int64_t width = Or(spec.width(), 64);
    embed_ = register_module("embed", nn::Linear(inputs, width));
    for (std::int64_t i = 0; i < Or(spec.blocks(), 2); ++i) {
      blocks_->push_back(std::make_shared<TableBlock>(width, Or(spec.hidden_width(), 2 * width)));
    }
    register_module("blocks", blocks_);
    norm_ = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({width})));
    head_ = register_module("head", nn::Linear(width, OutputsOf(spec)));
  }
  Tensor forward(Tensor x) override {
    x = embed_(x);
    for (const auto& block : *blocks_) x = block->as<TableBlock>()->forward(x);
    return head_(torch::relu(norm_(x)));
  }

 private:
  nn::Linear embed_{nullptr}, head_{nullptr};
  nn::LayerNorm norm_{nullptr};
  nn::ModuleList blocks_;
};

struct Constant : nn::Module {
  explicit Constant(at::IntArrayRef shape)
      : weight(register_parameter("weight", torch::zeros(shape))) {}
  Tensor weight;
};

struct Tokens : nn::Module {
  Tokens(std::int64_t inputs, std::int64_t width)
      : scale(register_module("scale", std::make_shared<Constant>(at::IntArrayRef{inputs, width}))),
        shift(
            register_module("shift", std::make_shared<Constant>(at::IntArrayRef{inputs, width}))) {}
  Tensor forward(const Tensor& x) { return x.unsqueeze(-1) * scale->weight + shift->weight; }
  std::shared_ptr<Constant> scale, shift;
};

struct TransformerBlock : nn::Module {
  TransformerBlock(std::int64_t width, std::int64_t heads)
      : norm1(register_module("norm1", nn::LayerNorm(nn::LayerNormOptions({width})))),
        self_attn(register_module("self_attn", nn::MultiheadAttention(width, heads))),
        norm2(register_module("norm2", nn::LayerNorm(nn::LayerNormOptions({width})))),
        linear1(register_module("linear1", nn::Linear(width, 2 * width))),
        linear2(register_module("linear2", nn::Linear(2 * width, width))) {}
  Tensor forward(const Tensor& x) {
    const Tensor tokens = norm1(x).transpose(0, 1);  // PyTorch wants [tokens, rows, width].
    const auto read = self_attn->forward(tokens, tokens, tokens, {}, /*need_weights=*/false);
    const Tensor y = x + std::get<0>(read).transpose(0, 1);
    return y + linear2(torch::gelu(linear1(norm2(y))));
  }
  nn::LayerNorm norm1;
  nn::MultiheadAttention self_attn;
  nn::LayerNorm norm2;
  nn::Linear linear1, linear2;
};

class FtTransformer : public ReferenceModel {
 public:
  FtTransformer(const v1::FtTransformer& spec, std::int64_t inputs) {
    const std::int64_t width = Or(spec.width(), 32);
    class_token_ =
        register_module("class_token", std::make_shared<Constant>(at::IntArrayRef{1, width}));
    tokens_ = register_module("tokens", std::make_shared<Tokens>(inputs, width));
    for (std::int64_t i = 0; i < Or(spec.blocks(), 2); ++i) {
      blocks_->push_back(std::make_shared<TransformerBlock>(width, Or(spec.heads(), 4)));
    }
    register_module("blocks", blocks_);
    norm_ = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({width})));
    head_ = register_module("head", nn::Linear(width, OutputsOf(spec)));
  }
  Tensor forward(Tensor x) override {
    x = torch::cat({class_token_->weight.expand({x.size(0), 1, -1}), tokens_->forward(x)}, 1);
    for (const auto& block : *blocks_) x = block->as<TransformerBlock>()->forward(x);
    return head_(torch::relu(norm_(x.select(1, 0))));
  }

 private:
  std::shared_ptr<Constant> class_token_;
  std::shared_ptr<Tokens> tokens_;
  nn::ModuleList blocks_;
  nn::LayerNorm norm_{nullptr};
  nn::Linear head_{nullptr};
};

class Gru : public ReferenceModel {
 public:
  Gru(const v1::Gru& spec, std::int64_t inputs) : steps_(spec.steps()) {
    const std::int64_t hidden = Or(spec.hidden(), 32);
    gru_ = register_module("gru", nn::GRU(nn::GRUOptions(inputs / steps_, hidden)
                                              .num_layers(Or(spec.layers(), 1))
                                              .batch_first(true)));
    head_ = register_module("head", nn::Linear(hidden, OutputsOf(spec)));
  }
  Tensor forward(Tensor x) override {
    const auto states = gru_->forward(x.view({x.size(0), steps_, -1}));
    return head_(std::get<0>(states).select(1, steps_ - 1));
  }

 private:
  std::int64_t steps_;
  nn::GRU gru_{nullptr};
  nn::Linear head_{nullptr};
};

class Cnn1d : public ReferenceModel {
 public:
  explicit Cnn1d(const v1::Cnn1d& spec) : channels_(Or(spec.channels(), 1)) {
    std::vector<std::int64_t> filters(spec.filters().begin(), spec.filters().end());
    if (filters.empty()) filters = {16, 32};
    const std::int64_t kernel = Or(spec.kernel(), 5);
    std::int64_t in = channels_;
    for (const std::int64_t out : filters) {
      convs_->push_back(nn::Conv1d(nn::Conv1dOptions(in, out, kernel).padding(kernel / 2)));
      in = out;
    }
    register_module("convs", convs_);
    head_ = register_module("head", nn::Linear(in, OutputsOf(spec)));
  }
  Tensor forward(Tensor x) override {
    x = x.view({x.size(0), channels_, -1});
    for (std::size_t i = 0; i < convs_->size(); ++i) {
      x = torch::relu(convs_[i]->as<nn::Conv1d>()->forward(x));
      if (i + 1 < convs_->size()) x = torch::max_pool1d(x, 2);
    }
    return head_(x.mean(-1));
  }

 private:
  std::int64_t channels_;
  nn::ModuleList convs_;
  nn::Linear head_{nullptr};
};

class ImageModel : public ReferenceModel {
 public:
  explicit ImageModel(const v1::ImageShape& image)
      : channels_(Or(image.channels(), 1)), height_(image.height()), width_(image.width()) {}

 protected:
  Tensor ToImage(const Tensor& x) const { return x.view({x.size(0), channels_, height_, width_}); }
  std::int64_t channels_, height_, width_;
};

class Cnn2d : public ImageModel {
 public:
  explicit Cnn2d(const v1::Cnn2d& spec) : ImageModel(spec.image()) {
    std::vector<std::int64_t> filters(spec.filters().begin(), spec.filters().end());
    if (filters.empty()) filters = {16, 32};
    std::int64_t in = channels_, height = height_, width = width_;
    for (const std::int64_t out : filters) {
      convs_->push_back(nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1)));
      in = out, height /= 2, width /= 2;
    }
    register_module("convs", convs_);
    const std::int64_t hidden = Or(spec.hidden(), 64);
    hidden_ = register_module("hidden", nn::Linear(in * height * width, hidden));
    head_ = register_module("head", nn::Linear(hidden, OutputsOf(spec)));
  }
  Tensor forward(Tensor x) override {
    x = ToImage(x);
    for (const auto& conv : *convs_) {
      x = torch::max_pool2d(torch::relu(conv->as<nn::Conv2d>()->forward(x)), 2);
    }
    return head_(torch::relu(hidden_(x.flatten(1))));
  }

 private:
  nn::ModuleList convs_;
  nn::Linear hidden_{nullptr}, head_{nullptr};
};

nn::Conv2d ConvolutionOf(std::int64_t in, std::int64_t out, std::int64_t kernel,
                         std::int64_t stride = 1) {
  return nn::Conv2d(
      nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

struct BasicBlock : nn::Module {
  BasicBlock(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t groups)
      : conv1(register_module("conv1", ConvolutionOf(in, out, 3, stride))),
        bn1(register_module("bn1", nn::GroupNorm(groups, out))),
        conv2(register_module("conv2", ConvolutionOf(out, out, 3))),
        bn2(register_module("bn2", nn::GroupNorm(groups, out))) {
    if (stride == 1) return;
    downsample = register_module("downsample", nn::Sequential(ConvolutionOf(in, out, 1, stride),
                                                              nn::GroupNorm(groups, out)));
  }
  Tensor forward(const Tensor& x) {
    const Tensor y = bn2(conv2(torch::relu(bn1(conv1(x)))));
    return torch::relu(y + (downsample.is_empty() ? x : downsample->forward(x)));
  }
  nn::Conv2d conv1;
  nn::GroupNorm bn1;
  nn::Conv2d conv2;
  nn::GroupNorm bn2;
  nn::Sequential downsample{nullptr};
};

class Resnet18Gn : public ImageModel {
 public:
  explicit Resnet18Gn(const v1::Resnet18Gn& spec) : ImageModel(spec.image()) {
    const std::int64_t width = Or(spec.width(), 64);
    const std::int64_t groups = Or(spec.groups(), 16);
    is_small_ = height_ <= 64;
    conv1_ = register_module("conv1", is_small_ ? ConvolutionOf(channels_, width, 3)
                                                : ConvolutionOf(channels_, width, 7, 2));
    bn1_ = register_module("bn1", nn::GroupNorm(groups, width));
    std::int64_t in = width;
    for (std::int64_t stage = 0; stage < 4; ++stage) {
      const std::int64_t out = width << stage;
      nn::Sequential layer(std::make_shared<BasicBlock>(in, out, stage == 0 ? 1 : 2, groups),
                           std::make_shared<BasicBlock>(out, out, 1, groups));
      layers_.push_back(register_module("layer" + std::to_string(stage + 1), layer));
      in = out;
    }
    fc_ = register_module("fc", nn::Linear(in, OutputsOf(spec)));
  }
  Tensor forward(Tensor x) override {
    x = torch::relu(bn1_(conv1_(ToImage(x))));
    if (!is_small_) x = torch::max_pool2d(x, 3, 2, 1);
    for (auto& layer : layers_) x = layer->forward(x);
    return fc_(x.mean({2, 3}));
  }

 private:
  bool is_small_;
  nn::Conv2d conv1_{nullptr};
  nn::GroupNorm bn1_{nullptr};
  std::vector<nn::Sequential> layers_;
  nn::Linear fc_{nullptr};
};

struct UnetLevel : nn::Module {
  UnetLevel(std::int64_t in, std::int64_t out, std::int64_t reduced_from = 0)
      : conv1(register_module("conv1", nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1)))),
        norm1(register_module("norm1", nn::GroupNorm(8, out))),
        conv2(register_module("conv2", nn::Conv2d(nn::Conv2dOptions(out, out, 3).padding(1)))),
        norm2(register_module("norm2", nn::GroupNorm(8, out))) {
    if (reduced_from == 0) return;
    reduce = register_module("reduce", nn::Conv2d(nn::Conv2dOptions(reduced_from, out, 1)));
  }
  Tensor forward(const Tensor& x) {
    return torch::relu(norm2(conv2(torch::relu(norm1(conv1(x))))));
  }
  nn::Conv2d conv1;
  nn::GroupNorm norm1;
  nn::Conv2d conv2;
  nn::GroupNorm norm2;
  nn::Conv2d reduce{nullptr};
};

class Unet2d : public ImageModel {
 public:
  explicit Unet2d(const v1::Unet2d& spec) : ImageModel(spec.image()) {
    const std::int64_t depth = Or(spec.depth(), 3);
    const std::int64_t width = Or(spec.width(), 16);
    std::int64_t in = channels_;
    for (std::int64_t i = 0; i < depth; ++i, in = width << (i - 1)) {
      down_->push_back(std::make_shared<UnetLevel>(in, width << i));
    }
    middle_ = register_module("middle", std::make_shared<UnetLevel>(in, width << depth));
    for (std::int64_t i = depth - 1; i >= 0; --i) {
      up_->push_back(std::make_shared<UnetLevel>(2 * (width << i), width << i, width << (i + 1)));
    }
    register_module("down", down_);
    register_module("up", up_);
    head_ = register_module("head", nn::Conv2d(nn::Conv2dOptions(width, 1, 1)));
  }
  Tensor forward(Tensor x) override {
    x = ToImage(x);
    std::vector<Tensor> skips;
    for (const auto& level : *down_) {
      skips.push_back(level->as<UnetLevel>()->forward(x));
      x = torch::max_pool2d(skips.back(), 2);
    }
    x = middle_->forward(x);
    const auto doubled = nn::functional::InterpolateFuncOptions()
                             .scale_factor(std::vector<double>{2, 2})
                             .mode(torch::kNearest);
    for (const auto& module : *up_) {
      auto* level = module->as<UnetLevel>();
      x = nn::functional::interpolate(level->reduce(x), doubled);
      x = level->forward(torch::cat({skips.back(), x}, 1));
      skips.pop_back();
    }
    return head_(x).flatten(1);
  }

 private:
  nn::ModuleList down_, up_;
  std::shared_ptr<UnetLevel> middle_;
  nn::Conv2d head_{nullptr};
};

template <typename Spec>
ReferencePtr MakeMlp(const Spec& spec, std::int64_t inputs, std::int64_t outputs) {
  std::vector<std::int64_t> widths = {inputs};
  widths.insert(widths.end(), spec.hidden_units().begin(), spec.hidden_units().end());
  widths.push_back(outputs);
  return std::make_shared<Mlp>(widths, spec.activation());
}

// Parameters and running values by name.
std::map<std::string, Tensor> StateOf(const nn::Module& module) {
  std::map<std::string, Tensor> state;
  for (const auto& item : module.named_parameters()) state[item.key()] = item.value();
  for (const auto& item : module.named_buffers()) {
    if (item.key().find("num_batches_tracked") == std::string::npos)
      state[item.key()] = item.value();
  }
  return state;
}

}  // namespace

ReferencePtr MakeReference(const v1::ModelSpec& spec, std::int64_t num_inputs) {
  switch (spec.kind_case()) {
    case v1::ModelSpec::kLogisticRegression:
    case v1::ModelSpec::kLinearRegression:
    case v1::ModelSpec::kPoissonRegression:
      return std::make_shared<OneLinear>(num_inputs, true);
    case v1::ModelSpec::kCox:
      return std::make_shared<OneLinear>(num_inputs, false);
    case v1::ModelSpec::kMlp:
      return MakeMlp(spec.mlp(), num_inputs, OutputsOf(spec.mlp()));
    case v1::ModelSpec::kDiscreteSurvival:
      return MakeMlp(spec.discrete_survival(), num_inputs,
                     spec.discrete_survival().interval_ends_size());
    case v1::ModelSpec::kTabularResnet:
      return std::make_shared<TabularResnet>(spec.tabular_resnet(), num_inputs);
    case v1::ModelSpec::kFtTransformer:
      return std::make_shared<FtTransformer>(spec.ft_transformer(), num_inputs);
    case v1::ModelSpec::kGru:
      return std::make_shared<Gru>(spec.gru(), num_inputs);
    case v1::ModelSpec::kCnn1D:
      return std::make_shared<Cnn1d>(spec.cnn1d());
    case v1::ModelSpec::kCnn2D:
      return std::make_shared<Cnn2d>(spec.cnn2d());
    case v1::ModelSpec::kResnet18Gn:
      return std::make_shared<Resnet18Gn>(spec.resnet18_gn());
    case v1::ModelSpec::kUnet2D:
      return std::make_shared<Unet2d>(spec.unet2d());
    default:
      throw std::invalid_argument("no reference for this model");
  }
}

void LoadParameters(const models::GraphPlan& plan, std::span<const float> parameters,
                    torch::nn::Module& module) {
  const torch::NoGradGuard guard;
  const std::map<std::string, Tensor> state = StateOf(module);
  if (state.size() != plan.layout().tensors().size()) {
    throw std::invalid_argument("the reference has other parameters");
  }
  for (const TensorLayout& tensor : plan.layout().tensors()) {
    const std::vector<std::int64_t> shape(tensor.shape.begin(), tensor.shape.end());
    state.at(tensor.name)
        .copy_(torch::from_blob(const_cast<float*>(parameters.data()) + tensor.offset, shape));
  }
}

torch::Tensor Flatten(const models::GraphPlan& plan, const torch::nn::Module& module,
                      const std::function<torch::Tensor(const torch::Tensor&)>& of) {
  const std::map<std::string, Tensor> state = StateOf(module);
  std::vector<Tensor> parts;
  for (const TensorLayout& tensor : plan.layout().tensors()) {
    parts.push_back(of(state.at(tensor.name)).detach().reshape(-1));
  }
  return torch::cat(parts);
}

}  // namespace chorale::training
