#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/status.h"

namespace chorale::secagg {

// A sum that was revealed: over whom, of what.
struct RevealedSum {
  crypto::Digest model{};
  crypto::Digest task{};
  std::vector<SiteId> sites = {};  // Ascending.
  friend bool operator==(const RevealedSum&, const RevealedSum&) = default;
};

// Remembers the sums that a site helped to reveal. Two sums of the same task on the same model over
// sets of sites that differ by few give, by subtraction, the vectors of those few. The same set
// again tells nothing. Outlives sessions: who restores it keeps the promise. Not thread-safe.
class DifferencingGuard {
 public:
  static constexpr std::size_t kMostSums = 1000;  // Then the oldest is forgotten.

  // Sets that differ in 1 to min_difference - 1 sites are refused; 2 is the least that means
  // something, and 0 turns the guard off, for sums with noise of differential privacy.
  explicit DifferencingGuard(std::uint32_t min_difference = 2, std::deque<RevealedSum> sums = {})
      : min_difference_(min_difference), sums_(std::move(sums)) {}

  // Refuses (DIFFERENCING). REQUIRES: sum.sites ascending.
  [[nodiscard]] Status Check(const RevealedSum& sum) const;
  void Record(RevealedSum sum);

  [[nodiscard]] const std::deque<RevealedSum>& sums() const { return sums_; }

 private:
  std::uint32_t min_difference_;
  std::deque<RevealedSum> sums_;
};

}  // namespace chorale::secagg
