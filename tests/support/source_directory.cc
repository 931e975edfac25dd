#include "tests/support/source_directory.h"

namespace chorale::support {

std::filesystem::path SourceDirectory() { return CHORALE_SOURCE_DIR; }

}  // namespace chorale::support
