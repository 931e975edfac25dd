#include "cli/jobs_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "chorale/v1/jobs.grpc.pb.h"
#include "core/chunking.h"
#include "core/rpc/channel.h"
#include "core/rpc/chunks.h"
#include "core/rpc/status_conversion.h"
#include "core/rpc/tls.h"

namespace chorale::cli {
namespace {

constexpr std::chrono::seconds kCallTimeout(30);
constexpr std::chrono::minutes kReconnectTimeout(2);
constexpr std::chrono::seconds kKeepalive(30);
// Streams that break before their first message, one after another: the connection works and the
// service does not.
constexpr int kMaxEmptyStreams = 5;

}  // namespace

struct JobsClient::State {
  std::string address;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Jobs::Stub> stub;

  [[nodiscard]] Status Explain(const grpc::Status& status) const {
    const Status converted = rpc::FromGrpc(status);
    // These two mean the end of a job to whoever reads the exit code: the coordinator has no such
    // answer.
    if (converted.code() == StatusCode::kAborted || converted.code() == StatusCode::kCancelled) {
      return Unavailable("the coordinator at " + address +
                         " ended the call: " + MessageOf(converted) + "; try again");
    }
    return rpc::ExplainConnectionFailure(converted, address);
  }

  // One call that sends the weights from `offset` on.
  grpc::Status UploadFrom(const crypto::BlobId& id, ByteSpan weights, std::uint64_t offset) {
    grpc::ClientContext context;
    v1::UploadModelResponse response;
    const auto writer = stub->UploadModel(&context, &response);
    v1::UploadModelRequest request;
    *request.mutable_header() = rpc::ToProto(id);
    if (writer->Write(request)) {
      // A coordinator that takes no more says why in its status.
      const Status sent = rpc::SendBytes(
          weights,
          [&](v1::Chunk&& chunk) {
            *request.mutable_chunk() = std::move(chunk);
            return writer->Write(request);
          },
          offset);
      if (sent.ok()) writer->WritesDone();
    }
    return writer->Finish();
  }

  // Sets `offset` to where UploadFrom goes on.
  grpc::Status FindUpload(const crypto::BlobId& id, std::uint64_t& offset) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    v1::FindUploadRequest request;
    *request.mutable_weights() = rpc::ToProto(id);
    v1::FindUploadResponse response;
    const grpc::Status status = stub->FindUpload(&context, request, &response);
    // An older coordinator takes weights from their beginning.
    if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
      offset = 0;
      return grpc::Status::OK;
    }
    if (!status.ok()) return status;
    const std::uint64_t received = response.received_bytes();
    const bool is_place =
        received == id.size_bytes || (received < id.size_bytes && received % kChunkBytes == 0);
    offset = is_place ? received : 0;
    return status;
  }

  template <typename Request, typename Response>
  StatusOr<Response> Call(grpc::Status (v1::Jobs::Stub::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                          const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }
};

JobsClient::JobsClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
JobsClient::~JobsClient() = default;

StatusOr<std::unique_ptr<JobsClient>> JobsClient::Create(const std::string& address,
                                                         const std::string& proxy,
                                                         const identity::Identity& identity) {
  rpc::InitializeRpc();
  const rpc::TlsIdentity tls{.certificate_pem = identity.certificate().pem(),
                             .key_pem = identity.tls_key_pem(),
                             .root_pem = identity.root().pem()};
  auto state = std::make_unique<State>();
  state->address = address;
  CHORALE_ASSIGN_OR_RETURN(
      state->channel,
      rpc::MakeChannel({.address = address, .proxy = proxy, .keepalive_interval = kKeepalive},
                       tls));
  state->stub = v1::Jobs::NewStub(state->channel);
  return std::unique_ptr<JobsClient>(new JobsClient(std::move(state)));
}

StatusOr<v1::SubmitJobResponse> JobsClient::SubmitJob(const v1::SubmitJobRequest& request) {
  return state_->Call(&v1::Jobs::Stub::SubmitJob, request);
}

StatusOr<v1::ListJobsResponse> JobsClient::ListJobs(const v1::ListJobsRequest& request) {
  return state_->Call(&v1::Jobs::Stub::ListJobs, request);
}

StatusOr<v1::ShowJobResponse> JobsClient::ShowJob(const v1::ShowJobRequest& request) {
  CHORALE_ASSIGN_OR_RETURN(v1::ShowJobResponse whole,
                           state_->Call(&v1::Jobs::Stub::ShowJob, request));
  v1::ShowJobRequest next = request;
  while (whole.has_more()) {
    next.set_first_record(request.first_record() + static_cast<std::uint32_t>(whole.rounds_size()));
    CHORALE_ASSIGN_OR_RETURN(v1::ShowJobResponse page,
                             state_->Call(&v1::Jobs::Stub::ShowJob, next));
    if (page.rounds_size() == 0) break;
    whole.set_has_more(page.has_more());
    *whole.mutable_job() = std::move(*page.mutable_job());
    for (v1::RoundRecord& record : *page.mutable_rounds()) *whole.add_rounds() = std::move(record);
  }
  whole.clear_has_more();
  return whole;
}

