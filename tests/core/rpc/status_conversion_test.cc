#include "core/rpc/status_conversion.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace chorale::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(StatusConversionTest, KeepsEveryCodeAndMessage) {
  for (int code = 1; code <= 16; ++code) {
    const Status status = MakeStatus(static_cast<StatusCode>(code), "rounds.count must be 1");

    EXPECT_EQ(static_cast<int>(ToGrpc(status).error_code()), code);
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  }
  EXPECT_TRUE(FromGrpc(ToGrpc(OkStatus())).ok());
}

TEST(StatusConversionTest, TakesACodeOutsideTheListAsUnknown) {
  for (const int code : {77, 17, -1}) {
    EXPECT_EQ(FromGrpc(grpc::Status(static_cast<grpc::StatusCode>(code), "x")).code(),
              StatusCode::kUnknown);
  }
}

TEST(StatusConversionTest, NeverGivesAnEmptyMessage) {
  EXPECT_THAT(MessageOf(FromGrpc(grpc::Status(grpc::StatusCode::ABORTED, ""))),
              HasSubstr("ABORTED"));
}

TEST(StatusConversionTest, ShortensWhatWouldNotFitATrailer) {
  std::string text;
  while (text.size() < 10'000) text += "€";

  const std::string sent = ToGrpc(InvalidArgument(text)).error_message();

  EXPECT_LE(sent.size(), 2020u);
  EXPECT_THAT(sent, ::testing::EndsWith("€ [shortened]"));
}

TEST(StatusConversionTest, TakesTerminalControlsOutOfAPeersMessage) {
  const Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::ABORTED, "\x1b[2Jbell\a\x7f line\nnext\tcell é"));

  EXPECT_EQ(MessageOf(status), "?[2Jbell?? line\nnext\tcell é");
}

TEST(ExplainConnectionFailureTest, KnowsTheFailuresOfHospitalNetworks) {
  const struct {
    const char* message;
    const char* cause;
  } cases[] = {
      {"DNS resolution failed for coordinator.test:443: C-ares status is not ARES_SUCCESS",
       "host name is unknown"},
      {"failed to connect to all addresses; last error: UNKNOWN: HTTP proxy returned response code "
       "407",
       "user name and a password"},
      {"HTTP proxy returned response code 403", "forbids"},
      {"HTTP proxy returned response code 502", "did not open"},
      {"Cannot check peer: missing selected ALPN property.", "TLS inspection"},
      {"Ssl handshake failed: SSL_ERROR_SSL: error:0A000086:SSL routines::certificate verify "
       "failed",
       "not of this federation"},
      {"failed to connect to all addresses; last error: UNAVAILABLE: Socket closed",
       "refused this party's certificate"},
      {"Socket closed", "the connection ended"},
      {"ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", "nothing listens"},
      {"sslv3 alert certificate expired", "expired"},
      {"tlsv13 alert certificate required", "saw no certificate"},
      {"keepalive watchdog timeout", "went silent"},
      {"Hostname Verification Check failed. Peer name x is not in peer certificate",
       "does not carry the name"},
  };
  for (const auto& [message, cause] : cases) {
    const Status explained = ExplainConnectionFailure(Unavailable(message), "coordinator.test:443");

    EXPECT_EQ(explained.code(), StatusCode::kUnavailable);
    EXPECT_THAT(MessageOf(explained), StartsWith("cannot reach coordinator.test:443 ("));
    EXPECT_THAT(MessageOf(explained), HasSubstr(cause)) << message;
    EXPECT_THAT(MessageOf(explained), HasSubstr("; ")) << message;
  }
}

TEST(ExplainConnectionFailureTest, KeepsEveryOtherStatus) {
  for (const Status& status :
       {OkStatus(), Unavailable("draining"), PermissionDenied("Socket closed"),
        FailedPrecondition("the round is closed")}) {
    EXPECT_EQ(ExplainConnectionFailure(status, "coordinator.test:443"), status);
  }
}

}  // namespace
}  // namespace chorale::rpc
