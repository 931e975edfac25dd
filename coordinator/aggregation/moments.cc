#include "coordinator/aggregation/moments.h"

#include <cmath>
#include <string>

#include "core/parameters.h"
#include "data/dataset.h"

namespace chorale::coordinator {

Status CheckMomentSums(ByteSpan payload, std::uint64_t num_examples) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums, DoublesFromBytes(payload));
  if (sums.size() % kSumsPerFeature != 0) {
    return InvalidArgument("a preparation payload must hold three sums a feature, got " +
                           std::to_string(sums.size()) + " sums");
  }
  for (std::size_t i = 0; i < sums.size(); i += kSumsPerFeature) {
    const double count = sums[i];
    const double squares = sums[i + 2];
    const std::string feature = "feature " + std::to_string(i / kSumsPerFeature);
    if (!std::isfinite(count) || !std::isfinite(sums[i + 1]) || !std::isfinite(squares)) {
      return InvalidArgument("the sums of " + feature + " must be finite");
    }
    if (count < 0 || count > static_cast<double>(num_examples) || count != std::floor(count)) {
      return InvalidArgument("the count of " + feature +
                             " must be a whole number of at most num_examples");
    }
    if (squares < 0) return InvalidArgument("the squares of " + feature + " must not be negative");
  }
  return OkStatus();
}

StatusOr<std::vector<v1::FeatureMoments>> AggregateMoments(
    const PayloadStore& payloads, const std::vector<Contribution>& contributions) {
  if (contributions.empty()) return InvalidArgument("there are no sums to add");
  const std::uint64_t size_bytes = contributions.front().payload.size_bytes;
  std::vector<data::MomentSums> totals(size_bytes / (kSumsPerFeature * sizeof(double)));
  Bytes payload(size_bytes);
  for (const Contribution& contribution : contributions) {
    const std::string context = "the sums of site " + contribution.site.value();
    if (contribution.payload.size_bytes != size_bytes) {
      return InvalidArgument(context + " have " + std::to_string(contribution.payload.size_bytes) +
                             " bytes, those of another " + std::to_string(size_bytes));
    }
    CHORALE_ASSIGN_OR_RETURN(const PayloadReader reader, payloads.Find(contribution.payload));
    CHORALE_RETURN_IF_ERROR(Annotate(reader.ReadAt(0, payload), context));
    CHORALE_ASSIGN_OR_RETURN(const std::vector<double> sums, DoublesFromBytes(payload));
    for (std::size_t i = 0; i < totals.size(); ++i) {
      totals[i].count += sums[i * kSumsPerFeature];
      totals[i].sum += sums[i * kSumsPerFeature + 1];
      totals[i].sum_of_squares += sums[i * kSumsPerFeature + 2];
    }
  }
  std::vector<v1::FeatureMoments> moments(totals.size());
  for (std::size_t i = 0; i < totals.size(); ++i) {
    const data::Moments feature = data::MomentsOf(totals[i]);
    moments[i].set_mean(feature.mean);
    moments[i].set_standard_deviation(feature.standard_deviation);
  }
  return moments;
}

}  // namespace chorale::coordinator
