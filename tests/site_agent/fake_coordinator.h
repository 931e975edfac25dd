#pragma once

#include <grpcpp/server_context.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "chorale/v1/federation.grpc.pb.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/rpc/server.h"
#include "tests/support/test_pki.h"

namespace chorale::site_agent {

// The coordinator's side over real TLS on a free port of the loopback: greets, sends what the test
// says, and keeps every byte that arrives. Waits fail the test after a generous time. Safe for
// concurrent use.
class FakeCoordinator final : public v1::Federation::Service {
 public:
  explicit FakeCoordinator(support::TestPki& pki);
  ~FakeCoordinator() override;

  [[nodiscard]] std::string address() const;
  void AddBlob(Bytes content);
  // Sends to the session that stands.
  void Send(const v1::CoordinatorMessage& message);
  // Ends the session that stands.
  void EndSession();
  // Waits until `count` messages of a kind came, over all sessions; returns the last.
  v1::SiteMessage WaitFor(v1::SiteMessage::MessageCase kind, int count = 1);
  // Waits until `count` reports came; returns the serialised requests of the last.
  std::string WaitForReport(int count = 1);

  // The answer to each report in turn; OK when there is none left.
  void AnswerReportsWith(std::vector<grpc::Status> answers);
  [[nodiscard]] int num_reports();
  // Everything that ever arrived.
  [[nodiscard]] std::string AllBytes();

  grpc::Status Connect(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::SiteMessage>* stream) override;
  grpc::Status FetchBlob(grpc::ServerContext* context, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::FetchBlobResponse>* writer) override;
  grpc::Status ReportResult(grpc::ServerContext* context,
                            grpc::ServerReader<v1::ReportResultRequest>* reader,
                            v1::ReportResultResponse* response) override;

 private:
  std::unique_ptr<identity::Identity> identity_;
  std::unique_ptr<rpc::Server> server_;

  std::mutex mutex_;  // Guards everything below.
  std::condition_variable changed_;
  grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::SiteMessage>* stream_ = nullptr;
  grpc::ServerContext* context_ = nullptr;
  std::vector<v1::SiteMessage> messages_;
  std::vector<std::string> reports_;
  std::string fetches_;
  std::vector<grpc::Status> answers_;
  std::vector<Bytes> blobs_;
};

}  // namespace chorale::site_agent
