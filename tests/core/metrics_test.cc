#include "core/metrics.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <limits>

namespace chorale::metrics {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// One HTTP request over loopback.
std::string HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
      std::array<char, 4096> buffer{};
      for (ssize_t count = 0; (count = recv(fd, buffer.data(), buffer.size(), 0)) > 0;) {
        answer.append(buffer.data(), static_cast<std::size_t>(count));
      }
    }
  }
  close(fd);
  return answer;
}

TEST(MetricsTest, ACounterGrows) {
  Registry registry;
  Counter& counter = registry.AddCounter("chorale_rounds_total", "Rounds.");

  counter.Increment();
  counter.Increment(2);
  counter.Increment(-5);

  EXPECT_THAT(registry.RenderText(), HasSubstr("# TYPE chorale_rounds_total counter"));
  EXPECT_THAT(registry.RenderText(), HasSubstr("\nchorale_rounds_total 3"));
}

TEST(MetricsTest, AGaugeTellsTheLastValue) {
  Registry registry;
  Gauge& gauge = registry.AddGauge("chorale_sites", "Sites that are connected.");

  gauge.Set(4);
  gauge.Set(3);

  EXPECT_THAT(registry.RenderText(), HasSubstr("\nchorale_sites 3"));
}

TEST(MetricsTest, AHistogramCountsUpToEachBucket) {
  Registry registry;
  Histogram& histogram = registry.AddSecondsHistogram("chorale_round_seconds", "Rounds.");

  histogram.Observe(0.02);
  histogram.Observe(7200);
  histogram.Observe(std::numeric_limits<double>::quiet_NaN());

  const std::string text = registry.RenderText();
  EXPECT_THAT(text, HasSubstr("chorale_round_seconds_bucket{le=\"0.01\"} 0"));
  EXPECT_THAT(text, HasSubstr("chorale_round_seconds_bucket{le=\"0.025\"} 1"));
  EXPECT_THAT(text, HasSubstr("chorale_round_seconds_bucket{le=\"3600\"} 1"));
  EXPECT_THAT(text, HasSubstr("chorale_round_seconds_bucket{le=\"+Inf\"} 2"));
  EXPECT_THAT(text, HasSubstr("chorale_round_seconds_sum 7200.02"));
}

TEST(MetricsTest, TheSameNameGivesTheSameMetric) {
  Registry registry;

  registry.AddCounter("chorale_jobs_total", "Jobs.").Increment();
  registry.AddCounter("chorale_jobs_total", "Jobs.").Increment();

  EXPECT_THAT(registry.RenderText(), HasSubstr("\nchorale_jobs_total 2"));
}

TEST(MetricsTest, ABadDefinitionIsNotExportedAndHurtsNobody) {
  Registry registry;
  registry.AddCounter("chorale_jobs_total", "Jobs.").Increment();

  registry.AddGauge("chorale_jobs_total", "Not jobs.").Set(77);
  registry.AddSecondsHistogram("no spaces", "Bad name.").Observe(1);
  registry.AddCounter("", "Bad name.").Increment();

  EXPECT_THAT(registry.RenderText(), HasSubstr("\nchorale_jobs_total 1"));
  EXPECT_THAT(registry.RenderText(), Not(HasSubstr("77")));
  EXPECT_THAT(registry.RenderText(), Not(HasSubstr("rejected")));
}

TEST(MetricsTest, ServesThePageOnAFreePort) {
  Registry registry;
  registry.AddGauge("chorale_sites", "Sites.").Set(5);

  ASSERT_TRUE(registry.Serve("127.0.0.1:0").ok());

  ASSERT_TRUE(registry.port().has_value());
  // At once, as the server takes a second to let go of a connection.
  auto page = std::async(std::launch::async, HttpGet, *registry.port(), "/metrics");
  auto file = std::async(std::launch::async, HttpGet, *registry.port(), "/etc/passwd");
  const std::string answer = page.get();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("chorale_sites 5"));
  EXPECT_THAT(file.get(), StartsWith("HTTP/1.1 404"));
}

TEST(MetricsTest, AnAddressInUseIsUnavailable) {
  Registry first;
  ASSERT_TRUE(first.Serve("127.0.0.1:0").ok());

  Registry second;
  const Status status = second.Serve("127.0.0.1:" + std::to_string(*first.port()));

  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_FALSE(second.port().has_value());
}

TEST(MetricsTest, ServesOnce) {
  Registry registry;
  ASSERT_TRUE(registry.Serve("127.0.0.1:0").ok());

  EXPECT_EQ(registry.Serve("127.0.0.1:0").code(), StatusCode::kFailedPrecondition);
}

TEST(MetricsTest, RefusesWhatIsNotOneAddress) {
  Registry registry;
  for (const char* address : {"", ":9090", "9090", "localhost:", "localhost:x", "127.0.0.1:70000",
                              "127.0.0.1:443s", "127.0.0.1:1,0.0.0.0:2", "a b:1"}) {
    EXPECT_EQ(registry.Serve(address).code(), StatusCode::kInvalidArgument) << address;
  }
}

}  // namespace
}  // namespace chorale::metrics
