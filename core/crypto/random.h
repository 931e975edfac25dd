#pragma once

#include "core/random.h"

namespace chorale::crypto {

// The operating system's entropy through OpenSSL's private generator. Safe for concurrent use and
// after fork. A generator that fails ends the process: there is no safe way on.
class SecureRandom final : public RandomSource {
 public:
  void Fill(std::span<std::uint8_t> bytes) override;
};

}  // namespace chorale::crypto
