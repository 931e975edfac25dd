#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <limits>

#include "tests/training/toy_data.h"
#include "training/graph_network.h"

// Operations of a graph that no model of the zoo has, against the modules of torch::nn.
namespace chorale::training {
namespace {

using torch::Tensor;
namespace nn = torch::nn;

// A graph of one input "x" whose output is the node "y", flattened, so that any shape is sound.
class Operation {
 public:
  Operation(const std::string& nodes, at::IntArrayRef shape) {
    v1::ModelGraph graph;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(nodes, &graph)) << nodes;
    graph.add_inputs()->set_name("x");
    std::int64_t numbers = 1;
    for (const std::int64_t size : shape) {
      graph.mutable_inputs(0)->add_shape(static_cast<std::uint64_t>(size));
      numbers *= size;
    }
    // A graph without parameters is not sound: one that is 0 joins.
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(
        R"(nodes { name: "flat" inputs: "y" flatten { } }
           nodes { name: "zero" learned_constant { shape: 1 }
                   weight_initializer: INITIALIZER_ZEROS }
           nodes { name: "out" inputs: "flat" inputs: "zero" add { } }
           output: "out" loss { mean_squared_error { } })",
        &graph));
    plan_ = std::make_unique<models::GraphPlan>(
        models::GraphPlan::Create(std::move(graph), "model.graph").value());
    network_ = std::make_unique<GraphNetwork>(*plan_);
    flat_ = torch::tensor(MakeParameters(*plan_, 3));
    views_ = network_->Views(flat_);
    const torch::NoGradGuard guard;
    views_.back().zero_();
    torch::manual_seed(1);
    input_ = torch::randn({kRows, numbers}).requires_grad_();
    shape_ = {kRows};
    shape_.insert(shape_.end(), shape.begin(), shape.end());
  }

  static constexpr std::int64_t kRows = 3;
  // [rows, numbers of y]
  Tensor Run(const GraphNetwork::Mode& mode = {}) const {
    return network_->Forward(views_, input_, mode);
  }
  Tensor x() const { return input_.view(shape_); }
  Tensor& input() { return input_; }
  const Tensor& flat() const { return flat_; }
  const std::vector<Tensor>& views() const { return views_; }

  // Gives a module our parameters, in order of its own; running values too.
  void Teach(nn::Module& module) const {
    const torch::NoGradGuard guard;
    std::size_t next = 0;
    for (Tensor& parameter : module.parameters()) parameter.copy_(views_[next++]);
    for (const auto& buffer : module.named_buffers()) {
      if (buffer.key() != "num_batches_tracked") Tensor(buffer.value()).copy_(views_[next++]);
    }
    EXPECT_EQ(next + 1, views_.size());
  }
  // Values, and gradients by the input of an uneven sum of them.
  void ExpectEqual(const Tensor& expected, const GraphNetwork::Mode& mode = {}) {
    const Tensor got = Run(mode);
    const Tensor want = expected.reshape({kRows, -1});
    ASSERT_EQ(got.sizes(), want.sizes());
    EXPECT_LT((got - want).abs().max().item<double>(), 1e-5);
    const Tensor weights = torch::randn_like(got);
    const Tensor our_gradient = torch::autograd::grad({(got * weights).sum()}, {input_})[0];
    const Tensor gradient = torch::autograd::grad({(want * weights).sum()}, {input_})[0];
    EXPECT_LT((our_gradient - gradient).abs().max().item<double>(), 1e-4);
  }

 private:
  std::unique_ptr<models::GraphPlan> plan_;
  std::unique_ptr<GraphNetwork> network_;
  Tensor flat_, input_;
  std::vector<std::int64_t> shape_;
  std::vector<Tensor> views_;
};

TEST(OperationsTest, ConvolutionIn3DWithStridePaddingDilationAndGroups) {
  Operation op(R"(nodes { name: "y" inputs: "x" convolution { channels: 6 kernel: [3, 2, 1]
      stride: [2, 1, 1] padding: [1, 0, 2] dilation: [1, 2, 1] groups: 2 } })",
               {4, 5, 6, 3});
  nn::Conv3d module(nn::Conv3dOptions(4, 6, {3, 2, 1})
                        .stride({2, 1, 1})
                        .padding({1, 0, 2})
                        .dilation({1, 2, 1})
                        .groups(2));
  op.Teach(*module);
  op.ExpectEqual(module(op.x()));
}

TEST(OperationsTest, ConvolutionIn1DWithoutBias) {
  Operation op(
      R"(nodes { name: "y" inputs: "x" convolution { channels: 5 kernel: 3 no_bias: true } })",
      {2, 9});
  nn::Conv1d module(nn::Conv1dOptions(2, 5, 3).bias(false));
  op.Teach(*module);
  op.ExpectEqual(module(op.x()));
}

