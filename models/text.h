#pragma once

#include <string>
#include <string_view>

namespace google::protobuf {
class Descriptor;
}

// How values of a specification are shown to people.
namespace chorale::models {

// Short and exact enough to see what was refused: "0.5", "1e-300", "nan".
[[nodiscard]] std::string NumberText(double value);

// The names of a oneof's members: "linear, convolution, embedding".
[[nodiscard]] std::string ChoicesOf(const google::protobuf::Descriptor& message,
                                    const std::string& oneof);

// True for 1 to 128 characters of [A-Za-z0-9_.-]: the name of an input or node.
[[nodiscard]] bool IsNodeName(std::string_view name);

}  // namespace chorale::models
