#pragma once

#include <vector>

#include "core/crypto/secret_bytes.h"
#include "secagg/mask_stream.h"

namespace chorale::secagg {

// A mask and its key, owned. Moved, never copied; wiped.
struct OwnedMaskTerm {
  crypto::SecretBytes key;
  bool is_subtracted = false;
};

// The same for ApplyMasks. REQUIRES: `terms` outlive the result.
[[nodiscard]] inline std::vector<MaskTerm> Borrow(const std::vector<OwnedMaskTerm>& terms) {
  std::vector<MaskTerm> borrowed;
  borrowed.reserve(terms.size());
  for (const OwnedMaskTerm& term : terms) borrowed.push_back({&term.key, term.is_subtracted});
  return borrowed;
}

}  // namespace chorale::secagg
