#include "tests/coordinator/coordinator_fixture.h"

namespace chorale::coordinator {
namespace {

using testing::HasSubstr;

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

TEST_F(CoordinatorTest, SendsAModelFromWhereAnEarlierPullBroke) {
  WireSite north = Site("north");
  WireSite south = Site("south");
  ASSERT_TRUE(north.Connect().ok() && south.Connect().ok());
  const std::string id = MustSubmit();
  ASSERT_TRUE(north.Report(north.NextTask()->task_id(), {1, 1, 1, 1}).ok());
  ASSERT_TRUE(south.Report(south.NextTask()->task_id(), {3, 3, 3, 3}).ok());
  WatchToTheEnd(id);
  const auto pull = [&](const v1::PullModelRequest& request, v1::BlobDescriptor& weights) {
    grpc::ClientContext context;
    const auto reader = researcher_->PullModel(&context, request);
    v1::PullModelResponse response;
    if (reader->Read(&response)) weights = response.header().weights();
    while (reader->Read(&response)) {
    }
    return reader->Finish().error_code();
  };
  v1::PullModelRequest request;
  request.set_job_id(id);
  v1::BlobDescriptor weights;
  ASSERT_EQ(pull(request, weights), grpc::StatusCode::OK);

  // Other weights come from their beginning; of these, nothing is beyond the end.
  request.set_offset_bytes(kChunkBytes);
  *request.mutable_resumed() = weights;
  EXPECT_EQ(pull(request, weights), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_resumed()->set_digest(std::string(32, 'x'));
  EXPECT_EQ(pull(request, weights), grpc::StatusCode::OK);
  request.mutable_resumed()->set_digest("short");
  EXPECT_EQ(pull(request, weights), grpc::StatusCode::INVALID_ARGUMENT);
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