StatusOr<v1::ExplainJobResponse> JobsClient::ExplainJob(const v1::ExplainJobRequest& request) {
  return state_->Call(&v1::Jobs::Stub::ExplainJob, request);
}

StatusOr<v1::CancelJobResponse> JobsClient::CancelJob(const v1::CancelJobRequest& request) {
  return state_->Call(&v1::Jobs::Stub::CancelJob, request);
}

StatusOr<v1::ListSitesResponse> JobsClient::ListSites(const v1::ListSitesRequest& request) {
  return state_->Call(&v1::Jobs::Stub::ListSites, request);
}

namespace {

// Whether a call that ended like this is worth another try, and waits for the connection if so.
class Persistence {
 public:
  explicit Persistence(grpc::Channel& channel) : channel_(channel) {}

  // `has_progressed`: since the last time.
  [[nodiscard]] bool TriesAgain(const grpc::Status& status, bool has_progressed) {
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return false;
    failures_ = has_progressed ? 0 : failures_ + 1;
    return failures_ < kMaxEmptyStreams &&
           channel_.WaitForConnected(std::chrono::system_clock::now() + kReconnectTimeout);
  }

 private:
  grpc::Channel& channel_;
  int failures_ = 0;
};

}  // namespace

Status JobsClient::UploadModel(const crypto::BlobId& id, ByteSpan weights,
                               const std::function<void(std::uint64_t)>& on_resume) {
  Persistence persistence(*state_->channel);
  std::uint64_t offset = 0;
  bool has_progressed = false;
  while (true) {
    grpc::Status status = state_->UploadFrom(id, weights, offset);
    if (status.ok()) return OkStatus();
    const std::uint64_t before = offset;
    do {
      if (!persistence.TriesAgain(status, has_progressed)) return state_->Explain(status);
      has_progressed = false;
      status = state_->FindUpload(id, offset);
    } while (!status.ok());
    if (offset == id.size_bytes) return OkStatus();
    has_progressed = offset > before;
    on_resume(offset);
  }
}

Status JobsClient::WatchJob(const v1::WatchJobRequest& request,
                            const std::function<void(const v1::WatchJobResponse&)>& on_message,
                            const std::function<void()>& on_reconnect) {
  int empty_streams = 0;
  bool has_seen_job = false;
  while (true) {
    grpc::ClientContext context;
    const auto reader = state_->stub->WatchJob(&context, request);
    v1::WatchJobResponse message;
    bool is_empty = true;
    while (reader->Read(&message)) {
      is_empty = false;
      has_seen_job = true;
      on_message(message);
    }
    const grpc::Status status = reader->Finish();
    if (status.ok()) return OkStatus();
    // A job that was never seen, or a refusal, will not get better by waiting.
    if (!has_seen_job || status.error_code() != grpc::StatusCode::UNAVAILABLE)
      return state_->Explain(status);
    empty_streams = is_empty ? empty_streams + 1 : 0;
    on_reconnect();
    if (empty_streams >= kMaxEmptyStreams ||
        !state_->channel->WaitForConnected(std::chrono::system_clock::now() + kReconnectTimeout)) {
      return state_->Explain(status);
    }
  }
}

Status JobsClient::PullModel(const std::string& job_id,
                             const std::function<Status(const v1::PullModelHeader&)>& on_header,
                             const std::function<Status(const v1::Chunk&)>& on_chunk,
                             const std::function<void(std::uint64_t)>& on_resume) {
  Persistence persistence(*state_->channel);
  v1::PullModelRequest request;
  request.set_job_id(job_id);
  while (true) {
    grpc::ClientContext context;
    const auto reader = state_->stub->PullModel(&context, request);
    v1::PullModelResponse message;
    bool has_progressed = false;
    const auto take = [&]() -> Status {
      if (message.has_chunk()) {
        if (!request.has_resumed())
          return DataLoss("the coordinator sent weights before the header");
        CHORALE_RETURN_IF_ERROR(on_chunk(message.chunk()));
        request.set_offset_bytes(message.chunk().offset_bytes() + message.chunk().data().size());
        has_progressed = true;
        return OkStatus();
      }
      const v1::BlobDescriptor& weights = message.header().weights();
      if (request.has_resumed() && request.resumed().digest() == weights.digest())
        return OkStatus();
      *request.mutable_resumed() = weights;
      request.set_offset_bytes(0);
      return on_header(message.header());
    };
    while (reader->Read(&message)) {
      if (const Status status = take(); !status.ok()) {
        context.TryCancel();
        (void)reader->Finish();
        return status;
      }
    }
    const grpc::Status status = reader->Finish();
    const bool is_whole =
        request.has_resumed() && request.offset_bytes() == request.resumed().size_bytes();
    if (status.ok() || is_whole) return OkStatus();
    if (!persistence.TriesAgain(status, has_progressed)) return state_->Explain(status);
    on_resume(request.offset_bytes());
  }
}

}  // namespace chorale::cli
