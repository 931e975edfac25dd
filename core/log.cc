#include "core/log.h"

#include <fcntl.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

#include "core/log_format.h"

namespace chorale::log {
namespace {

struct Output {
  std::shared_ptr<spdlog::logger> logger;  // Shared: a record under way outlives a Configure.
  Format format = Format::kText;
};

std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>("chorale", std::move(sink));
  // The line is complete when it gets here.
  logger->set_formatter(
      std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc));
  logger->set_level(spdlog::level::trace);
  // A crash must not swallow the records that explain it; events are rare.
  logger->flush_on(spdlog::level::trace);
  return logger;
}

std::shared_ptr<spdlog::logger> MakeStandardErrorLogger() {
  return MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>());
}

// The log of the process: the one thing that code of every layer may write to without being handed
// it.
class ProcessLog {
 public:
  ProcessLog() : output_{MakeStandardErrorLogger(), Format::kText} {}

  void Set(Output output, Level level) {
    const std::lock_guard lock(output_mutex_);
    output_ = std::move(output);
    level_.store(level, std::memory_order_relaxed);
  }

  [[nodiscard]] Output Current() const {
    const std::lock_guard lock(output_mutex_);
    return output_;
  }

  [[nodiscard]] bool Takes(Level level) const {
    return level >= level_.load(std::memory_order_relaxed);
  }

 private:
  mutable std::mutex output_mutex_;
  Output output_;
  std::atomic<Level> level_ = Level::kInfo;
};

ProcessLog& TheLog() {
  // Never destroyed: destructors of other statics may still write.
  static ProcessLog* const log = new ProcessLog;
  return *log;
}

StatusOr<Level> ParseLevel(std::string_view where, std::string_view text) {
  for (const Level level : {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError}) {
    if (text == ToString(level)) return level;
  }
  return InvalidArgument(std::string(where) + " must be debug, info, warning or error, got \"" +
                         std::string(text) + "\"");
}

}  // namespace

std::string_view ToString(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

StatusOr<Options> ParseOptions(std::string_view level, std::string_view format,
                               std::string_view file) {
  Options options;
  if (!level.empty()) {
    CHORALE_ASSIGN_OR_RETURN(options.level, ParseLevel("log.level", level));
  }
  const char* from_environment = std::getenv("CHORALE_LOG");
  if (from_environment != nullptr && *from_environment != '\0') {
    CHORALE_ASSIGN_OR_RETURN(options.level, ParseLevel("CHORALE_LOG", from_environment));
  }
  if (format == "json") {
    options.format = Format::kJson;
  } else if (!format.empty() && format != "text") {
    return InvalidArgument("log.format must be text or json, got \"" + std::string(format) + "\"");
  }
  options.file = std::string(file);
  return options;
}

Status Configure(const Options& options) {
  if (options.file.empty()) {
    TheLog().Set({MakeStandardErrorLogger(), options.format}, options.level);
    return OkStatus();
  }
  // Opened here first: spdlog would create missing directories, and let everybody read the file.
  const int fd = ::open(options.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) {
    return Unavailable("log.file: cannot open \"" + options.file +
                       "\" for writing: " + std::generic_category().message(errno));
  }
  ::close(fd);
  try {
    TheLog().Set({MakeLogger(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file)),
                  options.format},
                 options.level);
  } catch (const std::exception& error) {
    return Unavailable("log.file: cannot open \"" + options.file + "\": " + error.what());
  }
  return OkStatus();
}

void Write(Level level, std::string_view event, std::initializer_list<Field> fields) {
  ProcessLog& log = TheLog();
  if (!log.Takes(level)) return;
  const Record record{.time = std::chrono::floor<Duration>(std::chrono::system_clock::now()),
                      .level = level,
                      .event = event,
                      .fields = {fields.begin(), fields.size()}};
  const Output output = log.Current();
  const std::string line = output.format == Format::kJson ? FormatJson(record) : FormatText(record);
  output.logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace chorale::log
