#include "coordinator/aggregation/rule_run.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "coordinator/aggregation/weighted_sum.h"
#include "core/chunking.h"
#include "core/parameters.h"

namespace chorale::coordinator {
namespace {

// Pieces of all sections together stay within this; two of them are in memory at once.
constexpr std::uint64_t kPiecesBytes = 8u << 20;
constexpr std::uint64_t kLeastPieceBytes = 16u << 10;
constexpr std::size_t kChunkValues = kChunkBytes / sizeof(float);

// A power of two, so that pieces fill chunks exactly.
std::uint64_t PieceBytes(std::size_t num_sections) {
  const std::uint64_t share = std::bit_floor(kPiecesBytes / num_sections);
  return std::clamp(share, kLeastPieceBytes, kChunkBytes);
}

std::string NameOf(const Contribution& contribution) {
  return "the update of site " + contribution.site.value();
}

}  // namespace

StatusOr<std::vector<double>> ContributionWeights(std::span<const Contribution> contributions,
                                                  v1::Weighting weighting) {
  if (contributions.empty()) return InvalidArgument("there is nothing to average");
  if (weighting == v1::WEIGHTING_UNIFORM) return UniformWeights(contributions.size());
  if (weighting != v1::WEIGHTING_EXAMPLES) {
    return InvalidArgument("the weighting of an aggregation must be examples or uniform");
  }
  double total = 0;
  for (const Contribution& contribution : contributions) {
    total += static_cast<double>(contribution.num_examples);
  }
  if (total <= 0) return InvalidArgument("the updates rest on no examples");
  std::vector<double> weights;
  weights.reserve(contributions.size());
  for (const Contribution& contribution : contributions) {
    weights.push_back(static_cast<double>(contribution.num_examples) / total);
  }
  return weights;
}

std::vector<double> UniformWeights(std::size_t size) {
  return std::vector<double>(size, 1.0 / static_cast<double>(size));
}

Status Sections::Add(const crypto::BlobId& payload) {
  CHORALE_ASSIGN_OR_RETURN(PayloadReader reader, run_.payloads.Find(payload));
  sections_.push_back({std::move(reader)});
  return OkStatus();
}

Status Sections::AddModel() { return Add(run_.request.model); }

Status Sections::AddUpdates(std::uint64_t offset_bytes) {
  for (const Contribution& contribution : run_.request.contributions) {
    CHORALE_RETURN_IF_ERROR(Annotate(Add(contribution.payload), NameOf(contribution)));
    sections_.back().offset_bytes = offset_bytes;
  }
  return OkStatus();
}

Status Sections::AddState(std::uint64_t index) {
  if (!run_.request.state.has_value()) return OkStatus();
  CHORALE_RETURN_IF_ERROR(Annotate(Add(*run_.request.state), "the state of the aggregation"));
  sections_.back().offset_bytes = index * run_.request.model.size_bytes;
  return OkStatus();
}

Status ForEachPiece(const RuleRun& run, const Sections& sections,
                    const std::function<Status(const PieceValues&)>& step) {
  PieceReader reader(sections.all(), run.request.model.size_bytes,
                     PieceBytes(sections.all().size()));
  for (std::uint64_t i = 0; i < reader.num_pieces(); ++i) {
    if (run.cancelled) return Cancelled("summing was interrupted");
    const PieceReader::Piece& piece = reader.Next();
    CHORALE_RETURN_IF_ERROR(piece.status);
    PieceValues values;
    values.reserve(piece.values.size());
    for (const std::vector<float>& source : piece.values) {
      values.push_back(std::span(source).first(piece.num_values));
    }
    CHORALE_RETURN_IF_ERROR(step(values));
  }
  return OkStatus();
}

Status CheckFinite(const RuleRun& run, std::span<const std::span<const float>> updates) {
  for (std::size_t k = 0; k < updates.size(); ++k) {
    if (!AllFinite(updates[k])) {
      return InvalidArgument(NameOf(run.request.contributions[k]) +
                             " holds a number that is not finite");
    }
  }
  return OkStatus();
}

ValueWriter::ValueWriter(PayloadWriter writer, std::uint64_t size_bytes)
    : writer_(std::move(writer)) {
  chunk_.reserve(std::min<std::uint64_t>(size_bytes / sizeof(float), kChunkValues));
}

StatusOr<ValueWriter> ValueWriter::Create(PayloadStore& payloads, std::uint64_t size_bytes) {
  CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads.Create(size_bytes));
  return ValueWriter(std::move(writer), size_bytes);
}

StatusOr<ValueWriter> ValueWriter::CreateScratch(PayloadStore& payloads, std::uint64_t size_bytes) {
  CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads.CreateScratch(size_bytes));
  return ValueWriter(std::move(writer), size_bytes);
}

Status ValueWriter::Append(std::span<const float> values) {
  if (!AllFinite(values)) {
    return FailedPrecondition(
        "a parameter of the next model is beyond float32: training diverged; lower the learning "
        "rate");
  }
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), kChunkValues - chunk_.size());
    chunk_.insert(chunk_.end(), values.begin(),
                  values.begin() + static_cast<std::ptrdiff_t>(count));
    values = values.subspan(count);
    if (chunk_.size() < kChunkValues) break;
    CHORALE_RETURN_IF_ERROR(writer_.Append(AsBytes(std::span<const float>(chunk_))));
    chunk_.clear();
  }
  return OkStatus();
}

StatusOr<HeldPayload> ValueWriter::Commit() && {
  if (!chunk_.empty()) {
    CHORALE_RETURN_IF_ERROR(writer_.Append(AsBytes(std::span<const float>(chunk_))));
  }
  return std::move(writer_).Commit();
}

StatusOr<HeldPayload> SumSections(const RuleRun& run, const Sections& sections,
                                  std::span<const double> weights) {
  CHORALE_ASSIGN_OR_RETURN(ValueWriter writer,
                           ValueWriter::Create(run.payloads, run.request.model.size_bytes));
  std::vector<float> sum;
  CHORALE_RETURN_IF_ERROR(ForEachPiece(run, sections, [&](const PieceValues& values) {
    sum.resize(values.front().size());
    WeightedSum(values, weights, std::span<float>(sum), run.num_threads);
    return writer.Append(sum);
  }));
  return std::move(writer).Commit();
}

StatusOr<HeldPayload> AddUpdates(const RuleRun& run, std::span<const double> weights) {
  Sections sections(run);
  CHORALE_RETURN_IF_ERROR(sections.AddModel());
  CHORALE_RETURN_IF_ERROR(sections.AddUpdates());
  // The model is one more vector, of weight 1: exact in double precision.
  std::vector<double> all_weights = {1.0};
  all_weights.insert(all_weights.end(), weights.begin(), weights.end());
  return SumSections(run, sections, all_weights);
}

}  // namespace chorale::coordinator
