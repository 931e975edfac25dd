#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/status.h"

namespace google::protobuf {
class Message;
}

// Inserts into a YAML file that a person wrote, as text, so that comments and layout stay. It knows
// block style only and may misread clever files: the caller parses the result and compares it with
// what it meant before the file is replaced.
namespace chorale::cli {

// A message as the text of a list item: "- " and then its fields.
[[nodiscard]] std::string ToListItem(const google::protobuf::Message& message);

// Appends an item to the list at `path` (keys from the top, for example {"policy", "allow"}), which
// is created when it is not there. `item` is written without indentation and begins with "- ".
// FAILED_PRECONDITION when the list is written on one line: that is for a person to edit.
[[nodiscard]] StatusOr<std::string> AppendListItem(std::string_view text,
                                                   std::span<const std::string_view> path,
                                                   std::string_view item);

}  // namespace chorale::cli
