#include "training/batch_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

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

// One row each.
std::vector<std::uint32_t> Patients(std::size_t count) {
  std::vector<std::uint32_t> patients(count);
  std::iota(patients.begin(), patients.end(), 0u);
  return patients;
}

std::vector<std::int64_t> RowsOf(const BatchSchedule& schedule, const BatchSchedule::Batch& batch) {
  const auto rows = schedule.order().subspan(batch.first, batch.size);
  return {rows.begin(), rows.end()};
}

TEST(BatchScheduleTest, MeetsEveryRowOnceAnEpochWithASmallerLastBatch) {
  BatchSchedule schedule(Epochs(2, 4), Patients(10), 7);
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
  BatchSchedule schedule(Steps(5, 4), Patients(10), 7);
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
  BatchSchedule first(Epochs(2, 50), Patients(100), 1);
  BatchSchedule again(Epochs(2, 50), Patients(100), 1);
  BatchSchedule other(Epochs(2, 50), Patients(100), 2);

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
  BatchSchedule schedule(Epochs(1, 4), Patients(8), 42);
  const BatchSchedule::Batch batch = schedule.Next();

  // From the generator and the shuffle written out elsewhere: a change of either changes every
  // model.
  EXPECT_THAT(RowsOf(schedule, batch), ElementsAre(7, 2, 4, 0));
}

TEST(BatchScheduleTest, AFullBatchKeepsFileOrder) {
  for (const std::uint32_t batch_size : {0u, 5u, 900u}) {
    BatchSchedule schedule(Epochs(2, batch_size), Patients(5), 3);
    EXPECT_TRUE(schedule.is_full_batch());
    EXPECT_EQ(schedule.num_steps(), 2u);
    schedule.Next();
    EXPECT_THAT(RowsOf(schedule, schedule.Next()), ElementsAre(0, 1, 2, 3, 4));
  }
}

TEST(BatchScheduleTest, OneRowIsAFullBatch) {
  BatchSchedule schedule(Steps(3, 4), Patients(1), 3);
  for (int step = 0; step < 3; ++step) {
    const BatchSchedule::Batch batch = schedule.Next();
    EXPECT_EQ(batch.size, 1u);
    EXPECT_TRUE(batch.begins_epoch && batch.ends_epoch);
  }
}

// Patients 0 to 3 with 3, 1, 4 and 2 rows, not side by side.
const std::vector<std::uint32_t> kSeveralRows = {0, 2, 1, 2, 0, 3, 2, 0, 3, 2};

TEST(BatchScheduleTest, EveryRowOfADrawnPatientIsInTheBatch) {
  BatchSchedule schedule(Epochs(3, 2), kSeveralRows, 11);
  ASSERT_EQ(schedule.num_batches(), 6u);

  std::set<std::vector<std::int64_t>> first_batches;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::set<std::uint32_t> met;
    for (int step = 0; step < 2; ++step) {
      const std::vector<std::int64_t> rows = RowsOf(schedule, schedule.Next());
      if (step == 0) first_batches.insert(rows);
      std::map<std::uint32_t, std::size_t> count;
      for (const std::int64_t row : rows) ++count[kSeveralRows[static_cast<std::size_t>(row)]];
      EXPECT_EQ(count.size(), 2u);
      for (const auto& [patient, rows_of] : count) {
        EXPECT_EQ(rows_of, static_cast<std::size_t>(
                               std::count(kSeveralRows.begin(), kSeveralRows.end(), patient)));
        EXPECT_TRUE(met.insert(patient).second) << "patient met twice in an epoch";
      }
    }
    EXPECT_EQ(met.size(), 4u);
  }
  EXPECT_GT(first_batches.size(), 1u);
}

TEST(BatchScheduleTest, RowsOfAPatientStayInFileOrder) {
  BatchSchedule schedule(Epochs(1, 1), kSeveralRows, 11);
  for (int step = 0; step < 4; ++step) {
    const std::vector<std::int64_t> rows = RowsOf(schedule, schedule.Next());
    EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
  }
}

TEST(BatchScheduleTest, AFullBatchOfPatientsWithSeveralRowsKeepsFileOrder) {
  BatchSchedule schedule(Epochs(1, 4), kSeveralRows, 11);
  ASSERT_TRUE(schedule.is_full_batch());
  EXPECT_THAT(RowsOf(schedule, schedule.Next()), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST(BatchScheduleTest, AStepFollowsTheAccumulatedBatches) {
  v1::TrainingSpec training = Epochs(1, 2);
  training.set_accumulate_batches(3);
  BatchSchedule schedule(training, Patients(9), 1);  // Batches of 2, 2, 2, 2, 1: steps of 3 and 2.
  ASSERT_EQ(schedule.num_steps(), 2u);
  ASSERT_EQ(schedule.num_batches(), 5u);

  std::vector<bool> begins, ends;
  std::vector<std::uint64_t> batches;
  for (int i = 0; i < 5; ++i) {
    const BatchSchedule::Batch batch = schedule.Next();
    begins.push_back(batch.begins_step);
    ends.push_back(batch.ends_step);
    batches.push_back(batch.step_batches);
  }

  EXPECT_THAT(begins, ElementsAre(true, false, false, true, false));
  EXPECT_THAT(ends, ElementsAre(false, false, true, false, true));
  EXPECT_THAT(batches, ElementsAre(3u, 3u, 3u, 2u, 2u));
}

TEST(BatchScheduleTest, CountsThePatientsThatItsBatchesHold) {
  for (const std::uint32_t accumulate : {0u, 1u, 3u}) {
    for (v1::TrainingSpec training :
         {Epochs(3, 4), Epochs(2, 0), Steps(7, 4), Steps(2, 4), Steps(5, 0)}) {
      training.set_accumulate_batches(accumulate);
      for (const std::uint64_t num_patients : {1u, 3u, 4u, 5u, 10u, 12u}) {
        BatchSchedule schedule(training, Patients(num_patients), 5);
        std::uint64_t met = 0;
        std::uint64_t steps = 0;
        for (std::uint64_t i = 0; i < schedule.num_batches(); ++i) {
          const BatchSchedule::Batch batch = schedule.Next();
          met += batch.size;
          steps += batch.ends_step ? 1 : 0;
        }

        EXPECT_EQ(PatientsProcessed(training, num_patients), met)
            << training.ShortDebugString() << num_patients;
        EXPECT_EQ(NumBatches(training, num_patients), schedule.num_batches());
        EXPECT_EQ(NumSteps(training, num_patients), steps);
        EXPECT_EQ(schedule.num_steps(), steps);
        EXPECT_EQ(StepsToProcess(met, training, num_patients), steps);
      }
    }
  }
}

TEST(BatchScheduleTest, RoundsStepsUpToProcessAtLeastThatMany) {
  v1::TrainingSpec training = Steps(1, 4);

  EXPECT_EQ(StepsToProcess(0, training, 10), 0u);
  EXPECT_EQ(StepsToProcess(1, training, 10), 1u);
  EXPECT_EQ(StepsToProcess(5, training, 10), 2u);
  EXPECT_EQ(StepsToProcess(10, training, 10), 3u);
  EXPECT_EQ(StepsToProcess(11, training, 10), 4u);
  training.set_accumulate_batches(2);
  EXPECT_EQ(StepsToProcess(10, training, 10), 2u);
}

}  // namespace
}  // namespace chorale::training
