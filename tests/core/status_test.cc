#include "core/status.h"

#include <gtest/gtest.h>

#include <memory>

namespace chorale {
namespace {

StatusOr<int> Half(int value) {
  if (value % 2 != 0) return InvalidArgument("value must be even, got " + std::to_string(value));
  return value / 2;
}

StatusOr<int> Quarter(int value) {
  CHORALE_ASSIGN_OR_RETURN(const int half, Half(value));
  CHORALE_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(StatusTest, AssignOrReturnPassesTheFirstErrorOn) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(MessageOf(Quarter(6).status()), "value must be even, got 3");
}

TEST(StatusTest, AssignOrReturnMovesWhatCannotBeCopied) {
  const auto make = []() -> StatusOr<std::unique_ptr<int>> { return std::make_unique<int>(7); };
  const auto take = [&make]() -> StatusOr<int> {
    CHORALE_ASSIGN_OR_RETURN(const std::unique_ptr<int> value, make());
    return *value;
  };

  EXPECT_EQ(*take(), 7);
}

TEST(StatusTest, ReturnIfErrorGoesOnWhenAllIsWell) {
  const auto check = [](const Status& status) -> Status {
    CHORALE_RETURN_IF_ERROR(status);
    return Cancelled("reached the end");
  };

  EXPECT_EQ(check(OkStatus()).code(), StatusCode::kCancelled);
  EXPECT_EQ(check(NotFound("nothing")).code(), StatusCode::kNotFound);
}

TEST(StatusTest, AnnotateKeepsCodeAndPayload) {
  Status status = DataLoss("the digest is wrong");
  status.SetPayload("test", absl::Cord("payload"));

  const Status annotated = Annotate(status, "chunk 3");

  EXPECT_EQ(annotated.code(), StatusCode::kDataLoss);
  EXPECT_EQ(MessageOf(annotated), "chunk 3: the digest is wrong");
  EXPECT_EQ(annotated.GetPayload("test"), absl::Cord("payload"));
}

TEST(StatusTest, AnnotateLeavesOkAlone) { EXPECT_TRUE(Annotate(OkStatus(), "context").ok()); }

}  // namespace
}  // namespace chorale
