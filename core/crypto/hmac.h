#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

#include "core/crypto/digest.h"

// Private to the .cc files of this folder.
namespace chorale::crypto {

// HMAC-SHA256 (RFC 2104) of the pieces in a row, which may be secret: it is left in `mac`, and
// nothing of it or of the key anywhere else. `mac` may be one of the pieces. Safe for concurrent
// use.
void HmacSha256(std::span<const std::uint8_t> key,
                std::initializer_list<std::span<const std::uint8_t>> pieces,
                std::span<std::uint8_t, kDigestBytes> mac);

}  // namespace chorale::crypto
