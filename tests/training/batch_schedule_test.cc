#include "training/batch_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/training/toy_data.h"

namespace chorale::training {
namespace {

using testing::ElementsAre;

v1::TrainingSpec Epochs(std::uint32_t epochs, std::uint32_t batch_size) {
  v1::TrainingSpec training;
  training.set_local_epochs(epochs);
  training.set_batch_size(batch_size);
  return training;
}

v1::TrainingSpec Steps(std::uint32_t steps, std::uint32_t batch_size) {
  v1::TrainingSpec training;
  training.set_local_steps(steps);
  training.set_batch_size(batch_size);
  return training;
}

std::vector<std::int64_t> RowsOf(const BatchSchedule& schedule, const BatchSchedule::Batch& batch) {
  const auto rows = schedule.order().subspan(batch.first, batch.size);
  return {rows.begin(), rows.end()};
}

TEST(BatchScheduleTest, MeetsEveryRowOnceAnEpochWithASmallerLastBatch) {
  BatchSchedule schedule(Epochs(2, 4), 10, 7);
  ASSERT_EQ(schedule.num_steps(), 6u);

  for (int epoch = 0; epoch < 2; ++epoch) {
    std::vector<std::int64_t> met;
    for (int step = 0; step < 3; ++step) {
      const BatchSchedule::Batch batch = schedule.Next();
      EXPECT_EQ(batch.begins_epoch, step == 0);
      EXPECT_EQ(batch.ends_epoch, step == 2);
      EXPECT_EQ(batch.size, step == 2 ? 2u : 4u);
      for (const std::int64_t row : RowsOf(schedule, batch)) met.push_back(row);
    }
    std::sort(met.begin(), met.end());
    EXPECT_THAT(met, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  }
}

TEST(BatchScheduleTest, StepsWrapOverEpochsAndTheLastStepEndsOne) {
  BatchSchedule schedule(Steps(5, 4), 10, 7);
  ASSERT_EQ(schedule.num_steps(), 5u);

  std::vector<bool> ends;
  std::vector<std::uint64_t> sizes;
  for (int step = 0; step < 5; ++step) {
    const BatchSchedule::Batch batch = schedule.Next();
    ends.push_back(batch.ends_epoch);
    sizes.push_back(batch.size);
  }

  EXPECT_THAT(ends, ElementsAre(false, false, true, false, true));
  EXPECT_THAT(sizes, ElementsAre(4u, 4u, 2u, 4u, 4u));
}

TEST(BatchScheduleTest, ShufflesAnewEachEpochAndAlikeForTheSameSeed) {
  BatchSchedule first(Epochs(2, 50), 100, 1);
  BatchSchedule again(Epochs(2, 50), 100, 1);
  BatchSchedule other(Epochs(2, 50), 100, 2);

  std::vector<std::vector<std::int64_t>> batches;
  for (int step = 0; step < 4; ++step) {
    const auto batch = RowsOf(first, first.Next());
    EXPECT_EQ(batch, RowsOf(again, again.Next()));
    EXPECT_NE(batch, RowsOf(other, other.Next()));
    batches.push_back(batch);
  }

  EXPECT_NE(batches[0], batches[2]);
  EXPECT_FALSE(std::is_sorted(batches[0].begin(), batches[0].end()));
}

TEST(BatchScheduleTest, TheOrderIsTheSameOnEveryMachine) {
  BatchSchedule schedule(Epochs(1, 4), 8, 42);
  const BatchSchedule::Batch batch = schedule.Next();

  // From the generator and the shuffle written out elsewhere: a change of either changes every
  // model.
  EXPECT_THAT(RowsOf(schedule, batch), ElementsAre(7, 2, 4, 0));
}

TEST(BatchScheduleTest, AFullBatchKeepsFileOrder) {
  for (const std::uint32_t batch_size : {0u, 5u, 900u}) {
    BatchSchedule schedule(Epochs(2, batch_size), 5, 3);
    EXPECT_TRUE(schedule.is_full_batch());
    EXPECT_EQ(schedule.num_steps(), 2u);
    schedule.Next();
    EXPECT_THAT(RowsOf(schedule, schedule.Next()), ElementsAre(0, 1, 2, 3, 4));
  }
}

TEST(BatchScheduleTest, OneRowIsAFullBatch) {
  BatchSchedule schedule(Steps(3, 4), 1, 3);
  for (int step = 0; step < 3; ++step) {
    const BatchSchedule::Batch batch = schedule.Next();
    EXPECT_EQ(batch.size, 1u);
    EXPECT_TRUE(batch.begins_epoch && batch.ends_epoch);
  }
}

TEST(BatchScheduleTest, CountsTheExamplesThatItsBatchesHold) {
  for (const v1::TrainingSpec& training :
       {Epochs(3, 4), Epochs(2, 0), Steps(7, 4), Steps(2, 4), Steps(5, 0)}) {
    for (const std::uint64_t num_examples : {1u, 3u, 4u, 5u, 10u, 12u}) {
      BatchSchedule schedule(training, num_examples, 5);
      std::uint64_t met = 0;
      for (std::uint64_t step = 0; step < schedule.num_steps(); ++step) met += schedule.Next().size;

      EXPECT_EQ(ExamplesProcessed(training, num_examples), met)
          << training.ShortDebugString() << num_examples;
      EXPECT_EQ(NumSteps(training, num_examples), schedule.num_steps());
      EXPECT_EQ(StepsToProcess(met, training, num_examples), schedule.num_steps());
    }
  }
}

TEST(BatchScheduleTest, RoundsStepsUpToProcessAtLeastThatMany) {
  const v1::TrainingSpec training = Steps(1, 4);

  EXPECT_EQ(StepsToProcess(0, training, 10), 0u);
  EXPECT_EQ(StepsToProcess(1, training, 10), 1u);
  EXPECT_EQ(StepsToProcess(5, training, 10), 2u);
  EXPECT_EQ(StepsToProcess(10, training, 10), 3u);
  EXPECT_EQ(StepsToProcess(11, training, 10), 4u);
}

}  // namespace
}  // namespace chorale::training
