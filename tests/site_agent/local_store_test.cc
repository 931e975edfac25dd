#include "site_agent/local_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/safetensors.h"
#include "tests/site_agent/fixtures.h"
#include "tests/support/temporary_directory.h"

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TaskId TaskOf(int round, int attempt = 1) {
  return TaskId("j1/" + std::to_string(round) + "/" + std::to_string(attempt) + "/north");
}

class LocalStoreTest : public testing::Test {
 protected:
  LocalStoreTest() { Restart(); }
  // As after a crash: nothing but the disk is left.
  void Restart() {
    store_.reset();
    journal_.reset();
    journal_ = *Journal::Open(state_);
    store_.emplace(state_, *journal_);
  }
  ParameterVector Variate(std::uint32_t round) {
    const StatusOr<LocalState> state = store_->Load(job_, round, 100);
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? state->control_variate : ParameterVector{-1};
  }
  Status Propose(int round, float value, int attempt = 1) {
    return store_->Propose(job_, static_cast<std::uint32_t>(round), TaskOf(round, attempt),
                           {.control_variate = {value, value}});
  }
  // The report passes the guard.
  void Release(int round, int attempt = 1) {
    v1::ReportHeader header;
    header.mutable_payload()->set_digest(std::string(32, 'd'));
    ASSERT_TRUE(journal_
                    ->RecordReport({.kind = "update report",
                                    .task_id = TaskOf(round, attempt),
                                    .size_bytes = 1,
                                    .sha256 = {},
                                    .time = kStart},
                                   header, Bytes{1})
                    .ok());
  }
  std::filesystem::path Next() { return state_ / "jobs" / "j1" / "next.safetensors"; }
  std::filesystem::path Current() { return state_ / "jobs" / "j1" / "current.safetensors"; }

  support::TemporaryDirectory directory_;
  std::filesystem::path state_ = directory_.path() / "state";
  std::unique_ptr<Journal> journal_;
  std::optional<LocalStore> store_;
  JobKey job_{.id = JobId("j1"), .spec_digest = crypto::Sha256(AsBytes("a job"))};
};

TEST_F(LocalStoreTest, AJobBeginsWithNothing) {
  EXPECT_THAT(Variate(1), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(state_ / "jobs"));
}

TEST_F(LocalStoreTest, AReleasedReportMovesTheStateOn) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  ASSERT_TRUE(Propose(2, 0.75f).ok());
  Release(2);
  Restart();

  EXPECT_THAT(Variate(3), ElementsAre(0.75f, 0.75f));
  EXPECT_THAT(Variate(7), ElementsAre(0.75f, 0.75f));  // Rounds without this site in between.
}

TEST_F(LocalStoreTest, AReportThatWasNeverReleasedMovesNothing) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  ASSERT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  ASSERT_TRUE(Propose(2, 9).ok());
  Restart();  // Between the proposal and the journal.

  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  EXPECT_THAT(Variate(3), ElementsAre(0.5f, 0.5f));
}

TEST_F(LocalStoreTest, ARoundThatIsTriedAgainBeginsWhereItBegan) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  ASSERT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  ASSERT_TRUE(Propose(2, 9).ok());
  Release(2);  // The coordinator abandons the round all the same.

  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  Restart();
  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  ASSERT_TRUE(Propose(2, 0.75f, 2).ok());
  Release(2, 2);

  EXPECT_THAT(Variate(3), ElementsAre(0.75f, 0.75f));
}

TEST_F(LocalStoreTest, AFirstRoundThatIsTriedAgainBeginsWithNothing) {
  ASSERT_TRUE(Propose(1, 9).ok());
  Release(1);

  EXPECT_THAT(Variate(1), IsEmpty());
}

TEST_F(LocalStoreTest, ACrashWhileTheStateMovesOnLosesNothing) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  ASSERT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  // As if the rename had not reached the disk.
  std::filesystem::rename(Current(), Next());
  Restart();
  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));

  Restart();

  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
}

TEST_F(LocalStoreTest, WhatTheCoordinatorTurnedDownDoesNotCount) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  ASSERT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  ASSERT_TRUE(Propose(2, 9).ok());
  Release(2);
  ASSERT_TRUE(journal_->SettleReport(TaskOf(2), "too late", kStart).ok());

  EXPECT_THAT(Variate(3), ElementsAre(0.5f, 0.5f));
}

TEST_F(LocalStoreTest, WhatTheCoordinatorAcknowledgedCounts) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  ASSERT_TRUE(journal_->SettleReport(TaskOf(1), kAcknowledged, kStart).ok());

  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
}

TEST_F(LocalStoreTest, KeepsBothKindsOfStateTogether) {
  ASSERT_TRUE(
      store_->Propose(job_, 1, TaskOf(1), {.control_variate = {1, 2, 3}, .normalization = {4, 5}})
          .ok());
  Release(1);
  Restart();

  const StatusOr<LocalState> state = store_->Load(job_, 2, 100);

  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_THAT(state->control_variate, ElementsAre(1, 2, 3));
  EXPECT_THAT(state->normalization, ElementsAre(4, 5));
}

