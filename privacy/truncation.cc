#include "privacy/truncation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

// P(Binomial(n, rate) >= least).
double UpperTail(std::uint64_t n, double rate, std::uint64_t least) {
  if (least == 0) return 1;
  if (least > n) return 0;
  if (rate == 1) return 1;
  // From the mode outwards terms only fall: sum until they no longer count.
  const double log_odds = std::log(rate) - std::log1p(-rate);
  const auto count = static_cast<double>(n);
  const auto first = static_cast<double>(least);
  double log_term =
      LogBinomial(count, first) + first * std::log(rate) + (count - first) * std::log1p(-rate);
  double log_sum = -kInfinity;
  for (std::uint64_t i = least; i <= n; ++i) {
    const auto k = static_cast<double>(i);
    log_sum = LogAdd(log_sum, log_term);
    if (k > count * rate && log_term < log_sum - 45) break;
    log_term += std::log((count - k) / (k + 1)) + log_odds;
  }
  return std::min(1.0, std::exp(log_sum));
}

}  // namespace

Truncation TruncationOf(const TruncatedPoissonGaussian& event) {
  Truncation result;
  result.cut_probability = UpperTail(event.num_units - 1, event.sample_rate, event.max_batch);
  if (result.cut_probability == 0) return result;
  const double share = static_cast<double>(event.max_batch) / static_cast<double>(event.num_units);
  result.rate_when_cut =
      std::min(1.0, UpperTail(event.num_units, event.sample_rate, event.max_batch + 1) * share /
                        result.cut_probability);
  return result;
}

}  // namespace chorale::privacy
