#include "cli/exit_code.h"

namespace chorale::cli {

ExitCode ExitCodeFor(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return ExitCode::kOk;
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfRange:
    case StatusCode::kNotFound:
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kDataLoss:
      return ExitCode::kInvalid;
    case StatusCode::kPermissionDenied:
    case StatusCode::kUnauthenticated:
      return ExitCode::kRefused;
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kResourceExhausted:
      return ExitCode::kUnavailable;
    case StatusCode::kAborted:
      return ExitCode::kJobFailed;
    case StatusCode::kCancelled:
      return ExitCode::kJobCancelled;
    default:
      // Unknown, unimplemented, internal, and codes that Abseil may add.
      return ExitCode::kInternal;
  }
}

}  // namespace chorale::cli
