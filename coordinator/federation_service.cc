#include "coordinator/federation_service.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "coordinator/connect_service.h"
#include "coordinator/site_messages.h"
#include "core/chunking.h"
#include "core/log.h"
#include "core/rpc/chunks.h"
#include "core/rpc/status_conversion.h"

namespace chorale::coordinator {
namespace {

constexpr std::string_view kInvalidUpdate = "INVALID_UPDATE";
// For a call that was cancelled to end: it has at most one chunk in hand.
constexpr Duration kPatience = std::chrono::seconds(5);

// Ends a call that is refused before it begins.
class RefusedStream final
    : public grpc::ServerBidiReactor<v1::SiteMessage, v1::CoordinatorMessage> {
 public:
  explicit RefusedStream(const Status& why) { Finish(rpc::ToGrpc(why)); }
  void OnDone() override { delete this; }
};

// Refuses a repeated report before its payload is read.
Status CheckNotReported(const OpenTask& task, const Report& report) {
  if (!task.report.has_value()) return OkStatus();
  if (task.report->payload == report.payload && task.report->num_examples == report.num_examples) {
    return AlreadyExists("this very report of site " + task.site.value() + " is already held");
  }
  return FailedPrecondition("site " + task.site.value() +
                            " has reported another result in this round");
}

}  // namespace

// ---------------------------------------------------------------------------- Connect

grpc::ServerBidiReactor<v1::SiteMessage, v1::CoordinatorMessage>* FederationService::Connect(
    grpc::CallbackServerContext* context) {
  StatusOr<Caller> caller = callers_.Authenticate(*context, v1::PARTY_ROLE_SITE);
  if (!caller.ok()) {
    log::Warning("site.refused", {{"why", MessageOf(caller.status())}});
    return new RefusedStream(caller.status());
  }
  return SiteStream::Start(*context, driver_, clock_, SessionId(next_session_++),
                           {.site = SiteId(caller->party.name),
                            .certificate = std::move(caller->certificate),
                            .channel = nullptr,
                            .greeting = {}});
}

// ---------------------------------------------------------------------------- FetchBlob

grpc::Status FederationService::FetchBlob(grpc::ServerContext* context,
                                          const v1::FetchBlobRequest* request,
                                          grpc::ServerWriter<v1::FetchBlobResponse>* writer) {
  return rpc::ToGrpc(Fetch(*context, *request, *writer));
}

Status FederationService::Fetch(grpc::ServerContext& context, const v1::FetchBlobRequest& request,
                                grpc::ServerWriter<v1::FetchBlobResponse>& writer) {
  CHORALE_ASSIGN_OR_RETURN(const Caller caller,
                           callers_.Authenticate(context, v1::PARTY_ROLE_SITE));
  CHORALE_ASSIGN_OR_RETURN(const crypto::Digest digest,
                           crypto::DigestFromBytes(AsBytes(request.digest())));
  CHORALE_ASSIGN_OR_RETURN(
      TaskTable::Transfer transfer,
      tasks_.Begin(TaskId(request.task_id()), SiteId(caller.party.name),
                   TaskTable::Direction::kDown, [&context] { context.TryCancel(); }));
  const std::vector<crypto::BlobId>& blobs = transfer.task().blobs;
  const auto blob = std::find_if(blobs.begin(), blobs.end(),
                                 [&](const crypto::BlobId& id) { return id.digest == digest; });
  if (blob == blobs.end()) return PermissionDenied("the task does not name this blob");
  if (request.offset_bytes() % kChunkBytes != 0 || request.offset_bytes() > blob->size_bytes) {
    return InvalidArgument("offset_bytes must be a multiple of 1 MiB within the blob, got " +
                           std::to_string(request.offset_bytes()));
  }
  CHORALE_ASSIGN_OR_RETURN(const PayloadReader payload, payloads_.Find(*blob));
  v1::FetchBlobResponse response;
  const auto write = [&](v1::Chunk&& chunk) {
    const std::size_t bytes = chunk.data().size();
    *response.mutable_chunk() = std::move(chunk);
    if (!writer.Write(response)) return false;
    transfer.AddBytesDown(bytes);
    metrics_.bytes_sent.Increment(static_cast<double>(bytes));
    return true;
  };
  if (const Bytes* bytes = payload.bytes()) return rpc::SendBytes(*bytes, write);
  return rpc::SendBlob(payload.file(), request.offset_bytes(), write);
}

// ---------------------------------------------------------------------------- ReportResult

grpc::Status FederationService::ReportResult(grpc::ServerContext* context,
                                             grpc::ServerReader<v1::ReportResultRequest>* reader,
                                             v1::ReportResultResponse*) {
  return rpc::ToGrpc(Receive(*context, *reader));
}

Status FederationService::Receive(grpc::ServerContext& context,
                                  grpc::ServerReader<v1::ReportResultRequest>& reader) {
  CHORALE_ASSIGN_OR_RETURN(const Caller caller,
                           callers_.Authenticate(context, v1::PARTY_ROLE_SITE));
  const SiteId site(caller.party.name);
  const auto cancel = [&context] { context.TryCancel(); };
  v1::ReportResultRequest request;
  {
    CHORALE_ASSIGN_OR_RETURN(const TaskTable::SilentCall silent,
                             tasks_.BeginSilent(site, clock_.Now(), cancel));
    if (!reader.Read(&request) || !request.has_header()) {
      return InvalidArgument("the first part of a report must be its header");
    }
  }
  Report report;
  OpenTask task;
  std::optional<HeldPayload> payload;
  {
    // Closing the round ends transfers under way. This one is over before the report is told, which
    // may be what closes the round: the site must still get its answer.
    CHORALE_ASSIGN_OR_RETURN(
        TaskTable::Transfer transfer,
        tasks_.Begin(TaskId(request.header().task_id()), site, TaskTable::Direction::kUp, cancel));
    task = transfer.task();
    CHORALE_ASSIGN_OR_RETURN(report, DecodeReportHeader(request.header(), task));
    CHORALE_RETURN_IF_ERROR(CheckNotReported(task, report));
    CHORALE_ASSIGN_OR_RETURN(payload, ReceivePayload(transfer, report, reader));
    report.bytes_down = transfer.bytes_down();
  }
  return driver_.Report(task, report, *std::move(payload));
}

StatusOr<HeldPayload> FederationService::ReceivePayload(
    TaskTable::Transfer& transfer, const Report& report,
    grpc::ServerReader<v1::ReportResultRequest>& reader) {
  const OpenTask& task = transfer.task();
  std::unique_ptr<PartialPayload> partial;
  v1::ReportResultRequest request;
  while (reader.Read(&request)) {
    if (!request.has_chunk()) return InvalidArgument("a report has one header, then chunks");
    const v1::Chunk& chunk = request.chunk();
    if (partial == nullptr) {
      CHORALE_ASSIGN_OR_RETURN(partial, BeginPayload(transfer, report.payload, chunk));
    }
    CHORALE_RETURN_IF_ERROR(partial->receiver.Accept(chunk));
    const ByteSpan piece = AsBytes(chunk.data());
    if (const Status sound = CheckPayloadPiece(task, chunk.offset_bytes(), piece); !sound.ok()) {
      ExcludeSite(task, sound);
      return sound;
    }
    CHORALE_RETURN_IF_ERROR(partial->writer.Append(piece));
    metrics_.bytes_received.Increment(static_cast<double>(piece.size()));
  }
  if (partial == nullptr) return DataLoss("the report has no payload");
  if (partial->receiver.received_bytes() < report.payload.size_bytes) {
    const Status broken = partial->receiver.Finish();
    if (!IsInline(report.payload)) transfer.KeepPartial(std::move(partial));
    return broken;
  }
  CHORALE_RETURN_IF_ERROR(partial->receiver.Finish());
  CHORALE_ASSIGN_OR_RETURN(HeldPayload held, std::move(partial->writer).Commit(report.payload));
  if (IsCheckedAsWhole(task)) CHORALE_RETURN_IF_ERROR(CheckWhole(task, report));
  return held;
}

StatusOr<std::unique_ptr<PartialPayload>> FederationService::BeginPayload(
    TaskTable::Transfer& transfer, const crypto::BlobId& payload, const v1::Chunk& first) {
  std::unique_ptr<PartialPayload> partial = transfer.TakePartial(payload);
  if (first.offset_bytes() == 0) {
    CHORALE_ASSIGN_OR_RETURN(PayloadWriter writer, payloads_.Create(payload.size_bytes));
    return std::make_unique<PartialPayload>(
        PartialPayload{rpc::ChunkReceiver(payload), std::move(writer)});
  }
  if (partial != nullptr) return partial;
  return Unavailable("the bytes before this chunk are not held any more: begin anew");
}

grpc::Status FederationService::FindReport(grpc::ServerContext* context,
                                           const v1::FindReportRequest* request,
                                           v1::FindReportResponse* response) {
  const StatusOr<std::uint64_t> received = FindReceived(*context, *request);
  if (received.ok()) response->set_received_bytes(*received);
  return rpc::ToGrpc(received.status());
}

StatusOr<std::uint64_t> FederationService::FindReceived(grpc::ServerContext& context,
                                                        const v1::FindReportRequest& request) {
  CHORALE_ASSIGN_OR_RETURN(const Caller caller,
                           callers_.Authenticate(context, v1::PARTY_ROLE_SITE));
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId payload, rpc::FromProto(request.payload()));
  return tasks_.FindPartial(TaskId(request.task_id()), SiteId(caller.party.name), payload,
                            kPatience);
}

Status FederationService::CheckWhole(const OpenTask& task, const Report& report) {
  // One at a time: a payload of every site at once would not fit into memory.
  const std::scoped_lock lock(whole_mutex_);
  CHORALE_ASSIGN_OR_RETURN(const PayloadReader reader, payloads_.Find(report.payload));
  Bytes payload(report.payload.size_bytes);
  CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, payload));
  const Status sound = CheckWholePayload(task, report.num_examples, payload);
  if (!sound.ok()) ExcludeSite(task, sound);
  return sound;
}

void FederationService::ExcludeSite(const OpenTask& task, const Status& why) {
  driver_.Post([task, refusal = Refusal{std::string(kInvalidUpdate), MessageOf(why)}](
                   Engine& engine) { engine.ReportRefused(task, refusal); });
}

}  // namespace chorale::coordinator
