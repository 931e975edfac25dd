#pragma once

// Integers beyond 64 bits, which GCC and Clang have.
namespace chorale::privacy {

__extension__ typedef unsigned __int128 Uint128;

}  // namespace chorale::privacy
