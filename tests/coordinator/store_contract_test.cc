#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "coordinator/job_event_codec.h"
#include "coordinator/sqlite_store.h"
#include "tests/support/memory_job_store.h"
#include "tests/support/temporary_directory.h"

namespace chorale::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

const ResearcherId kAda("ada");
const JobId kFirst("j1");
const JobId kSecond("j2");
const Time kNow{std::chrono::seconds(1'000'000)};

struct InMemory {
  std::unique_ptr<JobStore> store = std::make_unique<support::MemoryJobStore>();
};
struct InSqlite {
  support::TemporaryDirectory directory{support::Medium::kMemory};
  std::unique_ptr<JobStore> store = *SqliteJobStore::Open(directory.path() / "test.db");
};

StoredSubmission SubmissionOf(const JobId& id, const std::string& key) {
  StoredSubmission submission{
      .id = id, .researcher = kAda, .idempotency_key = key, .envelope = {}, .submitted_at = kNow};
  submission.envelope.set_spec("spec of " + id.value());
  return submission;
}

v1::JobEvent EventOf(const std::string& reason) { return Encode(NoCohort{reason}, kNow); }

Batch::Blob SmallBlob(const JobId& job, const std::string& name, Bytes bytes) {
  return {job, name, crypto::IdentifyBlob(bytes), std::make_shared<const Bytes>(bytes)};
}

template <typename Kind>
class JobStoreTest : public testing::Test {
 protected:
  JobStore& store() { return *kind_.store; }
  std::vector<crypto::BlobId> Write(const Batch& batch) {
    const auto removed = store().Append(batch);
    EXPECT_TRUE(removed.ok()) << removed.status();
    return removed.ok() ? *removed : std::vector<crypto::BlobId>();
  }
  void SubmitBoth() {
    Batch batch;
    batch.submissions = {SubmissionOf(kFirst, "key-1"), SubmissionOf(kSecond, "key-2")};
    Write(batch);
  }

 private:
  Kind kind_;
};
using Kinds = testing::Types<InMemory, InSqlite>;
TYPED_TEST_SUITE(JobStoreTest, Kinds);

TYPED_TEST(JobStoreTest, IsEmptyAtFirst) {
  EXPECT_THAT(*this->store().LoadUnfinished(), IsEmpty());
  EXPECT_THAT(*this->store().ListJobs(10), IsEmpty());
  EXPECT_THAT(*this->store().ListBlobs(), IsEmpty());
  EXPECT_THAT(*this->store().LoadSites(), IsEmpty());
  EXPECT_EQ(*this->store().RosterVersion(), 0u);
  EXPECT_EQ(this->store().LoadJob(kFirst).status().code(), StatusCode::kNotFound);
}

TYPED_TEST(JobStoreTest, KeepsSubmissionsAndEventsInOrder) {
  this->SubmitBoth();
  Batch batch;
  batch.events = {{kFirst, EventOf("a")}, {kSecond, EventOf("x")}, {kFirst, EventOf("b")}};
  this->Write(batch);
  Batch later;
  later.events = {{kFirst, EventOf("c")}};
  this->Write(later);

  const auto jobs = this->store().LoadUnfinished();

  ASSERT_TRUE(jobs.ok()) << jobs.status();
  ASSERT_EQ(jobs->size(), 2u);
  EXPECT_EQ((*jobs)[0].submission.id, kFirst);
  EXPECT_EQ((*jobs)[0].submission.submitted_at, kNow);
  EXPECT_EQ((*jobs)[0].submission.envelope.spec(), "spec of j1");
  ASSERT_EQ((*jobs)[0].events.size(), 3u);
  EXPECT_EQ((*jobs)[0].events[1].no_cohort().reason(), "b");
  EXPECT_EQ((*jobs)[0].events[2].no_cohort().reason(), "c");
  EXPECT_EQ(this->store().LoadJob(kSecond)->events.size(), 1u);
}

TYPED_TEST(JobStoreTest, SaysWhetherAJobHasEnded) {
  this->SubmitBoth();
  Batch batch;
  batch.ended = {{kFirst, {}}};
  this->Write(batch);

  EXPECT_TRUE(*this->store().HasEnded(kFirst));
  EXPECT_FALSE(*this->store().HasEnded(kSecond));
  EXPECT_FALSE(*this->store().HasEnded(JobId("j9")));
}

