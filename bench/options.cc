#include "bench/options.h"

#include <sched.h>

#include <fstream>
#include <iostream>

#include "core/bytes.h"
#include "core/storage/file.h"

namespace chorale::bench {

StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--quick") {
      options.is_quick = true;
    } else if (arguments[i] == "--json" && i + 1 < arguments.size()) {
      options.json_file = arguments[++i];
    } else {
      return InvalidArgument("unknown argument '" + arguments[i] +
                             "'; usage: [--json FILE] [--quick]");
    }
  }
  return options;
}

std::string Machine() {
  std::string name = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    name = line.substr(line.find(':') + 2);
    break;
  }
  cpu_set_t cores;
  CPU_ZERO(&cores);
  ::sched_getaffinity(0, sizeof(cores), &cores);
  return name + ", " + std::to_string(CPU_COUNT(&cores)) + " cores";
}

Status WriteJson(const Options& options, const std::string& json) {
  if (options.json_file.empty()) return OkStatus();
  return storage::WriteFileAtomically(options.json_file, AsBytes(std::string_view(json + "\n")),
                                      storage::FileMode::kPublic);
}

int Finish(const Status& status) {
  if (status.ok()) return 0;
  std::cerr << "bench: " << MessageOf(status) << "\n";
  return 1;
}

}  // namespace chorale::bench
