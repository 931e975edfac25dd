#include "site_agent/checkpoints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "core/storage/file.h"
#include "tests/site_agent/work_fixture.h"
#include "tests/support/temporary_directory.h"

namespace chorale::site_agent {
namespace {

const crypto::Digest kTraining = crypto::Sha256(AsBytes(std::string_view("a training")));
const crypto::Digest kOther = crypto::Sha256(AsBytes(std::string_view("another")));

training::TrainCheckpoint Sample() {
  return {.num_batches = 12,
          .num_steps = 4,
          .sum_of_rates = 0.1 + 0.2,
          .parameters = {1, -2, 0.5f},
          .mean = {0.1f, 0.2f, 0.3f},
          .variance = {}};
}

class CheckpointsTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path File() const {
    return directory_.path() / "training" / "checkpoint";
  }
  support::TemporaryDirectory directory_{support::Medium::kMemory};
  Checkpoints checkpoints_{directory_.path()};
};

TEST_F(CheckpointsTest, GivesBackWhatWasKeptOfTheSameTraining) {
  EXPECT_TRUE(checkpoints_.IsEmpty());
  ASSERT_TRUE(checkpoints_.Keep(kTraining, Sample()).ok());
  EXPECT_FALSE(checkpoints_.IsEmpty());

  const auto found = Checkpoints(directory_.path()).Find(kTraining);

  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->num_batches, 12u);
  EXPECT_EQ(found->num_steps, 4u);
  EXPECT_EQ(found->sum_of_rates, Sample().sum_of_rates);
  EXPECT_EQ(found->parameters, Sample().parameters);
  EXPECT_EQ(found->mean, Sample().mean);
  EXPECT_TRUE(found->variance.empty());
  EXPECT_FALSE(checkpoints_.Find(kOther).has_value());
}

TEST_F(CheckpointsTest, KeepsOneAndForgetsItWhenTold) {
  ASSERT_TRUE(checkpoints_.Keep(kTraining, Sample()).ok());
  ASSERT_TRUE(checkpoints_.Keep(kOther, Sample()).ok());
  EXPECT_FALSE(checkpoints_.Find(kTraining).has_value());
  EXPECT_TRUE(checkpoints_.Find(kOther).has_value());

  checkpoints_.Remove();
  EXPECT_TRUE(checkpoints_.IsEmpty());
  checkpoints_.Remove();  // Of nothing.
}

TEST_F(CheckpointsTest, IsForItsOwnerAlone) {
  ASSERT_TRUE(checkpoints_.Keep(kTraining, Sample()).ok());
  struct stat status = {};
  ASSERT_EQ(::stat(File().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
}

TEST_F(CheckpointsTest, ADamagedFileIsNone) {
  ASSERT_TRUE(checkpoints_.Keep(kTraining, Sample()).ok());
  const std::string whole = *storage::ReadFile(File(), 1 << 20);
  const auto write = [&](const std::string& content) {
    std::ofstream(File(), std::ios::binary | std::ios::trunc) << content;
  };
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write(whole.substr(0, size));
    EXPECT_FALSE(checkpoints_.Find(kTraining).has_value()) << size;
  }
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    write(flipped);
    EXPECT_FALSE(checkpoints_.Find(kTraining).has_value()) << i;
  }
  write(whole);
  EXPECT_TRUE(checkpoints_.Find(kTraining).has_value());
}

// ---------------------------------------------------------------------------- in the work

class ResumedWorkTest : public WorkFixture {
 protected:
  ResumedWorkTest() { trainer_.checkpoint = Sample(); }
  // The training is stopped after so long, as by a process that ends: what follows it is not done.
  void Interrupt(const v1::Task& task, Duration after) {
    trainer_.during_training = [this, after] { clock_.Advance(after); };
    trainer_.failure = Cancelled("the process ends");
    (void)Run(task);
    trainer_.failure = OkStatus();
    trainer_.during_training = nullptr;
    Restart();
  }
};

TEST_F(ResumedWorkTest, GoesOnWhereLongTrainingStood) {
  Interrupt(TrainingTask(), std::chrono::minutes(1));
  Done(TrainingTask());
  ASSERT_TRUE(trainer_.last_resume.has_value());
  EXPECT_EQ(trainer_.last_resume->parameters, Sample().parameters);
}

TEST_F(ResumedWorkTest, AnotherAttemptAtTheRoundGoesOnToo) {
  Interrupt(TrainingTask(), std::chrono::minutes(1));
  v1::Task again = TrainingTask();
  again.set_task_id("j1/1/2/north");
  Done(again);
  EXPECT_TRUE(trainer_.last_resume.has_value());
}

TEST_F(ResumedWorkTest, ShortTrainingLeavesNothingBehind) {
  Interrupt(TrainingTask(), std::chrono::seconds(5));
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "state" / "training"));
  Done(TrainingTask());
  EXPECT_FALSE(trainer_.last_resume.has_value());
}

TEST_F(ResumedWorkTest, BeginsAnewWhereAnythingIsDifferent) {
  const v1::JobSpec spec = spec_;
  const std::vector<std::function<void()>> changes = {
      [this] { spec_.mutable_training()->mutable_optimizer()->mutable_sgd()->set_momentum(0.5); },
      [this] { spec_.set_seed(8); },
      [this] { model_[0] += 1; },
  };
  for (const auto& change : changes) {
    spec_ = spec;
    Interrupt(TrainingTask(), std::chrono::minutes(1));
    change();
    Done(TrainingTask());
    EXPECT_FALSE(trainer_.last_resume.has_value());
    work_->ForgetProgress();
  }
  Interrupt(TrainingTask(1), std::chrono::minutes(1));
  Done(TrainingTask(2));
  EXPECT_FALSE(trainer_.last_resume.has_value());
}

TEST_F(ResumedWorkTest, ATaskThatTrainsNothingForgetsNothing) {
  Interrupt(TrainingTask(), std::chrono::minutes(1));
  v1::Task refused = TrainingTask();
  refused.clear_job();
  (void)Run(refused);
  work_->ForgetProgress();
  Done(TrainingTask());
  EXPECT_TRUE(trainer_.last_resume.has_value());
}

TEST_F(ResumedWorkTest, WhatIsToldIsForgotten) {
  Interrupt(TrainingTask(), std::chrono::minutes(1));
  RunAndRelease(TrainingTask());
  work_->ForgetProgress();
  EXPECT_TRUE(Checkpoints(config_.state_directory()).IsEmpty());
}

TEST_F(ResumedWorkTest, WithoutMemoryForItThereIsNone) {
  Done(TrainingTask());  // How much the task needs.
  std::uint64_t least = 1;
  std::uint64_t most = 1ull << 40;
  while (least < most) {
    const std::uint64_t middle = least + (most - least) / 2;
    config_.set_max_memory_bytes(middle);
    Restart();
    if (CodeOf(TrainingTask()) == "no refusal") {
      most = middle;
    } else {
      least = middle + 1;
    }
  }
  config_.set_max_memory_bytes(least);
  Restart();
  Interrupt(TrainingTask(), std::chrono::minutes(1));
  EXPECT_TRUE(Checkpoints(config_.state_directory()).IsEmpty());
  EXPECT_EQ(CodeOf(TrainingTask()), "no refusal");
}

}  // namespace
}  // namespace chorale::site_agent
