#include "secagg/parameters.h"

#include <algorithm>
#include <string>

#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

std::string Range(const char* name, std::uint32_t least, std::uint32_t most, std::uint32_t got) {
  return std::string(name) + " must be in [" + std::to_string(least) + ", " + std::to_string(most) +
         "], got " + std::to_string(got);
}

// 2t > n + n_C, in numbers that cannot overflow.
Status CheckThreshold(const GroupParameters& group, std::uint32_t colluders, const char* whose) {
  const std::uint32_t least = ThresholdFor(group.num_members, colluders);
  if (group.threshold >= least) return OkStatus();
  return Refused(RefusalCode::kThresholdTooLow,
                 "the threshold of " + std::to_string(group.num_members) +
                     " members must be at least " + std::to_string(least) + " against the " +
                     std::to_string(colluders) + " colluders of " + whose + ", got " +
                     std::to_string(group.threshold));
}

}  // namespace

std::uint32_t ThresholdFor(std::uint32_t num_members, std::uint32_t colluders) {
  return static_cast<std::uint32_t>((std::uint64_t{num_members} + colluders) / 2 + 1);
}

std::uint32_t DefaultColluders(std::uint32_t num_members) { return std::max(1u, num_members / 5); }

std::uint32_t DefaultMinGroup(std::uint32_t num_members) {
  return num_members > 5 ? 5
                         : std::max(kLeastGroup, num_members) - (num_members > kLeastGroup ? 1 : 0);
}

GroupParameters DefaultGroup(std::uint32_t num_members) {
  const std::uint32_t colluders = DefaultColluders(num_members);
  return {num_members, colluders, ThresholdFor(num_members, colluders),
          DefaultMinGroup(num_members)};
}

Status CheckGroup(const GroupParameters& group, const GroupPolicy& policy) {
  const std::uint32_t n = group.num_members;
  const std::uint32_t least_members = std::max(kMinMembers, policy.min_members);
  if (n < least_members) {
    return Refused(RefusalCode::kGroupTooSmall, "the group must have at least " +
                                                    std::to_string(least_members) +
                                                    " members, got " + std::to_string(n));
  }
  if (n > kMaxMembers) {
    return Refused(RefusalCode::kParametersNotApproved,
                   Range("the number of members", least_members, kMaxMembers, n));
  }
  if (group.colluders >= n) {
    return Refused(RefusalCode::kParametersNotApproved,
                   Range("the number of colluders", 0, n - 1, group.colluders));
  }
  CHORALE_RETURN_IF_ERROR(CheckThreshold(group, group.colluders, "the group"));
  const std::uint32_t own = policy.colluders == 0 ? DefaultColluders(n) : policy.colluders;
  CHORALE_RETURN_IF_ERROR(CheckThreshold(group, own, "this site's policy"));
  if (group.threshold > n) {
    return Refused(RefusalCode::kParametersNotApproved,
                   Range("the threshold", ThresholdFor(n, group.colluders), n, group.threshold));
  }
  const std::uint32_t least_group = std::max(kLeastGroup, policy.min_group);
  if (group.min_group < least_group) {
    return Refused(RefusalCode::kGroupTooSmall,
                   "a sum must have at least " + std::to_string(least_group) +
                       " members, min_group is " + std::to_string(group.min_group));
  }
  if (group.min_group > n) {
    return Refused(RefusalCode::kParametersNotApproved,
                   Range("min_group", least_group, n, group.min_group));
  }
  return OkStatus();
}

}  // namespace chorale::secagg
