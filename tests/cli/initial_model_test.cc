#include "cli/initial_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "models/safetensors.h"
#include "tests/support/temporary_directory.h"

namespace chorale::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Tensor = ParameterLayout::Tensor;

class InitialModelTest : public testing::Test {
 protected:
  StatusOr<ParameterVector> LoadFrom(std::vector<Tensor> tensors, const ParameterVector& values) {
    const auto written = ParameterLayout::Create(std::move(tensors));
    EXPECT_TRUE(written.ok()) << written.status();
    EXPECT_TRUE(models::SaveSafetensors(path_, *written, values, {}).ok());
    return LoadInitialModel(path_, layout_);
  }
  std::string MessageFor(std::vector<Tensor> tensors, const ParameterVector& values) {
    const auto loaded = LoadFrom(std::move(tensors), values);
    EXPECT_EQ(loaded.status().code(), StatusCode::kInvalidArgument);
    return MessageOf(loaded.status());
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::filesystem::path path_ = directory_.path() / "start.safetensors";
  ParameterLayout layout_ =
      *ParameterLayout::Create({{"linear.weight", {1, 3}}, {"linear.bias", {1}}});
};

TEST_F(InitialModelTest, ReadsWeightsInTheOrderOfTheModel) {
  const auto same = LoadFrom({{"linear.weight", {1, 3}}, {"linear.bias", {1}}}, {1, 2, 3, 4});
  const auto other = LoadFrom({{"linear.bias", {1}}, {"linear.weight", {1, 3}}}, {4, 1, 2, 3});

  ASSERT_TRUE(same.ok()) << same.status();
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_THAT(*same, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(*other, ElementsAre(1, 2, 3, 4));
}

TEST_F(InitialModelTest, NamesTheTensorThatDoesNotFit) {
  EXPECT_THAT(MessageFor({{"linear.weight", {1, 3}}}, {1, 2, 3}),
              HasSubstr("start.safetensors has no tensor \"linear.bias\""));
  EXPECT_THAT(MessageFor({{"linear.weight", {3}}, {"linear.bias", {1}}}, {1, 2, 3, 4}),
              HasSubstr("has the tensor \"linear.weight\" of shape [3], the model's has [1, 3]"));
  EXPECT_THAT(MessageFor({{"linear.weight", {1, 3}}, {"linear.bias", {1}}, {"extra", {2}}},
                         {1, 2, 3, 4, 5, 6}),
              HasSubstr("has the tensor \"extra\", which is none of the model's"));
}

TEST_F(InitialModelTest, RefusesNumbersThatAreNotFinite) {
  EXPECT_THAT(MessageFor({{"linear.weight", {1, 3}}, {"linear.bias", {1}}},
                         {1, 2, std::numeric_limits<float>::infinity(), 4}),
              HasSubstr("a number that is infinite or none in \"linear.weight\""));
}

TEST_F(InitialModelTest, TellsThatThereIsNoFile) {
  EXPECT_EQ(LoadInitialModel(directory_.path() / "none.safetensors", layout_).status().code(),
            StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::cli
