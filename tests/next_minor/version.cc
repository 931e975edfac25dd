// The version of the programs that an upgrade is tested with, in place of core/version.cc.
#include "core/version.h"

namespace chorale {

std::string Version() { return "0.99.0"; }

}  // namespace chorale
