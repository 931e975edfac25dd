#include "coordinator/aggregation/federated_averaging.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include "coordinator/aggregation/piece_reader.h"
#include "coordinator/aggregation/weighted_sum.h"
#include "core/chunking.h"
#include "core/parameters.h"

namespace chorale::coordinator {
namespace {

// Pieces of all sources together stay within this; two of them are in memory at once.
constexpr std::uint64_t kPiecesBytes = 8u << 20;
constexpr std::uint64_t kLeastPieceBytes = 16u << 10;

// A power of two, so that pieces fill chunks exactly.
std::uint64_t PieceBytes(std::size_t num_sources) {
  const std::uint64_t share = std::bit_floor(kPiecesBytes / num_sources);
  return std::clamp(share, kLeastPieceBytes, kChunkBytes);
}

StatusOr<std::vector<PayloadReader>> OpenSources(const PayloadStore& payloads,
                                                 const AveragingRequest& request) {
  std::vector<PayloadReader> sources;
  CHORALE_ASSIGN_OR_RETURN(PayloadReader model, payloads.Find(request.model));
  sources.push_back(std::move(model));
  for (const Contribution& contribution : request.contributions) {
    if (contribution.payload.size_bytes != request.model.size_bytes) {
      return InvalidArgument("the update of site " + contribution.site.value() + " has " +
                             std::to_string(contribution.payload.size_bytes) +
                             " bytes, the model " + std::to_string(request.model.size_bytes));
    }
    StatusOr<PayloadReader> update = payloads.Find(contribution.payload);
    if (!update.ok()) {
      return Annotate(update.status(), "the update of site " + contribution.site.value());
    }
    sources.push_back(*std::move(update));
  }
  return sources;
}

}  // namespace

StatusOr<std::vector<double>> ContributionWeights(const AveragingRequest& request) {
  const std::size_t size = request.contributions.size();
  if (size == 0) return InvalidArgument("there is nothing to average");
  if (request.weighting == v1::WEIGHTING_UNIFORM) {
    return std::vector<double>(size, 1.0 / static_cast<double>(size));
  }
  if (request.weighting != v1::WEIGHTING_EXAMPLES) {
    return InvalidArgument("aggregation.fedavg.weighting must be examples or uniform");
  }
  double total = 0;
  for (const Contribution& contribution : request.contributions) {
    total += static_cast<double>(contribution.num_examples);
  }
  if (total <= 0) return InvalidArgument("the updates rest on no examples");
  std::vector<double> weights;
  weights.reserve(size);
  for (const Contribution& contribution : request.contributions) {
    weights.push_back(static_cast<double>(contribution.num_examples) / total);
  }
  return weights;
}

StatusOr<HeldPayload> AverageUpdates(PayloadStore& payloads, const AveragingRequest& request,
                                     int num_threads, const std::atomic<bool>& cancelled) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<double> weights, ContributionWeights(request));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<PayloadReader> sources,
                           OpenSources(payloads, request));
  CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads.Create(request.model.size_bytes));

  PieceReader reader(sources, request.model.size_bytes, PieceBytes(sources.size()));
  const std::uint64_t num_values = request.model.size_bytes / sizeof(float);
  std::vector<float> chunk(std::min<std::uint64_t>(num_values, kChunkBytes / sizeof(float)));
  std::size_t filled = 0;
  for (std::uint64_t i = 0; i < reader.num_pieces(); ++i) {
    if (cancelled) return Cancelled("summing was interrupted");
    const PieceReader::Piece& piece = reader.Next();
    CHORALE_RETURN_IF_ERROR(piece.status);
    std::vector<std::span<const float>> updates;
    for (std::size_t k = 1; k < sources.size(); ++k) {
      updates.emplace_back(piece.values[k].data(), piece.num_values);
    }
    const std::span<float> next = std::span(chunk).subspan(filled, piece.num_values);
    AddWeightedSum(std::span(piece.values[0]).first(piece.num_values), updates, weights, next,
                   num_threads);
    if (!AllFinite(next)) {
      return FailedPrecondition(
          "a parameter of the next model is beyond float32: training diverged; lower the "
          "learning rate");
    }
    filled += piece.num_values;
    const bool is_last = i + 1 == reader.num_pieces();
    if (filled == chunk.size() || is_last) {
      CHORALE_RETURN_IF_ERROR(writer.Append(AsBytes(std::span<const float>(chunk).first(filled))));
      filled = 0;
    }
  }
  return std::move(writer).Commit();
}

}  // namespace chorale::coordinator
