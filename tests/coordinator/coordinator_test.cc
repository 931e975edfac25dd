#include "coordinator/coordinator.h"

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
#include "core/chunking.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/rpc/channel.h"
#include "core/rpc/chunks.h"
#include "core/rpc/tls.h"
#include "core/storage/file.h"
#include "jobs/signed_job.h"
#include "tests/support/test_pki.h"
#include "tests/support/valid_job.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

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
  // Sends weights under this name, which may be another's.
  grpc::Status Upload(const crypto::BlobId& id, ByteSpan bytes) {
    grpc::ClientContext context;
    v1::UploadModelResponse response;
    const auto writer = researcher_->UploadModel(&context, &response);
    v1::UploadModelRequest request;
    *request.mutable_header() = rpc::ToProto(id);
    if (writer->Write(request)) {
      const Status sent = rpc::SendBytes(bytes, [&](v1::Chunk&& chunk) {
        *request.mutable_chunk() = std::move(chunk);
        return writer->Write(request);
      });
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

TEST_F(CoordinatorTest, RunsAJobOverTheWire) {
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  const std::string id = MustSubmit();
  const v1::Task task = *north.NextTask();
  const v1::Task other = *south.NextTask();
  Bytes model;
  ASSERT_TRUE(north.Fetch(task.task_id(), task.training().global_model(), model).ok());
  EXPECT_THAT(*ParametersFromBytes(model), testing::Each(0.0f));
  EXPECT_TRUE(north.Report(task.task_id(), {1, 1, 1, 1}).ok());
  EXPECT_TRUE(south.Report(other.task_id(), {3, 3, 3, 3}).ok());

  const v1::WatchJobResponse end = WatchToTheEnd(id);

  EXPECT_EQ(end.job().state(), v1::JOB_STATE_COMPLETED) << end.job().reason();
  ASSERT_EQ(end.ended_rounds_size(), 1);
  EXPECT_EQ(end.ended_rounds(0).bytes_up(), 32u);
  EXPECT_EQ(end.ended_rounds(0).bytes_down(), 16u);

  grpc::ClientContext context;
  v1::PullModelRequest request;
  request.set_job_id(id);
  const auto reader = researcher_->PullModel(&context, request);
  v1::PullModelResponse response;
  ASSERT_TRUE(reader->Read(&response));
  const v1::PullModelHeader header = response.header();
  EXPECT_EQ(nlohmann::json::parse(header.manifest())["job"], id);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_THAT(*ParametersFromBytes(AsBytes(response.chunk().data())), testing::Each(2.0f));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(CoordinatorTest, WritesWhereItListens) {
  std::ifstream file(directory_.path() / "state" / "listen");
  std::string line;
  std::getline(file, line);

  EXPECT_EQ(line, address_);
}

TEST_F(CoordinatorTest, RefusesASecondCoordinatorOnItsState) {
  const auto second = Coordinator::Start(
      config_, {.clock = clock_, .metrics = registry_, .on_fatal = [](const Status&) {}});

  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(CoordinatorTest, RefusesARevokedSiteWithTheReason) {
  WireSite north = Site("north");
  pki_.Revoke(v1::PARTY_ROLE_SITE, "north", "contract ended");

  const grpc::Status status = north.Connect();

  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(status.error_message(), HasSubstr("contract ended"));
}

TEST_F(CoordinatorTest, DisconnectsASiteThatIsRevokedWhileConnected) {
  WireSite north = Site("north");
  ASSERT_TRUE(north.Connect().ok());
  pki_.Revoke(v1::PARTY_ROLE_SITE, "north", "contract ended");

  const grpc::Status status = north.Finish();  // Within a heartbeat.

  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(status.error_message(), HasSubstr("contract ended"));
}

TEST_F(CoordinatorTest, TellsTheOlderSessionThatANewerOneTookItsPlace) {
  WireSite older = Site("north");
  WireSite newer = Site("north");
  ASSERT_TRUE(older.Connect().ok());
  ASSERT_TRUE(newer.Connect().ok());

  EXPECT_EQ(older.Finish().error_code(), grpc::StatusCode::ABORTED);
  newer.Leave();
}

TEST_F(CoordinatorTest, EndsASessionThatDoesNotBeginWithAHello) {
  grpc::ClientContext context;
  const auto stub = v1::Federation::NewStub(
      *rpc::MakeChannel({.address = address_, .proxy = "none", .keepalive_interval = {}},
                        support::TlsOf(Load(v1::PARTY_ROLE_SITE, "north"))));
  const auto stream = stub->Connect(&context);
  v1::SiteMessage heartbeat;
  heartbeat.mutable_heartbeat();
  stream->Write(heartbeat);
  v1::CoordinatorMessage message;
  while (stream->Read(&message)) {
  }

  const grpc::Status status = stream->Finish();

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("hello"));
}

TEST_F(CoordinatorTest, KeepsSitesAndResearchersApart) {
  const identity::Identity north = Load(v1::PARTY_ROLE_SITE, "north");
  const auto jobs = v1::Jobs::NewStub(*rpc::MakeChannel(
      {.address = address_, .proxy = "none", .keepalive_interval = {}}, support::TlsOf(north)));
  grpc::ClientContext context;
  v1::ListJobsResponse response;
  WireSite ada(address_, Load(v1::PARTY_ROLE_RESEARCHER, "ada"));

  EXPECT_EQ(jobs->ListJobs(&context, {}, &response).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ada.Connect().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(CoordinatorTest, GivesASiteNothingOfAnotherSitesTask) {
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  MustSubmit();
  const v1::Task task = *north.NextTask();
  const v1::Task own = *south.NextTask();
  v1::BlobDescriptor other;
  other.set_digest(std::string(32, 'x'));
  Bytes bytes;

  EXPECT_EQ(south.Fetch(task.task_id(), task.training().global_model(), bytes).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(south.Fetch(own.task_id(), other, bytes).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(south.Report(task.task_id(), {1, 1, 1, 1}).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(CoordinatorTest, TakesAReportOnce) {
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  MustSubmit();
  const std::string task = north.NextTask()->task_id();

  EXPECT_TRUE(north.Report(task, {1, 1, 1, 1}).ok());
  EXPECT_EQ(north.Report(task, {1, 1, 1, 1}).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(north.Report(task, {2, 2, 2, 2}).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(CoordinatorTest, ExcludesASiteThatReportsNoNumber) {
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_min_reports(1);
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  const std::string id = MustSubmit(spec);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(north.Report(north.NextTask()->task_id(), {1, nan, 1, 1}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(south.Report(south.NextTask()->task_id(), {1, 1, 1, 1}).ok());

  const v1::WatchJobResponse end = WatchToTheEnd(id);

  EXPECT_EQ(end.job().state(), v1::JOB_STATE_COMPLETED);
  EXPECT_EQ(end.ended_rounds(0).sites(0).reason_code(), "INVALID_UPDATE");
}

// ---------------------------------------------------------------------------- kinds of rounds

TEST_F(CoordinatorTest, GivesASiteTheControlVariateOfItsTask) {
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_count(2);
  spec.mutable_training()->mutable_scaffold();
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  MustSubmit(spec);
  EXPECT_TRUE(north.Report(north.NextTask()->task_id(), {1, 1, 1, 1, 2, 2, 2, 2}).ok());
  EXPECT_TRUE(south.Report(south.NextTask()->task_id(), {1, 1, 1, 1, 4, 4, 4, 4}).ok());
  const v1::Task task = *north.NextTask();
  Bytes model;
  Bytes variate;

  EXPECT_TRUE(north.Fetch(task.task_id(), task.training().global_model(), model).ok());
  EXPECT_TRUE(north.Fetch(task.task_id(), task.training().control_variate(), variate).ok());

  EXPECT_THAT(*ParametersFromBytes(model), testing::Each(1.0f));
  EXPECT_THAT(*ParametersFromBytes(variate), testing::Each(3.0f));
}

TEST_F(CoordinatorTest, ExcludesASiteWhoseSumsNoRowsCouldHave) {
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_min_reports(1);
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  const std::string id = MustSubmit(spec);
  // age: rows, sum, squares, missing; pain: three levels, missing.
  EXPECT_EQ(north.ReportSums(north.NextTask()->task_id(), {99, 3, 5, 0, 4, 3, 3, 0}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(south.ReportSums(south.NextTask()->task_id(), {10, 30, 100, 0, 4, 3, 3, 0}).ok());
  EXPECT_TRUE(south.Report(south.NextTask()->task_id(), {1, 1, 1, 1}).ok());

  const v1::WatchJobResponse end = WatchToTheEnd(id);

  EXPECT_EQ(end.job().state(), v1::JOB_STATE_COMPLETED) << end.job().reason();
  EXPECT_EQ(end.ended_rounds(0).sites(0).reason_code(), "INVALID_UPDATE");
  ASSERT_EQ(end.ended_rounds(0).statistics_size(), 2);
  EXPECT_DOUBLE_EQ(end.ended_rounds(0).statistics(0).mean(), 3);
}

// ---------------------------------------------------------------------------- uploads

TEST_F(CoordinatorTest, StartsAJobFromUploadedWeights) {
  const std::vector<float> weights = {1, 2, 3, 4};
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  std::string id;
  EXPECT_EQ(Submit(Request(SpecFrom(weights)), id).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);

  ASSERT_TRUE(Upload(weights).ok());
  MustSubmit(SpecFrom(weights));
  const v1::Task task = *north.NextTask();
  Bytes model;
  ASSERT_TRUE(north.Fetch(task.task_id(), task.training().global_model(), model).ok());

  EXPECT_EQ(*ParametersFromBytes(model), weights);
}

TEST_F(CoordinatorTest, TakesLargeUploadsAndForgetsThemWithTheProcess) {
  const std::vector<float> weights(kChunkBytes / 2, 1.5f);  // Two chunks.
  ASSERT_TRUE(Upload(weights).ok());
  const std::filesystem::path payloads = directory_.path() / "state" / "payloads";
  const std::string name =
      ToHex(crypto::IdentifyBlob(AsBytes(std::span<const float>(weights))).digest);
  EXPECT_TRUE(std::filesystem::exists(payloads / name));

  coordinator_.reset();

  EXPECT_FALSE(std::filesystem::exists(payloads / name));
}

TEST_F(CoordinatorTest, RefusesUploadsThatAreNotWhatTheySay) {
  const std::vector<float> weights = {1, 2, 3, 4};
  const ByteSpan bytes = AsBytes(std::span<const float>(weights));
  const crypto::BlobId id = crypto::IdentifyBlob(bytes);
  crypto::BlobId other = id;
  other.digest[0] ^= 1;

  EXPECT_EQ(Upload(other, bytes).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Upload(id, {}).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Upload(id, bytes.first(8)).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({.size_bytes = 15, .digest = id.digest}, bytes).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({.size_bytes = 0, .digest = id.digest}, {}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({.size_bytes = 65ull << 30, .digest = id.digest}, bytes).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Upload({1, std::numeric_limits<float>::quiet_NaN()}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  std::string job;
  EXPECT_EQ(Submit(Request(SpecFrom(weights)), job).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(CoordinatorTest, RefusesUploadsOfAnotherForm) {
  v1::UploadModelRequest header;
  *header.mutable_header() = rpc::ToProto({.size_bytes = 8, .digest = {1}});
  v1::UploadModelRequest chunk;
  chunk.mutable_chunk()->set_data("12345678");
  v1::UploadModelRequest short_digest;
  short_digest.mutable_header()->set_digest("short");
  short_digest.mutable_header()->set_size_bytes(8);
  const std::vector<std::vector<v1::UploadModelRequest>> uploads = {
      {}, {chunk}, {header, header}, {short_digest}, {v1::UploadModelRequest()}};
  for (const std::vector<v1::UploadModelRequest>& upload : uploads) {
    grpc::ClientContext context;
    v1::UploadModelResponse response;
    const auto writer = researcher_->UploadModel(&context, &response);
    for (const v1::UploadModelRequest& request : upload) writer->Write(request);
    writer->WritesDone();

    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(CoordinatorTest, TakesUploadsOfResearchersOnly) {
  const identity::Identity north = Load(v1::PARTY_ROLE_SITE, "north");
  researcher_ = v1::Jobs::NewStub(*rpc::MakeChannel(
      {.address = address_, .proxy = "none", .keepalive_interval = {}}, support::TlsOf(north)));

  EXPECT_EQ(Upload({1, 2, 3, 4}).error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(CoordinatorTest, RefusesAReportOfTheWrongSize) {
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  MustSubmit();

  const grpc::Status status = north.Report(north.NextTask()->task_id(), {1, 1, 1});

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("payload.size_bytes must be 16, got 12"));
}

TEST_F(CoordinatorTest, ShowsRefusalsAndFailsTheJob) {
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  const std::string id = MustSubmit();
  north.Refuse(north.NextTask()->task_id(), "MODEL_NOT_ALLOWED");
  south.Refuse(south.NextTask()->task_id(), "MODEL_NOT_ALLOWED");

  const v1::WatchJobResponse end = WatchToTheEnd(id);

  EXPECT_EQ(end.job().state(), v1::JOB_STATE_FAILED);
  EXPECT_THAT(end.job().reason(), HasSubstr("MODEL_NOT_ALLOWED"));
}

TEST_F(CoordinatorTest, RefusesAJobSignedUnderAnotherCertificate) {
  v1::SubmitJobRequest request = Request(Spec());
  const identity::Identity eve = Load(v1::PARTY_ROLE_RESEARCHER, "eve");
  *request.mutable_job() = jobs::SignJob(Spec(), eve);
  std::string id;

  EXPECT_EQ(Submit(request, id).error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(CoordinatorTest, RefusesARequestOutOfBounds) {
  v1::SubmitJobRequest short_key = Request(Spec());
  short_key.set_idempotency_key("short");
  v1::SubmitJobRequest no_job;
  no_job.set_idempotency_key("0123456789abcdef");
  std::string id;
  grpc::ClientContext context;
  v1::ListJobsRequest list;
  list.set_limit(1001);
  v1::ListJobsResponse listed;

  EXPECT_EQ(Submit(short_key, id).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Submit(no_job, id).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(researcher_->ListJobs(&context, list, &listed).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(CoordinatorTest, KnowsNoJobOfAnUnknownId) {
  grpc::ClientContext show_context;
  v1::ShowJobRequest show;
  show.set_job_id("../../etc/passwd");
  v1::ShowJobResponse shown;
  grpc::ClientContext watch_context;
  v1::WatchJobRequest watch;
  watch.set_job_id("j0");
  v1::WatchJobResponse watched;
  const auto reader = researcher_->WatchJob(&watch_context, watch);

  EXPECT_EQ(researcher_->ShowJob(&show_context, show, &shown).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_FALSE(reader->Read(&watched));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(CoordinatorTest, ListsSitesAndJobs) {
  WireSite north = Site("north");
  ASSERT_TRUE(north.Connect().ok());
  const std::string id = MustSubmit();
  grpc::ClientContext sites_context;
  v1::ListSitesResponse sites;
  grpc::ClientContext jobs_context;
  v1::ListJobsResponse jobs;

  ASSERT_TRUE(researcher_->ListSites(&sites_context, {}, &sites).ok());
  ASSERT_TRUE(researcher_->ListJobs(&jobs_context, {}, &jobs).ok());

  ASSERT_EQ(sites.sites_size(), 2);
  EXPECT_TRUE(sites.sites(0).is_connected());
  EXPECT_FALSE(sites.sites(1).is_connected());
  ASSERT_EQ(jobs.jobs_size(), 1);
  EXPECT_EQ(jobs.jobs(0).job_id(), id);
}

TEST_F(CoordinatorTest, DrainsAndGoesOnAfterARestart) {
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok());
  ASSERT_TRUE(south.Connect().ok());
  const std::string id = MustSubmit();
  EXPECT_TRUE(north.Report(north.NextTask()->task_id(), {1, 1, 1, 1}).ok());
  std::future<grpc::Status> end = std::async(std::launch::async, [&] { return south.Finish(); });
  coordinator_->Stop();
  EXPECT_EQ(end.get().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(south.has_drained());
  coordinator_.reset();

  StartCoordinator();
  WireSite again = Site("south");
  ASSERT_TRUE(again.Connect().ok());
  EXPECT_TRUE(again.Report(again.NextTask()->task_id(), {3, 3, 3, 3}).ok());

  EXPECT_EQ(WatchToTheEnd(id).job().state(), v1::JOB_STATE_COMPLETED);
}

TEST_F(CoordinatorTest, EndsWatchersWhenItStops) {
  const std::string id = MustSubmit();
  grpc::ClientContext context;
  v1::WatchJobRequest request;
  request.set_job_id(id);
  const auto reader = researcher_->WatchJob(&context, request);
  v1::WatchJobResponse response;
  ASSERT_TRUE(reader->Read(&response));
  std::future<void> stopped = std::async(std::launch::async, [&] { coordinator_->Stop(); });
  while (reader->Read(&response)) {
  }

  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace chorale::coordinator
