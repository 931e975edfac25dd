#include "secagg/mask_stream.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/crypto/cipher.h"
#include "secagg/mask_kernels.h"
#include "secagg/ring_add.h"
#include "secagg/vector_pieces.h"

namespace chorale::secagg {
namespace {

constexpr std::size_t kBlockBytes = 16;
// A piece of the vector stays in the second-level cache while every mask passes over it; keying a
// cipher anew for each piece then costs less than a hundredth.
constexpr std::uint64_t kMostPieceBytes = 48 * 8192;
// Whole elements of every ring, whole blocks, and whole groups of blocks.
constexpr std::uint64_t kPieceStepBytes = 48 * 256;
// Keystream on its way from OpenSSL, or from where blocks and elements do not line up: a whole
// number of elements of every ring, within the first-level cache.
constexpr std::size_t kBufferBytes = 48 * 256;

// Wiped on destruction: a keystream is as secret as its key.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { crypto::Wipe(bytes_); }
  [[nodiscard]] std::uint8_t* data() { return bytes_.data(); }
  [[nodiscard]] std::span<std::uint8_t> first(std::size_t size) {
    return std::span(bytes_).first(size);
  }

 private:
  alignas(64) std::array<std::uint8_t, kBufferBytes> bytes_;
};

// A piece for each thread, unless that is too much for a cache.
std::uint64_t PieceBytes(std::uint64_t size_bytes, int num_threads) {
  const auto threads = static_cast<std::uint64_t>(num_threads);
  const std::uint64_t share = (size_bytes + threads - 1) / threads;
  const std::uint64_t num_steps = (share + kPieceStepBytes - 1) / kPieceStepBytes;
  return std::clamp(num_steps * kPieceStepBytes, kPieceStepBytes, kMostPieceBytes);
}

MaskKernel Resolve(MaskKernel kernel) {
  if (kernel != MaskKernel::kBest && IsAvailable(kernel)) return kernel;
  if (HasVaes()) return MaskKernel::kVaes;
  return HasAesNi() ? MaskKernel::kAesNi : MaskKernel::kEvp;
}

// Whole elements up to a cache line, or a buffer full where no element begins one.
std::size_t BytesToALine(const std::uint8_t* vector, RingBits bits) {
  const std::size_t bytes = (64 - reinterpret_cast<std::uintptr_t>(vector) % 64) % 64;
  return bytes > 0 && bytes % ElementBytes(bits) == 0 ? bytes : kBufferBytes;
}

// By OpenSSL.
class EvpMasker {
 public:
  explicit EvpMasker(const crypto::SecretBytes& any_key)
      : stream_(*crypto::CtrStream::Create(any_key)) {}

  // `vector` points to the first byte of the piece.
  void Mask(const Piece& piece, const MaskTerm& term, std::uint8_t* vector) {
    stream_.Restart(*term.key, piece.front().begin).IgnoreError();  // The sizes were checked.
    for (const VectorSpec::Run& run : piece) {
      std::uint64_t left = run.end - run.begin;
      // The first stretch ends where a cache line does, so that no addition straddles two.
      std::size_t most = BytesToALine(vector, run.bits);
      while (left > 0) {
        const std::size_t size = std::min<std::uint64_t>(left, most);
        most = kBufferBytes;
        stream_.Generate(buffer_.first(size));
        AddElements(run.bits, term.is_subtracted, buffer_.data(), vector, size);
        vector += size;
        left -= size;
      }
    }
  }

 private:
  crypto::CtrStream stream_;
  Buffer buffer_;
};

// By the processor's instructions.
class NativeMasker {
 public:
  explicit NativeMasker(MaskKernel kernel)
      : use_blocks_(kernel == MaskKernel::kVaes ? UseBlocksVaes : UseBlocksAesNi) {}

  void Mask(const Piece& piece, const MaskTerm& term, std::uint8_t* vector) {
    key_.Set(term.key->Reveal());
    for (const VectorSpec::Run& run : piece) {
      MaskRun(run, term.is_subtracted, vector);
      vector += run.end - run.begin;
    }
  }

 private:
  static BlockUse UseFor(RingBits bits, bool is_subtracted) {
    switch (bits) {
      case RingBits::k16:
        return is_subtracted ? BlockUse::kSubtract16 : BlockUse::kAdd16;
      case RingBits::k32:
        return is_subtracted ? BlockUse::kSubtract32 : BlockUse::kAdd32;
      case RingBits::k64:
        return is_subtracted ? BlockUse::kSubtract64 : BlockUse::kAdd64;
      case RingBits::k24:
        break;
    }
    return BlockUse::kStore;
  }

