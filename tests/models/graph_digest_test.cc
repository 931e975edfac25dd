#include "models/graph_digest.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "tests/models/toy_graphs.h"

namespace chorale::models {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Every field of every message that a graph can hold, set. No sound graph: only its encoding is
// looked at.
v1::ModelGraph FullGraph() {
  return GraphOf(R"(
inputs: [{name: x, shape: [3, 4], unit: mm}]
nodes:
  - {name: a, inputs: [x, y], linear: {units: 2, no_bias: true}, weight_initializer: zeros,
     bias_initializer: ones}
  - {name: b, convolution: {channels: 2, kernel: [3], stride: [2], padding: [1], dilation: [2],
     groups: 2, no_bias: true}}
  - {name: c, embedding: {rows: 2, width: 3}}
  - {name: d, layer_norm: {epsilon: 0.5}}
  - {name: e, group_norm: {groups: 2, epsilon: 0.5}}
  - {name: f, instance_norm: {epsilon: 0.5}}
  - {name: g, batch_norm: {epsilon: 0.5, momentum: 0.5}}
  - {name: h, activation: relu}
  - {name: i, pool: {kind: max, kernel: [2], stride: [2], padding: [1]}}
  - {name: j, adaptive_pool: {kind: max, size: [2]}}
  - {name: k, flatten: {}}
  - {name: l, reshape: {shape: [2]}}
  - {name: m, transpose: {axes: [1]}}
  - {name: n, concat: {axis: 1}}
  - {name: o, add: {}}
  - {name: p, multiply: {}}
  - {name: q, slice: {axis: 1, begin: 2, end: 3, drop_axis: true}}
  - {name: r, dropout: {rate: 0.5}}
  - {name: s, recurrent: {kind: lstm, hidden: 2, layers: 3, bidirectional: true}}
  - {name: t, attention: {heads: 2, dropout: 0.5}}
  - {name: u, learned_constant: {shape: [2]}}
  - {name: v, upsample: {factor: 2}}
output: a
)");
}

// One for each loss, every field set.
std::vector<v1::ModelGraph> FullGraphs() {
  std::vector<v1::ModelGraph> graphs;
  for (const char* loss : {"binary_cross_entropy: {positive_weight: 2}",
                           "cross_entropy: {num_classes: 2, class_weights: [1, 2]}",
                           "mean_squared_error: {}", "huber: {delta: 2}", "poisson: {}",
                           "cox: {ties: breslow}", "discrete_survival: {interval_ends: [1, 2]}"}) {
    graphs.push_back(FullGraph());
    *graphs.back().mutable_loss() = GraphOf(std::string("loss: {") + loss + "}").loss();
  }
  return graphs;
}

std::string DigestOf(const Message& message) { return ToHex(CanonicalDigest(message)); }

// Calls `on_change` after each single change of `message` or what is in it, and undoes the change.
class Walk {
 public:
  Walk(Message& root, std::function<void(const std::string&)> on_change)
      : root_(root), on_change_(std::move(on_change)) {}

  void Run() { Visit(root_); }
  const std::set<std::string>& visited() const { return visited_; }

 private:
  void Changed(const FieldDescriptor& field, const std::string& how) {
    on_change_(field.full_name() + " " + how);
  }

  void Visit(Message& message) {
    const auto& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
      visited_.insert(field->full_name());
      Message& copy = *message.New();
      copy.CopyFrom(message);
      reflection.ClearField(&message, field);
      Changed(*field, "cleared");
      message.CopyFrom(copy);
      delete &copy;
      if (field->is_repeated()) {
        VisitList(message, *field);
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Visit(*reflection.MutableMessage(&message, field));
      } else {
        VisitSingle(message, *field);
      }
    }
  }