TEST(OperationsTest, EmbeddingOfNumbersAndOfWhatIsNone) {
  Operation op(R"(nodes { name: "y" inputs: "x" embedding { rows: 4 width: 3 } })", {4});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  op.input() = torch::tensor({0.F, 1.F, 2.F, 3.F, 3.9F, 4.F, -1.F, nan, 1e30F, -1e30F, 2.F, 2.F})
                   .view({3, 4});
  const Tensor rows = torch::tensor({0, 1, 2, 3, 3, 0, 0, 0, 0, 0, 2, 2});

  EXPECT_TRUE(torch::equal(op.Run().detach().view({12, 3}), op.views()[0].index_select(0, rows)));
}

TEST(OperationsTest, InstanceNorm) {
  Operation op(R"(nodes { name: "y" inputs: "x" instance_norm { epsilon: 0.01 } })", {4, 7});
  nn::InstanceNorm1d module(nn::InstanceNorm1dOptions(4).affine(true).eps(0.01));
  op.Teach(*module);
  op.ExpectEqual(module(op.x()), {.is_training = true});
}

TEST(OperationsTest, BatchNormTakesTheMomentsOfTheBatchAndKeepsThemRunning) {
  Operation op(R"(nodes { name: "y" inputs: "x" batch_norm { momentum: 0.3 } })", {4, 5, 2});
  nn::BatchNorm2d module(nn::BatchNorm2dOptions(4).momentum(0.3));
  {
    const torch::NoGradGuard guard;
    op.views()[3].abs_();  // A variance.
  }
  op.Teach(*module);
  const Tensor expected = module(op.x());

  op.ExpectEqual(expected, {.is_training = true});  // Runs it once.

  EXPECT_TRUE(torch::allclose(op.views()[2], module->running_mean));
  EXPECT_TRUE(torch::allclose(op.views()[3], module->running_var));
  EXPECT_TRUE(torch::equal(op.flat().narrow(0, 8, 4), op.views()[2])) << "not written through";
  module->eval();
  op.ExpectEqual(module(op.x()));
}

TEST(OperationsTest, BatchNormOfOneNumberAChannelUsesTheRunningValues) {
  Operation op(R"(nodes { name: "y" inputs: "x" batch_norm { } })", {4});
  op.input() = torch::randn({1, 4});
  {
    const torch::NoGradGuard guard;
    op.views()[3].abs_();
  }
  const Tensor before = op.flat().clone();

  EXPECT_TRUE(torch::equal(op.Run({.is_training = true}), op.Run()));
  EXPECT_TRUE(torch::equal(op.flat(), before));
}

TEST(OperationsTest, PoolsIn1DAnd3D) {
  Operation average(R"(nodes { name: "y" inputs: "x"
      pool { kind: POOL_KIND_AVERAGE kernel: 4 stride: 3 padding: 1 } })",
                    {2, 11});
  average.ExpectEqual(torch::avg_pool1d(average.x(), 4, 3, 1));
  Operation maximum(R"(nodes { name: "y" inputs: "x"
      pool { kind: POOL_KIND_MAX kernel: [2, 3, 2] stride: [1, 2, 2] } })",
                    {2, 4, 7, 6});
  maximum.ExpectEqual(torch::max_pool3d(maximum.x(), {2, 3, 2}, {1, 2, 2}));
}

TEST(OperationsTest, AdaptivePools) {
  Operation average(R"(nodes { name: "y" inputs: "x"
      adaptive_pool { kind: POOL_KIND_AVERAGE size: [3, 2] } })",
                    {2, 7, 5});
  average.ExpectEqual(torch::adaptive_avg_pool2d(average.x(), {3, 2}));
  Operation maximum(R"(nodes { name: "y" inputs: "x"
      adaptive_pool { kind: POOL_KIND_MAX size: 4 } })",
                    {2, 9});
  maximum.ExpectEqual(std::get<0>(torch::adaptive_max_pool1d(maximum.x(), 4)));
}

TEST(OperationsTest, ArrangementsOfNumbers) {
  Operation op(R"(
      nodes { name: "a" inputs: "x" reshape { shape: [2, 3, 4] } }
      nodes { name: "b" inputs: "a" transpose { axes: [2, 0, 1] } }
      nodes { name: "c" inputs: "b" slice { axis: 0 begin: 1 end: 3 } }
      nodes { name: "d" inputs: "b" slice { axis: 0 begin: 3 end: 4 drop_axis: true } }
      nodes { name: "e" inputs: "d" reshape { shape: [1, 2, 3] } }
      nodes { name: "y" inputs: "c" inputs: "e" concat { axis: 0 } })",
               {24});
  const Tensor b = op.x().reshape({3, 2, 3, 4}).permute({0, 3, 1, 2});
  op.ExpectEqual(torch::cat({b.slice(1, 1, 3), b.select(1, 3).unsqueeze(1)}, 1));
}

