#pragma once

#include <cstdint>
#include <vector>

#include "core/random.h"
#include "core/status.h"
#include "secagg/key_schedule.h"

// Whom a member shares with when the group is too large for everybody. Every member draws its own
// neighbours: a coordinator that chose them would surround a victim with its own.
namespace chorale::secagg {

struct GraphParameters {
  std::uint32_t out_degree = 0;  // k: neighbours that each member draws, even.
  std::uint32_t threshold = 0;   // t of those k.
};

// What a graph has to withstand, as fractions of all members and as powers of one half.
struct GraphAssumptions {
  double corrupt_fraction = 0.05;  // [0, 1)
  double dropout_fraction = 0.05;  // [0, 1); both together below 1.
  // The chance that some member is not protected is at most 2^-security_bits.
  double security_bits = 40;
  // The chance that some member's secrets cannot be reconstructed is at most 2^-correctness_bits.
  double correctness_bits = 20;
  // The coordinator may ask some neighbours for one share and others for the other.
  bool is_semi_malicious = true;
};

// The smallest even k for which a threshold t exists (Bell et al., CCS 2020), from the
// hypergeometric distribution itself, a union bound over the n members, and
//   1. the honest members that stay are connected, except with probability 2^-(sigma+1);
//   2. t1, the least with Pr[corrupt neighbours > t1] <= 2^-(sigma+1) / n: fewer than t collude. A
//      coordinator that asks for both kinds needs t of each: t1 = ceil((t1 + k - 1.25) / 2);
//   3. t2, the largest with Pr[neighbours that stay < t2] <= 2^-eta / n: t of them answer;
// t = t1 + 1 <= t2. These hold when neighbours are uniform and not chosen by an adversary.
// INVALID_ARGUMENT for n outside [3, 10^7] or fractions out of range; NOT_FOUND when no k < n will
// do.
[[nodiscard]] StatusOr<GraphParameters> FindGraph(std::uint32_t num_members,
                                                  const GraphAssumptions& assumptions);

// `out_degree` members other than `self`, uniformly among all such sets, in ascending order.
// REQUIRES: self < num_members, out_degree < num_members.
[[nodiscard]] std::vector<MemberIndex> DrawNeighbors(std::uint32_t num_members, MemberIndex self,
                                                     std::uint32_t out_degree,
                                                     RandomSource& random);

}  // namespace chorale::secagg
