#include "cli/jobs_client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "chorale/v1/jobs.grpc.pb.h"
#include "core/chunking.h"
#include "core/rpc/server.h"
#include "core/rpc/tls.h"
#include "tests/support/test_pki.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;

// Answers as the test tells it.
class FakeJobs final : public v1::Jobs::Service {
 public:
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    response->add_jobs()->set_job_id("limit-" + std::to_string(request->limit()));
    return status;
  }
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest*,
                        grpc::ServerWriter<v1::WatchJobResponse>* writer) override {
    ++watches;
    v1::WatchJobResponse message;
    for (const v1::JobState state : {v1::JOB_STATE_RUNNING, v1::JOB_STATE_COMPLETED}) {
      message.mutable_job()->set_state(state);
      writer->Write(message);
      if (watches <= broken_watches) return {grpc::StatusCode::UNAVAILABLE, "restarting"};
    }
    return status;
  }
  // The model's chunks hold their own index. Breaks after each chunk, so often.
  grpc::Status PullModel(grpc::ServerContext*, const v1::PullModelRequest* request,
                         grpc::ServerWriter<v1::PullModelResponse>* writer) override {
    v1::PullModelResponse message;
    const bool is_other = ++pulls > 1 && publishes_meanwhile;
    message.mutable_header()->mutable_weights()->set_size_bytes(kChunks * kChunkBytes);
    message.mutable_header()->mutable_weights()->set_digest(is_other ? "second" : "first");
    if (has_header) writer->Write(message);
    const bool is_resumed =
        request->resumed().digest() == message.header().weights().digest() && has_header;
    for (std::uint64_t i = is_resumed ? request->offset_bytes() / kChunkBytes : 0; i < kChunks;
         ++i) {
      message.mutable_chunk()->set_offset_bytes(i * kChunkBytes);
      message.mutable_chunk()->set_data(std::string(kChunkBytes, static_cast<char>(i)));
      writer->Write(message);
      if (broken_pulls > 0) {
        --broken_pulls;
        return {grpc::StatusCode::UNAVAILABLE, "the line is broken"};
      }
    }
    return status;
  }
  grpc::Status FindUpload(grpc::ServerContext*, const v1::FindUploadRequest* request,
                          v1::FindUploadResponse* response) override {
    uploaded_id = request->weights();
    response->set_received_bytes(uploaded.size());
    return find_status;
  }
  // Takes one chunk and breaks, so often.
  grpc::Status UploadModel(grpc::ServerContext*, grpc::ServerReader<v1::UploadModelRequest>* reader,
                           v1::UploadModelResponse*) override {
    for (v1::UploadModelRequest request; reader->Read(&request);) {
      if (!status.ok()) return status;
      if (request.has_header()) {
        uploaded_id = request.header();
        continue;
      }
      uploaded.resize(request.chunk().offset_bytes());
      uploaded += request.chunk().data();
      if (broken_uploads > 0) {
        --broken_uploads;
        return {grpc::StatusCode::UNAVAILABLE, "the line is broken"};
      }
    }
    return status;
  }
  static constexpr std::uint64_t kChunks = 4;
  bool has_header = true;
  bool publishes_meanwhile = false;
  int pulls = 0;
  int broken_pulls = 0;
  int broken_uploads = 0;
  grpc::Status find_status;
  grpc::Status status;
  v1::BlobDescriptor uploaded_id;
  std::string uploaded;
  int watches = 0;
  int broken_watches = 0;
};

class JobsClientTest : public testing::Test {
 protected:
  JobsClientTest()
      : coordinator_(pki_.Load(v1::PARTY_ROLE_COORDINATOR, "main")),
        researcher_(pki_.Load(v1::PARTY_ROLE_RESEARCHER, "alice")) {
    rpc::InitializeRpc();
    auto server = rpc::Server::Start(
        {.listen = "127.0.0.1:0", .keepalive_interval = std::chrono::seconds(30)},
        support::TlsOf(coordinator_), {&service_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    client_ = Connect(server_->port());
  }
  std::unique_ptr<JobsClient> Connect(int port) {
    auto client = JobsClient::Create("127.0.0.1:" + std::to_string(port), "none", researcher_);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  Status Upload(const Bytes& weights) {
    return client_->UploadModel(crypto::IdentifyBlob(weights), weights,
                                [&](std::uint64_t sent) { resumed_.push_back(sent); });
  }
  Status Pull() {
    return client_->PullModel(
        "job",
        [&](const auto&) {
          ++num_headers_;
          pulled_.clear();
          return OkStatus();
        },
        [&](const v1::Chunk& chunk) {
          pulled_ += chunk.data();
          return OkStatus();
        },
        [&](std::uint64_t received) { resumed_.push_back(received); });
  }

  int num_headers_ = 0;
  std::string pulled_;
  std::vector<std::uint64_t> resumed_;
  support::TestPki pki_;
  identity::Identity coordinator_;
  identity::Identity researcher_;
  FakeJobs service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<JobsClient> client_;
};

TEST_F(JobsClientTest, AsksOverMutualTls) {
  v1::ListJobsRequest request;
  request.set_limit(7);

  const auto response = client_->ListJobs(request);

  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->jobs(0).job_id(), "limit-7");
}

TEST_F(JobsClientTest, KeepsCodeAndWordsOfARefusal) {
  service_.status = {grpc::StatusCode::PERMISSION_DENIED, "only researchers may ask"};

  const Status status = client_->ListJobs({}).status();

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(status), HasSubstr("only researchers may ask"));
}

// Their exit codes mean the end of a job.
TEST_F(JobsClientTest, NeverAnswersWithTheCodesOfAJobsEnd) {
  for (const grpc::StatusCode code : {grpc::StatusCode::ABORTED, grpc::StatusCode::CANCELLED}) {
    service_.status = {code, "draining"};
    EXPECT_EQ(client_->ListJobs({}).status().code(), StatusCode::kUnavailable);
  }
}

TEST_F(JobsClientTest, SaysWhereNobodyListens) {
  const int port = server_->port();
  server_.reset();

  const Status status = client_->ListJobs({}).status();

  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(status), HasSubstr(std::to_string(port)));
}

