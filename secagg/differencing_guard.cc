#include "secagg/differencing_guard.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "secagg/refusal.h"

namespace chorale::secagg {

Status DifferencingGuard::Check(const RevealedSum& sum) const {
  for (const RevealedSum& earlier : sums_) {
    if (earlier.model != sum.model || earlier.task != sum.task) continue;
    std::vector<SiteId> difference;
    std::ranges::set_symmetric_difference(earlier.sites, sum.sites, std::back_inserter(difference));
    if (!difference.empty() && difference.size() < min_difference_) {
      return Refused(
          RefusalCode::kDifferencing,
          "this sum and an earlier one of the same task on the same model must differ in "
          "none or at least " +
              std::to_string(min_difference_) + " sites, they differ in " +
              std::to_string(difference.size()));
    }
  }
  return OkStatus();
}

void DifferencingGuard::Record(RevealedSum sum) {
  if (std::ranges::find(sums_, sum) != sums_.end()) return;
  if (sums_.size() >= kMostSums) sums_.pop_front();
  sums_.push_back(std::move(sum));
}

}  // namespace chorale::secagg
