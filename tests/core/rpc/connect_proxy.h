#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace chorale::rpc {

// An HTTP proxy on a free port of 127.0.0.1 that connects every CONNECT request to one port of this
// machine, whatever host the request names: it alone can "resolve" them.
class ConnectProxy {
 public:
  struct Options {
    int target_port = 0;
    int refuse_with = 0;                 // An HTTP status code instead of a connection; 0: connect.
    std::string required_credentials{};  // "user:password"; 407 without them. Empty: none required.
  };
  explicit ConnectProxy(Options options);
  ConnectProxy(const ConnectProxy&) = delete;
  ConnectProxy& operator=(const ConnectProxy&) = delete;
  ~ConnectProxy();

  [[nodiscard]] std::string url() const { return "http://" + authority(); }
  [[nodiscard]] std::string authority() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] int port() const { return port_; }
  // The request lines so far.
  [[nodiscard]] std::vector<std::string> requests() const;

 private:
  void AcceptAll();
  void Serve(int client);
  void Track(int fd);

  Options options_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  bool is_stopping_ = false;
  std::vector<int> open_;             // Every descriptor, closed at the end.
  std::vector<std::thread> threads_;  // One for each client.
  std::vector<std::string> requests_;
  std::thread acceptor_;
};

}  // namespace chorale::rpc
