#include "core/storage/state_mark.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temporary_directory.h"

namespace chorale::storage {
namespace {

class StateMarkTest : public testing::Test {
 protected:
  void Write(const std::string& text) {
    std::ofstream(directory_.path() / "state_mark", std::ios::binary) << text;
  }
  support::TemporaryDirectory directory_;
  SeededRandom random_{1};
};

TEST_F(StateMarkTest, EveryStartRaisesTheEpochOfOneLineage) {
  const auto first = BeginEpoch(directory_.path(), random_);
  const auto second = BeginEpoch(directory_.path(), random_);

  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(IsLineage(first->lineage)) << first->lineage;
  EXPECT_EQ(first->epoch, 1u);
  EXPECT_EQ(second->epoch, 2u);
  EXPECT_EQ(first->lineage, second->lineage);
  EXPECT_EQ(*LoadStateMark(directory_.path()), *second);
}

TEST_F(StateMarkTest, ANewLineageBeginsAtNoEpochAndKeepsWhatItAccepts) {
  const std::string lineage = BeginEpoch(directory_.path(), random_)->lineage;
  ASSERT_TRUE(BeginLineage(directory_.path(), random_, /*accepts_loss=*/true).ok());

  const auto mark = BeginEpoch(directory_.path(), random_);

  ASSERT_TRUE(mark.ok()) << mark.status();
  EXPECT_NE(mark->lineage, lineage);
  EXPECT_EQ(mark->epoch, 1u);
  EXPECT_TRUE(mark->accepts_loss);
}

TEST_F(StateMarkTest, ADamagedMarkIsNotTakenForNone) {
  const std::string lineage(32, 'a');
  for (const std::string& text :
       {std::string(), std::string("\n"), lineage + "\n", lineage + " 1", lineage + " \n",
        lineage + " x\n", lineage + " 1 accepts\n", std::string(32, 'g') + " 1\n",
        lineage + " 9223372036854775807\n", lineage + " 99999999999999999999\n"}) {
    Write(text);
    EXPECT_EQ(BeginEpoch(directory_.path(), random_).status().code(), StatusCode::kDataLoss)
        << text;
  }
}

TEST_F(StateMarkTest, TellsThatNoProgramHasBegun) {
  EXPECT_EQ(LoadStateMark(directory_.path()).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::storage
