#pragma once

#include <string>

namespace chorale {

// The version of this program, "major.minor.patch". Peers tell each other theirs; nothing is
// decided by it.
[[nodiscard]] std::string Version();

}  // namespace chorale
