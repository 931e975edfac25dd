#pragma once

#include <functional>
#include <memory>
#include <string>

#include "chorale/v1/jobs.pb.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/status.h"
#include "identity/identity.h"

namespace chorale::cli {

// The coordinator's Jobs service as a researcher sees it. Errors of the connection say what it
// means in a hospital's network and what to do. Not thread-safe.
class JobsClient {
 public:
  // Dials lazily. `proxy` as in researcher.yaml: empty means from the environment. INVALID_ARGUMENT
  // for a malformed address or proxy.
  [[nodiscard]] static StatusOr<std::unique_ptr<JobsClient>> Create(
      const std::string& address, const std::string& proxy, const identity::Identity& identity);
  ~JobsClient();

  // Each waits half a minute at most.
  [[nodiscard]] StatusOr<v1::SubmitJobResponse> SubmitJob(const v1::SubmitJobRequest& request);
  [[nodiscard]] StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  // With all records, however many answers they take.
  [[nodiscard]] StatusOr<v1::ShowJobResponse> ShowJob(const v1::ShowJobRequest& request);
  // One answer; has_more: ask again.
  [[nodiscard]] StatusOr<v1::ExplainJobResponse> ExplainJob(const v1::ExplainJobRequest& request);
  [[nodiscard]] StatusOr<v1::CancelJobResponse> CancelJob(const v1::CancelJobRequest& request);
  [[nodiscard]] StatusOr<v1::ListSitesResponse> ListSites(const v1::ListSitesRequest& request);

  // Sends the weights that a job is about to start from: flat little-endian float32. Takes as long
  // as the network does. Where the line breaks it is dialled again, as for WatchJob, and the
  // transfer goes on at the chunk; `on_resume` is told how many bytes are there already.
  [[nodiscard]] Status UploadModel(const crypto::BlobId& id, ByteSpan weights,
                                   const std::function<void(std::uint64_t)>& on_resume);

  // Tells every message until the job has ended. When the connection is lost it is dialled again
  // for two minutes at most, and `on_reconnect` is told; the stream then begins with the job as it
  // is.
  [[nodiscard]] Status WatchJob(const v1::WatchJobRequest& request,
                                const std::function<void(const v1::WatchJobResponse&)>& on_message,
                                const std::function<void()>& on_reconnect);

  // Tells the header, then the chunks, until the end or the first error of either. Goes on where
  // the line breaks, as UploadModel; a second header means that other weights were published
  // meanwhile, which come from their beginning.
  [[nodiscard]] Status PullModel(const std::string& job_id,
                                 const std::function<Status(const v1::PullModelHeader&)>& on_header,
                                 const std::function<Status(const v1::Chunk&)>& on_chunk,
                                 const std::function<void(std::uint64_t)>& on_resume);

 private:
  struct State;
  explicit JobsClient(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace chorale::cli
