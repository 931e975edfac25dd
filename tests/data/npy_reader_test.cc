#include "data/npy_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "core/random.h"
#include "tests/data/npy_writer.h"
#include "tests/support/temporary_directory.h"

namespace chorale::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

StatusOr<NpyHeader> Parse(std::string_view file) {
  return ParseNpyHeader(AsBytes(file).first(std::min(file.size(), kMaxNpyHeaderBytes)), file.size(),
                        "a.npy");
}

std::string ErrorOf(std::string_view file) {
  const StatusOr<NpyHeader> header = Parse(file);
  EXPECT_EQ(header.status().code(), StatusCode::kInvalidArgument);
  return MessageOf(header.status());
}

// A file of one byte for each number of `shape`.
std::string FileWith(const std::string& dictionary, std::size_t num_bytes) {
  return NpyStart(dictionary) + std::string(num_bytes, 'x');
}

class NpyFileTest : public testing::Test {
 protected:
  StatusOr<std::shared_ptr<const NpyFile>> Open(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    return NpyFile::Open(path_);
  }

  support::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "a.npy";
};

TEST(NpyHeaderTest, IsReadInEveryVersion) {
  for (const int major : {1, 2, 3}) {
    const StatusOr<NpyHeader> header = Parse(NpyBytes<float>({2, 1, 3}, {1, 2, 3, 4, 5, 6}, major));
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->type, NpyType::kFloat32);
    EXPECT_THAT(header->shape, ElementsAre(2, 1, 3));
    EXPECT_EQ(header->row_size, 3u);
    EXPECT_EQ(header->data_offset, 128u);
  }
}

TEST(NpyHeaderTest, TakesKeysInAnyOrderAndEitherQuote) {
  const std::string file =
      FileWith("{ \"shape\" :( 4 , 2 ),\"fortran_order\":False , 'descr':\"|u1\"}\t", 8);

  const StatusOr<NpyHeader> header = Parse(file);

  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->type, NpyType::kUint8);
  EXPECT_THAT(header->shape, ElementsAre(4, 2));
}

TEST(NpyHeaderTest, TakesRowsOfOneNumberAndNoRowsAtAll) {
  EXPECT_EQ(Parse(NpyBytes<std::uint8_t>({3}, {1, 2, 3}))->row_size, 1u);
  EXPECT_THAT(Parse(NpyBytes<std::uint8_t>({0, 28}, {}))->shape, ElementsAre(0, 28));
}

TEST(NpyHeaderTest, RefusesAnotherFormat) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("a.npy: is no NumPy file"));
  EXPECT_THAT(ErrorOf("PK\x03\x04 a zip archive, as numpy.savez writes"),
              HasSubstr("no NumPy file"));
  std::string other = NpyBytes<std::uint8_t>({1}, {1});
  other[6] = 4;
  EXPECT_THAT(ErrorOf(other), HasSubstr("version"));
  other[6] = 0;
  EXPECT_THAT(ErrorOf(other), HasSubstr("version"));
  other[6] = 1;
  other[7] = 1;
  EXPECT_THAT(ErrorOf(other), HasSubstr("version"));
}

TEST(NpyHeaderTest, RefusesOtherNumbersAndOtherOrders) {
  for (const char* type : {"<f8", ">f4", "|i1", "|b1", "<u2", "|O", "", "f4", "<U3"}) {
    EXPECT_THAT(ErrorOf(FileWith(NpyDictionary(type, {2}), 8)), HasSubstr("uint8 (|u1)")) << type;
  }
  EXPECT_THAT(ErrorOf(FileWith("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }", 4)),
              HasSubstr("C order"));
  EXPECT_THAT(ErrorOf(FileWith("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", 1)),
              HasSubstr("an axis that counts examples"));
}

TEST(NpyHeaderTest, RefusesWhatNumPyWouldNotWrite) {
  for (const char* dictionary :
       {"",
        "{",
        "{}",
        "[]",
        "{'descr': '|u1', 'fortran_order': False}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2 2)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2.0,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551616,)}",
        "{'descr': '|u1', 'fortran_order': false, 'shape': (2,)}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)} 1",
        "{'descr': '|u1' 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': [('x', '|u1')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|u1, 'fortran_order': False, 'shape': (2,)}",
        "{'descr: ",
        "{'descr': '|u1', 'shape': (2,",
        "{'descr': '|u1', 'shape': (2"}) {
    EXPECT_THAT(ErrorOf(FileWith(dictionary, 2)), HasSubstr("no plain array")) << dictionary;
  }
  std::string axes = "{'descr': '|u1', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < 33; ++i) axes += "1,";
  EXPECT_THAT(ErrorOf(FileWith(axes + ")}", 1)), HasSubstr("no plain array"));
}

