#include "tests/core/rpc/connect_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace chorale::rpc {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

void Require(bool is_done, const char* step) {
  if (is_done) return;
  std::perror(step);
  std::abort();
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return true;
}

// Up to the empty line; byte by byte, so that nothing behind it is taken.
std::string ReadHead(int fd) {
  std::string head;
  char c = 0;
  while (head.size() < 8192 && !head.ends_with("\r\n\r\n") && ::recv(fd, &c, 1, 0) == 1) head += c;
  return head;
}

std::string ToBase64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < text.size() ? static_cast<std::uint8_t>(text[i + j]) : 0u);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j <= text.size() ? kAlphabet[group >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

void Relay(int a, int b) {
  std::array<pollfd, 2> ends = {pollfd{a, POLLIN, 0}, pollfd{b, POLLIN, 0}};
  std::array<char, 1 << 16> buffer{};
  while (::poll(ends.data(), ends.size(), -1) > 0) {
    for (std::size_t i = 0; i < 2; ++i) {
      if (ends[i].revents == 0) continue;
      const ssize_t size = ::recv(ends[i].fd, buffer.data(), buffer.size(), 0);
      if (size <= 0 || !SendAll(ends[1 - i].fd, {buffer.data(), static_cast<std::size_t>(size)})) {
        return;
      }
    }
  }
}

}  // namespace

ConnectProxy::ConnectProxy(Options options) : options_(std::move(options)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Require(listener_ >= 0, "socket");
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  Require(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  Require(::listen(listener_, 16) == 0, "listen");
  Require(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "name");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { AcceptAll(); });
}

ConnectProxy::~ConnectProxy() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    // Wakes whoever reads or accepts.
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  for (const int fd : open_) ::close(fd);
  ::close(listener_);
}

std::vector<std::string> ConnectProxy::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void ConnectProxy::Track(int fd) {
  const std::lock_guard lock(mutex_);
  open_.push_back(fd);
  if (is_stopping_) ::shutdown(fd, SHUT_RDWR);
}

void ConnectProxy::AcceptAll() {
  for (;;) {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    Track(client);
    threads_.emplace_back([this, client] {
      Serve(client);
      ::shutdown(client, SHUT_RDWR);
    });
  }
}

void ConnectProxy::Serve(int client) {
  const std::string head = ReadHead(client);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(head.substr(0, head.find("\r\n")));
  }
  int refusal = options_.refuse_with;
  if (!options_.required_credentials.empty() &&
      head.find("Basic " + ToBase64(options_.required_credentials) + "\r\n") == std::string::npos) {
    refusal = 407;
  }
  if (refusal != 0) {
    SendAll(client, "HTTP/1.1 " + std::to_string(refusal) + " No\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  const int target = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Require(target >= 0, "socket");
  Track(target);
  const sockaddr_in address = Loopback(options_.target_port);
  if (::connect(target, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    SendAll(client, "HTTP/1.1 502 Bad Gateway\r\n\r\n");
    return;
  }
  if (SendAll(client, "HTTP/1.1 200 Connection established\r\n\r\n")) Relay(client, target);
  ::shutdown(target, SHUT_RDWR);
}

}  // namespace chorale::rpc
