#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/training/toy_data.h"

// Models for tests of gradients of single patients: every operation with parameters in every form
// that it has, and every model of the zoo that can be trained privately.
namespace chorale::training {

struct PrivateCase {
  std::string name;
  models::GraphPlan plan;
};

inline models::GraphPlan GraphOf(const std::string& text) {
  v1::ModelGraph graph;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &graph)) << text;
  return models::GraphPlan::Create(std::move(graph), "graph").value();
}

// `nodes` make "y" from "x"; a linear layer over what is flattened makes two outputs of it.
inline PrivateCase LayerCase(const std::string& name, const std::string& shape,
                             const std::string& nodes) {
  return {name, GraphOf("inputs { name: 'x' shape: " + shape + " } " + nodes + R"(
    nodes { name: 'bent' inputs: 'y' activation: ACTIVATION_TANH }
    nodes { name: 'flat' inputs: 'bent' flatten { } }
    nodes { name: 'head' inputs: 'flat' linear { units: 2 } }
    output: 'head' loss { mean_squared_error { } })")};
}

inline std::vector<PrivateCase> LayerCases() {
  const auto recurrent = [](const std::string& attributes) {
    return "nodes { name: 'y' inputs: 'x' recurrent { hidden: 5 " + attributes + " } }";
  };
  std::vector<PrivateCase> cases;
  const auto add = [&](const std::string& name, const std::string& shape,
                       const std::string& nodes) {
    cases.push_back(LayerCase(name, shape, nodes));
  };
  add("linear", "[6]", "nodes { name: 'y' inputs: 'x' linear { units: 5 } }");
  add("linear_no_bias", "[6]", "nodes { name: 'y' inputs: 'x' linear { units: 5 no_bias: true } }");
  // Few positions beside the weights, and many: both sides of the rule of mixed ghost norms.
  add("linear_short", "[3, 12]", "nodes { name: 'y' inputs: 'x' linear { units: 11 } }");
  add("linear_long", "[20, 4]", "nodes { name: 'y' inputs: 'x' linear { units: 3 } }");
  add("linear_of_planes", "[3, 5, 4]",
      "nodes { name: 'y' inputs: 'x' linear { units: 3 no_bias: true } }");
  add("conv1d", "[3, 9]", "nodes { name: 'y' inputs: 'x' convolution { channels: 4 kernel: 3 } }");
  add("conv2d", "[2, 7, 6]", R"(nodes { name: 'y' inputs: 'x' convolution { channels: 4
      kernel: [3, 2] stride: [2, 1] padding: [1, 1] dilation: [1, 2] } })");
  add("conv2d_deep", "[6, 3, 3]", R"(nodes { name: 'y' inputs: 'x' convolution { channels: 16
      kernel: [3, 3] padding: [1, 1] no_bias: true } })");
  // More positions than are unfolded at once.
  add("conv2d_in_parts", "[12, 22, 24]", R"(nodes { name: 'y' inputs: 'x' convolution { channels: 3
      kernel: [5, 5] } })");
  add("conv3d_groups", "[4, 4, 5, 3]", R"(nodes { name: 'y' inputs: 'x' convolution { channels: 6
      kernel: [2, 3, 2] groups: 2 } })");
  add("conv2d_depthwise", "[3, 6, 6]", R"(nodes { name: 'y' inputs: 'x' convolution { channels: 3
      kernel: [3, 3] groups: 3 } })");
  add("embedding", "[5]", "nodes { name: 'y' inputs: 'x' embedding { rows: 4 width: 3 } }");
  add("layer_norm", "[4, 5]", "nodes { name: 'y' inputs: 'x' layer_norm { } }");
  add("layer_norm_flat", "[5]", "nodes { name: 'y' inputs: 'x' layer_norm { } }");
  add("group_norm", "[6, 4]", "nodes { name: 'y' inputs: 'x' group_norm { groups: 2 } }");
  add("group_norm_flat", "[6]", "nodes { name: 'y' inputs: 'x' group_norm { groups: 3 } }");
  add("instance_norm", "[3, 4, 2]", "nodes { name: 'y' inputs: 'x' instance_norm { } }");
  add("lstm", "[6, 4]", recurrent("kind: RECURRENT_KIND_LSTM"));
  add("lstm_both_ways", "[4, 3]",
      recurrent("kind: RECURRENT_KIND_LSTM layers: 2 bidirectional: true"));
  add("gru", "[6, 4]", recurrent("kind: RECURRENT_KIND_GRU"));
  add("gru_both_ways", "[4, 3]",
      recurrent("kind: RECURRENT_KIND_GRU layers: 2 bidirectional: true"));
  add("recurrent_of_one_step", "[1, 3]", recurrent("kind: RECURRENT_KIND_GRU"));
  add("attention", "[5, 8]", "nodes { name: 'y' inputs: 'x' attention { heads: 2 } }");
  add("attention_over_others", "[5, 8]", R"(
      nodes { name: 'few' inputs: 'x' slice { axis: 0 begin: 0 end: 2 } }
      nodes { name: 'keys' inputs: 'x' linear { units: 8 } }
      nodes { name: 'y' inputs: 'few' inputs: 'keys' inputs: 'x' attention { heads: 4 } })");
  add("learned_constant", "[3, 4]", R"(
      nodes { name: 'places' learned_constant { shape: [3, 4] } }
      nodes { name: 'y' inputs: 'x' inputs: 'places' add { } })");
  add("value_used_twice", "[4]", R"(
      nodes { name: 'a' inputs: 'x' linear { units: 4 } }
      nodes { name: 'b' inputs: 'a' layer_norm { } }
      nodes { name: 'y' inputs: 'a' inputs: 'b' inputs: 'a' multiply { } })");
  add("dropout", "[4, 6]", R"(
      nodes { name: 'a' inputs: 'x' linear { units: 8 } }
      nodes { name: 'b' inputs: 'a' dropout { rate: 0.4 } }
      nodes { name: 'y' inputs: 'b' attention { heads: 2 dropout: 0.3 } })");
  // No layer but the last is learned: its output is no leaf of anything.
  add("nothing_before_the_head", "[3]", "nodes { name: 'y' inputs: 'x' flatten { } }");
  return cases;
}

