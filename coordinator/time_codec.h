#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "core/time.h"

// Time on the wire and in the store.
namespace chorale::coordinator {

[[nodiscard]] google::protobuf::Timestamp ToProto(Time time);
[[nodiscard]] google::protobuf::Duration ToProto(Duration duration);
// Parts of a microsecond are cut off. A value beyond what microseconds hold gives the nearest that
// they do.
[[nodiscard]] Duration FromProto(const google::protobuf::Duration& duration);

[[nodiscard]] std::int64_t ToMicros(Time time);
[[nodiscard]] Time FromMicros(std::int64_t micros);

}  // namespace chorale::coordinator
