#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "chorale/v1/federation.grpc.pb.h"
#include "core/bytes.h"
#include "core/rpc/server.h"
#include "core/status.h"
#include "identity/identity.h"

// The coordinator's end of the wire, for one who says what it likes: real TLS, the real service,
// and no rule at all about what is sent to whom.
namespace chorale::adversary {

// What a site made of one task.
struct Answer {
  std::string code;  // Of a refusal; empty: the site did as it was told. "NO ANSWER": it did not.
  std::string text;
  Bytes message;       // A step's answer, or the MaskedInput of a vector.
  Bytes vector;        // Masked.
  int num_copies = 0;  // How often the report came.
  bool are_copies_equal = true;

  [[nodiscard]] bool is_refused() const { return !code.empty(); }
};

// What secure aggregation calls the refusal, or else the reason code, or "done".
[[nodiscard]] std::string ReasonOf(const Answer& answer);

using Blob = std::pair<v1::BlobDescriptor, Bytes>;
// As the descriptor should be.
[[nodiscard]] Blob Named(Bytes content);

// Safe for concurrent use.
class Wire final : public v1::Federation::Service {
 public:
  // `coordinator` must outlive the wire.
  [[nodiscard]] static StatusOr<std::unique_ptr<Wire>> Listen(
      const identity::Identity& coordinator);
  ~Wire() override;

  [[nodiscard]] int port() const { return server_->port(); }
  [[nodiscard]] bool WaitForSites(std::size_t count);
  // Sessions that the site has begun so far.
  [[nodiscard]] int NumSessions(const std::string& site);
  [[nodiscard]] bool WaitForSession(const std::string& site, int number);

  // The task and what it may fetch.
  void Send(const std::string& site, v1::Task task, std::vector<Blob> blobs);
  // The site's answer, once it is there.
  [[nodiscard]] Answer Await(const std::string& task_id);
  // Says UNAVAILABLE to the first report of this task, as if it had been lost on the way.
  void LoseFirstReport(const std::string& task_id);

  grpc::Status Connect(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::SiteMessage>* stream) override;
  grpc::Status FetchBlob(grpc::ServerContext* context, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::FetchBlobResponse>* writer) override;
  grpc::Status ReportResult(grpc::ServerContext* context,
                            grpc::ServerReader<v1::ReportResultRequest>* reader,
                            v1::ReportResultResponse* response) override;

 private:
  using Stream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::SiteMessage>;
  struct Asked {
    std::vector<Blob> blobs;
    Answer answer;
    bool is_answered = false;
    bool loses_first = false;
  };
  Wire() = default;

  std::unique_ptr<rpc::Server> server_;
  rpc::PeerCertificates certificates_;

  std::mutex mutex_;  // Guards everything below.
  std::condition_variable changed_;
  std::map<std::string, std::pair<Stream*, grpc::ServerContext*>> sites_;
  std::map<std::string, int> num_sessions_;
  std::map<std::string, Asked> tasks_;
};

}  // namespace chorale::adversary
