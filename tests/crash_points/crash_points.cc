#include "tests/crash_points/crash_points.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <system_error>

#include "core/log.h"

namespace chorale::crash_points {
namespace {

constexpr std::string_view kSocketName = "crash-points";
constexpr int kExitWithoutDriver = 3;

Status Failed(const std::string& what) {
  return Unavailable("cannot " + what + ": " + std::generic_category().message(errno));
}

}  // namespace

StatusOr<std::unique_ptr<CrashPoints>> CrashPoints::Open(
    const std::filesystem::path& state_directory) {
  const std::string path = (state_directory / kSocketName).string();
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) return InvalidArgument("too long a path: " + path);
  path.copy(address.sun_path, path.size());
  const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listening < 0) return Failed("make a socket");
  ::unlink(path.c_str());  // Of a process that was killed.
  // Nobody can connect before the mode is right.
  const bool is_bound =
      ::bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      ::chmod(path.c_str(), 0600) == 0 && ::listen(listening, 1) == 0;
  log::Info("crash_points.waiting");
  const int connection = is_bound ? ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC) : -1;
  const Status accepted = connection >= 0 ? OkStatus() : Failed("listen at " + path);
  ::close(listening);
  CHORALE_RETURN_IF_ERROR(accepted);

  std::unique_ptr<CrashPoints> points(new CrashPoints(connection));
  for (bool may_begin = false; !may_begin;) {
    CHORALE_ASSIGN_OR_RETURN(const std::string line, points->ReadLine());
    may_begin = points->Obey(line);
  }
  points->listener_ = std::thread([raw = points.get()] { raw->Listen(); });
  return points;
}

CrashPoints::~CrashPoints() {
  is_ending_ = true;
  ::shutdown(connection_, SHUT_RD);
  if (listener_.joinable()) listener_.join();
  ::close(connection_);
}

StatusOr<std::string> CrashPoints::ReadLine() {
  std::size_t end;
  while ((end = received_.find('\n')) == std::string::npos) {
    char buffer[256];
    const ssize_t size = ::read(connection_, buffer, sizeof(buffer));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return Unavailable("whoever drives the test went away");
    received_.append(buffer, static_cast<std::size_t>(size));
  }
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  return line;
}

void CrashPoints::Say(const std::string& line) {
  const std::string text = line + "\n";
  (void)::send(connection_, text.data(), text.size(), MSG_NOSIGNAL);
}

bool CrashPoints::Obey(const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  const std::scoped_lock lock(mutex_);
  if (verb == "stop") {
    // NAME has spaces; K is the last word.
    const std::size_t last = line.rfind(' ');
    Point& point = points_[line.substr(verb.size() + 1, last - verb.size() - 1)];
    point.stop_at = point.passages + std::strtoull(line.c_str() + last, nullptr, 10);
    Say("armed");
  } else if (verb == "counts") {
    for (const auto& [name, point] : points_) Say(name + " " + std::to_string(point.passages));
    Say("end");
  } else if (verb == "run") {
    Say("running");
    return true;
  }
  return false;
}

void CrashPoints::Listen() {
  while (true) {
    const StatusOr<std::string> line = ReadLine();
    if (!line.ok()) {
      // Whoever stands at a point would stand there for ever.
      if (!is_ending_) ::_exit(kExitWithoutDriver);
      return;
    }
    (void)Obey(*line);
  }
}

void CrashPoints::Pass(std::string_view name) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = points_.find(name);
    Point& point = found != points_.end() ? found->second : points_[std::string(name)];
    if (++point.passages != point.stop_at) return;
    Say("at " + std::string(name));
  }
  while (true) ::pause();
}

}  // namespace chorale::crash_points
