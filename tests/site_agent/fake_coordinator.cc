#include "tests/site_agent/fake_coordinator.h"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include "core/rpc/chunks.h"
#include "core/rpc/status_conversion.h"

namespace chorale::site_agent {
namespace {

// A starved machine is no failure; a broken agent fails all the same.
constexpr auto kPatience = std::chrono::minutes(2);

}  // namespace

FakeCoordinator::FakeCoordinator(support::TestPki& pki)
    : identity_(
          std::make_unique<identity::Identity>(pki.Load(v1::PARTY_ROLE_COORDINATOR, "conductor"))) {
  auto server =
      rpc::Server::Start({.listen = "127.0.0.1:0", .keepalive_interval = std::chrono::seconds(20)},
                         support::TlsOf(*identity_), {this});
  if (!server.ok()) ADD_FAILURE() << server.status();
  server_ = *std::move(server);
}

FakeCoordinator::~FakeCoordinator() {
  EndSession();
  server_->Stop(std::chrono::seconds(1));
}

std::string FakeCoordinator::address() const {
  return "127.0.0.1:" + std::to_string(server_->port());  // A bare machine may not know localhost.
}

void FakeCoordinator::AddBlob(Bytes content) {
  const std::lock_guard lock(mutex_);
  blobs_.push_back(std::move(content));
}

void FakeCoordinator::Send(const v1::CoordinatorMessage& message) {
  const std::lock_guard lock(mutex_);
  ASSERT_NE(stream_, nullptr);
  ASSERT_TRUE(stream_->Write(message));
}

void FakeCoordinator::EndSession() {
  const std::lock_guard lock(mutex_);
  if (context_ != nullptr) context_->TryCancel();
}

v1::SiteMessage FakeCoordinator::WaitFor(v1::SiteMessage::MessageCase kind, int count) {
  std::unique_lock lock(mutex_);
  v1::SiteMessage last;
  const bool came = changed_.wait_for(lock, kPatience, [&] {
    int num_seen = 0;
    for (const v1::SiteMessage& message : messages_) {
      if (message.message_case() == kind && ++num_seen == count) last = message;
    }
    return num_seen >= count;
  });
  EXPECT_TRUE(came) << "message of kind " << kind << " number " << count;
  return last;
}

std::string FakeCoordinator::WaitForReport(int count) {
  std::unique_lock lock(mutex_);
  const std::size_t wanted = static_cast<std::size_t>(count);
  const bool came = changed_.wait_for(lock, kPatience, [&] { return reports_.size() >= wanted; });
  EXPECT_TRUE(came) << "report number " << count;
  return came ? reports_[wanted - 1] : std::string();
}

void FakeCoordinator::AnswerReportsWith(std::vector<grpc::Status> answers) {
  const std::lock_guard lock(mutex_);
  answers_ = std::move(answers);
}

int FakeCoordinator::num_reports() {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(reports_.size());
}

std::string FakeCoordinator::AllBytes() {
  const std::lock_guard lock(mutex_);
  std::string all = fetches_;
  for (const v1::SiteMessage& message : messages_) all += message.SerializeAsString();
  for (const std::string& report : reports_) all += report;
  return all;
}

grpc::Status FakeCoordinator::Connect(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::SiteMessage>* stream) {
  v1::SiteMessage message;
  if (!stream->Read(&message)) return grpc::Status::OK;
  v1::CoordinatorMessage hello;
  hello.mutable_hello()->set_coordinator_version("test");
  hello.mutable_hello()->mutable_heartbeat_interval()->set_seconds(10);
  {
    const std::lock_guard lock(mutex_);
    stream->Write(hello);
    stream_ = stream;
    context_ = context;
    messages_.push_back(message);
  }
  changed_.notify_all();
  while (stream->Read(&message)) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(message);
    changed_.notify_all();
  }
  const std::lock_guard lock(mutex_);
  if (stream_ == stream) {
    stream_ = nullptr;
    context_ = nullptr;
  }
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::FetchBlob(grpc::ServerContext*, const v1::FetchBlobRequest* request,
                                        grpc::ServerWriter<v1::FetchBlobResponse>* writer) {
  Bytes content;
  {
    const std::lock_guard lock(mutex_);
    fetches_ += request->SerializeAsString();
    for (const Bytes& blob : blobs_) {
      if (ToString(crypto::IdentifyBlob(blob).digest) == request->digest()) content = blob;
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

grpc::Status FakeCoordinator::ReportResult(grpc::ServerContext*,
                                           grpc::ServerReader<v1::ReportResultRequest>* reader,
                                           v1::ReportResultResponse*) {
  std::string bytes;
  v1::ReportResultRequest request;
  while (reader->Read(&request)) bytes += request.SerializeAsString();
  const std::lock_guard lock(mutex_);
  reports_.push_back(std::move(bytes));
  grpc::Status answer;
  if (!answers_.empty()) {
    answer = answers_.front();
    answers_.erase(answers_.begin());
  }
  changed_.notify_all();
  return answer;
}

}  // namespace chorale::site_agent
