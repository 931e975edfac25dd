#ifndef CHORALE_TESTS_COORDINATOR_COORDINATOR_FIXTURE_H_
#define CHORALE_TESTS_COORDINATOR_COORDINATOR_FIXTURE_H_

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <deque>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "chorale/v1/federation.grpc.pb.h"
#include "chorale/v1/jobs.grpc.pb.h"
#include "coordinator/config.h"
#include "coordinator/coordinator.h"
#include "core/chunking.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/rpc/channel.h"
#include "core/rpc/chunks.h"
#include "core/rpc/status_conversion.h"
#include "core/rpc/tls.h"
#include "core/storage/file.h"
#include "jobs/signed_job.h"
#include "tests/support/test_pki.h"
#include "tests/support/valid_job.h"

namespace chorale::coordinator {
// A site's half of the wire, by hand: no agent.
class WireSite {
 public:
  WireSite(const std::string& address, const identity::Identity& identity)
      : channel_(*rpc::MakeChannel({.address = address, .proxy = "none", .keepalive_interval = {}},
                                   support::TlsOf(identity))),
        stub_(v1::Federation::NewStub(channel_)) {}

  // Opens a session and reads the coordinator's hello. Not OK: the status of the ended call.
  grpc::Status Connect() {
    context_ = std::make_unique<grpc::ClientContext>();
    stream_ = stub_->Connect(context_.get());
    v1::SiteMessage hello;
    hello.mutable_hello()->set_agent_version("0.1.0");
    hello.mutable_hello()->add_datasets("heart-disease");
    v1::CoordinatorMessage answer;
    if (stream_->Write(hello) && stream_->Read(&answer) && answer.has_hello()) {
      return grpc::Status::OK;
    }
    return stream_->Finish();
  }
  // The next task; unset when the session ends.
  std::optional<v1::Task> NextTask() {
    for (v1::CoordinatorMessage message; stream_->Read(&message);) {
      if (message.has_task()) return message.task();
      if (message.has_draining()) has_drained_ = true;
    }
    return std::nullopt;
  }
  // Reads to the end of the session.
  grpc::Status Finish() {
    while (NextTask().has_value()) {
    }
    return stream_->Finish();
  }
  // Ends the session from this side.
  void Leave() {
    stream_->WritesDone();
    (void)Finish();
  }
  void Refuse(const std::string& task, const std::string& code) {
    v1::SiteMessage message;
    message.mutable_refused()->set_task_id(task);
    message.mutable_refused()->set_code(code);
    stream_->Write(message);
  }

  grpc::Status Fetch(const std::string& task, const v1::BlobDescriptor& blob, Bytes& bytes) {
    grpc::ClientContext context;
    v1::FetchBlobRequest request;
    request.set_task_id(task);
    request.set_digest(blob.digest());
    const auto reader = stub_->FetchBlob(&context, request);
    for (v1::FetchBlobResponse response; reader->Read(&response);) {
      const ByteSpan data = AsBytes(response.chunk().data());
      bytes.insert(bytes.end(), data.begin(), data.end());
    }
    return reader->Finish();
  }

  grpc::Status Report(const std::string& task, const std::vector<float>& update,
                      std::uint64_t num_examples = 10) {
    return ReportBytes(task, AsBytes(std::span<const float>(update)), num_examples);
  }
  grpc::Status ReportSums(const std::string& task, const std::vector<double>& sums,
                          std::uint64_t num_examples = 10) {
    return ReportBytes(task, AsBytes(std::span<const double>(sums)), num_examples);
  }
  grpc::Status ReportBytes(const std::string& task, ByteSpan bytes, std::uint64_t num_examples) {
    grpc::ClientContext context;
    v1::ReportResultResponse response;
    const auto writer = stub_->ReportResult(&context, &response);
    v1::ReportResultRequest request;
    request.mutable_header()->set_task_id(task);
    request.mutable_header()->set_num_examples(num_examples);
    *request.mutable_header()->mutable_payload() = rpc::ToProto(crypto::IdentifyBlob(bytes));
    if (writer->Write(request)) {
      const Status sent = rpc::SendBytes(bytes, [&](v1::Chunk&& chunk) {
        *request.mutable_chunk() = std::move(chunk);
        return writer->Write(request);
      });
      if (sent.ok()) writer->WritesDone();
    }
    return writer->Finish();
  }