TEST(NpyHeaderTest, RefusesSizesThatDoNotFillTheFileExactly) {
  const std::string sound = NpyBytes<float>({3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_TRUE(Parse(sound).ok());
  EXPECT_THAT(ErrorOf(sound + "x"), HasSubstr("exactly the 24 bytes"));
  EXPECT_THAT(ErrorOf(sound.substr(0, sound.size() - 1)), HasSubstr("exactly the 24 bytes"));
}

TEST(NpyHeaderTest, RefusesShapesThatOverflow) {
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 32;
  for (const std::vector<std::uint64_t>& shape : std::vector<std::vector<std::uint64_t>>{
           {kHalf, kHalf}, {1, kHalf, kHalf}, {kHalf * kHalf - 1, 2}, {0, kHalf, kHalf}}) {
    EXPECT_THAT(ErrorOf(FileWith(NpyDictionary("|u1", shape), 0)), HasSubstr("beyond any file"));
  }
  // 2^62 numbers of four bytes are 2^64.
  EXPECT_THAT(ErrorOf(FileWith(NpyDictionary("<f4", {kHalf, kHalf / 4}), 0)),
              HasSubstr("beyond any file"));
}

TEST(NpyHeaderTest, RefusesALengthBeyondTheFileOrTheBound) {
  std::string file = NpyBytes<std::uint8_t>({1}, {1});
  file[8] = '\xFF';  // 255 bytes of header, more than there are.
  EXPECT_THAT(ErrorOf(file), HasSubstr("ends within its header"));
  std::string long_header = "\x93NUMPY";
  long_header += std::string("\x02\x00\xFF\xFF\xFF\xFF", 6) + std::string(1 << 17, ' ');
  EXPECT_THAT(ErrorOf(long_header), HasSubstr("over 65536 bytes"));
}

TEST(NpyHeaderTest, SurvivesEveryTruncationAndRandomBytes) {
  SeededRandom random(20261120);
  const std::string sound = NpyBytes<std::uint8_t>({4, 3, 2}, std::vector<std::uint8_t>(24));
  for (std::size_t size = 0; size < sound.size(); ++size) {
    EXPECT_FALSE(Parse(std::string_view(sound).substr(0, size)).ok()) << size;
  }
  for (int i = 0; i < 20'000; ++i) {
    std::string file = sound;
    for (std::uint64_t k = random.NextBelow(4); k <= 4; ++k) {
      file[random.NextBelow(file.size())] = random.NextBelow(2) == 0
                                                ? "0123456789(),{}':"[random.NextBelow(17)]
                                                : static_cast<char>(random.NextBelow(256));
    }
    const StatusOr<NpyHeader> header = Parse(file);
    if (!header.ok()) {
      ASSERT_THAT(MessageOf(header.status()), StartsWith("a.npy: "));
      continue;
    }
    const std::uint64_t bytes_of_number = header->type == NpyType::kFloat32 ? 4 : 1;
    ASSERT_EQ(header->data_offset + header->shape[0] * header->row_size * bytes_of_number,
              file.size());
  }
}

TEST_F(NpyFileTest, GivesBytesAsPartsOfOne) {
  const auto file = Open(NpyBytes<std::uint8_t>({2, 2}, {0, 255, 51, 1}));
  ASSERT_TRUE(file.ok()) << file.status();

  std::vector<float> single(2);
  std::vector<double> exact(2);
  (*file)->CopyRow(0, single);
  (*file)->CopyRow(1, exact);

  EXPECT_EQ((*file)->num_rows(), 2u);
  EXPECT_THAT(single, ElementsAre(0, 1));
  EXPECT_THAT(exact, ElementsAre(0.2, 1.0 / 255));
  EXPECT_TRUE((*file)->IsFinite(0));
}

TEST_F(NpyFileTest, GivesFloatsAsTheyAreAndKnowsThoseThatAreNone) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto file = Open(NpyBytes<float>({4, 1, 2}, {-1.5F, 3e38F, kNan, 0, 0, -kInfinity, 7, 8}));
  ASSERT_TRUE(file.ok()) << file.status();

  std::vector<double> row(2);
  (*file)->CopyRow(0, row);

  EXPECT_THAT(row, ElementsAre(-1.5, double{3e38F}));
  EXPECT_TRUE((*file)->IsFinite(0));
  EXPECT_FALSE((*file)->IsFinite(1));
  EXPECT_FALSE((*file)->IsFinite(2));
  EXPECT_TRUE((*file)->IsFinite(3));
}

TEST_F(NpyFileTest, ReadsFloatsAtAnyOffset) {
  std::string text = NpyDictionary("<f4", {1, 1}) + "\n";
  std::string bytes = std::string("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(text.size());
  bytes += '\0' + text + std::string("\x00\x00\x80\x3f", 4);
  ASSERT_NE((bytes.size() - 4) % 4, 0u);

  const auto file = Open(bytes);

  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> row(1);
  (*file)->CopyRow(0, row);
  EXPECT_THAT(row, ElementsAre(1));
}

TEST_F(NpyFileTest, GoesOnWithTheOldFileWhenANewOneIsRenamedOverIt) {
  const auto file = Open(NpyBytes<std::uint8_t>({1, 1}, {255}));
  ASSERT_TRUE(file.ok()) << file.status();
  WriteNpy<std::uint8_t>(directory_.path() / "new.npy", {1, 1}, {0});
  std::filesystem::rename(directory_.path() / "new.npy", path_);

  std::vector<float> row(1);
  (*file)->CopyRow(0, row);

  EXPECT_THAT(row, ElementsAre(1));
}

TEST_F(NpyFileTest, SaysWhatIsWrongWithAPath) {
  EXPECT_EQ(NpyFile::Open(directory_.path() / "x.npy").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(NpyFile::Open(directory_.path()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Open("").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Open("no array").status().code(), StatusCode::kInvalidArgument);
  ASSERT_EQ(::mkfifo((directory_.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(NpyFile::Open(directory_.path() / "pipe").status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::data