  void VisitSingle(Message& message, const FieldDescriptor& field) {
    const auto& r = *message.GetReflection();
    const auto change = [&](auto get, auto set, auto other) {
      const auto old = (r.*get)(message, &field);
      (r.*set)(&message, &field, other(old));
      Changed(field, "changed");
      (r.*set)(&message, &field, old);
    };
    using Reflection = google::protobuf::Reflection;
    const auto more = [](auto value) { return static_cast<decltype(value)>(value + 1); };
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT32:
        return change(&Reflection::GetUInt32, &Reflection::SetUInt32, more);
      case FieldDescriptor::CPPTYPE_UINT64:
        return change(&Reflection::GetUInt64, &Reflection::SetUInt64, more);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return change(&Reflection::GetDouble, &Reflection::SetDouble,
                      [](double value) { return value + 0x1p-50; });
      case FieldDescriptor::CPPTYPE_BOOL:
        return;  // Cleared is the other value.
      case FieldDescriptor::CPPTYPE_ENUM:
        return change(&Reflection::GetEnumValue, &Reflection::SetEnumValue, more);
      case FieldDescriptor::CPPTYPE_STRING:
        return change(&Reflection::GetString, &Reflection::SetString,
                      [](std::string value) { return value + "'"; });
      default:
        FAIL() << field.full_name() << " is of a type that the encoding does not have";
    }
  }

  void VisitList(Message& message, const FieldDescriptor& field) {
    const auto& r = *message.GetReflection();
    const auto change = [&](auto get, auto set, auto add, auto other) {
      for (int i = 0; i < r.FieldSize(message, &field); ++i) {
        const auto old = (r.*get)(message, &field, i);
        (r.*set)(&message, &field, i, other(old));
        Changed(field, "element changed");
        (r.*set)(&message, &field, i, old);
      }
      (r.*add)(&message, &field, (r.*get)(message, &field, 0));
      Changed(field, "element added");
      r.RemoveLast(&message, &field);
    };
    using Reflection = google::protobuf::Reflection;
    const auto more = [](auto value) { return static_cast<decltype(value)>(value + 1); };
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT32:
        return change(&Reflection::GetRepeatedUInt32, &Reflection::SetRepeatedUInt32,
                      &Reflection::AddUInt32, more);
      case FieldDescriptor::CPPTYPE_UINT64:
        return change(&Reflection::GetRepeatedUInt64, &Reflection::SetRepeatedUInt64,
                      &Reflection::AddUInt64, more);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return change(&Reflection::GetRepeatedDouble, &Reflection::SetRepeatedDouble,
                      &Reflection::AddDouble, [](double value) { return -value; });
      case FieldDescriptor::CPPTYPE_STRING:
        return change(&Reflection::GetRepeatedString, &Reflection::SetRepeatedString,
                      &Reflection::AddString, [](const std::string& value) { return value + "'"; });
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        for (int i = 0; i < r.FieldSize(message, &field); ++i) {
          Visit(*r.MutableRepeatedMessage(&message, &field, i));
        }
        r.AddMessage(&message, &field);
        Changed(field, "element added");
        r.RemoveLast(&message, &field);
        return;
      }
      default:
        FAIL() << field.full_name() << " is of a type that the encoding does not have";
    }
  }

  Message& root_;
  std::function<void(const std::string&)> on_change_;
  std::set<std::string> visited_;
};

void CollectFields(const Descriptor& message, std::set<std::string>& fields) {
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    fields.insert(field.full_name());
    if (field.message_type() != nullptr) CollectFields(*field.message_type(), fields);
  }
}

TEST(GraphDigestTest, ChangesWithEverySingleField) {
  std::set<std::string> visited;
  for (v1::ModelGraph& graph : FullGraphs()) {
    const std::string before = DigestOf(graph);
    std::set<std::string> digests{before};
    std::set<std::string> encodings{graph.SerializeAsString()};
    Walk walk(graph, [&](const std::string& change) {
      // Two ways to the same graph, such as a cleared list of one, are one change.
      const bool is_new = encodings.insert(graph.SerializeAsString()).second;
      EXPECT_EQ(digests.insert(DigestOf(graph)).second, is_new) << change;
    });
    walk.Run();
    EXPECT_EQ(DigestOf(graph), before);
    EXPECT_GT(digests.size(), 150);
    visited.insert(walk.visited().begin(), walk.visited().end());
  }
  std::set<std::string> fields;
  CollectFields(*v1::ModelGraph::descriptor(), fields);

  EXPECT_EQ(visited, fields);
}

TEST(GraphDigestTest, ChangesWithTheOrderOfNodesAndInputs) {
  v1::ModelGraph graph = FullGraph();
  const std::string before = DigestOf(graph);

  graph.mutable_nodes()->SwapElements(3, 4);
  EXPECT_NE(DigestOf(graph), before);
  graph.mutable_nodes()->SwapElements(3, 4);
  graph.mutable_nodes(0)->mutable_inputs()->SwapElements(0, 1);
  EXPECT_NE(DigestOf(graph), before);
}

