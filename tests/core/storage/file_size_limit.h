#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

namespace chorale::storage {

// While it lives, this process's files cannot grow beyond a size: what a full disk looks like to a
// writer.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &old_limit_) != 0) Fail();
    limit = old_limit_;
    limit.rlim_cur = bytes;
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) Fail();
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_limit_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  [[noreturn]] static void Fail() {
    std::perror("RLIMIT_FSIZE");
    std::abort();
  }
  rlimit old_limit_{};
  void (*old_handler_)(int) = nullptr;
};

}  // namespace chorale::storage
