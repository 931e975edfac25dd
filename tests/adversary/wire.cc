#include "tests/adversary/wire.h"

#include <grpcpp/server_context.h>

#include <chrono>

#include "core/rpc/chunks.h"
#include "core/rpc/status_conversion.h"
#include "identity/party.h"
#include "secagg/refusal.h"
#include "tests/support/test_pki.h"

namespace chorale::adversary {
namespace {

// A starved machine is no failure; a site that is silent is one all the same.
constexpr auto kPatience = std::chrono::seconds(60);

}  // namespace

std::string ReasonOf(const Answer& answer) {
  if (!answer.is_refused()) return "done";
  for (int i = 0; i <= static_cast<int>(secagg::RefusalCode::kMalformed); ++i) {
    const std::string name(secagg::NameOf(static_cast<secagg::RefusalCode>(i)));
    if (answer.text.find(name) != std::string::npos) return name;
  }
  return answer.code;
}

Blob Named(Bytes content) {
  v1::BlobDescriptor descriptor = rpc::ToProto(crypto::IdentifyBlob(content));
  return {std::move(descriptor), std::move(content)};
}

StatusOr<std::unique_ptr<Wire>> Wire::Listen(const identity::Identity& coordinator) {
  std::unique_ptr<Wire> wire(new Wire());
  CHORALE_ASSIGN_OR_RETURN(
      wire->server_,
      rpc::Server::Start({.listen = "127.0.0.1:0", .keepalive_interval = std::chrono::seconds(20)},
                         support::TlsOf(coordinator), {wire.get()}));
  return wire;
}

Wire::~Wire() {
  {
    const std::lock_guard lock(mutex_);
    for (auto& [site, session] : sites_) session.second->TryCancel();
  }
  if (server_ != nullptr) server_->Stop(std::chrono::seconds(1));
}

bool Wire::WaitForSites(std::size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return sites_.size() >= count; });
}

int Wire::NumSessions(const std::string& site) {
  const std::lock_guard lock(mutex_);
  return num_sessions_[site];
}

bool Wire::WaitForSession(const std::string& site, int number) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return num_sessions_[site] >= number; });
}

void Wire::Send(const std::string& site, v1::Task task, std::vector<Blob> blobs) {
  const std::lock_guard lock(mutex_);
  tasks_[task.task_id()].blobs = std::move(blobs);
  const auto session = sites_.find(site);
  if (session == sites_.end()) return;  // Nobody will answer.
  v1::CoordinatorMessage message;
  *message.mutable_task() = std::move(task);
  session->second.first->Write(message);
}

Answer Wire::Await(const std::string& task_id) {
  std::unique_lock lock(mutex_);
  Asked& asked = tasks_[task_id];
  if (changed_.wait_for(lock, kPatience, [&] { return asked.is_answered; })) return asked.answer;
  return Answer{.code = "NO ANSWER", .text = {}, .message = {}, .vector = {}};
}

void Wire::LoseFirstReport(const std::string& task_id) {
  const std::lock_guard lock(mutex_);
  tasks_[task_id].loses_first = true;
}

grpc::Status Wire::Connect(grpc::ServerContext* context, Stream* stream) {
  const auto certificate = certificates_.Find(*context);
  if (!certificate.ok()) return rpc::ToGrpc(certificate.status());
  const StatusOr<identity::Party> party = identity::PartyOf(**certificate);
  v1::SiteMessage message;
  if (!party.ok() || !stream->Read(&message)) return grpc::Status::OK;
  v1::CoordinatorMessage hello;
  hello.mutable_hello()->set_coordinator_version("0.1.0");
  hello.mutable_hello()->mutable_heartbeat_interval()->set_seconds(10);
  {
    const std::lock_guard lock(mutex_);
    stream->Write(hello);
    sites_[party->name] = {stream, context};
    ++num_sessions_[party->name];
  }
  changed_.notify_all();
  while (stream->Read(&message)) {
    if (!message.has_refused()) continue;
    const std::lock_guard lock(mutex_);
    Asked& asked = tasks_[message.refused().task_id()];
    asked.answer.code = message.refused().code();
    asked.answer.text = message.refused().message();
    asked.is_answered = true;
    changed_.notify_all();
  }
  const std::lock_guard lock(mutex_);
  const auto own = sites_.find(party->name);
  if (own != sites_.end() && own->second.first == stream) sites_.erase(own);
  return grpc::Status::OK;
}

grpc::Status Wire::FetchBlob(grpc::ServerContext*, const v1::FetchBlobRequest* request,
                             grpc::ServerWriter<v1::FetchBlobResponse>* writer) {
  Bytes content;
  {
    const std::lock_guard lock(mutex_);
    for (const Blob& blob : tasks_[request->task_id()].blobs) {
      if (blob.first.digest() == request->digest()) content = blob.second;
    }
  }
  if (content.empty()) return {grpc::StatusCode::PERMISSION_DENIED, "no blob of this task"};
  return rpc::ToGrpc(rpc::SendBytes(content, [&](v1::Chunk&& chunk) {
    if (chunk.offset_bytes() < request->offset_bytes()) return true;
    v1::FetchBlobResponse response;
    *response.mutable_chunk() = std::move(chunk);
    return writer->Write(response);
  }));
}

grpc::Status Wire::ReportResult(grpc::ServerContext*,
                                grpc::ServerReader<v1::ReportResultRequest>* reader,
                                v1::ReportResultResponse*) {
  v1::ReportResultRequest request;
  v1::ReportHeader header;
  Bytes payload;
  while (reader->Read(&request)) {
    if (request.has_header()) header = request.header();
    const ByteSpan data = AsBytes(request.chunk().data());
    payload.insert(payload.end(), data.begin(), data.end());
  }
  const ByteSpan masked = AsBytes(header.masked_input());
  const Bytes masked_input(masked.begin(), masked.end());
  const std::lock_guard lock(mutex_);
  Asked& asked = tasks_[header.task_id()];
  Answer& answer = asked.answer;
  const Bytes& message = masked_input.empty() ? payload : masked_input;
  const Bytes vector = masked_input.empty() ? Bytes() : payload;
  if (answer.num_copies > 0) {
    answer.are_copies_equal =
        answer.are_copies_equal && answer.message == message && answer.vector == vector;
  }
  ++answer.num_copies;
  answer.message = message;
  answer.vector = vector;
  if (std::exchange(asked.loses_first, false)) {
    return {grpc::StatusCode::UNAVAILABLE, "lost on the way"};
  }
  asked.is_answered = true;
  changed_.notify_all();
  return grpc::Status::OK;
}

}  // namespace chorale::adversary
