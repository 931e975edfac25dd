#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/crypto/secret_bytes.h"
#include "core/status.h"
#include "secagg/vector_spec.h"

// Masks: the AES-CTR keystream of a key (NIST SP 800-38A; counter block zero first, 128-bit
// big-endian counter), read as ring elements. Byte i of the vector meets byte i of the keystream,
// whatever the chunks, the threads and the kernel. One key masks one vector.
namespace chorale::secagg {

// What masks are made of. 3 is reserved for ChaCha20.
enum class Suite : std::uint32_t { kAes128Ctr = 1, kAes256Ctr = 2 };

[[nodiscard]] std::size_t MaskKeyBytes(Suite suite);

// One mask: 16 or 32 key bytes, borrowed, and its sign.
struct MaskTerm {
  const crypto::SecretBytes* key = nullptr;
  bool is_subtracted = false;
};

// Ways to compute the same bytes.
enum class MaskKernel {
  kBest,   // The fastest this processor has.
  kEvp,    // OpenSSL's keystream, then an addition. Everywhere.
  kAesNi,  // x86-64 with AES-NI: keystream and addition in one pass.
  kVaes,   // x86-64 with VAES and AVX-512: the same, four blocks an instruction.
};

[[nodiscard]] bool IsAvailable(MaskKernel kernel);

// vector[e] += mask[e], or -= where the term is subtracted, for every element e and every term.
// `vector` is the part of the vector that starts at byte `offset_bytes` and splits no element.
// Every piece that fits the second-level cache takes all terms before the next; threads share the
// pieces. A kernel that is not available means kBest. INVALID_ARGUMENT for a key of another size,
// beyond the end of the vector, or a split element; `vector` is then as before. REQUIRES:
// num_threads >= 1; the keys outlive the call.
[[nodiscard]] Status ApplyMasks(const VectorSpec& spec, std::uint64_t offset_bytes,
                                std::span<std::uint8_t> vector, std::span<const MaskTerm> terms,
                                int num_threads, MaskKernel kernel = MaskKernel::kBest);

}  // namespace chorale::secagg
