#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/config/field_text.h"
#include "models/graph.h"
#include "models/layer.h"
#include "models/sizes.h"
#include "models/text.h"

namespace chorale::models {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Longer lists, such as weights of classes, are only counted.
constexpr int kMaxListed = 8;

std::string NumberOf(const Message& message, const FieldDescriptor& field, int index) {
  const auto& reflection = *message.GetReflection();
  const bool is_list = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(is_list ? reflection.GetRepeatedUInt32(message, &field, index)
                                    : reflection.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(is_list ? reflection.GetRepeatedUInt64(message, &field, index)
                                    : reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberText(is_list ? reflection.GetRepeatedDouble(message, &field, index)
                                : reflection.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return config::EnumShortName(*reflection.GetEnum(message, &field));
    default:
      return reflection.GetBool(message, &field) ? "true" : "false";
  }
}

std::string ValueText(const Message& message, const FieldDescriptor& field) {
  if (!field.is_repeated()) return NumberOf(message, field, 0);
  const int count = message.GetReflection()->FieldSize(message, &field);
  if (count > kMaxListed) return std::to_string(count) + " numbers";
  std::string text = "[";
  for (int i = 0; i < count; ++i) {
    text += (i == 0 ? "" : ", ") + NumberOf(message, field, i);
  }
  return text + "]";
}

// "convolution channels=16 kernel=[3, 3]": the name and what is set. REQUIRES: attributes of the
// types of NumberText().
std::string WithAttributes(std::string name, const Message& attributes) {
  std::vector<const FieldDescriptor*> fields;
  attributes.GetReflection()->ListFields(attributes, &fields);
  for (const FieldDescriptor* field : fields) {
    name += " " + field->name() + "=" + ValueText(attributes, *field);
  }
  return name;
}

// The member of a oneof that is set, with its attributes.
std::string ChoiceText(const Message& message, const std::string& oneof) {
  const auto& reflection = *message.GetReflection();
  const FieldDescriptor* choice =
      reflection.GetOneofFieldDescriptor(message, message.GetDescriptor()->FindOneofByName(oneof));
  if (choice == nullptr) return "";
  if (choice->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    return NumberOf(message, *choice, 0);
  }
  return WithAttributes(choice->name(), reflection.GetMessage(message, choice));
}

std::string InitializerText(const v1::GraphNode& node) {
  std::string text;
  const auto add = [&text](const char* what, v1::Initializer initializer) {
    if (initializer == v1::INITIALIZER_UNSPECIFIED) return;
    text += std::string(what) +
            config::EnumShortName(*v1::Initializer_descriptor()->FindValueByNumber(initializer));
  };
  add(" weight~", node.weight_initializer());
  add(" bias~", node.bias_initializer());
  return text;
}

using Row = std::array<std::string, 6>;

std::uint64_t NumParameters(const GraphPlan& plan, const GraphStep& step) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < step.num_parameters; ++i) {
    count = Sum(count, NumNumbers(plan.parameters()[step.first_parameter + i].shape));
  }
  return count;
}

std::string From(const v1::GraphNode& node) {
  std::string from;
  for (const std::string& input : node.inputs()) from += (from.empty() ? "" : ", ") + input;
  return from.empty() ? "-" : from;
}

std::vector<Row> Rows(const GraphPlan& plan) {
  std::vector<Row> rows{{"LAYER", "FROM", "SHAPE", "PARAMETERS", "MULTIPLY-ADDS", "OPERATION"}};
  const v1::ModelGraph& graph = plan.graph();
  for (int i = 0; i < graph.inputs_size(); ++i) {
    const v1::GraphInput& input = graph.inputs(i);
    rows.push_back({input.name(), "-", ShapeText(plan.shape_of(static_cast<std::size_t>(i))), "0",
                    "0", input.unit().empty() ? "input" : "input in " + input.unit()});
  }
  for (int i = 0; i < graph.nodes_size(); ++i) {
    const GraphStep& step = plan.steps()[static_cast<std::size_t>(i)];
    const v1::GraphNode& node = graph.nodes(i);
    rows.push_back({node.name(), From(node), ShapeText(step.output),
                    std::to_string(NumParameters(plan, step)), std::to_string(step.multiply_adds),
                    ChoiceText(node, "operation") + InitializerText(node)});
  }
  return rows;
}

// Names and shapes begin, numbers end their column; the last column is as wide as it likes.
std::string Aligned(const std::vector<Row>& rows) {
  std::array<std::size_t, 5> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  // One long list of inputs must not widen every line.
  widths[1] = std::min<std::size_t>(widths[1], 40);
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::size_t missing = widths[i] - std::min(widths[i], row[i].size());
      const std::string space(missing, ' ');
      text += (i == 3 || i == 4 ? space + row[i] : row[i] + space) + "  ";
    }
    text += row.back() + "\n";
  }
  return text;
}

}  // namespace

std::string Describe(const GraphPlan& plan) {
  std::string text = Aligned(Rows(plan)) + "\n";
  const auto line = [&text](const char* what, const std::string& value) {
    text += std::string(what) + value + "\n";
  };
  line("inputs         ", std::to_string(plan.num_inputs()));
  line("outputs        ", std::to_string(plan.num_outputs()));
  line("parameters     ", std::to_string(plan.layout().num_parameters()));
  line("multiply-adds  ", std::to_string(plan.multiply_adds()) + " an example");
  line("loss           ", ChoiceText(plan.graph().loss(), "kind"));
  line("digest         ", ToHex(plan.digest()));
  return text;
}

}  // namespace chorale::models
