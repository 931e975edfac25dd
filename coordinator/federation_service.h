#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "chorale/v1/federation.grpc.pb.h"
#include "coordinator/callers.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/driver.h"
#include "coordinator/payload_store.h"
#include "coordinator/task_table.h"
#include "core/time.h"

namespace chorale::coordinator {

// What sites call: authenticate, decode, do, answer. Sessions are served without a thread of their
// own, transfers on gRPC's threads. Everything given must outlive the service.
class FederationService final
    : public v1::Federation::WithCallbackMethod_Connect<v1::Federation::Service> {
 public:
  FederationService(Callers& callers, Driver& driver, TaskTable& tasks, PayloadStore& payloads,
                    const Clock& clock, CoordinatorMetrics& metrics)
      : callers_(callers),
        driver_(driver),
        tasks_(tasks),
        payloads_(payloads),
        clock_(clock),
        metrics_(metrics) {}

  grpc::ServerBidiReactor<v1::SiteMessage, v1::CoordinatorMessage>* Connect(
      grpc::CallbackServerContext* context) override;
  grpc::Status FetchBlob(grpc::ServerContext* context, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::FetchBlobResponse>* writer) override;
  grpc::Status ReportResult(grpc::ServerContext* context,
                            grpc::ServerReader<v1::ReportResultRequest>* reader,
                            v1::ReportResultResponse* response) override;
  grpc::Status FindReport(grpc::ServerContext* context, const v1::FindReportRequest* request,
                          v1::FindReportResponse* response) override;

 private:
  [[nodiscard]] Status Fetch(grpc::ServerContext& context, const v1::FetchBlobRequest& request,
                             grpc::ServerWriter<v1::FetchBlobResponse>& writer);
  [[nodiscard]] Status Receive(grpc::ServerContext& context,
                               grpc::ServerReader<v1::ReportResultRequest>& reader);
  [[nodiscard]] StatusOr<HeldPayload> ReceivePayload(
      TaskTable::Transfer& transfer, const Report& report,
      grpc::ServerReader<v1::ReportResultRequest>& reader);
  // Of a payload whose first chunk is this.
  [[nodiscard]] StatusOr<std::unique_ptr<PartialPayload>> BeginPayload(
      TaskTable::Transfer& transfer, const crypto::BlobId& payload, const v1::Chunk& first);
  [[nodiscard]] StatusOr<std::uint64_t> FindReceived(grpc::ServerContext& context,
                                                     const v1::FindReportRequest& request);
  // Checks a payload that says something only as a whole, once it is held.
  [[nodiscard]] Status CheckWhole(const OpenTask& task, const Report& report);
  // The site's own fault: the round goes on without it, and says so.
  void ExcludeSite(const OpenTask& task, const Status& why);

  Callers& callers_;
  Driver& driver_;
  TaskTable& tasks_;
  PayloadStore& payloads_;
  const Clock& clock_;
  CoordinatorMetrics& metrics_;
  std::atomic<std::uint64_t> next_session_{1};
  std::mutex whole_mutex_;  // Bounds the memory of CheckWhole; guards nothing.
};

}  // namespace chorale::coordinator
