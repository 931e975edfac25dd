// TLS 1.2 is off and TLS 1.3 on, seen by clients that are not gRPC.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

#include "core/bytes.h"
#include "core/log.h"
#include "core/storage/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/rpc/test_federation.h"
#include "tests/support/temporary_directory.h"

namespace chorale::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

void Append16(Bytes& bytes, std::size_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

void AppendAll(Bytes& bytes, ByteSpan more) {
  for (const std::uint8_t byte : more) bytes.push_back(byte);
}

void AppendExtension(Bytes& bytes, std::size_t type, const Bytes& body) {
  Append16(bytes, type);
  Append16(bytes, body.size());
  AppendAll(bytes, body);
}

// A ClientHello of TLS 1.2 (RFC 5246, section 7.4.1.2) that offers every suite a P-256 server could
// take.
Bytes MakeTls12Hello() {
  Bytes body = {3, 3};
  AppendAll(body, Bytes(32, 0x5a));  // Random.
  body.push_back(0);                 // No session.
  // ECDHE-ECDSA: AES-128-GCM, AES-256-GCM, ChaCha20, AES-128-CBC, AES-256-CBC; ECDHE-RSA:
  // AES-128-GCM.
  const Bytes suites = {0xc0, 0x2b, 0xc0, 0x2c, 0xcc, 0xa9, 0xc0, 0x23, 0xc0, 0x24, 0xc0, 0x2f};
  Append16(body, suites.size());
  AppendAll(body, suites);
  AppendAll(body, Bytes{1, 0});  // No compression.
  Bytes extensions;
  AppendExtension(extensions, 10, {0, 2, 0, 23});        // Group P-256.
  AppendExtension(extensions, 11, {1, 0});               // Uncompressed points.
  AppendExtension(extensions, 13, {0, 4, 4, 3, 8, 4});   // ECDSA and PSS, SHA-256.
  AppendExtension(extensions, 16, {0, 3, 2, 'h', '2'});  // ALPN.
  Append16(body, extensions.size());
  AppendAll(body, extensions);

  Bytes record = {22, 3, 1};
  Append16(record, body.size() + 4);
  AppendAll(record, Bytes{1, 0});
  Append16(record, body.size());
  AppendAll(record, body);
  return record;
}

// Sends bytes and returns what comes back first.
Bytes Exchange(int port, const Bytes& request) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  Bytes answer(4096);
  const ssize_t size = ::recv(fd, answer.data(), answer.size(), 0);
  EXPECT_GE(size, 0);
  answer.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  ::close(fd);
  return answer;
}

TEST(TlsVersionTest, FindsNoSuiteForATls12Hello) {
  const TestRoot root;
  TestServer server(root.IssueServer());
  const support::TemporaryDirectory directory;
  const std::string log_file = (directory.path() / "log").string();
  ASSERT_TRUE(log::Configure({.level = log::Level::kInfo, .file = log_file}).ok());
  InitializeRpc();  // Forgets which records were written before.

  const Bytes answer = Exchange(server.port(), MakeTls12Hello());

  ASSERT_TRUE(log::Configure({}).ok());
  EXPECT_THAT(answer, IsEmpty());
  EXPECT_THAT(*storage::ReadFile(log_file, 1 << 20), HasSubstr("no shared cipher"));
}

TEST(TlsVersionTest, SurvivesRubbish) {
  const TestRoot root;
  TestServer server(root.IssueServer());

  const ByteSpan http = AsBytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (const Bytes& rubbish :
       {Bytes(1000, 0xff), Bytes{22, 3, 1, 0, 4, 1, 0, 0, 0}, Bytes(http.begin(), http.end())}) {
    Exchange(server.port(), rubbish);
  }

  EXPECT_TRUE(AskOwnName(Dial(server.address(), root.IssueClient("north"))).ok());
}

#ifdef OPENSSL_PROGRAM

class OpensslClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const TestParty client = root_.IssueClient("north");
    Write("certificate", client.certificate_pem);
    Write("key", ToString(client.key_pem.Reveal()));
    Write("root", client.root_pem);
  }

  // What `openssl s_client` has to say about a connection.
  std::string Connect(const TestServer& server, const std::string& options) {
    const std::string command = std::string(OPENSSL_PROGRAM) +
                                " s_client -brief -alpn h2 -connect " + server.address() +
                                " -cert " + Path("certificate") + " -key " + Path("key") +
                                " -CAfile " + Path("root") + " " + options + " </dev/null 2>&1";
    FILE* const pipe = ::popen(command.c_str(), "r");
    EXPECT_NE(pipe, nullptr);
    std::string output;
    std::array<char, 4096> buffer{};
    while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
      output.append(buffer.data(), size);
    }
    ::pclose(pipe);
    return output;
  }

  [[nodiscard]] std::string Path(const std::string& name) const {
    return (directory_.path() / name).string();
  }
  void Write(const std::string& name, const std::string& content) {
    ASSERT_TRUE(
        storage::WriteFileAtomically(Path(name), AsBytes(content), storage::FileMode::kPrivate)
            .ok());
  }

  support::TemporaryDirectory directory_;
  TestRoot root_;
};

TEST_F(OpensslClientTest, SpeaksTls13) {
  const TestServer server(root_.IssueServer());

  const std::string output = Connect(server, "-tls1_3");

  EXPECT_THAT(output, HasSubstr("Protocol version: TLSv1.3"));
  EXPECT_THAT(output, HasSubstr("Verification: OK"));
}

TEST_F(OpensslClientTest, GetsNoOlderVersion) {
  const TestServer server(root_.IssueServer());

  for (const char* version : {"-tls1_2", "-no_tls1_3", "-tls1_1 -cipher ALL:@SECLEVEL=0"}) {
    const std::string output = Connect(server, version);

    EXPECT_THAT(output, Not(HasSubstr("Protocol version"))) << version;
    EXPECT_THAT(output, HasSubstr("error")) << version;
  }
}

#endif  // OPENSSL_PROGRAM

}  // namespace
}  // namespace chorale::rpc
