#pragma once

#include <string>

namespace google::protobuf {
class Message;
}

namespace chorale::config {

// The message as YAML text that ParseYaml reads back to an equal message, if it is one that a file
// could hold. The same message gives the same text: fields in order of their numbers, unset ones
// left out, an empty message as {}. Strings are quoted when a YAML reader could take them for
// anything else; characters that do not print are escaped. Timestamps are RFC 3339 in UTC,
// durations the largest unit that is exact ("90s", "5min"), bytes base64url without padding.
[[nodiscard]] std::string ToYaml(const google::protobuf::Message& message);

}  // namespace chorale::config