TEST_F(JobsClientTest, WatchesUntilTheEnd) {
  std::vector<v1::JobState> states;

  const Status status = client_->WatchJob(
      {}, [&](const auto& message) { states.push_back(message.job().state()); }, [] {});

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(states, testing::ElementsAre(v1::JOB_STATE_RUNNING, v1::JOB_STATE_COMPLETED));
}

TEST_F(JobsClientTest, WatchesOnAfterALostConnection) {
  service_.broken_watches = 2;
  int reconnects = 0;
  v1::JobState last = v1::JOB_STATE_UNSPECIFIED;

  const Status status = client_->WatchJob(
      {}, [&](const auto& message) { last = message.job().state(); }, [&] { ++reconnects; });

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(last, v1::JOB_STATE_COMPLETED);
  EXPECT_EQ(reconnects, 2);
}

TEST_F(JobsClientTest, DoesNotWatchOnAfterARefusal) {
  service_.status = {grpc::StatusCode::NOT_FOUND, "no such job"};
  int reconnects = 0;

  const Status status = client_->WatchJob(
      {}, [](const auto&) {}, [&] { ++reconnects; });

  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(reconnects, 0);
}

TEST_F(JobsClientTest, StopsPullingAtTheFirstErrorOfTheReader) {
  int chunks = 0;

  const Status status = client_->PullModel(
      "job", [](const auto&) { return OkStatus(); },
      [&](const auto&) {
        ++chunks;
        return DataLoss("spoilt");
      },
      [](std::uint64_t) {});

  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(chunks, 1);
}

TEST_F(JobsClientTest, TakesNoChunksBeforeTheHeader) {
  service_.has_header = false;

  const Status status = Pull();

  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(pulled_, "");
}

TEST_F(JobsClientTest, PullsOnWhereTheLineBroke) {
  service_.broken_pulls = 2;

  const Status status = Pull();

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(num_headers_, 1);
  EXPECT_THAT(resumed_, testing::ElementsAre(kChunkBytes, 2 * kChunkBytes));
  ASSERT_EQ(pulled_.size(), FakeJobs::kChunks * kChunkBytes);
  for (std::size_t i = 0; i < FakeJobs::kChunks; ++i) EXPECT_EQ(pulled_[i * kChunkBytes], char(i));
}

TEST_F(JobsClientTest, PullsNothingMoreWhenTheLineBreaksBehindTheLastChunk) {
  service_.broken_pulls = FakeJobs::kChunks;

  const Status status = Pull();

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(pulled_.size(), FakeJobs::kChunks * kChunkBytes);
  EXPECT_EQ(resumed_.size(), FakeJobs::kChunks - 1);
}

TEST_F(JobsClientTest, PullsFromTheBeginningWhatWasPublishedMeanwhile) {
  service_.broken_pulls = 2;
  service_.publishes_meanwhile = true;

  const Status status = Pull();

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(num_headers_, 2);
  EXPECT_EQ(pulled_.size(), FakeJobs::kChunks * kChunkBytes);
}

TEST_F(JobsClientTest, UploadsWeightsChunkByChunk) {
  const Bytes weights(kChunkBytes + 8, 7);

  const Status status = Upload(weights);

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(service_.uploaded, std::string(weights.begin(), weights.end()));
  EXPECT_EQ(service_.uploaded_id.size_bytes(), kChunkBytes + 8);
  EXPECT_TRUE(resumed_.empty());
}

TEST_F(JobsClientTest, UploadsOnWhereTheLineBroke) {
  // More breaks than tries without progress.
  Bytes weights(7 * kChunkBytes + 8, 7);
  for (std::size_t i = 0; i < weights.size(); i += kChunkBytes) weights[i] = std::uint8_t(i >> 20);
  service_.broken_uploads = 7;

  const Status status = Upload(weights);

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(service_.uploaded, std::string(weights.begin(), weights.end()));
  ASSERT_EQ(resumed_.size(), 7u);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(resumed_[i], (i + 1) * kChunkBytes);
}

TEST_F(JobsClientTest, UploadsFromTheBeginningToAnOlderCoordinator) {
  const Bytes weights(2 * kChunkBytes, 7);
  service_.broken_uploads = 1;
  service_.find_status = {grpc::StatusCode::UNIMPLEMENTED, "unknown method"};

  const Status status = Upload(weights);

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(resumed_, testing::ElementsAre(0));
  EXPECT_EQ(service_.uploaded.size(), weights.size());
}

TEST_F(JobsClientTest, GivesUpOnALineThatBringsNothing) {
  service_.status = {grpc::StatusCode::UNAVAILABLE, "the line is broken"};
  const Bytes weights(2 * kChunkBytes, 7);

  EXPECT_EQ(Upload(weights).code(), StatusCode::kUnavailable);
}

TEST_F(JobsClientTest, SaysWhyAnUploadIsNotTaken) {
  service_.status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "no space left"};
  const Bytes weights(8 * kChunkBytes, 7);

  const Status status = Upload(weights);

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status), HasSubstr("no space left"));
}

TEST_F(JobsClientTest, RefusesAMalformedAddress) {
  EXPECT_EQ(JobsClient::Create("nowhere", "none", researcher_).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::cli
