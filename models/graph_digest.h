#pragma once

#include <google/protobuf/message.h>

#include "core/crypto/digest.h"

// What names a graph: SHA-256 of an encoding that no version of a library changes. Its grammar:
// docs/protocol.md, "Models".
namespace chorale::models {

// REQUIRES: defaults written out, no unknown fields; only field types that model.proto has.
[[nodiscard]] crypto::Digest CanonicalDigest(const google::protobuf::Message& message);

// True when the message, or one in it, holds a field that this version does not know. Such a field
// would mean something to another version and nothing to the digest.
[[nodiscard]] bool HasUnknownFields(const google::protobuf::Message& message);

}  // namespace chorale::models
