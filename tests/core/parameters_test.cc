#include "core/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace chorale {
namespace {

using ::testing::HasSubstr;
using Tensor = ParameterLayout::Tensor;

Status CreateStatus(std::vector<Tensor> tensors) {
  return ParameterLayout::Create(std::move(tensors)).status();
}

TEST(ParameterLayoutTest, LaysTensorsOneAfterAnother) {
  const auto layout =
      ParameterLayout::Create({{"a.weight", {2, 3}}, {"a.bias", {2}}, {"scale", {}}});

  ASSERT_TRUE(layout.ok()) << layout.status();
  ASSERT_EQ(layout->tensors().size(), 3u);
  EXPECT_EQ(layout->tensors()[0], (TensorLayout{"a.weight", {2, 3}, 0, 6}));
  EXPECT_EQ(layout->tensors()[1], (TensorLayout{"a.bias", {2}, 6, 2}));
  EXPECT_EQ(layout->tensors()[2], (TensorLayout{"scale", {}, 8, 1}));
  EXPECT_EQ(layout->num_parameters(), 9u);
  EXPECT_EQ(layout->size_bytes(), 36u);
}

TEST(ParameterLayoutTest, LayoutsAreEqualWhenTheirTensorsAre) {
  const auto one = ParameterLayout::Create({{"a", {2, 3}}});
  const auto same = ParameterLayout::Create({{"a", {2, 3}}});
  const auto other = ParameterLayout::Create({{"a", {3, 2}}});

  EXPECT_EQ(*one, *same);
  EXPECT_FALSE(*one == *other);
}

TEST(ParameterLayoutTest, RefusesBadNames) {
  EXPECT_THAT(MessageOf(CreateStatus({{"", {1}}})), HasSubstr("tensors[0]"));
  EXPECT_EQ(CreateStatus({{std::string(257, 'a'), {1}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateStatus({{"a/b", {1}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateStatus({{"a\n", {1}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(CreateStatus({{std::string(256, 'a'), {1}}}).ok());
}

TEST(ParameterLayoutTest, RefusesTheSameNameTwice) {
  EXPECT_THAT(MessageOf(CreateStatus({{"a", {1}}, {"b", {1}}, {"a", {2}}})),
              HasSubstr("tensors[2]"));
}

TEST(ParameterLayoutTest, RefusesBadShapes) {
  EXPECT_EQ(CreateStatus({{"a", {2, 0}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateStatus({{"a", std::vector<std::uint64_t>(9, 1)}}).code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(CreateStatus({{"a", std::vector<std::uint64_t>(8, 1)}}).ok());
}

TEST(ParameterLayoutTest, RefusesSizesThatDoNotFit) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();

  EXPECT_EQ(CreateStatus({{"a", {kLargest}}}).code(), StatusCode::kInvalidArgument);
  // The product of these is 0 modulo 2^64.
  EXPECT_EQ(CreateStatus({{"a", {1ull << 32, 1ull << 32}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateStatus({{"a", {1ull << 40}}, {"b", {}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(CreateStatus({{"a", {1ull << 20, 1ull << 20}}}).ok());
}

TEST(ParameterLayoutTest, RefusesTooManyTensors) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < 65537; ++i) tensors.push_back({"t" + std::to_string(i), {1}});

  EXPECT_EQ(CreateStatus(tensors).code(), StatusCode::kInvalidArgument);
  tensors.pop_back();
  EXPECT_TRUE(CreateStatus(tensors).ok());
}

TEST(ParametersTest, TravelAsLittleEndianFloats) {
  const ParameterVector values = {1.0f, -2.5f};

  const auto bytes = AsBytes(std::span<const float>(values));

  EXPECT_EQ((std::vector<std::uint8_t>(bytes.begin(), bytes.end())),
            (std::vector<std::uint8_t>{0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x20, 0xc0}));
}

TEST(ParametersTest, ComeBackFromUnalignedBytes) {
  const ParameterVector floats = {1.5f, -0.0f, 3e38f};
  const std::vector<double> doubles = {1.5, 1e300};
  const auto shifted = [](std::span<const std::uint8_t> bytes) {
    std::vector<std::uint8_t> copy(1);
    copy.insert(copy.end(), bytes.begin(), bytes.end());
    return copy;
  };
  const auto float_bytes = shifted(AsBytes(std::span<const float>(floats)));
  const auto double_bytes = shifted(AsBytes(std::span<const double>(doubles)));

  EXPECT_EQ(*ParametersFromBytes(std::span(float_bytes).subspan(1)), floats);
  EXPECT_EQ(*DoublesFromBytes(std::span(double_bytes).subspan(1)), doubles);
}

TEST(ParametersTest, RefuseAPartOfAValue) {
  const std::vector<std::uint8_t> bytes(7);

  EXPECT_EQ(ParametersFromBytes(bytes).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(DoublesFromBytes(bytes).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(ParametersFromBytes({})->empty());
}

TEST(ParametersTest, KnowWhetherEveryValueIsFinite) {
  EXPECT_TRUE(AllFinite(std::vector<float>{0.0f, -1e38f}));
  EXPECT_FALSE(AllFinite(std::vector<float>{0.0f, std::numeric_limits<float>::quiet_NaN()}));
  EXPECT_FALSE(AllFinite(std::vector<double>{-std::numeric_limits<double>::infinity()}));
  EXPECT_TRUE(AllFinite(std::span<const double>()));
}

}  // namespace
}  // namespace chorale
