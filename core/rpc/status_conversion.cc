#include "core/rpc/status_conversion.h"

#include <string>

namespace chorale::rpc {
namespace {

// Trailers travel as headers, percent-encoded (up to three characters each), under a limit of 8
// KiB.
constexpr std::size_t kMaxMessageBytes = 2000;

// Whole UTF-8 characters only: a cut one would be no valid text.
std::string Shorten(std::string message) {
  if (message.size() <= kMaxMessageBytes) return message;
  std::size_t size = kMaxMessageBytes;
  while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xC0) == 0x80) --size;
  message.resize(size);
  return message + " [shortened]";
}

// What a peer sends must not steer a terminal.
std::string WithoutControls(std::string message) {
  for (char& c : message) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f) c = '?';
  }
  return message;
}

}  // namespace

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), Shorten(MessageOf(status))};
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  const int code = status.error_code();
  const bool is_known = code > 0 && code <= static_cast<int>(StatusCode::kUnauthenticated);
  const StatusCode known = is_known ? static_cast<StatusCode>(code) : StatusCode::kUnknown;
  if (status.error_message().empty()) {
    return MakeStatus(known, "the peer gave no reason (" + absl::StatusCodeToString(known) + ")");
  }
  return MakeStatus(known, WithoutControls(status.error_message()));
}

}  // namespace chorale::rpc
