#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "chorale/v1/jobs.grpc.pb.h"
#include "coordinator/callers.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/driver.h"
#include "coordinator/payload_store.h"
#include "coordinator/uploads.h"
#include "core/time.h"
#include "identity/identity.h"

namespace chorale::coordinator {

// What researchers call: authenticate, decode, do, encode. Any researcher of the federation may
// list, show, watch and pull any job; a job is cancelled only by the researcher who submitted it.
// Everything given must outlive the service.
class JobsService final : public v1::Jobs::WithCallbackMethod_WatchJob<v1::Jobs::Service> {
 public:
  struct Parts {
    Callers& callers;
    Driver& driver;
    PayloadStore& payloads;
    Uploads& uploads;
    const identity::Identity& coordinator;
    const Clock& clock;
    CoordinatorMetrics& metrics;
    std::uint64_t max_model_bytes = 0;
  };
  explicit JobsService(const Parts& parts) : parts_(parts) {}

  grpc::Status SubmitJob(grpc::ServerContext* context, const v1::SubmitJobRequest* request,
                         v1::SubmitJobResponse* response) override;
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override;
  grpc::Status ShowJob(grpc::ServerContext* context, const v1::ShowJobRequest* request,
                       v1::ShowJobResponse* response) override;
  grpc::Status ExplainJob(grpc::ServerContext* context, const v1::ExplainJobRequest* request,
                          v1::ExplainJobResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) override;
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::CancelJobResponse* response) override;
  grpc::Status PullModel(grpc::ServerContext* context, const v1::PullModelRequest* request,
                         grpc::ServerWriter<v1::PullModelResponse>* writer) override;
  grpc::Status FindUpload(grpc::ServerContext* context, const v1::FindUploadRequest* request,
                          v1::FindUploadResponse* response) override;
  grpc::Status UploadModel(grpc::ServerContext* context,
                           grpc::ServerReader<v1::UploadModelRequest>* reader,
                           v1::UploadModelResponse* response) override;
  grpc::Status ListSites(grpc::ServerContext* context, const v1::ListSitesRequest* request,
                         v1::ListSitesResponse* response) override;

 private:
  [[nodiscard]] StatusOr<Caller> Researcher(const grpc::ServerContextBase& context) {
    return parts_.callers.Authenticate(context, v1::PARTY_ROLE_RESEARCHER);
  }
  [[nodiscard]] StatusOr<Submission> Decode(const Caller& caller,
                                            const v1::SubmitJobRequest& request) const;
  // Runs `pull` unless this researcher, or all together, are at too many already:
  // RESOURCE_EXHAUSTED.
  [[nodiscard]] Status WithinLimits(const std::string& researcher,
                                    const std::function<Status()>& pull);
  [[nodiscard]] Status Pull(const v1::PullModelRequest& request,
                            grpc::ServerWriter<v1::PullModelResponse>& writer);

  [[nodiscard]] Status Upload(const ResearcherId& researcher, grpc::ServerContext& context,
                              grpc::ServerReader<v1::UploadModelRequest>& reader);
  [[nodiscard]] StatusOr<std::uint64_t> FindReceived(grpc::ServerContext& context,
                                                     const v1::FindUploadRequest& request);
  // What takes the first chunk: a new payload, or what an earlier call left of it.
  [[nodiscard]] StatusOr<std::unique_ptr<PartialPayload>> BeginUpload(Uploads::Turn& turn,
                                                                      const crypto::BlobId& id,
                                                                      const v1::Chunk& first);

  const Parts parts_;
  std::mutex pulls_mutex_;            // Guards pulls_.
  std::map<std::string, int> pulls_;  // Under way, by researcher.
};

}  // namespace chorale::coordinator