inline void SetImage(v1::ImageShape& image, std::uint32_t channels, std::uint32_t height,
                     std::uint32_t width) {
  image.set_channels(channels);
  image.set_height(height);
  image.set_width(width);
}

inline std::vector<PrivateCase> ZooCases() {
  std::vector<PrivateCase> cases;
  const auto add = [&](const std::string& name, std::uint64_t num_inputs, const auto& set) {
    v1::ModelSpec spec;
    set(spec);
    cases.push_back({name, PlanFor(spec, num_inputs)});
  };
  add("logistic_regression", 6, [](auto& spec) { spec.mutable_logistic_regression(); });
  add("linear_regression", 6, [](auto& spec) { spec.mutable_linear_regression(); });
  add("poisson_regression", 6, [](auto& spec) { spec.mutable_poisson_regression(); });
  add("discrete_survival", 6, [](auto& spec) {
    for (const double end : {2.0, 4.5, 7.0}) {
      spec.mutable_discrete_survival()->add_interval_ends(end);
    }
    spec.mutable_discrete_survival()->add_hidden_units(5);
  });
  add("mlp_of_classes", 6, [](auto& spec) {
    spec = MakeMlp({7, 9}, v1::ACTIVATION_GELU);
    v1::CrossEntropy& classes = *spec.mutable_mlp()->mutable_loss()->mutable_cross_entropy();
    classes.set_num_classes(3);
    for (const double weight : {1.0, 0.5, 4.0}) classes.add_class_weights(weight);
  });
  add("mlp_huber", 6, [](auto& spec) {
    spec = MakeMlp({7}, v1::ACTIVATION_SILU);
    spec.mutable_mlp()->mutable_loss()->mutable_huber();
  });
  add("tabular_resnet", 6, [](auto& spec) { spec.mutable_tabular_resnet()->set_width(8); });
  add("ft_transformer", 6, [](auto& spec) { spec.mutable_ft_transformer()->set_width(16); });
  add("gru", 20, [](auto& spec) {
    spec.mutable_gru()->set_steps(5);
    spec.mutable_gru()->set_layers(2);
  });
  add("cnn1d", 48, [](auto& spec) { spec.mutable_cnn1d()->set_channels(2); });
  add("cnn2d", 2 * 12 * 10,
      [](auto& spec) { SetImage(*spec.mutable_cnn2d()->mutable_image(), 2, 12, 10); });
  add("resnet18_gn", 12 * 12, [](auto& spec) {
    SetImage(*spec.mutable_resnet18_gn()->mutable_image(), 1, 12, 12);
    spec.mutable_resnet18_gn()->set_width(16);
    spec.mutable_resnet18_gn()->set_groups(4);
  });
  add("unet2d", 16 * 8, [](auto& spec) {
    SetImage(*spec.mutable_unet2d()->mutable_image(), 1, 16, 8);
    spec.mutable_unet2d()->set_depth(2);
    spec.mutable_unet2d()->set_width(8);
  });
  return cases;
}

// Examples of patients with 1 to 5 rows, which do not lie together.
inline data::Examples MakePatientsFor(const models::GraphPlan& plan, std::uint64_t seed) {
  const std::vector<std::uint32_t> of_rows = {0, 3, 1, 2, 3, 5, 4, 6, 7, 5, 5, 8, 8, 5, 0, 5};
  data::Examples examples = MakeExamplesFor(plan, of_rows.size(), seed);
  examples.patients = of_rows;
  return examples;
}

}  // namespace chorale::training
