#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.h"
#include "core/crypto/key_agreement.h"

// Private to this folder: X25519 (RFC 7748) of one private key and eight points at once, one in
// each lane of a register. x86-64 with AVX-512 IFMA only; elsewhere nothing here is supported.
namespace chorale::crypto {

inline constexpr std::size_t kX25519Lanes = 8;

// Asked once of the processor.
[[nodiscard]] bool HasX25519Lanes();

// shared[i] = X25519(key, points[i]), all zero for a point of low order. In time that depends on
// neither. REQUIRES: HasX25519Lanes(); 32 bytes.
void MultiplyLanes(ByteSpan key, std::span<const X25519PublicKey, kX25519Lanes> points,
                   std::span<std::array<std::uint8_t, 32>, kX25519Lanes> shared);

}  // namespace chorale::crypto
