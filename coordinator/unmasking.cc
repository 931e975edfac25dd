#include "coordinator/unmasking.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "coordinator/aggregation/rule_run.h"
#include "core/bytes.h"

namespace chorale::coordinator {
namespace {

// What is decoded and written at once.
constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 22;
// What a thread reads of every vector and takes the masks off, while the sum stays in the
// second-level cache: whole elements of every ring. Keying the ciphers anew costs a fiftieth.
constexpr std::uint64_t kBlockBytes = 48 * 4096;

class Summing {
 public:
  Summing(const jobs::MaskedLayout& layout, std::span<const secagg::MaskTerm> terms,
          int num_threads)
      : layout_(layout), terms_(terms), num_threads_(num_threads) {}

  Status Open(PayloadStore& payloads, std::span<const Contribution> vectors) {
    for (const Contribution& vector : vectors) {
      StatusOr<PayloadReader> reader = payloads.Find(vector.payload);
      if (!reader.ok()) return Annotate(reader.status(), "site " + vector.site.value());
      readers_.push_back(*std::move(reader));
    }
    return OkStatus();
  }

  // The sum's bytes [begin, end), without masks. REQUIRES: elements of one ring, or few bytes.
  StatusOr<ByteSpan> Piece(std::uint64_t begin, std::uint64_t end) {
    sum_.resize(end - begin);
    const auto num_blocks =
        static_cast<std::int64_t>((sum_.size() + kBlockBytes - 1) / kBlockBytes);
    std::vector<Status> done(static_cast<std::size_t>(num_blocks));
#pragma omp parallel num_threads(num_threads_) if (num_blocks > 1)
    {
      Bytes addend;
#pragma omp for schedule(dynamic)
      for (std::int64_t i = 0; i < num_blocks; ++i) {
        const std::uint64_t offset = static_cast<std::uint64_t>(i) * kBlockBytes;
        const std::span<std::uint8_t> block =
            std::span(sum_).subspan(offset, std::min(kBlockBytes, sum_.size() - offset));
        done[static_cast<std::size_t>(i)] = Sum(begin + offset, block, addend);
      }
    }
    for (const Status& status : done) CHORALE_RETURN_IF_ERROR(status);
    hasher_.Update(sum_);
    return ByteSpan(sum_);
  }

  crypto::Digest Finish() && { return std::move(hasher_).Finish(); }

 private:
  // The sum's bytes from `offset` on, without masks.
  Status Sum(std::uint64_t offset, std::span<std::uint8_t> sum, Bytes& addend) const {
    CHORALE_RETURN_IF_ERROR(readers_.front().ReadAt(offset, sum));
    addend.resize(sum.size());
    for (std::size_t i = 1; i < readers_.size(); ++i) {
      CHORALE_RETURN_IF_ERROR(readers_[i].ReadAt(offset, addend));
      CHORALE_RETURN_IF_ERROR(secagg::AddVectors(layout_.vector(), offset, addend, sum, 1));
    }
    return secagg::ApplyMasks(layout_.vector(), offset, sum, terms_, 1);
  }

  const jobs::MaskedLayout& layout_;
  std::span<const secagg::MaskTerm> terms_;
  int num_threads_;
  std::vector<PayloadReader> readers_;
  Bytes sum_;
  crypto::Sha256Hasher hasher_;
};

}  // namespace

StatusOr<UnmaskedSum> UnmaskSum(PayloadStore& payloads, const jobs::MaskedLayout& layout,
                                std::span<const Contribution> vectors,
                                std::span<const secagg::MaskTerm> terms, int num_threads,
                                const std::atomic<bool>& cancelled) {
  const auto num_sites = static_cast<std::uint32_t>(vectors.size());
  Summing summing(layout, terms, num_threads);
  CHORALE_RETURN_IF_ERROR(summing.Open(payloads, vectors));
  UnmaskedSum result;
  ByteSpan exact;
  if (layout.exact_bytes() > 0) {
    CHORALE_ASSIGN_OR_RETURN(exact, summing.Piece(0, layout.exact_bytes()));
  }
  CHORALE_ASSIGN_OR_RETURN(result.numbers, layout.Summed(exact, num_sites));

  const std::uint64_t num_values = layout.num_update_values();
  if (num_values > 0) {
    CHORALE_ASSIGN_OR_RETURN(ValueWriter writer,
                             ValueWriter::CreateScratch(payloads, num_values * sizeof(float)));
    const std::uint64_t size = layout.vector().size_bytes();
    const std::uint64_t element = (size - layout.exact_bytes()) / num_values;
    std::vector<float> values;
    for (std::uint64_t begin = layout.exact_bytes(); begin < size; begin += kPieceBytes) {
      if (cancelled) return Cancelled("taking off masks was interrupted");
      const std::uint64_t end = std::min(begin + kPieceBytes, size);
      CHORALE_ASSIGN_OR_RETURN(const ByteSpan piece, summing.Piece(begin, end));
      values.resize(piece.size() / element);
      layout.DecodeUpdates(begin, piece, result.numbers, num_sites, values);
      CHORALE_RETURN_IF_ERROR(writer.Append(values));
    }
    CHORALE_ASSIGN_OR_RETURN(result.updates, std::move(writer).Commit());
  }
  result.digest = std::move(summing).Finish();
  return result;
}

}  // namespace chorale::coordinator
