#pragma once

#include <cstdint>

#include "core/status.h"

// How many members a group has, how many of them must answer, and what a site accepts.
//
// Every proof of the protocol rests on one inequality: 2t > n + n_C. Two sets of t members among n
// share more than n_C, hence an honest one, which signs one version of a round and opens one kind
// of share (Bonawitz et al., CCS 2017, theorem 6.5).
namespace chorale::secagg {

inline constexpr std::uint32_t kMinMembers = 3;
inline constexpr std::uint32_t kMaxMembers = 1000;
// Up to here every member shares with every other; above, with neighbours it draws itself.
inline constexpr std::uint32_t kMaxCompleteGraph = 128;
inline constexpr std::uint32_t kMaxRounds = 100;
// A sum of two is no secret from either of the two.
inline constexpr std::uint32_t kLeastGroup = 3;

struct GroupParameters {
  std::uint32_t num_members = 0;  // n
  std::uint32_t colluders = 0;    // n_C: members that may work with the coordinator.
  std::uint32_t threshold = 0;    // t: members that must answer. n - t may drop out.
  std::uint32_t min_group = 0;    // N_min: members in every sum that is revealed.
};

// floor((n + n_C) / 2) + 1, the least t with 2t > n + n_C.
[[nodiscard]] std::uint32_t ThresholdFor(std::uint32_t num_members, std::uint32_t colluders);
// max(1, floor(n / 5)).
[[nodiscard]] std::uint32_t DefaultColluders(std::uint32_t num_members);
// 5, or n - 1 when n is at most 5; never below 3.
[[nodiscard]] std::uint32_t DefaultMinGroup(std::uint32_t num_members);
// Everything by default.
[[nodiscard]] GroupParameters DefaultGroup(std::uint32_t num_members);

// What one site insists on, from its own configuration. It may ask for more than the defaults and
// never gets less than the floors above.
struct GroupPolicy {
  std::uint32_t min_members = kMinMembers;
  std::uint32_t colluders = 0;  // The site's own n_C; 0 means the default for n.
  std::uint32_t min_group = kLeastGroup;
  std::uint32_t max_rounds = kMaxRounds;  // Of a session; checked where sessions are.
};

// Whether a site with this policy takes part: for its own n_C and for the group's.
//   GROUP_TOO_SMALL          n or N_min below the policy or the floor
//   THRESHOLD_TOO_LOW        2t <= n + n_C
//   PARAMETERS_NOT_APPROVED  n above 1000, t or N_min above n, n_C of no use
[[nodiscard]] Status CheckGroup(const GroupParameters& group, const GroupPolicy& policy);

}  // namespace chorale::secagg
