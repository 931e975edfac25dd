#include "core/storage/archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <string>

#include "core/storage/file.h"
#include "tests/support/temporary_directory.h"

namespace chorale::storage {
namespace {

using testing::HasSubstr;

class Collector final : public ArchiveVisitor {
 public:
  Status OnHeader(ByteSpan bytes) override {
    header = ToString(bytes);
    return OkStatus();
  }
  Status OnEntry(const std::string& name, std::uint64_t size_bytes) override {
    current_ = name;
    entries[name];
    sizes[name] = size_bytes;
    return OkStatus();
  }
  Status OnPiece(ByteSpan piece) override {
    entries[current_] += AsText(piece);
    return OkStatus();
  }
  std::string header;
  std::map<std::string, std::string> entries;
  std::map<std::string, std::uint64_t> sizes;

 private:
  std::string current_;
};

class ArchiveTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(Path(name), std::ios::binary) << content;
  }
  [[nodiscard]] std::filesystem::path Path(const std::string& name) const {
    return directory_.path() / name;
  }
  [[nodiscard]] std::string Read(const std::string& name) const {
    return *ReadFile(Path(name), 1u << 30);
  }
  // "box", with a header, a file of some bytes and an empty one.
  void MakeBox() {
    Write("content", "twelve bytes");
    auto writer = *ArchiveWriter::Create(Path("box"), AsBytes("a header"));
    ASSERT_TRUE(writer.AddFile("state/a.db", Path("content")).ok());
    ASSERT_TRUE(writer.AddBytes("config/site.yaml", {}).ok());
    ASSERT_TRUE(std::move(writer).Commit().ok());
  }
  [[nodiscard]] std::size_t NumFiles() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(directory_.path())) {
      ++count;
    }
    return count;
  }
  StatusOr<crypto::Digest> ReadBox(Collector& collector) {
    return ReadArchive(Path("box"), collector);
  }

  support::TemporaryDirectory directory_;
};

TEST_F(ArchiveTest, GivesBackWhatWasPutIn) {
  const std::string large(3'000'000, 'x');
  Write("large", large);
  auto writer = *ArchiveWriter::Create(Path("box"), AsBytes("a header"));
  ASSERT_TRUE(writer.AddFile("state/large", Path("large")).ok());
  ASSERT_TRUE(writer.AddBytes("empty", {}).ok());
  const auto written = std::move(writer).Commit();
  ASSERT_TRUE(written.ok()) << written.status();

  Collector collector;
  const auto digest = ReadBox(collector);

  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*digest, *written);
  EXPECT_EQ(collector.header, "a header");
  EXPECT_EQ(collector.entries["state/large"], large);
  EXPECT_EQ(collector.sizes["state/large"], large.size());
  EXPECT_EQ(collector.entries.size(), 2u);
  struct stat status {};
  ASSERT_EQ(::stat(Path("box").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(NumFiles(), 2u);  // No temporary file is left.
}

TEST_F(ArchiveTest, AFlippedBitAnywhereIsFound) {
  MakeBox();
  const std::string sound = Read("box");
  for (std::size_t i = 0; i < sound.size(); ++i) {
    for (const char bit : {'\x01', '\x80'}) {
      std::string spoiled = sound;
      spoiled[i] = static_cast<char>(spoiled[i] ^ bit);
      Write("box", spoiled);
      Collector collector;
      EXPECT_FALSE(ReadBox(collector).ok()) << "byte " << i;
    }
  }
}

TEST_F(ArchiveTest, AnArchiveCutShortAnywhereIsRefused) {
  MakeBox();
  const std::string sound = Read("box");
  for (std::size_t size = 0; size < sound.size(); ++size) {
    Write("box", sound.substr(0, size));
    Collector collector;
    EXPECT_EQ(ReadBox(collector).status().code(), StatusCode::kDataLoss) << size << " bytes";
  }
}

TEST_F(ArchiveTest, WhatFollowsTheEndIsRefused) {
  MakeBox();
  Write("box", Read("box") + "x");
  Collector collector;
  EXPECT_THAT(MessageOf(ReadBox(collector).status()), HasSubstr("follows its end"));
}

TEST_F(ArchiveTest, ANewerFormatIsToldFromADamagedOne) {
  MakeBox();
  std::string newer = Read("box");
  newer.replace(newer.find('1'), 1, "2");
  Write("box", newer);
  Collector collector;
  EXPECT_EQ(ReadBox(collector).status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(ArchiveTest, WhatIsNotCommittedIsNotThere) {
  {
    auto writer = *ArchiveWriter::Create(Path("box"), {});
    ASSERT_TRUE(writer.AddBytes("a", AsBytes("x")).ok());
    EXPECT_EQ(writer.AddFile("b", Path("missing")).code(), StatusCode::kNotFound);
  }
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(ArchiveTest, ReplacesNothing) {
  Write("box", "somebody's work");
  EXPECT_EQ(ArchiveWriter::Create(Path("box"), {}).status().code(), StatusCode::kAlreadyExists);
  std::filesystem::remove(Path("box"));
  auto writer = *ArchiveWriter::Create(Path("box"), {});
  Write("box", "put there meanwhile");
  EXPECT_EQ(std::move(writer).Commit().status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(Read("box"), "put there meanwhile");
}

TEST_F(ArchiveTest, TakesNoNameThatLeadsElsewhere) {
  auto writer = *ArchiveWriter::Create(Path("box"), {});
  const std::string long_name(256, 'a');
  for (const std::string& name :
       {std::string(), std::string("/etc/passwd"), std::string("../x"), std::string("a/../b"),
        std::string("a//b"), std::string("a/"), std::string("."), std::string("a\nb"), long_name}) {
    EXPECT_EQ(writer.AddBytes(name, {}).code(), StatusCode::kInvalidArgument) << name;
  }
  EXPECT_TRUE(writer.AddBytes("a/b.c_d-e", {}).ok());
  EXPECT_EQ(writer.AddBytes("a/b.c_d-e", {}).code(), StatusCode::kInvalidArgument);
}

TEST_F(ArchiveTest, AVisitorsErrorEndsTheReading) {
  MakeBox();
  class Refuser final : public ArchiveVisitor {
   public:
    Status OnHeader(ByteSpan) override { return OkStatus(); }
    Status OnEntry(const std::string&, std::uint64_t) override { return Aborted("enough"); }
    Status OnPiece(ByteSpan) override { return OkStatus(); }
  } refuser;
  EXPECT_EQ(ReadArchive(Path("box"), refuser).status().code(), StatusCode::kAborted);
}

}  // namespace
}  // namespace chorale::storage
