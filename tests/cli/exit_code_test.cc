#include "cli/exit_code.h"

#include <gtest/gtest.h>

namespace chorale::cli {
namespace {

// The numbers are what scripts of users compare with.
TEST(ExitCodeTest, KeepsItsNumbers) {
  EXPECT_EQ(static_cast<int>(ExitCode::kOk), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kInternal), 1);
  EXPECT_EQ(static_cast<int>(ExitCode::kUsage), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kInvalid), 3);
  EXPECT_EQ(static_cast<int>(ExitCode::kRefused), 4);
  EXPECT_EQ(static_cast<int>(ExitCode::kUnavailable), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::kJobFailed), 6);
  EXPECT_EQ(static_cast<int>(ExitCode::kJobCancelled), 7);
  EXPECT_EQ(static_cast<int>(ExitCode::kInterrupted), 130);
}

TEST(ExitCodeTest, MapsEveryStatusCode) {
  EXPECT_EQ(ExitCodeFor(OkStatus()), ExitCode::kOk);
  EXPECT_EQ(ExitCodeFor(InvalidArgument("x")), ExitCode::kInvalid);
  EXPECT_EQ(ExitCodeFor(FailedPrecondition("x")), ExitCode::kInvalid);
  EXPECT_EQ(ExitCodeFor(NotFound("x")), ExitCode::kInvalid);
  EXPECT_EQ(ExitCodeFor(AlreadyExists("x")), ExitCode::kInvalid);
  EXPECT_EQ(ExitCodeFor(DataLoss("x")), ExitCode::kInvalid);
  EXPECT_EQ(ExitCodeFor(PermissionDenied("x")), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeFor(Unauthenticated("x")), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeFor(Unavailable("x")), ExitCode::kUnavailable);
  EXPECT_EQ(ExitCodeFor(DeadlineExceeded("x")), ExitCode::kUnavailable);
  EXPECT_EQ(ExitCodeFor(ResourceExhausted("x")), ExitCode::kUnavailable);
  EXPECT_EQ(ExitCodeFor(Aborted("x")), ExitCode::kJobFailed);
  EXPECT_EQ(ExitCodeFor(Cancelled("x")), ExitCode::kJobCancelled);
  EXPECT_EQ(ExitCodeFor(Internal("x")), ExitCode::kInternal);
}

}  // namespace
}  // namespace chorale::cli
