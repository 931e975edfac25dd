#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "core/crypto/digest.h"
#include "core/status.h"
#include "secagg/mask_terms.h"
#include "secagg/server_state.h"

// Private to the .cc files of this folder: from shares to the masks of a sum.
namespace chorale::secagg {

struct RecoveryInput {
  const SessionView& view;
  const RoundTerms& terms;
  const crypto::Digest& context;
  const Commitments& commitments;
  const std::vector<MemberIndex>& survivors;
  const Answers<UnmaskingShares>& responses;
};

struct Recovery {
  std::vector<OwnedMaskTerm> terms;  // To apply to the sum. Empty when it failed.
  // Members whose fault is beyond doubt, and pairs of which one is at fault.
  std::vector<std::pair<MemberIndex, Status>> faults;
  std::vector<std::pair<MemberIndex, MemberIndex>> suspects;  // Dealer, holder.
  Status status;  // Why a secret could not be reconstructed.
};

// Reconstructs the seed of every survivor and the mask key of everybody who dropped out, each
// checked against what its dealer committed to or advertised. Where the first shares do not fit,
// other sets of holders are tried, within bounds, and what was found tells who is at fault:
//   - shares that agree on another secret than the dealer's: the dealer;
//   - shares that differ from the rest: the holder, if it does so for more dealers than the dealer
//     has such holders; the dealer, the other way round; else the pair is suspect.
[[nodiscard]] Recovery RecoverMasks(const RecoveryInput& input);

}  // namespace chorale::secagg
