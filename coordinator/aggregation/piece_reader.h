#pragma once

#include <atomic>
#include <cstdint>
#include <semaphore>
#include <span>
#include <thread>
#include <vector>

#include "coordinator/payload_store.h"
#include "core/status.h"

namespace chorale::coordinator {

// The part of a payload that begins here.
struct PayloadSection {
  PayloadReader payload;
  std::uint64_t offset_bytes = 0;
};

// Reads the same piece of several sections of equal size, ahead of its user: while one piece is
// summed, the next is read. One user thread.
class PieceReader {
 public:
  // The same piece of every source, in their order.
  struct Piece {
    std::uint64_t offset_bytes = 0;
    std::size_t num_values = 0;
    std::vector<std::vector<float>> values;  // [num_sources][num_values]
    Status status;
  };

  // REQUIRES: every section has `size_bytes`; `piece_bytes` is a multiple of 4. Sources must
  // outlive the reader.
  PieceReader(std::span<const PayloadSection> sources, std::uint64_t size_bytes,
              std::uint64_t piece_bytes);
  ~PieceReader();
  PieceReader(const PieceReader&) = delete;
  PieceReader& operator=(const PieceReader&) = delete;

  [[nodiscard]] std::uint64_t num_pieces() const;
  // The next piece; valid until the following call. REQUIRES: called at most num_pieces() times.
  [[nodiscard]] const Piece& Next();

 private:
  void Read(std::uint64_t index, Piece& into) const;
  void ReadAhead();

  const std::span<const PayloadSection> sources_;
  const std::uint64_t size_bytes_;
  const std::uint64_t piece_bytes_;
  std::uint64_t next_ = 0;
  Piece pieces_[2];
  std::counting_semaphore<4> free_{2};
  std::counting_semaphore<4> full_{0};
  std::atomic<bool> stopped_{false};
  std::thread thread_;  // None for a single piece.
};

}  // namespace chorale::coordinator
