#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/random.h"
#include "models/safetensors.h"

namespace chorale::models {
namespace {

using ::testing::HasSubstr;

Bytes File(std::string_view json, std::size_t data_bytes) {
  Bytes file;
  for (int i = 0; i < 8; ++i) {
    file.push_back(static_cast<std::uint8_t>((std::uint64_t{json.size()} >> (8 * i)) & 0xFF));
  }
  file.insert(file.end(), json.begin(), json.end());
  file.resize(file.size() + data_bytes);
  return file;
}

std::string RefusalOf(const Bytes& file) {
  const Status status = ParseSafetensors(file).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return MessageOf(status);
}

struct Case {
  std::string json;
  std::string problem;
};

constexpr std::string_view kSound =
    R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
    R"("b":{"shape":[1,2],"dtype":"F32","data_offsets":[8,16]}} )";

TEST(SafetensorsHostileTest, TheSoundFileIsSound) {
  EXPECT_TRUE(ParseSafetensors(File(kSound, 16)).ok());
  EXPECT_TRUE(ParseSafetensors(File("{}", 0)).ok());
}

TEST(SafetensorsHostileTest, RefusesHeadersBeyondTheFileOrTheLimit) {
  Bytes huge = File("{}", 0);
  for (std::size_t i = 0; i < 8; ++i) huge[i] = 0xFF;
  Bytes longer = File("{}", 0);
  longer[0] = 3;

  EXPECT_THAT(RefusalOf({}), HasSubstr("shorter than 8 bytes"));
  EXPECT_THAT(RefusalOf(Bytes(7)), HasSubstr("shorter than 8 bytes"));
  EXPECT_THAT(RefusalOf(Bytes(8)), HasSubstr("must begin with '{'"));
  EXPECT_THAT(RefusalOf(huge), HasSubstr("the header claims"));
  EXPECT_THAT(RefusalOf(longer), HasSubstr("the header claims 3 bytes"));
  EXPECT_THAT(RefusalOf(File("{" + std::string(100'000'000, ' '), 0)), HasSubstr("allowed"));
}

TEST(SafetensorsHostileTest, RefusesWhatIsNotTheFormat) {
  const auto tensor = [](std::string_view fields) {
    return R"({"a":{)" + std::string(fields) + "}}";
  };
  const std::string sound = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::vector<Case> cases = {
      {"[]", "begin with '{'"},
      {" {}", "begin with '{'"},
      {"\xEF\xBB\xBF{}", "begin with '{'"},
      {"{", "malformed JSON"},
      {"{}}", "malformed JSON"},
      {"{} {}", "malformed JSON"},
      {"{/* */}", "malformed JSON"},
      {R"({"a":})", "malformed JSON"},
      {R"({"a)", "malformed JSON"},
      {"{\"\xFF\":1}", "malformed JSON"},
      {R"({"a":1})", "a number stands"},
      {R"({"a":null})", "a null stands"},
      {R"({"a":true})", "a boolean stands"},
      {R"({"a":"x"})", "a string stands"},
      {R"({"a":[]})", "an array stands"},
      {R"({"a":{}})", "lacks dtype"},
      {R"({"a":)" + sound + R"(,"a":)" + sound + "}", "a name is repeated"},
      {R"({"a":)" + sound + R"(,"\u0061":)" + sound + "}", "a name is repeated"},
      {R"({"__metadata__":{},"__metadata__":{},"a":)" + sound + "}", "a name is repeated"},
      {R"({"__metadata__":{"k":"1","k":"2"},"a":)" + sound + "}", "metadata key is repeated"},
      {R"({"__metadata__":{"k":1}})", "a number stands"},
      {R"({"__metadata__":{"k":{}}})", "an object stands"},
      {R"({"__metadata__":[]})", "an array stands"},
      {tensor(R"("dtype":"F32","shape":[2])"), "lacks dtype"},
      {tensor(R"("dtype":"F32","data_offsets":[0,8])"), "lacks dtype"},
      {tensor(R"("shape":[2],"data_offsets":[0,8])"), "lacks dtype"},
      {tensor(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])"), "repeated"},
      {tensor(R"("dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8])"), "repeated"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8])"),
       "repeated"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"), "unknown"},
      {tensor(R"("dtype":"F64","shape":[1],"data_offsets":[0,8])"), "not F32"},
      {tensor(R"("dtype":"","shape":[2],"data_offsets":[0,8])"), "not F32"},
      {tensor(R"("dtype":["F32"],"shape":[2],"data_offsets":[0,8])"), "an array stands"},
      {tensor(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), "a number stands"},
      {tensor(R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])"), "an array stands"},
      {tensor(R"("dtype":"F32","shape":["2"],"data_offsets":[0,8])"), "a string stands"},
      {tensor(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "negative"},
      {tensor(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), "no whole number"},
      {tensor(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8])"),
       "no whole number"},
      {tensor(R"("dtype":"F32","shape":[1e9999],"data_offsets":[0,8])"), "malformed JSON"},
      {tensor(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8])"), "dimensions"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), "two numbers"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4,8])"), "two numbers"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[])"), "two numbers"},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":{"0":8})"), "an object stands"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(RefusalOf(File(c.json, 8)), HasSubstr(c.problem)) << c.json;
  }
}

