#include "coordinator/jobs_service.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/finite.h"
#include "coordinator/manifest.h"
#include "coordinator/watch_service.h"
#include "core/bytes.h"
#include "core/log.h"
#include "core/rpc/chunks.h"
#include "core/rpc/status_conversion.h"
#include "jobs/signed_job.h"

namespace chorale::coordinator {
namespace {

constexpr std::uint32_t kDefaultLimit = 100;
constexpr std::uint32_t kMostListed = 1000;
constexpr std::size_t kLeastKeyChars = 16;
constexpr std::size_t kMostKeyChars = 64;
constexpr std::size_t kMaxListBytes = 3u << 20;  // Below the clients' limit of a message.
constexpr std::size_t kMaxListedReasonChars = 1000;
constexpr int kMaxPulls = 16;
constexpr int kMaxPullsOfOne = 4;
constexpr Duration kPatience = std::chrono::seconds(5);  // For a call that was told to end.

Status CheckIdempotencyKey(const std::string& key) {
  const auto is_allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  if (key.size() >= kLeastKeyChars && key.size() <= kMostKeyChars &&
      std::all_of(key.begin(), key.end(), is_allowed)) {
    return OkStatus();
  }
  return InvalidArgument("idempotency_key must be 16 to 64 characters of [A-Za-z0-9-]");
}

Status CheckUploadSize(std::uint64_t size_bytes, std::uint64_t max_model_bytes) {
  if (size_bytes == 0 || size_bytes % sizeof(float) != 0) {
    return InvalidArgument("weights are float32: size_bytes must be a multiple of 4 above 0, got " +
                           std::to_string(size_bytes));
  }
  if (size_bytes <= max_model_bytes) return OkStatus();
  return ResourceExhausted("the weights have " + std::to_string(size_bytes) +
                           " bytes; this coordinator takes at most " +
                           std::to_string(max_model_bytes) + " (max_model_bytes)");
}

// Where the chunks of a pulled model begin.
StatusOr<std::uint64_t> ResumedAt(const v1::PullModelRequest& request,
                                  const crypto::BlobId& weights) {
  if (request.offset_bytes() == 0) return 0;
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId resumed, rpc::FromProto(request.resumed()));
  if (resumed != weights) return 0;
  if (request.offset_bytes() % kChunkBytes != 0 || request.offset_bytes() >= weights.size_bytes) {
    return InvalidArgument("offset_bytes must be a multiple of 1 MiB below " +
                           std::to_string(weights.size_bytes) + ", got " +
                           std::to_string(request.offset_bytes()));
  }
  return request.offset_bytes();
}

// A list keeps its jobs and loses details, which ShowJob tells.
void Shorten(v1::ListJobsResponse& response) {
  for (v1::JobSummary& job : *response.mutable_jobs()) {
    job.clear_current();
    if (job.reason().size() > kMaxListedReasonChars) {
      job.set_reason("see the job itself: the reason is too long for a list");
    }
  }
}

// Answers for a call that is refused before it begins.
class RefusedWatch final : public grpc::ServerWriteReactor<v1::WatchJobResponse> {
 public:
  explicit RefusedWatch(const Status& why) { Finish(rpc::ToGrpc(why)); }
  void OnDone() override { delete this; }
};

}  // namespace

// ---------------------------------------------------------------------------- SubmitJob, CancelJob

StatusOr<Submission> JobsService::Decode(const Caller& caller,
                                         const v1::SubmitJobRequest& request) const {
  CHORALE_RETURN_IF_ERROR(CheckIdempotencyKey(request.idempotency_key()));
  CHORALE_ASSIGN_OR_RETURN(
      jobs::VerifiedJob job,
      jobs::VerifySignedJob(request.job(), parts_.coordinator.root(), parts_.clock.WallNow()));
  CHORALE_ASSIGN_OR_RETURN(const crypto::Certificate signer,
                           crypto::Certificate::FromPem(request.job().certificate()));
  if (signer.fingerprint() != caller.certificate->fingerprint()) {
    return PermissionDenied("the job is signed under another certificate than the caller's");
  }
  return Submission{.researcher = ResearcherId(caller.party.name),
                    .idempotency_key = request.idempotency_key(),
                    .envelope = request.job(),
                    .spec = std::move(job.spec)};
}

grpc::Status JobsService::SubmitJob(grpc::ServerContext* context,
                                    const v1::SubmitJobRequest* request,
                                    v1::SubmitJobResponse* response) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  const StatusOr<Submission> submission = Decode(*caller, *request);
  if (!submission.ok()) return rpc::ToGrpc(submission.status());
  const StatusOr<JobId> id = parts_.driver.Submit(*submission);
  if (!id.ok()) return rpc::ToGrpc(id.status());
  response->set_job_id(id->value());
  return grpc::Status::OK;
}

