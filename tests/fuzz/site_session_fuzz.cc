// What a hostile coordinator may send into a session: messages, each with a two-byte length before
// it.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "chorale/v1/federation.pb.h"
#include "site_agent/session.h"
#include "site_agent/session_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chorale;              // NOLINT
  using namespace chorale::site_agent;  // NOLINT
  const google::protobuf::LogSilencer silencer;
  Time now{std::chrono::hours(24 * 365 * 50)};
  const SessionOptions options;
  Session session(options, {}, now);
  if (!session.Step(TimePassed{}, now).ok() || !session.Step(LinkOpened{}, now).ok()) std::abort();
  while (size >= 2) {
    const std::size_t length = std::min<std::size_t>(data[0] << 8 | data[1], size - 2);
    v1::CoordinatorMessage message;
    const bool is_parsed = message.ParseFromArray(data + 2, static_cast<int>(length));
    data += 2 + length;
    size -= 2 + length;
    if (!is_parsed) continue;
    if (std::optional<Event> event = DecodeMessage(std::move(message))) {
      (void)session.Step(*event, now);
    }
    now += std::chrono::seconds(1);
    (void)session.Step(TimePassed{}, now);
    (void)session.Describe(now);
    if (session.state().queue.size() > options.max_queued_tasks) std::abort();
    if (session.state().work.has_value() && session.state().work->task.task == nullptr)
      std::abort();
  }
  return 0;
}
