#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

// The one place that knows where Status comes from. Codes are contract; docs/style.md gives each
// its meaning.
namespace chorale {

using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

inline Status OkStatus() { return absl::OkStatus(); }

// Factories that take std::string_view: Debian's Abseil has a string_view type of its own.
inline Status MakeStatus(StatusCode code, std::string_view message) {
  return Status(code, absl::string_view(message.data(), message.size()));
}
inline Status InvalidArgument(std::string_view m) {
  return MakeStatus(StatusCode::kInvalidArgument, m);
}
inline Status FailedPrecondition(std::string_view m) {
  return MakeStatus(StatusCode::kFailedPrecondition, m);
}
inline Status PermissionDenied(std::string_view m) {
  return MakeStatus(StatusCode::kPermissionDenied, m);
}
inline Status Unauthenticated(std::string_view m) {
  return MakeStatus(StatusCode::kUnauthenticated, m);
}
inline Status AlreadyExists(std::string_view m) {
  return MakeStatus(StatusCode::kAlreadyExists, m);
}
inline Status NotFound(std::string_view m) { return MakeStatus(StatusCode::kNotFound, m); }
inline Status ResourceExhausted(std::string_view m) {
  return MakeStatus(StatusCode::kResourceExhausted, m);
}
inline Status DeadlineExceeded(std::string_view m) {
  return MakeStatus(StatusCode::kDeadlineExceeded, m);
}
inline Status Unavailable(std::string_view m) { return MakeStatus(StatusCode::kUnavailable, m); }
inline Status DataLoss(std::string_view m) { return MakeStatus(StatusCode::kDataLoss, m); }
inline Status Cancelled(std::string_view m) { return MakeStatus(StatusCode::kCancelled, m); }
inline Status Aborted(std::string_view m) { return MakeStatus(StatusCode::kAborted, m); }
inline Status Internal(std::string_view m) { return MakeStatus(StatusCode::kInternal, m); }

// The message of a status as std::string.
inline std::string MessageOf(const Status& status) { return std::string(status.message()); }

// The same code and payloads, with "context: " before the message. OK stays OK.
inline Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  Status annotated = MakeStatus(status.code(), std::string(context) + ": " + MessageOf(status));
  status.ForEachPayload([&annotated](absl::string_view type, const absl::Cord& payload) {
    annotated.SetPayload(type, payload);
  });
  return annotated;
}

}  // namespace chorale

#define CHORALE_CONCAT_INNER(a, b) a##b
#define CHORALE_CONCAT(a, b) CHORALE_CONCAT_INNER(a, b)
#define CHORALE_RETURN_IF_ERROR(expr)                                        \
  do {                                                                       \
    if (::chorale::Status chorale_status_ = (expr); !chorale_status_.ok()) { \
      return chorale_status_;                                                \
    }                                                                        \
  } while (false)
#define CHORALE_ASSIGN_OR_RETURN(lhs, expr) \
  CHORALE_ASSIGN_OR_RETURN_(CHORALE_CONCAT(chorale_status_or_, __LINE__), lhs, expr)
#define CHORALE_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return std::move(tmp).status();  \
  lhs = *std::move(tmp)