grpc::Status JobsService::CancelJob(grpc::ServerContext* context,
                                    const v1::CancelJobRequest* request,
                                    v1::CancelJobResponse* response) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  StatusOr<v1::JobSummary> summary =
      parts_.driver.Cancel(JobId(request->job_id()), ResearcherId(caller->party.name));
  if (!summary.ok()) return rpc::ToGrpc(summary.status());
  *response->mutable_job() = *std::move(summary);
  return grpc::Status::OK;
}

// ---------------------------------------------------------------------------- questions

grpc::Status JobsService::ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                                   v1::ListJobsResponse* response) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  if (request->limit() > kMostListed) {
    return rpc::ToGrpc(
        InvalidArgument("limit must be in [0, 1000], got " + std::to_string(request->limit())));
  }
  const std::uint32_t limit = request->limit() == 0 ? kDefaultLimit : request->limit();
  StatusOr<std::vector<v1::JobSummary>> jobs = parts_.driver.Ask<std::vector<v1::JobSummary>>(
      [limit](Engine& engine) { return engine.List(limit); });
  if (!jobs.ok()) return rpc::ToGrpc(jobs.status());
  for (v1::JobSummary& job : *jobs) *response->add_jobs() = std::move(job);
  if (response->ByteSizeLong() > kMaxListBytes) Shorten(*response);
  return grpc::Status::OK;
}

grpc::Status JobsService::ShowJob(grpc::ServerContext* context, const v1::ShowJobRequest* request,
                                  v1::ShowJobResponse* response) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  StatusOr<v1::ShowJobResponse> shown = parts_.driver.Ask<v1::ShowJobResponse>(
      [id = JobId(request->job_id()), first = request->first_record()](Engine& engine) {
        return engine.Show(id, first);
      });
  if (!shown.ok()) return rpc::ToGrpc(shown.status());
  *response = *std::move(shown);
  return grpc::Status::OK;
}

grpc::Status JobsService::ExplainJob(grpc::ServerContext* context,
                                     const v1::ExplainJobRequest* request,
                                     v1::ExplainJobResponse* response) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  StatusOr<v1::ExplainJobResponse> story = parts_.driver.Ask<v1::ExplainJobResponse>(
      [id = JobId(request->job_id()), first = request->first_entry()](Engine& engine) {
        return engine.Explain(id, first);
      });
  if (!story.ok()) return rpc::ToGrpc(story.status());
  *response = *std::move(story);
  return grpc::Status::OK;
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobsService::WatchJob(
    grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return new RefusedWatch(caller.status());
  return WatchStream::Start(parts_.driver, JobId(request->job_id()));
}

grpc::Status JobsService::ListSites(grpc::ServerContext* context, const v1::ListSitesRequest*,
                                    v1::ListSitesResponse* response) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  StatusOr<std::vector<v1::SiteSummary>> sites = parts_.driver.Ask<std::vector<v1::SiteSummary>>(
      [](Engine& engine) -> StatusOr<std::vector<v1::SiteSummary>> { return engine.Sites(); });
  if (!sites.ok()) return rpc::ToGrpc(sites.status());
  for (v1::SiteSummary& site : *sites) *response->add_sites() = std::move(site);
  if (response->ByteSizeLong() > kMaxListBytes) {
    for (v1::SiteSummary& site : *response->mutable_sites()) site.clear_datasets();
  }
  return grpc::Status::OK;
}

// ---------------------------------------------------------------------------- PullModel

grpc::Status JobsService::PullModel(grpc::ServerContext* context,
                                    const v1::PullModelRequest* request,
                                    grpc::ServerWriter<v1::PullModelResponse>* writer) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  return rpc::ToGrpc(WithinLimits(caller->party.name, [&] { return Pull(*request, *writer); }));
}

Status JobsService::WithinLimits(const std::string& researcher,
                                 const std::function<Status()>& pull) {
  {
    const std::scoped_lock lock(pulls_mutex_);
    int total = 0;
    for (const auto& [name, count] : pulls_) total += count;
    const auto own = pulls_.find(researcher);
    if (total >= kMaxPulls || (own != pulls_.end() && own->second >= kMaxPullsOfOne)) {
      return ResourceExhausted("too many models are being pulled: try again");
    }
    ++pulls_[researcher];
  }
  const Status pulled = pull();
  const std::scoped_lock lock(pulls_mutex_);
  if (--pulls_[researcher] == 0) pulls_.erase(researcher);
  return pulled;
}

