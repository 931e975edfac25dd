#include "models/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "tests/support/temporary_directory.h"

namespace chorale::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// safetensors 0.8.0 of Python: save({"linear.weight": [[0.5, -1.25, 3.0]], "linear.bias": [0.1]},
// metadata).
constexpr std::string_view kWrittenByPython =
    "b8000000000000007b225f5f6d657461646174615f5f223a7b22666f726d6174223a226e70222c226a6f62223a22"
    "615c226220c3a9227d2c226c696e6561722e62696173223a7b226474797065223a22463332222c22736861706522"
    "3a5b315d2c22646174615f6f666673657473223a5b302c345d7d2c226c696e6561722e776569676874223a7b2264"
    "74797065223a22463332222c227368617065223a5b312c335d2c22646174615f6f666673657473223a5b342c3136"
    "5d7d7d2020202020cdcccc3d0000003f0000a0bf00004040";

ParameterLayout Layout() {
  return *ParameterLayout::Create({{"linear.weight", {1, 3}}, {"linear.bias", {1}}, {"scale", {}}});
}

TEST(SafetensorsTest, ReadsAFileWrittenByPython) {
  const StatusOr<SafetensorsContent> content = ParseSafetensors(*FromHex(kWrittenByPython));

  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->layout,
            *ParameterLayout::Create({{"linear.bias", {1}}, {"linear.weight", {1, 3}}}));
  EXPECT_THAT(content->values, ElementsAre(0.1F, 0.5F, -1.25F, 3.0F));
  EXPECT_THAT(content->metadata, ElementsAre(Pair("format", "np"), Pair("job", "a\"b é")));
}

TEST(SafetensorsTest, WritesAHeaderOfKnownBytes) {
  const std::string header = SafetensorsHeader(Layout(), {{"format", "pt"}, {"job", "a\"b\n"}});

  const std::string json = R"({"__metadata__":{"format":"pt","job":"a\"b\n"},)"
                           R"("linear.weight":{"dtype":"F32","shape":[1,3],"data_offsets":[0,12]},)"
                           R"("linear.bias":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},)"
                           R"("scale":{"dtype":"F32","shape":[],"data_offsets":[16,20]}})";
  EXPECT_EQ(header.substr(8, json.size()), json);
  EXPECT_EQ(header.size() % 8, 0u);
  EXPECT_LT(header.size() - 8 - json.size(), 8u);
  EXPECT_EQ(header.substr(8 + json.size()).find_first_not_of(' '), std::string::npos);
  EXPECT_EQ(static_cast<unsigned char>(header[0]) + 256u * static_cast<unsigned char>(header[1]),
            header.size() - 8);
  EXPECT_EQ(header.substr(2, 6), std::string(6, '\0'));
}

TEST(SafetensorsTest, ReadsBackEveryBit) {
  const support::TemporaryDirectory directory;
  const auto path = directory.path() / "model.safetensors";
  const ParameterVector values = {
      -0.0F, std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::infinity(),
      std::bit_cast<float>(std::uint32_t{0x7FC12345}), std::numeric_limits<float>::lowest()};
  const std::map<std::string, std::string> metadata = {{"job", "j-1"}, {"", "empty key"}};

  ASSERT_TRUE(SaveSafetensors(path, Layout(), values, metadata).ok());
  const StatusOr<SafetensorsContent> content = LoadSafetensors(path, 4096);

  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->layout, Layout());
  EXPECT_EQ(content->metadata, metadata);
  ASSERT_EQ(content->values.size(), values.size());
  EXPECT_EQ(std::memcmp(content->values.data(), values.data(), values.size() * sizeof(float)), 0);
}

TEST(SafetensorsTest, WritesTheSameBytesForTheSameContent) {
  const support::TemporaryDirectory directory;
  const auto read = [](const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const ParameterVector values = {1, 2, 3, 4, 5};

  ASSERT_TRUE(SaveSafetensors(directory.path() / "a", Layout(), values, {{"x", "y"}}).ok());
  ASSERT_TRUE(SaveSafetensors(directory.path() / "b", Layout(), values, {{"x", "y"}}).ok());

  EXPECT_EQ(read(directory.path() / "a"), read(directory.path() / "b"));
}

TEST(SafetensorsTest, LeavesMetadataOutWhenThereIsNone) {
  const std::string header = SafetensorsHeader(Layout(), {});

  EXPECT_EQ(header.find("__metadata__"), std::string::npos);
}

TEST(SafetensorsTest, ReplacesMetadataBytesThatAreNotUtf8) {
  const std::string header = SafetensorsHeader(Layout(), {{"note", "caf\xE9"}});

  EXPECT_THAT(header, HasSubstr("\"caf\xEF\xBF\xBD\""));
}

TEST(SafetensorsTest, RefusesToSaveWhatItCouldNotReadBack) {
  const support::TemporaryDirectory directory;
  const auto path = directory.path() / "model";
  const ParameterLayout reserved = *ParameterLayout::Create({{"__metadata__", {1}}});
  const ParameterVector one = {1};

  EXPECT_EQ(SaveSafetensors(path, Layout(), one, {}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(SaveSafetensors(path, reserved, one, {}).code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(SafetensorsTest, RefusesToLoadWhatIsAbsentTooLargeOrUnsound) {
  const support::TemporaryDirectory directory;
  const auto path = directory.path() / "model";
  std::ofstream(path) << "no model at all";

  EXPECT_EQ(LoadSafetensors(directory.path() / "none", 100).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(LoadSafetensors(path, 5).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(LoadSafetensors(path, 100).status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(LoadSafetensors(path, 100).status()), HasSubstr(path.string()));
}

TEST(SafetensorsTest, WritesAndReadsDoubles) {
  const support::TemporaryDirectory directory(support::Medium::kMemory);
  const ParameterLayout layout =
      *ParameterLayout::Create({{"linear.weight", {1, 2}}, {"linear.bias", {1}}});
  const std::vector<double> values = {0.1, -3e300, 4};
  const std::string header = SafetensorsHeader(layout, {{"format", "pt"}}, NumberType::kFloat64);
  Bytes file(header.begin(), header.end());
  const ByteSpan data = AsBytes(std::span<const double>(values));
  file.insert(file.end(), data.begin(), data.end());

  const auto exact = ParseExactSafetensors(file);

  ASSERT_TRUE(exact.ok()) << exact.status();
  EXPECT_EQ(exact->layout, layout);
  EXPECT_EQ(exact->values, values);
  EXPECT_EQ(exact->metadata.at("format"), "pt");
  EXPECT_EQ(ParseSafetensors(file).status().code(), StatusCode::kInvalidArgument);
}

TEST(SafetensorsTest, ReadsNoFloatsAsDoubles) {
  const ParameterLayout layout = *ParameterLayout::Create({{"linear.weight", {1, 2}}});
  const std::vector<float> values = {1, 2};
  const std::string header = SafetensorsHeader(layout, {});
  Bytes file(header.begin(), header.end());
  const ByteSpan data = AsBytes(std::span<const float>(values));
  file.insert(file.end(), data.begin(), data.end());

  EXPECT_TRUE(ParseSafetensors(file).ok());
  EXPECT_EQ(ParseExactSafetensors(file).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::models
