#pragma once

#include "core/status.h"

// What the program's exit code says. Stable: scripts depend on it; docs/exit_codes.md explains
// each.
namespace chorale::cli {

enum class ExitCode : int {
  kOk = 0,
  kInternal = 1,       // A bug of ours, or a machine that fails under us.
  kUsage = 2,          // The command line itself.
  kInvalid = 3,        // A file, a value or a moment that does not fit.
  kRefused = 4,        // Not known, or known and not allowed.
  kUnavailable = 5,    // No connection, no answer in time, a limit reached.
  kJobFailed = 6,      // The job that was waited for failed.
  kJobCancelled = 7,   // The job that was waited for was cancelled.
  kInterrupted = 130,  // Ctrl-C.
};

// ABORTED is a failed job and CANCELLED a cancelled one: verbs that wait for a job end with these
// and no other call does.
[[nodiscard]] ExitCode ExitCodeFor(const Status& status);

}  // namespace chorale::cli
