#pragma once

#include <optional>

#include "chorale/v1/federation.pb.h"
#include "site_agent/session.h"

namespace chorale::site_agent {

// What a message of the coordinator means to the session. Anything malformed becomes
// CoordinatorMisbehaved; nothing for a kind that this version does not know. TaskArrived's
// is_settled is for the caller to set. Takes any message.
[[nodiscard]] std::optional<Event> DecodeMessage(v1::CoordinatorMessage message);

}  // namespace chorale::site_agent
