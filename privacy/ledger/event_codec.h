#pragma once

#include "chorale/v1/privacy.pb.h"
#include "core/status.h"
#include "privacy/event.h"

// Events as messages, for what keeps or sends them.
namespace chorale::privacy {

[[nodiscard]] v1::PrivacyEvent EncodeEvent(const Event& event);

// A valid event. INVALID_ARGUMENT: no kind, an enum value that is unspecified or not known, or what
// Validate refuses.
[[nodiscard]] StatusOr<Event> DecodeEvent(const v1::PrivacyEvent& message);

// The messages' enums. INVALID_ARGUMENT: unspecified, or not known.
[[nodiscard]] v1::PrivacyUnitKind Encode(PrivacyUnit unit);
[[nodiscard]] StatusOr<PrivacyUnit> Decode(v1::PrivacyUnitKind unit);
[[nodiscard]] v1::NeighboringRelationKind Encode(NeighboringRelation relation);
[[nodiscard]] StatusOr<NeighboringRelation> Decode(v1::NeighboringRelationKind relation);

}  // namespace chorale::privacy
