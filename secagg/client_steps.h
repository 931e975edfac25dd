#pragma once

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "secagg/client_session.h"

// Private to the .cc files of this folder: what the steps of a round at a site have in common.
namespace chorale::secagg {

[[nodiscard]] inline std::string RoundName(std::uint32_t round) {
  return "round " + std::to_string(round);
}

[[nodiscard]] inline bool Contains(const std::vector<MemberIndex>& sorted, MemberIndex member) {
  return std::ranges::binary_search(sorted, member);
}

[[nodiscard]] inline std::vector<MemberIndex> Intersect(const std::vector<MemberIndex>& a,
                                                        const std::vector<MemberIndex>& b) {
  std::vector<MemberIndex> both;
  std::ranges::set_intersection(a, b, std::back_inserter(both));
  return both;
}

// A set of the round's members must hide each of them: large enough, this site among it, and enough
// of the neighbours that it drew itself, of which the coordinator can corrupt only so many.
[[nodiscard]] Status CheckSet(const SessionView& view, MemberIndex self, std::string_view name,
                              const std::vector<MemberIndex>& set);
// A deadline that the coordinator set by its own clock, by this site's. Clocks may differ by as
// much as the policy says; a message that is older still was under way for the rest. Refuses
// CLOCK_SKEW, and SESSION_EXPIRED when it has passed.
[[nodiscard]] StatusOr<Time> LocalDeadline(std::string_view what, Time sent_at, Time deadline,
                                           const ClientPolicy& policy, Time now);
[[nodiscard]] Status CheckDeadline(const RoundInHand& round, Time now);
[[nodiscard]] Status NotMaskedHere(std::uint32_t round);

}  // namespace chorale::secagg