TEST(SafetensorsHostileTest, RefusesOffsetsThatDoNotFillTheDataOnce) {
  const auto two = [](std::string_view a, std::string_view b, std::string_view shape = "[2]") {
    return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + std::string(a) +
           R"(},"b":{"dtype":"F32","shape":)" + std::string(shape) + R"(,"data_offsets":)" +
           std::string(b) + "}}";
  };
  EXPECT_TRUE(ParseSafetensors(File(two("[8,16]", "[0,8]"), 16)).ok());
  const std::vector<Case> cases = {
      {two("[0,8]", "[0,8]"), "overlap"},
      {two("[0,8]", "[4,12]"), "overlap"},
      {two("[0,8]", "[12,20]"), "gap"},
      {two("[4,12]", "[12,16]"), "gap"},
      {two("[0,8]", "[8,0]"), "run back"},
      {two("[0,8]", "[8,4]"), "run back"},
      {two("[0,8]", "[8,18446744073709551615]"), "end at 18446744073709551615"},
      {two("[0,8]", "[8,12]"), "end at 12, the file has 16"},
      {two("[0,8]", "[8,24]"), "end at 24, the file has 16"},
      {two("[0,4]", "[4,16]"), "disagree with the shape of tensor 1"},
      {two("[0,8]", "[8,16]", "[3]"), "disagree with the shape of tensor 2"},
      {two("[0,8]", "[8,16]", "[]"), "disagree with the shape of tensor 2"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(RefusalOf(File(c.json, 16)), HasSubstr(c.problem)) << c.json;
  }
}

TEST(SafetensorsHostileTest, RefusesNamesAndShapesThatALayoutRefuses) {
  const auto one = [](const std::string& name, const std::string& shape) {
    return R"({")" + name + R"(":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,8]}})";
  };
  EXPECT_TRUE(ParseSafetensors(File(one("a", "[2]"), 8)).ok());
  // 2^62 elements of four bytes are 2^64, which is 0 to whoever does not look.
  for (const std::string& json :
       {one("", "[2]"), one("../../etc/passwd", "[2]"), one("a\\u0000b", "[2]"),
        one(std::string(257, 'a'), "[2]"), one("a", "[0]"), one("a", "[4611686018427387906]"),
        one("a", "[4294967296,4294967296,2]")}) {
    EXPECT_THAT(RefusalOf(File(json, 8)), HasSubstr("safetensors header")) << json;
  }
}

TEST(SafetensorsHostileTest, RefusesDeepNestingWithoutDescending) {
  const std::string deep = R"({"a":{"dtype":"F32","shape":)" + std::string(1'000'000, '[');

  EXPECT_THAT(RefusalOf(File(deep, 0)), HasSubstr("an array stands"));
}

TEST(SafetensorsHostileTest, RefusesOver65536Tensors) {
  std::string json = "{";
  for (int i = 0; i <= 65536; ++i) {
    json += (i == 0 ? "\"" : ",\"") + std::to_string(i) +
            R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  }

  EXPECT_THAT(RefusalOf(File(json + "}", 0)), HasSubstr("65536"));
}

TEST(SafetensorsHostileTest, SurvivesEveryTruncation) {
  const Bytes sound = File(kSound, 16);
  for (std::size_t size = 0; size < sound.size(); ++size) {
    EXPECT_FALSE(ParseSafetensors(std::span(sound).first(size)).ok());
  }
}

TEST(SafetensorsHostileTest, AcceptsMutationsOnlyWhenTheyAreWhole) {
  const Bytes sound = File(kSound, 16);
  SeededRandom random(20261120);
  constexpr std::string_view kBytes = "{}[]\",:0123456789aF\\ ";
  for (int i = 0; i < 20000; ++i) {
    Bytes file = sound;
    for (std::uint64_t k = random.NextBelow(3); k < 3; ++k) {
      const auto at = static_cast<std::size_t>(random.NextBelow(file.size()));
      file[at] = random.NextBelow(4) == 0
                     ? static_cast<std::uint8_t>(random.NextBelow(256))
                     : static_cast<std::uint8_t>(kBytes[random.NextBelow(kBytes.size())]);
    }

    const StatusOr<SafetensorsContent> content = ParseSafetensors(file);

    if (content.ok()) {
      ASSERT_EQ(content->values.size(), 4u);
      ASSERT_EQ(content->layout.num_parameters(), 4u);
    } else {
      ASSERT_EQ(content.status().code(), StatusCode::kInvalidArgument);
    }
  }
}

}  // namespace
}  // namespace chorale::models