Status JobsService::Pull(const v1::PullModelRequest& request,
                         grpc::ServerWriter<v1::PullModelResponse>& writer) {
  const JobId id(request.job_id());
  CHORALE_ASSIGN_OR_RETURN(
      const ModelSnapshot model,
      parts_.driver.Ask<ModelSnapshot>([id](Engine& engine) { return engine.FindModel(id); }));
  CHORALE_ASSIGN_OR_RETURN(const std::uint64_t offset_bytes, ResumedAt(request, model.id));
  v1::PullModelResponse response;
  *response.mutable_header() = MakePullHeader(model.entry, model.id, parts_.coordinator);
  if (!writer.Write(response)) return Unavailable("the caller is gone");
  const auto write = [&](v1::Chunk&& chunk) {
    parts_.metrics.bytes_sent.Increment(static_cast<double>(chunk.data().size()));
    *response.mutable_chunk() = std::move(chunk);
    return writer.Write(response);
  };
  if (const Bytes* bytes = model.reader.bytes()) {
    return rpc::SendBytes(*bytes, write, offset_bytes);
  }
  return rpc::SendBlob(model.reader.file(), offset_bytes, write);
}

// ---------------------------------------------------------------------------- UploadModel

grpc::Status JobsService::UploadModel(grpc::ServerContext* context,
                                      grpc::ServerReader<v1::UploadModelRequest>* reader,
                                      v1::UploadModelResponse*) {
  const StatusOr<Caller> caller = Researcher(*context);
  if (!caller.ok()) return rpc::ToGrpc(caller.status());
  return rpc::ToGrpc(Upload(ResearcherId(caller->party.name), *context, *reader));
}

grpc::Status JobsService::FindUpload(grpc::ServerContext* context,
                                     const v1::FindUploadRequest* request,
                                     v1::FindUploadResponse* response) {
  const StatusOr<std::uint64_t> received = FindReceived(*context, *request);
  if (received.ok()) response->set_received_bytes(*received);
  return rpc::ToGrpc(received.status());
}

StatusOr<std::uint64_t> JobsService::FindReceived(grpc::ServerContext& context,
                                                  const v1::FindUploadRequest& request) {
  CHORALE_ASSIGN_OR_RETURN(const Caller caller, Researcher(context));
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId id, rpc::FromProto(request.weights()));
  return parts_.uploads.FindReceived(ResearcherId(caller.party.name), id, kPatience);
}

StatusOr<std::unique_ptr<PartialPayload>> JobsService::BeginUpload(Uploads::Turn& turn,
                                                                   const crypto::BlobId& id,
                                                                   const v1::Chunk& first) {
  std::unique_ptr<PartialPayload> partial = turn.TakePartial(id);
  if (first.offset_bytes() == 0) {
    partial.reset();  // Its file makes room.
    CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, parts_.payloads.Create(id.size_bytes));
    return std::make_unique<PartialPayload>(
        PartialPayload{rpc::ChunkReceiver(id), std::move(writer)});
  }
  if (partial != nullptr) return partial;
  return Unavailable("the bytes before this chunk are not held any more: begin anew");
}

Status JobsService::Upload(const ResearcherId& researcher, grpc::ServerContext& context,
                           grpc::ServerReader<v1::UploadModelRequest>& reader) {
  CHORALE_ASSIGN_OR_RETURN(
      Uploads::Turn turn,
      parts_.uploads.Begin(researcher, parts_.clock.Now(), [&context] { context.TryCancel(); }));
  v1::UploadModelRequest request;
  if (!reader.Read(&request) || !request.has_header()) {
    return InvalidArgument("the first part of an upload must be its header");
  }
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId id, rpc::FromProto(request.header()));
  CHORALE_RETURN_IF_ERROR(CheckUploadSize(id.size_bytes, parts_.max_model_bytes));
  std::unique_ptr<PartialPayload> partial;
  while (reader.Read(&request)) {
    if (!request.has_chunk()) return InvalidArgument("an upload has one header, then chunks");
    if (partial == nullptr) {
      CHORALE_ASSIGN_OR_RETURN(partial, BeginUpload(turn, id, request.chunk()));
    }
    CHORALE_RETURN_IF_ERROR(partial->receiver.Accept(request.chunk()));
    const ByteSpan piece = AsBytes(request.chunk().data());
    if (!AllFiniteFloats(piece)) {
      return InvalidArgument("the weights must be finite: a value after byte " +
                             std::to_string(request.chunk().offset_bytes()) +
                             " is infinite or no number");
    }
    CHORALE_RETURN_IF_ERROR(partial->writer.Append(piece));
    parts_.metrics.bytes_received.Increment(static_cast<double>(piece.size()));
  }
  if (partial == nullptr) return DataLoss("the upload has no weights");
  if (const Status whole = partial->receiver.Finish(); !whole.ok()) {
    if (partial->receiver.received_bytes() < id.size_bytes) {
      turn.KeepPartial(std::move(partial), parts_.clock.Now());
    }
    return whole;
  }
  CHORALE_ASSIGN_OR_RETURN(HeldPayload held, std::move(partial->writer).Commit(id));
  parts_.uploads.Put(researcher, std::move(held), parts_.clock.Now());
  log::Info("model.uploaded", {{"researcher", researcher.value()}, {"bytes", id.size_bytes}});
  return OkStatus();
}

}  // namespace chorale::coordinator
