#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chorale/v1/secagg.pb.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/mask_stream.h"
#include "secagg/members.h"
#include "secagg/neighbor_graph.h"
#include "secagg/parameters.h"

namespace chorale::secagg {

// Drop-outs of a round that the graph of neighbours is planned for where nobody says how many.
inline constexpr std::uint32_t kDefaultDropoutPermille = 100;

// Whom each member shares with in a group too large for everybody.
struct NeighborTerms {
  GraphParameters graph = {};
  std::uint32_t dropout_permille = 0;
  friend bool operator==(const NeighborTerms& a, const NeighborTerms& b) {
    return a.graph.out_degree == b.graph.out_degree && a.graph.threshold == b.graph.threshold &&
           a.dropout_permille == b.dropout_permille;
  }
};

// What a manifest says, within its bounds. Whether a site agrees is another question.
struct SessionTerms {
  crypto::Digest manifest{};  // Of the SignedMessage that said so.
  Suite suite = Suite::kAes128Ctr;
  std::string federation = {};
  crypto::Digest nonce{};
  JobId job = {};
  crypto::Digest job_digest{};
  std::vector<Member> members = {};  // Place in the list: MemberIndex.
  GroupParameters group = {};
  std::optional<NeighborTerms> neighbors = {};  // Unset: the complete graph.
  std::uint32_t num_rounds = 0;
  Time created_at = {};
  Time not_after = {};

  [[nodiscard]] std::uint32_t num_members() const { return group.num_members; }
  // The least size of a set that a round is about: max(t, N_min).
  [[nodiscard]] std::uint32_t least_set() const;
  // Shares that reconstruct a secret.
  [[nodiscard]] std::uint32_t share_threshold() const;
};

// Refuses (MALFORMED) a field outside of its bounds in secagg.proto. The members are still without
// keys: a MemberVerifier fills them in.
[[nodiscard]] StatusOr<SessionTerms> DecodeTerms(const v1::SessionManifest& manifest,
                                                 const crypto::Digest& digest);

// Whether the graph is the one that the group calls for: complete up to 128 members, and above
// either that or the degree and threshold of FindGraph, computed again here.
//   PARAMETERS_NOT_APPROVED  another degree, or neighbours in a small group
//   THRESHOLD_TOO_LOW        another threshold
[[nodiscard]] Status CheckGraph(const SessionTerms& terms);
// The graph for a group: complete up to 128 members; neighbours above where FindGraph has an
// answer, complete where it has none.
[[nodiscard]] std::optional<NeighborTerms> GraphFor(const GroupParameters& group,
                                                    std::uint32_t dropout_permille);

}  // namespace chorale::secagg