  // How much of the report the coordinator holds.
  StatusOr<std::uint64_t> FindReport(const std::string& task, ByteSpan bytes) {
    grpc::ClientContext context;
    v1::FindReportRequest request;
    request.set_task_id(task);
    *request.mutable_payload() = rpc::ToProto(crypto::IdentifyBlob(bytes));
    v1::FindReportResponse response;
    CHORALE_RETURN_IF_ERROR(rpc::FromGrpc(stub_->FindReport(&context, request, &response)));
    return response.received_bytes();
  }

  // A report of which some chunks are sent.
  class PartialReport {
   public:
    PartialReport(WireSite& site, const std::string& task, ByteSpan bytes, std::size_t first_chunk,
                  std::size_t num_chunks)
        : writer_(site.stub_->ReportResult(&context_, &response_)) {
      v1::ReportResultRequest request;
      request.mutable_header()->set_task_id(task);
      request.mutable_header()->set_num_examples(10);
      *request.mutable_header()->mutable_payload() = rpc::ToProto(crypto::IdentifyBlob(bytes));
      writer_->Write(request);
      for (std::size_t index = first_chunk; index < first_chunk + num_chunks; ++index) {
        const ChunkRange range = ChunkAt(bytes.size(), index);
        const ByteSpan data = bytes.subspan(range.offset_bytes, range.size_bytes);
        const crypto::Digest digest = crypto::Sha256(data);
        v1::Chunk& chunk = *request.mutable_chunk();
        chunk.set_offset_bytes(range.offset_bytes);
        chunk.set_data(data.data(), data.size());
        chunk.set_sha256(digest.data(), digest.size());
        writer_->Write(request);
      }
    }
    // All that was sent arrives, and then no more.
    void Break() { (void)Finish(); }
    grpc::Status Finish() {
      writer_->WritesDone();
      return writer_->Finish();
    }

   private:
    grpc::ClientContext context_;
    v1::ReportResultResponse response_;
    std::unique_ptr<grpc::ClientWriter<v1::ReportResultRequest>> writer_;
  };

