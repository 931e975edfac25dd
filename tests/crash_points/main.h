#pragma once

#include <filesystem>
#include <iostream>
#include <memory>
#include <string_view>

#include "chorale/v1/config.pb.h"
#include "core/log.h"
#include "core/storage/file.h"
#include "tests/crash_points/crash_points.h"

// What the two programs share.
namespace chorale::crash_points {

inline Status ConfigureLog(const v1::LogConfig& config) {
  CHORALE_ASSIGN_OR_RETURN(const log::Options options,
                           log::ParseOptions(config.level(), config.format(), config.file()));
  return log::Configure(options);
}

inline StatusOr<std::unique_ptr<CrashPoints>> OpenPoints(
    const std::filesystem::path& state_directory) {
  CHORALE_RETURN_IF_ERROR(storage::CreatePrivateDirectory(state_directory));
  return CrashPoints::Open(state_directory);
}

inline int Main(int argc, char** argv, Status (*run)(const std::filesystem::path& config)) {
  if (argc != 3 || std::string_view(argv[1]) != "--config") {
    std::cerr << "usage: " << argv[0] << " --config FILE" << std::endl;
    return 2;
  }
  const Status status = run(argv[2]);
  if (status.ok()) return 0;
  std::cerr << argv[0] << ": " << MessageOf(status) << std::endl;
  return 1;
}

}  // namespace chorale::crash_points
