#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

namespace google::protobuf {
class Message;
}

// Files that people write: YAML that maps one-to-one onto a proto message.
namespace chorale::config {

// Fills `message` (cleared first) from YAML text. Keys are field names; enum values are the
// lower-case short names
// ("relu" for ACTIVATION_RELU); durations are "90s", "5min", "250ms", "2h", "7d"; timestamps are
// RFC 3339; an empty message is written as {} or left out after its key; a repeated field takes a
// list. The message may be half filled on error.
//
// INVALID_ARGUMENT messages read on from the place: "job.yaml:12: rounds.count must be a whole
// number in [0, 4294967295], got "ten"". Unknown keys name the nearest valid key, or all of them.
// Also refused: duplicate keys, two members of one oneof, anchors, aliases and tags, text that is
// not UTF-8, a second document, over 32 levels of nesting, over 100000 values, over 1 MiB.
[[nodiscard]] Status ParseYaml(std::string_view text, std::string_view file_name,
                               google::protobuf::Message& message);
// NOT_FOUND when there is no such file, UNAVAILABLE when it cannot be read.
[[nodiscard]] Status LoadYaml(const std::string& path, google::protobuf::Message& message);

// The line at which `field_path` ("rounds.min_reports", "data.features[2].column") stands in the
// text, 0 if absent. Validation that knows more than the schema uses it to say FILE:LINE.
[[nodiscard]] int LineOf(std::string_view text, std::string_view field_path);

// INVALID_ARGUMENT "PATH PROBLEM", where the problem reads on from the path: "must be in [1, 1024],
// got 0". The status carries the path, so that the caller can add file and line; Annotate keeps it.
[[nodiscard]] Status FieldError(std::string_view field_path, std::string_view problem);
// Prefixes "FILE:LINE: " to a FieldError by looking its path up in `text`; a path that is not there
// gives the line of the nearest part above it. Any other status gets "FILE: ". OK stays OK.
[[nodiscard]] Status Locate(const Status& status, std::string_view text,
                            std::string_view file_name);

}  // namespace chorale::config