  void MaskRun(const VectorSpec::Run& run, bool is_subtracted, std::uint8_t* vector) {
    const BlockUse use = UseFor(run.bits, is_subtracted);
    std::uint64_t at = run.begin;
    if (use != BlockUse::kStore && at % ElementBytes(run.bits) == 0) {
      // Elements lie within blocks: all whole blocks in one pass.
      const std::uint64_t first = (at + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
      const std::uint64_t last = run.end / kBlockBytes * kBlockBytes;
      if (first < last) {
        MaskThroughBuffer({run.bits, at, first}, is_subtracted, vector);
        use_blocks_(key_, use, first / kBlockBytes, vector + (first - run.begin),
                    (last - first) / kBlockBytes);
        at = last;
      }
    }
    MaskThroughBuffer({run.bits, at, run.end}, is_subtracted, vector + (at - run.begin));
  }

  void MaskThroughBuffer(VectorSpec::Run run, bool is_subtracted, std::uint8_t* vector) {
    while (run.begin < run.end) {
      // From the block that holds the first byte; the buffer must take whole elements after it.
      const std::size_t skipped = run.begin % kBlockBytes;
      const std::size_t size = std::min<std::uint64_t>(run.end - run.begin, kBufferBytes - 48);
      use_blocks_(key_, BlockUse::kStore, run.begin / kBlockBytes, buffer_.data(),
                  (skipped + size + kBlockBytes - 1) / kBlockBytes);
      AddElements(run.bits, is_subtracted, buffer_.data() + skipped, vector, size);
      vector += size;
      run.begin += size;
    }
  }

  decltype(&UseBlocksVaes) use_blocks_;
  CounterKey key_;
  Buffer buffer_;
};

template <typename Masker>
void MaskPiece(Masker& masker, const Piece& piece, std::span<const MaskTerm> terms,
               std::uint8_t* vector) {
  for (const MaskTerm& term : terms) masker.Mask(piece, term, vector);
}

Status CheckTerms(std::span<const MaskTerm> terms) {
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].key == nullptr) {
      return InvalidArgument("terms[" + std::to_string(i) + "] of a mask has no key");
    }
    const std::size_t size = terms[i].key->size();
    if (size == 16 || size == 32) continue;
    return InvalidArgument("a mask key has 16 or 32 bytes, got " + std::to_string(size) +
                           " in terms[" + std::to_string(i) + "]");
  }
  return OkStatus();
}

}  // namespace

std::size_t MaskKeyBytes(Suite suite) {
  switch (suite) {
    case Suite::kAes128Ctr:
      return 16;
    case Suite::kAes256Ctr:
      return 32;
  }
  return 0;
}

bool IsAvailable(MaskKernel kernel) {
  switch (kernel) {
    case MaskKernel::kBest:
    case MaskKernel::kEvp:
      return true;
    case MaskKernel::kAesNi:
      return HasAesNi();
    case MaskKernel::kVaes:
      return HasVaes();
  }
  return false;
}

Status ApplyMasks(const VectorSpec& spec, std::uint64_t offset_bytes,
                  std::span<std::uint8_t> vector, std::span<const MaskTerm> terms, int num_threads,
                  MaskKernel kernel) {
  CHORALE_RETURN_IF_ERROR(CheckTerms(terms));
  CHORALE_ASSIGN_OR_RETURN(
      const std::vector<Piece> pieces,
      CutIntoPieces(spec, offset_bytes, vector.size(), PieceBytes(vector.size(), num_threads)));
  if (terms.empty()) return OkStatus();
  const MaskKernel chosen = Resolve(kernel);
  const auto num_pieces = static_cast<std::int64_t>(pieces.size());
#pragma omp parallel for schedule(dynamic) num_threads(num_threads) if (num_pieces > 1)
  for (std::int64_t i = 0; i < num_pieces; ++i) {
    const Piece& piece = pieces[static_cast<std::size_t>(i)];
    std::uint8_t* const bytes = vector.data() + (piece.front().begin - offset_bytes);
    if (chosen == MaskKernel::kEvp) {
      EvpMasker masker(*terms.front().key);
      MaskPiece(masker, piece, terms, bytes);
    } else {
      NativeMasker masker(chosen);
      MaskPiece(masker, piece, terms, bytes);
    }
  }
  return OkStatus();
}

}  // namespace chorale::secagg
