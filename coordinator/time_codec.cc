#include "coordinator/time_codec.h"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace chorale::coordinator {
namespace {

constexpr std::int64_t kMicrosPerSecond = 1'000'000;
constexpr std::int32_t kNanosPerMicro = 1'000;

struct Split {
  std::int64_t seconds;
  std::int32_t nanos;  // In [0, 1e9).
};

Split SplitMicros(std::int64_t micros) {
  std::int64_t seconds = micros / kMicrosPerSecond;
  std::int64_t rest = micros % kMicrosPerSecond;
  if (rest < 0) {
    rest += kMicrosPerSecond;
    --seconds;
  }
  return {seconds, static_cast<std::int32_t>(rest) * kNanosPerMicro};
}

}  // namespace

google::protobuf::Timestamp ToProto(Time time) {
  const Split split = SplitMicros(ToMicros(time));
  google::protobuf::Timestamp proto;
  proto.set_seconds(split.seconds);
  proto.set_nanos(split.nanos);
  return proto;
}

google::protobuf::Duration ToProto(Duration duration) {
  // A Duration's seconds and nanos have the same sign.
  google::protobuf::Duration proto;
  proto.set_seconds(duration.count() / kMicrosPerSecond);
  proto.set_nanos(static_cast<std::int32_t>(duration.count() % kMicrosPerSecond) * kNanosPerMicro);
  return proto;
}

Duration FromProto(const google::protobuf::Duration& duration) {
  constexpr std::int64_t kMostSeconds =
      std::numeric_limits<std::int64_t>::max() / kMicrosPerSecond - 3;
  const std::int64_t seconds = std::clamp(duration.seconds(), -kMostSeconds, kMostSeconds);
  return Duration(seconds * kMicrosPerSecond + duration.nanos() / kNanosPerMicro);
}

std::int64_t ToMicros(Time time) { return time.time_since_epoch().count(); }

Time FromMicros(std::int64_t micros) { return Time(Duration(micros)); }

}  // namespace chorale::coordinator