TEST(OperationsTest, SumsAndProductsBroadcastBehindTheRows) {
  Operation op(R"(
      nodes { name: "last" inputs: "x" slice { axis: 0 begin: 2 end: 3 drop_axis: true } }
      nodes { name: "column" inputs: "x" slice { axis: 1 begin: 0 end: 1 } }
      nodes { name: "sum" inputs: "x" inputs: "last" inputs: "column" add { } }
      nodes { name: "y" inputs: "last" inputs: "sum" multiply { } })",
               {3, 3});
  const Tensor last = op.x().select(1, 2).unsqueeze(1);
  op.ExpectEqual(last * (op.x() + last + op.x().slice(2, 0, 1)));
}

TEST(OperationsTest, Activations) {
  Operation op(R"(
      nodes { name: "a" inputs: "x" activation: ACTIVATION_SILU }
      nodes { name: "b" inputs: "a" activation: ACTIVATION_SOFTMAX }
      nodes { name: "y" inputs: "b" activation: ACTIVATION_SIGMOID })",
               {3, 5});
  op.ExpectEqual(torch::sigmoid(torch::softmax(torch::silu(op.x()), -1)));
}

TEST(OperationsTest, BidirectionalLstmOfTwoLayers) {
  Operation op(R"(nodes { name: "y" inputs: "x"
      recurrent { kind: RECURRENT_KIND_LSTM hidden: 5 layers: 2 bidirectional: true } })",
               {6, 4});
  nn::LSTM module(nn::LSTMOptions(4, 5).num_layers(2).bidirectional(true).batch_first(true));
  op.Teach(*module);
  op.ExpectEqual(std::get<0>(module(op.x())));
}

TEST(OperationsTest, AttentionFromOneSequenceToAnother) {
  Operation op(R"(
      nodes { name: "q" inputs: "x" slice { axis: 0 begin: 0 end: 2 } }
      nodes { name: "k" inputs: "x" slice { axis: 0 begin: 2 end: 5 } }
      nodes { name: "v" inputs: "x" slice { axis: 0 begin: 3 end: 6 } }
      nodes { name: "y" inputs: "q" inputs: "k" inputs: "v" attention { heads: 2 } })",
               {6, 8});
  nn::MultiheadAttention module(8, 2);
  op.Teach(*module);
  const Tensor x = op.x().transpose(0, 1);
  op.ExpectEqual(
      std::get<0>(module(x.slice(0, 0, 2), x.slice(0, 2, 5), x.slice(0, 3, 6))).transpose(0, 1));
}

TEST(OperationsTest, UpsamplesEachAxisBehindTheChannels) {
  Operation op(R"(nodes { name: "y" inputs: "x" upsample { factor: 3 } })", {2, 2, 2, 3});
  op.ExpectEqual(op.x().repeat_interleave(3, 2).repeat_interleave(3, 3).repeat_interleave(3, 4));
}

TEST(OperationsTest, DropoutDropsAboutItsShareAndKeepsTheMean) {
  Operation op(R"(nodes { name: "y" inputs: "x" dropout { rate: 0.3 } })", {4000});
  op.input() = torch::ones({3, 4000});

  const Tensor dropped = op.Run({.is_training = true, .seed = 5});

  // 12000 draws: 6 standard deviations are .025; a chance of 2e-9 of failing, were the seed drawn.
  EXPECT_NEAR((dropped == 0).to(torch::kDouble).mean().item<double>(), 0.3, 0.025);
  EXPECT_TRUE(torch::allclose(dropped.masked_select(dropped != 0), torch::tensor(1 / 0.7F)));
  EXPECT_TRUE(torch::equal(dropped, op.Run({.is_training = true, .seed = 5})));
  EXPECT_FALSE(torch::equal(dropped, op.Run({.is_training = true, .seed = 6})));
  EXPECT_TRUE(torch::equal(op.input(), op.Run()));
}

TEST(OperationsTest, ProductsInBfloat16AreNearThoseInFloat32) {
  Operation op(R"(
      nodes { name: "a" inputs: "x" linear { units: 8 } }
      nodes { name: "b" inputs: "a" attention { heads: 2 } }
      nodes { name: "y" inputs: "b" convolution { channels: 4 kernel: 3 } })",
               {6, 5});
  const Tensor exact = op.Run({.is_training = true});
  const Tensor fast = op.Run({.is_training = true, .products_in_bfloat16 = true});

  EXPECT_EQ(fast.scalar_type(), torch::kFloat);
  EXPECT_FALSE(torch::equal(exact, fast));
  // bfloat16 has 8 bits: 3 products in a row.
  EXPECT_LT((exact - fast).norm().item<double>(), 0.03 * exact.norm().item<double>());
  EXPECT_TRUE(torch::autograd::grad({fast.sum()}, {op.views()[0]})[0].defined());
}

}  // namespace
}  // namespace chorale::training
