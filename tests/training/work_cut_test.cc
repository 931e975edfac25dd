#include "training/work_cut.h"

#include <gtest/gtest.h>

#include "tests/training/toy_data.h"

namespace chorale::training {
namespace {

v1::ModelSpec Resnet() {
  v1::ModelSpec model;
  v1::ImageShape& image = *model.mutable_resnet18_gn()->mutable_image();
  image.set_height(28);
  image.set_width(28);
  return model;
}

TEST(WorkCutTest, ASmallBatchIsOnePiece) {
  const models::GraphPlan plan = PlanFor(MakeLogisticRegression(), 13);
  EXPECT_EQ(TrainingPieceRows(plan, 1), 1u);
  EXPECT_EQ(TrainingPieceRows(plan, 300), 300u);
  EXPECT_EQ(PredictionPieceRows(plan, 300), 300u);
}

TEST(WorkCutTest, PiecesOfManyRowsBoundTheRowsInFlight) {
  const models::GraphPlan plan = PlanFor(MakeLogisticRegression(), 13);
  EXPECT_LE(TrainingPieceRows(plan, 1000000), 8192u);
  EXPECT_LE(PredictionPieceRows(plan, 1000000), 8192u);
}

TEST(WorkCutTest, ABatchWorthSeveralThreadsIsCutEvenly) {
  const models::GraphPlan plan = PlanFor(MakeMlp({512, 256}, v1::ACTIVATION_RELU), 784);
  const std::uint64_t rows = TrainingPieceRows(plan, 512);
  EXPECT_LT(rows, 512u);
  EXPECT_GE(rows * plan.multiply_adds(), std::uint64_t{1} << 22);
  const std::uint64_t pieces = (512 + rows - 1) / rows;
  EXPECT_GT(512 - (pieces - 1) * rows, rows / 2) << "the last piece is a remnant";
}

TEST(WorkCutTest, APieceOfAHeavyModelEndsWithinASecondOrSo) {
  const models::GraphPlan plan = PlanFor(Resnet(), 28 * 28);
  for (const std::uint64_t batch : {1u, 16u, 64u, 1024u, 100000u}) {
    const std::uint64_t rows = TrainingPieceRows(plan, batch);
    ASSERT_GE(rows, 1u);
    // Forward and backward are thrice that: 1.5 s at 26 multiply-adds a nanosecond.
    EXPECT_LE(rows * plan.multiply_adds(), 3 * (std::uint64_t{1} << 32) + plan.multiply_adds());
    EXPECT_LE(rows * plan.num_activations() * 4, (std::uint64_t{1} << 28) + (1u << 26));
    EXPECT_LE(PredictionPieceRows(plan, batch) * plan.num_activations() * 4,
              std::uint64_t{1} << 26);
  }
}

TEST(WorkCutTest, AModelThatCouplesExamplesIsNotCut) {
  v1::ModelSpec cox;
  cox.mutable_cox();
  EXPECT_EQ(TrainingPieceRows(PlanFor(cox, 5), 1000000), 1000000u);
  EXPECT_LE(PredictionPieceRows(PlanFor(cox, 5), 1000000), 8192u);
}

TEST(WorkCutTest, ADeviceTakesABatchWholeUnlessItsMemoryWouldNotDo) {
  const models::GraphPlan plan = PlanFor(Resnet(), 28 * 28);
  EXPECT_EQ(DevicePieceRows(plan, 128), 128u);
  const std::uint64_t rows = DevicePieceRows(plan, 100000);
  EXPECT_LT(rows, 100000u);
  EXPECT_LE(rows * plan.num_activations() * 4, std::uint64_t{1} << 32);

  v1::ModelSpec cox;
  cox.mutable_cox();
  EXPECT_EQ(DevicePieceRows(PlanFor(cox, 5), 100000000), 100000000u);
}

}  // namespace
}  // namespace chorale::training