TEST_F(LocalStoreTest, ADamagedFileIsToldAndNotUsed) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  ASSERT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  const std::string sound = ReadWholeFile(Current());
  std::string flipped = sound;
  flipped.back() ^= 1;
  for (const std::string& damaged : {flipped, sound.substr(0, sound.size() - 4), std::string()}) {
    WriteFile(Current(), damaged);

    const Status status = store_->Load(job_, 2, 100).status();

    EXPECT_EQ(status.code(), StatusCode::kDataLoss);
    EXPECT_THAT(MessageOf(status), HasSubstr("current.safetensors"));
  }
  WriteFile(Current(), sound);
  EXPECT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
}

TEST_F(LocalStoreTest, AFileBeyondTheModelIsNotRead) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  WriteFile(Next(), std::string(17u << 20, 'x'));

  EXPECT_EQ(store_->Load(job_, 2, 2).status().code(), StatusCode::kDataLoss);
}

TEST_F(LocalStoreTest, AnIdThatBelongsToAnotherJobIsRefused) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  Release(1);
  ASSERT_THAT(Variate(2), ElementsAre(0.5f, 0.5f));
  job_.spec_digest = crypto::Sha256(AsBytes("another job"));

  const Status status = store_->Load(job_, 2, 100).status();

  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(status), HasSubstr("j1"));
}

TEST_F(LocalStoreTest, AnIdThatIsNoNameNeverBecomesAPath) {
  WriteFile(directory_.path() / "next.safetensors", "outside");
  for (const char* id : {"..", ".", "", "../..", "a/b", "/etc", "J1"}) {
    job_.id = JobId(id);

    EXPECT_EQ(store_->Load(job_, 1, 100).status().code(), StatusCode::kInvalidArgument) << id;
    EXPECT_EQ(Propose(1, 1).code(), StatusCode::kInvalidArgument) << id;
    EXPECT_EQ(store_->SaveModel(job_, MakePlan(MakeJobSpec()).layout(), ParameterVector(3), {})
                  .status()
                  .code(),
              StatusCode::kInvalidArgument)
        << id;
  }
  EXPECT_EQ(ReadWholeFile(directory_.path() / "next.safetensors"), "outside");
}

TEST_F(LocalStoreTest, FilesAreClosedToOtherUsers) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());

  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(Next()).permissions() & perms::all,
            perms::owner_read | perms::owner_write);
  EXPECT_EQ(std::filesystem::status(state_ / "jobs").permissions() & perms::all, perms::owner_all);
}

TEST_F(LocalStoreTest, WhatAnInterruptedWriteLeftIsRemoved) {
  ASSERT_TRUE(Propose(1, 0.5f).ok());
  WriteFile(state_ / "jobs" / "j1" / ".next.safetensors.x7", "half");

  ASSERT_TRUE(Propose(1, 0.5f).ok());

  EXPECT_FALSE(std::filesystem::exists(state_ / "jobs" / "j1" / ".next.safetensors.x7"));
}

TEST_F(LocalStoreTest, KeepsTheJobsThatWereWrittenLast) {
  const auto directory = [this](int i) { return state_ / "jobs" / ("j" + std::to_string(i)); };
  for (int i = 0; i < 20; ++i) {
    job_.id = JobId("j" + std::to_string(i));
    ASSERT_TRUE(Propose(1, 1).ok());
    // Times of files may be too coarse to tell; a later job is a later time.
    std::filesystem::last_write_time(directory(i),
                                     std::filesystem::file_time_type() + std::chrono::seconds(i));
  }
  job_.id = JobId("j20");
  ASSERT_TRUE(Propose(1, 1).ok());

  for (int i = 0; i <= 20; ++i) EXPECT_EQ(std::filesystem::exists(directory(i)), i > 4) << i;
}

TEST_F(LocalStoreTest, KeepsAPersonalModelThatOthersCanLoad) {
  const ParameterLayout layout = MakePlan(MakeJobSpec()).layout();

  const StatusOr<std::filesystem::path> path =
      store_->SaveModel(job_, layout, ParameterVector{1, 2, 3}, {{"format", "pt"}});

  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(*path, state_ / "models" / "j1" / "personal.safetensors");
  const auto content = models::LoadSafetensors(*path, 1 << 20);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_THAT(content->values, ElementsAre(1, 2, 3));
  EXPECT_EQ(content->layout, layout);
  EXPECT_EQ(content->metadata.at("format"), "pt");
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(*path).permissions() & perms::all,
            perms::owner_read | perms::owner_write);
}

TEST_F(LocalStoreTest, APersonalModelIsReplacedByItsOwnJobAlone) {
  const ParameterLayout layout = MakePlan(MakeJobSpec()).layout();
  const auto save = [&](float value) {
    return store_->SaveModel(job_, layout, ParameterVector(3, value), {}).status().code();
  };
  ASSERT_EQ(save(1), StatusCode::kOk);
  EXPECT_EQ(save(2), StatusCode::kOk);

  job_.spec_digest = crypto::Sha256(AsBytes("another job"));

  EXPECT_EQ(save(3), StatusCode::kPermissionDenied);
  EXPECT_THAT(
      models::LoadSafetensors(state_ / "models" / "j1" / "personal.safetensors", 1 << 20)->values,
      ElementsAre(2, 2, 2));
}

}  // namespace
}  // namespace chorale::site_agent