TYPED_TEST(JobStoreTest, FindsASubmissionByItsKey) {
  this->SubmitBoth();

  EXPECT_EQ(this->store().FindSubmission(kAda, "key-2")->id, kSecond);
  EXPECT_EQ(this->store().FindSubmission(kAda, "key-3").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(this->store().FindSubmission(ResearcherId("eve"), "key-2").status().code(),
            StatusCode::kNotFound);
}

TYPED_TEST(JobStoreTest, TakesAKeyOfAResearcherOnce) {
  this->SubmitBoth();
  Batch batch;
  batch.submissions = {SubmissionOf(JobId("j3"), "key-1")};

  EXPECT_EQ(this->store().Append(batch).status().code(), StatusCode::kAlreadyExists);
}

// A model and what its round left for the next one may be the same bytes.
TYPED_TEST(JobStoreTest, DropsOneNameOfARoundAndKeepsTheOther) {
  this->SubmitBoth();
  const Bytes bytes(16, 3);
  Batch batch;
  batch.kept = {SmallBlob(kFirst, "model/1/global", bytes),
                SmallBlob(kFirst, "model/1/state", bytes),
                SmallBlob(kFirst, "model/12/state", Bytes(16, 4))};
  this->Write(batch);
  Batch state;
  state.dropped = {{kFirst, "model/1/state"}};
  Batch round;
  round.dropped = {{kFirst, "model/1/"}};

  EXPECT_THAT(this->Write(state), IsEmpty());
  EXPECT_EQ(*this->store().LoadBlob(crypto::IdentifyBlob(bytes)), bytes);
  EXPECT_THAT(this->Write(round), ElementsAre(crypto::IdentifyBlob(bytes)));
  EXPECT_THAT(*this->store().ListBlobs(), ElementsAre(crypto::IdentifyBlob(Bytes(16, 4))));
}

TYPED_TEST(JobStoreTest, WritesAllOrNothing) {
  this->SubmitBoth();
  Batch batch;
  batch.events = {{kFirst, EventOf("a")}, {JobId("unknown"), EventOf("b")}};
  batch.roster_version = 5;

  EXPECT_EQ(this->store().Append(batch).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(this->store().LoadJob(kFirst)->events, IsEmpty());
  EXPECT_EQ(*this->store().RosterVersion(), 0u);
}

TYPED_TEST(JobStoreTest, ListsNewestFirstWithTheSummariesOfEndedJobs) {
  this->SubmitBoth();
  Batch batch;
  v1::JobSummary summary;
  summary.set_name("heart");
  summary.set_state(v1::JOB_STATE_COMPLETED);
  batch.ended = {{kFirst, summary}};
  this->Write(batch);

  const auto jobs = this->store().ListJobs(10);

  ASSERT_TRUE(jobs.ok()) << jobs.status();
  ASSERT_EQ(jobs->size(), 2u);
  EXPECT_EQ((*jobs)[0].job_id(), "j2");
  EXPECT_EQ((*jobs)[1].job_id(), "j1");
  EXPECT_EQ((*jobs)[1].name(), "heart");
  EXPECT_EQ(this->store().ListJobs(1)->size(), 1u);
  EXPECT_EQ(this->store().LoadUnfinished()->size(), 1u);
  EXPECT_EQ(this->store().LoadJob(kFirst)->submission.id, kFirst);
}

TYPED_TEST(JobStoreTest, RemovesABlobWithItsLastName) {
  this->SubmitBoth();
  Batch batch;
  batch.kept = {SmallBlob(kFirst, "update/1/1/north", {1, 2}),
                SmallBlob(kFirst, "update/1/1/south", {1, 2}),
                SmallBlob(kSecond, "update/1/1/north", {1, 2})};
  this->Write(batch);
  const crypto::BlobId id = batch.kept[0].id;
  Batch drop_first;
  drop_first.dropped = {{kFirst, "update/1/1/"}};
  Batch drop_second;
  drop_second.dropped = {{kSecond, "update/1/1/"}};

  EXPECT_THAT(this->Write(drop_first), IsEmpty());
  EXPECT_EQ(*this->store().LoadBlob(id), (Bytes{1, 2}));
  EXPECT_THAT(this->Write(drop_second), ElementsAre(id));
  EXPECT_EQ(this->store().LoadBlob(id).status().code(), StatusCode::kNotFound);
}

TYPED_TEST(JobStoreTest, DropsByPrefixAndNothingElse) {
  this->SubmitBoth();
  Batch batch;
  batch.kept = {SmallBlob(kFirst, "model/1/global", {1}),
                SmallBlob(kFirst, "model/10/global", {2})};
  this->Write(batch);
  Batch drop;
  drop.dropped = {{kFirst, "model/1/"}};

  EXPECT_THAT(this->Write(drop), ElementsAre(batch.kept[0].id));
  EXPECT_THAT(*this->store().ListBlobs(), ElementsAre(batch.kept[1].id));
}

TYPED_TEST(JobStoreTest, KeepsWhatIsKeptAndDroppedInOneBatchOutOfTheStore) {
  this->SubmitBoth();
  Batch batch;
  batch.kept = {SmallBlob(kFirst, "update/1/1/north", {1})};
  batch.dropped = {{kFirst, "update/1/1/"}};

  EXPECT_THAT(this->Write(batch), ElementsAre(batch.kept[0].id));
  EXPECT_THAT(*this->store().ListBlobs(), IsEmpty());
}

TYPED_TEST(JobStoreTest, GivesBackTheBlobsOfUnfinishedJobs) {
  this->SubmitBoth();
  const crypto::BlobId file{.size_bytes = 1 << 20, .digest = {7}};
  Batch batch;
  batch.kept = {SmallBlob(kFirst, "model/0/global", {1}),
                SmallBlob(kSecond, "model/0/global", {2}),
                {kSecond, "model/1/global", file, nullptr}};
  batch.ended = {{kFirst, v1::JobSummary()}};
  this->Write(batch);

  const auto blobs = this->store().LoadBlobsOfUnfinished();

  ASSERT_TRUE(blobs.ok()) << blobs.status();
  ASSERT_EQ(blobs->size(), 2u);
  for (const KeptBlob& blob : *blobs) EXPECT_EQ(blob.bytes == nullptr, blob.id == file);
  EXPECT_THAT(*this->store().ListBlobs(),
              UnorderedElementsAre(batch.kept[0].id, batch.kept[1].id, file));
}

TYPED_TEST(JobStoreTest, RemembersSitesAndTheRosterVersion) {
  Batch batch;
  batch.sites[SiteId("north")] = {kNow, "0.1.0", {"a", "b"}};
  batch.roster_version = 3;
  this->Write(batch);
  Batch later;
  later.sites[SiteId("north")] = {.last_seen = kNow + std::chrono::seconds(5),
                                  .agent_version = "0.2.0",
                                  .datasets = {},
                                  .lineage = "abc",
                                  .epoch = 3,
                                  .instance = "i",
                                  .receipt = LedgerReceipt{7, {1}},
                                  .clock_skew = Duration(-5)};
  later.roster_version = 4;
  this->Write(later);

  const auto sites = this->store().LoadSites();

  ASSERT_TRUE(sites.ok()) << sites.status();
  EXPECT_EQ(sites->at(SiteId("north")).agent_version, "0.2.0");
  EXPECT_THAT(sites->at(SiteId("north")).datasets, IsEmpty());
  EXPECT_EQ(sites->at(SiteId("north")).lineage, "abc");
  EXPECT_EQ(sites->at(SiteId("north")).epoch, 3u);
  EXPECT_EQ(sites->at(SiteId("north")).instance, "i");
  EXPECT_EQ(sites->at(SiteId("north")).receipt, (LedgerReceipt{7, {1}}));
  EXPECT_EQ(sites->at(SiteId("north")).clock_skew, Duration(-5));
  EXPECT_EQ(*this->store().RosterVersion(), 4u);
}

TYPED_TEST(JobStoreTest, WritesNothingForAnEmptyBatch) {
  EXPECT_THAT(this->Write(Batch()), IsEmpty());
}

TEST(SqliteJobStoreTest, KeepsEverythingWhenItIsOpenedAgain) {
  const support::TemporaryDirectory directory(support::Medium::kMemory);
  const auto path = directory.path() / "coordinator.db";
  {
    auto store = *SqliteJobStore::Open(path);
    Batch batch;
    batch.submissions = {SubmissionOf(kFirst, "key-1")};
    batch.events = {{kFirst, EventOf("a")}};
    batch.kept = {SmallBlob(kFirst, "model/0/global", {1, 2, 3})};
    batch.sites[SiteId("north")] = {kNow, "0.1.0", {"a", "b"}};
    ASSERT_TRUE(store->Append(batch).ok());
  }

  auto store = *SqliteJobStore::Open(path);

  EXPECT_EQ(store->LoadUnfinished()->at(0).events.size(), 1u);
  EXPECT_EQ(*store->LoadBlob(crypto::IdentifyBlob(Bytes{1, 2, 3})), (Bytes{1, 2, 3}));
  EXPECT_THAT(store->LoadSites()->at(SiteId("north")).datasets, ElementsAre("a", "b"));
  EXPECT_EQ(store->LoadSites()->at(SiteId("north")).receipt, std::nullopt);
  EXPECT_EQ(*store->NumEvents(), 1u);
}

TEST(SqliteJobStoreTest, RemembersItsLastStarts) {
  const support::TemporaryDirectory directory(support::Medium::kMemory);
  auto store = *SqliteJobStore::Open(directory.path() / "coordinator.db");
  EXPECT_THAT(*store->LoadStarts(), IsEmpty());
  for (int i = 0; i < SqliteJobStore::kMostStarts + 3; ++i) {
    ASSERT_TRUE(store->RecordStart(kNow + std::chrono::seconds(i)).ok());
  }
  const auto starts = store->LoadStarts();
  ASSERT_TRUE(starts.ok()) << starts.status();
  ASSERT_EQ(starts->size(), static_cast<std::size_t>(SqliteJobStore::kMostStarts));
  EXPECT_EQ(starts->front(), kNow + std::chrono::seconds(3));
}

}  // namespace
}  // namespace chorale::coordinator
