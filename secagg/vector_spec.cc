#include "secagg/vector_spec.h"

#include <algorithm>
#include <string>

#include "secagg/ring_add.h"
#include "secagg/vector_pieces.h"

namespace chorale::secagg {
namespace {

constexpr std::uint64_t kPieceBytes = 48 * 4096;

bool IsKnown(RingBits bits) {
  switch (bits) {
    case RingBits::k16:
    case RingBits::k24:
    case RingBits::k32:
    case RingBits::k64:
      return true;
  }
  return false;
}

}  // namespace

StatusOr<VectorSpec> VectorSpec::Create(std::vector<Section> sections) {
  if (sections.empty()) return InvalidArgument("a masked vector must have at least one section");
  std::uint64_t size_bytes = 0;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const std::string name = "sections[" + std::to_string(i) + "]";
    if (!IsKnown(sections[i].bits)) {
      return InvalidArgument(name + ".bits must be one of 16, 24, 32, 64, got " +
                             std::to_string(static_cast<int>(sections[i].bits)));
    }
    if (sections[i].count == 0) return InvalidArgument(name + ".count must be at least 1, got 0");
    const std::uint64_t element = ElementBytes(sections[i].bits);
    if (sections[i].count > (kMaxBytes - size_bytes) / element) {
      return InvalidArgument("a masked vector must have at most 2^36 bytes, exceeded by " + name);
    }
    size_bytes += sections[i].count * element;
  }
  return VectorSpec(std::move(sections), size_bytes);
}

StatusOr<std::vector<VectorSpec::Run>> VectorSpec::RunsOf(std::uint64_t offset,
                                                          std::uint64_t size) const {
  if (offset > size_bytes_ || size > size_bytes_ - offset) {
    return InvalidArgument(std::to_string(size) + " bytes from byte " + std::to_string(offset) +
                           " on do not lie in a masked vector of " + std::to_string(size_bytes_));
  }
  const std::uint64_t begin = offset;
  const std::uint64_t end = offset + size;
  std::vector<Run> runs;
  std::uint64_t section_begin = 0;
  for (const Section& section : sections_) {
    const std::uint64_t element = ElementBytes(section.bits);
    const std::uint64_t section_end = section_begin + section.count * element;
    const Run run = {section.bits, std::max(begin, section_begin), std::min(end, section_end)};
    if (run.begin < run.end) {
      for (const std::uint64_t edge : {run.begin, run.end}) {
        if ((edge - section_begin) % element == 0) continue;
        return InvalidArgument("byte " + std::to_string(edge) + " of a masked vector lies within " +
                               "an element of " + std::to_string(element) + " bytes");
      }
      runs.push_back(run);
    }
    section_begin = section_end;
  }
  return runs;
}

StatusOr<std::vector<Piece>> CutIntoPieces(const VectorSpec& spec, std::uint64_t offset,
                                           std::uint64_t size_bytes, std::uint64_t most_bytes) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<VectorSpec::Run> runs,
                           spec.RunsOf(offset, size_bytes));
  std::vector<Piece> pieces;
  std::uint64_t room = 0;
  for (VectorSpec::Run rest : runs) {
    const std::uint64_t element = ElementBytes(rest.bits);
    while (rest.begin < rest.end) {
      if (room < element) {
        pieces.emplace_back();
        room = most_bytes;
      }
      const std::uint64_t size = std::min(rest.end - rest.begin, room / element * element);
      pieces.back().push_back({rest.bits, rest.begin, rest.begin + size});
      rest.begin += size;
      room -= size;
    }
  }
  return pieces;
}

Status AddVectors(const VectorSpec& spec, std::uint64_t offset_bytes, ByteSpan addend,
                  std::span<std::uint8_t> sum, int num_threads) {
  if (addend.size() != sum.size()) {
    return InvalidArgument("vectors of " + std::to_string(addend.size()) + " and " +
                           std::to_string(sum.size()) + " bytes do not add up");
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<Piece> pieces,
                           CutIntoPieces(spec, offset_bytes, sum.size(), kPieceBytes));
  const auto num_pieces = static_cast<std::int64_t>(pieces.size());
#pragma omp parallel for schedule(static) num_threads(num_threads) if (num_pieces > 1)
  for (std::int64_t i = 0; i < num_pieces; ++i) {
    for (const VectorSpec::Run& run : pieces[static_cast<std::size_t>(i)]) {
      const std::uint64_t at = run.begin - offset_bytes;
      AddElements(run.bits, false, addend.data() + at, sum.data() + at, run.end - run.begin);
    }
  }
  return OkStatus();
}

}  // namespace chorale::secagg
