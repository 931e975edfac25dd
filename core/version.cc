#include "core/version.h"

namespace chorale {

std::string Version() { return CHORALE_VERSION; }

}  // namespace chorale