// Worked out from the grammar in docs/protocol.md, byte by byte.
TEST(GraphDigestTest, HashesTheDocumentedEncoding) {
  const auto number = [](std::uint64_t value) {
    std::string bytes;
    for (int i = 7; i >= 0; --i) bytes.push_back(static_cast<char>(value >> (8 * i)));
    return bytes;
  };
  const auto count = [&](std::uint64_t value) { return number(value).substr(4); };
  const auto text = [&](const std::string& value) { return count(value.size()) + value; };
  const std::string input =
      count(2) + count(1) + text("x") + count(2) + count(1) + number(3);  // name, shape
  const std::string node = count(5) + count(1) + text("y") +              // name
                           count(2) + count(1) + text("x") +              // inputs
                           count(10) + count(1) + count(1) + number(1) +  // linear: units
                           count(40) + number(3) + count(41) + number(3);
  const std::string loss =  // binary_cross_entropy: positive_weight
      count(1) + count(1) + count(1) + count(1) + number(0x3ff0000000000000);
  const std::string graph = count(4) + count(1) + count(1) + input + count(2) + count(1) + node +
                            count(3) + text("y") + count(4) + loss;

  EXPECT_EQ(Plan(SoundGraph())->digest(),
            crypto::Sha256(AsBytes(std::string("chorale/v1/model-graph\0", 23) + graph)));
}

struct PairCase {
  std::string name;
  std::string a;
  std::string b;
  std::vector<Shape> inputs;
};

void PrintTo(const PairCase& c, std::ostream* out) { *out << c.name; }

class SameMeaningTest : public ::testing::TestWithParam<PairCase> {};

TEST_P(SameMeaningTest, HasTheSameDigest) {
  const StatusOr<GraphPlan> a = Plan(GraphAround(GetParam().a, GetParam().inputs));
  const StatusOr<GraphPlan> b = Plan(GraphAround(GetParam().b, GetParam().inputs));

  ASSERT_TRUE(a.ok()) << a.status();
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(a->digest(), b->digest());
}

INSTANTIATE_TEST_SUITE_P(
    Operations, SameMeaningTest,
    ::testing::Values(
        PairCase{"Linear",
                 "linear: {units: 2}",
                 "linear: {units: 2, no_bias: false}, weight_initializer: fan_in_uniform, "
                 "bias_initializer: fan_in_uniform",
                 {{3}}},
        PairCase{"Convolution",
                 "convolution: {channels: 2, kernel: [3, 1]}",
                 "convolution: {channels: 2, kernel: [3, 1], stride: [1, 1], padding: [0, 0], "
                 "dilation: [1, 1], groups: 1}",
                 {{2, 4, 4}}},
        PairCase{"Pool",
                 "pool: {kind: max, kernel: [2, 3]}",
                 "pool: {kind: max, kernel: [2, 3], stride: [2, 3], padding: [0, 0]}",
                 {{2, 4, 4}}},
        PairCase{"LayerNorm",
                 "layer_norm: {}",
                 "layer_norm: {epsilon: 0.00001}, weight_initializer: ones, bias_initializer: "
                 "zeros",
                 {{3}}},
        PairCase{
            "BatchNorm", "batch_norm: {}", "batch_norm: {epsilon: 0.00001, momentum: 0.1}", {{3}}},
        PairCase{"Embedding",
                 "embedding: {rows: 3, width: 2}",
                 "embedding: {rows: 3, width: 2}, weight_initializer: normal",
                 {{3}}},
        PairCase{"Recurrent",
                 "recurrent: {kind: gru, hidden: 2}",
                 "recurrent: {kind: gru, hidden: 2, layers: 1}",
                 {{3, 2}}},
        PairCase{"Attention",
                 "attention: {heads: 1}",
                 "attention: {heads: 1, dropout: -0.0}, bias_initializer: zeros",
                 {{3, 2}}}),
    [](const auto& test) { return test.param.name; });

TEST(GraphDigestTest, IsTheSameForLossesThatSayTheSame) {
  const auto digest = [](const std::string& loss) {
    v1::ModelGraph graph = SoundGraph();
    graph.mutable_nodes(0)->mutable_linear()->set_units(loss.starts_with("cross") ? 2 : 1);
    graph.clear_loss();
    if (!loss.empty()) *graph.mutable_loss() = GraphOf("loss: {" + loss + "}").loss();
    return Plan(graph)->digest();
  };

  EXPECT_EQ(digest(""), digest("binary_cross_entropy: {positive_weight: 1}"));
  EXPECT_EQ(digest("huber: {}"), digest("huber: {delta: 1}"));
  EXPECT_EQ(digest("cox: {}"), digest("cox: {ties: efron}"));
  EXPECT_EQ(digest("cross_entropy: {num_classes: 2}"),
            digest("cross_entropy: {num_classes: 2, class_weights: [1, 1]}"));
  EXPECT_NE(digest("cross_entropy: {num_classes: 2}"),
            digest("cross_entropy: {num_classes: 2, class_weights: [1, 2]}"));
  EXPECT_EQ(digest("cross_entropy: {num_classes: 2, class_weights: [1, 0]}"),
            digest("cross_entropy: {num_classes: 2, class_weights: [1, -0.0]}"));
}

}  // namespace
}  // namespace chorale::models
