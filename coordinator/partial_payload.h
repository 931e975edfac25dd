#pragma once

#include "coordinator/payload_store.h"
#include "core/rpc/chunks.h"

namespace chorale::coordinator {

// The beginning of a payload whose transfer broke, or is under way.
struct PartialPayload {
  rpc::ChunkReceiver receiver;
  PayloadWriter writer;
};

}  // namespace chorale::coordinator