  [[nodiscard]] bool has_drained() const { return has_drained_; }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Federation::Stub> stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SiteMessage, v1::CoordinatorMessage>> stream_;
  bool has_drained_ = false;
};

// A real coordinator on a free port, with sites and researchers that speak the wire.
class CoordinatorTest : public testing::Test {
 protected:
  CoordinatorTest() {
    rpc::InitializeRpc();
    for (const char* site : {"north", "south"}) pki_.Enrol(v1::PARTY_ROLE_SITE, site);
    pki_.Enrol(v1::PARTY_ROLE_RESEARCHER, "ada");
    pki_.Enrol(v1::PARTY_ROLE_COORDINATOR, "hub");
    config_.set_listen("127.0.0.1:0");
    config_.set_state_directory((directory_.path() / "state").string());
    config_.set_identity_directory(pki_.DirectoryOf(v1::PARTY_ROLE_COORDINATOR, "hub").string());
    config_.set_roster(pki_.roster_path().string());
    config_.mutable_heartbeat_interval()->set_seconds(1);
    config_ = WithDefaults(std::move(config_));
    StartCoordinator();
  }
  void StartCoordinator() {
    auto started = Coordinator::Start(
        config_, {.clock = clock_, .metrics = registry_, .on_fatal = [](const Status&) {}});
    ASSERT_TRUE(started.ok()) << started.status();
    coordinator_ = *std::move(started);
    address_ = "127.0.0.1:" + std::to_string(coordinator_->port());
    const identity::Identity ada = Load(v1::PARTY_ROLE_RESEARCHER, "ada");
    researcher_ = v1::Jobs::NewStub(*rpc::MakeChannel(
        {.address = address_, .proxy = "none", .keepalive_interval = {}}, support::TlsOf(ada)));
  }
  identity::Identity Load(v1::PartyRole role, const std::string& name) {
    return pki_.Load(role, name);
  }
  WireSite Site(const std::string& name) { return {address_, Load(v1::PARTY_ROLE_SITE, name)}; }
  v1::SubmitJobRequest Request(const v1::JobSpec& spec) {
    v1::SubmitJobRequest request;
    *request.mutable_job() = jobs::SignJob(spec, Load(v1::PARTY_ROLE_RESEARCHER, "ada"));
    request.set_idempotency_key("0123456789abcdef-" + std::to_string(++num_keys_));
    return request;
  }
  grpc::Status Submit(const v1::SubmitJobRequest& request, std::string& id) {
    grpc::ClientContext context;
    v1::SubmitJobResponse response;
    const grpc::Status status = researcher_->SubmitJob(&context, request, &response);
    id = response.job_id();
    return status;
  }
  static v1::JobSpec Spec() {
    v1::JobSpec spec = support::ValidJob();
    spec.mutable_rounds()->set_count(1);
    return spec;
  }
  std::string MustSubmit(const v1::JobSpec& spec = Spec()) {
    std::string id;
    const grpc::Status status = Submit(Request(spec), id);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return id;
  }
  // Sends weights under this name, which may be another's, from `offset` on.
  grpc::Status Upload(const crypto::BlobId& id, ByteSpan bytes, std::uint64_t offset = 0) {
    grpc::ClientContext context;
    v1::UploadModelResponse response;
    const auto writer = researcher_->UploadModel(&context, &response);
    v1::UploadModelRequest request;
    *request.mutable_header() = rpc::ToProto(id);
    if (writer->Write(request)) {
      const auto write = [&](v1::Chunk&& chunk) {
        *request.mutable_chunk() = std::move(chunk);
        return writer->Write(request);
      };
      const Status sent = rpc::SendBytes(bytes, write, offset);
      if (sent.ok()) writer->WritesDone();
    }
    return writer->Finish();
  }
  grpc::Status Upload(const std::vector<float>& weights) {
    const ByteSpan bytes = AsBytes(std::span<const float>(weights));
    return Upload(crypto::IdentifyBlob(bytes), bytes);
  }
  static v1::JobSpec SpecFrom(const std::vector<float>& weights) {
    v1::JobSpec spec = Spec();
    spec.mutable_initial_model()->set_file("start.safetensors");
    *spec.mutable_initial_model()->mutable_weights() =
        rpc::ToProto(crypto::IdentifyBlob(AsBytes(std::span<const float>(weights))));
    return spec;
  }
  // Watches until the job ends; returns what was told last.
  v1::WatchJobResponse WatchToTheEnd(const std::string& id) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_job_id(id);
    const auto reader = researcher_->WatchJob(&context, request);
    v1::WatchJobResponse last;
    std::vector<v1::RoundRecord> rounds;
    for (v1::WatchJobResponse response; reader->Read(&response);) {
      rounds.insert(rounds.end(), response.ended_rounds().begin(), response.ended_rounds().end());
      last = response;
    }
    EXPECT_TRUE(reader->Finish().ok());
    last.mutable_ended_rounds()->Assign(rounds.begin(), rounds.end());
    return last;
  }

  support::TestPki pki_;
  support::TemporaryDirectory directory_{support::Medium::kMemory};
  SystemClock clock_;
  metrics::Registry registry_;
  v1::CoordinatorConfig config_;
  std::unique_ptr<Coordinator> coordinator_;
  std::string address_;
  std::unique_ptr<v1::Jobs::Stub> researcher_;
  int num_keys_ = 0;
};

}  // namespace chorale::coordinator

#endif  // CHORALE_TESTS_COORDINATOR_COORDINATOR_FIXTURE_H_
