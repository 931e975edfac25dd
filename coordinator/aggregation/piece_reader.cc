#include "coordinator/aggregation/piece_reader.h"

#include <algorithm>

namespace chorale::coordinator {

PieceReader::PieceReader(std::span<const PayloadSection> sources, std::uint64_t size_bytes,
                         std::uint64_t piece_bytes)
    : sources_(sources), size_bytes_(size_bytes), piece_bytes_(piece_bytes) {
  const auto most = static_cast<std::size_t>(std::min(piece_bytes, size_bytes) / sizeof(float));
  for (Piece& piece : pieces_) {
    piece.values.assign(sources.size(), std::vector<float>(most));
    if (num_pieces() <= 1) return;  // The other buffer is never used.
  }
  thread_ = std::thread([this] { ReadAhead(); });
}

PieceReader::~PieceReader() {
  stopped_ = true;
  if (!thread_.joinable()) return;
  free_.release();  // Wakes a thread that waits for a buffer.
  thread_.join();
}

std::uint64_t PieceReader::num_pieces() const {
  return (size_bytes_ + piece_bytes_ - 1) / piece_bytes_;
}

const PieceReader::Piece& PieceReader::Next() {
  Piece& piece = pieces_[next_ % 2];
  if (!thread_.joinable()) {
    Read(next_++, piece);
    return piece;
  }
  if (next_ > 0) free_.release();  // The piece of the call before.
  full_.acquire();
  ++next_;
  return piece;
}

void PieceReader::Read(std::uint64_t index, Piece& into) const {
  into.offset_bytes = index * piece_bytes_;
  const std::uint64_t bytes = std::min(piece_bytes_, size_bytes_ - into.offset_bytes);
  into.num_values = static_cast<std::size_t>(bytes / sizeof(float));
  into.status = OkStatus();
  for (std::size_t i = 0; i < sources_.size() && into.status.ok(); ++i) {
    into.status =
        sources_[i].payload.ReadAt(sources_[i].offset_bytes + into.offset_bytes,
                                   {reinterpret_cast<std::uint8_t*>(into.values[i].data()), bytes});
  }
}

void PieceReader::ReadAhead() {
  const std::uint64_t count = num_pieces();
  for (std::uint64_t index = 0; index < count; ++index) {
    free_.acquire();
    if (stopped_) return;
    Read(index, pieces_[index % 2]);
    full_.release();
  }
}

}  // namespace chorale::coordinator
