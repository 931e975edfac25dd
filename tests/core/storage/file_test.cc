#include "core/storage/file.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/core/storage/file_size_limit.h"
#include "tests/support/temporary_directory.h"

namespace chorale::storage {
namespace {

mode_t ModeOf(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

std::size_t NumEntries(const std::filesystem::path& directory) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory),
                                                std::filesystem::directory_iterator()));
}

class FileTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path Path(std::string_view name) const {
    return directory_.path() / name;
  }
  support::TemporaryDirectory directory_;
};

TEST_F(FileTest, ReadsBackWhatItWrote) {
  const std::string content("a\0b\n", 4);

  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes(content), FileMode::kPrivate).ok());

  EXPECT_EQ(*ReadFile(Path("f"), 4), content);
}

TEST_F(FileTest, ReplacesAFileAndLeavesNoOther) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes("old"), FileMode::kPublic).ok());

  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes("new"), FileMode::kPublic).ok());

  EXPECT_EQ(*ReadFile(Path("f"), 100), "new");
  EXPECT_EQ(NumEntries(directory_.path()), 1u);
}

TEST_F(FileTest, GivesThePrivateModeEvenToAFileThatWasPublic) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes("x"), FileMode::kPublic).ok());
  EXPECT_EQ(ModeOf(Path("f")), 0644u);

  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes("x"), FileMode::kPrivate).ok());

  EXPECT_EQ(ModeOf(Path("f")), 0600u);
}

TEST_F(FileTest, KeepsTheOldContentWhenTheDiskIsFull) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes("old"), FileMode::kPrivate).ok());
  const std::string large(100'000, 'x');

  Status status;
  {
    const FileSizeLimit limit(4096);
    status = WriteFileAtomically(Path("f"), AsBytes(large), FileMode::kPrivate);
  }

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
  EXPECT_NE(MessageOf(status).find(Path("f").string()), std::string::npos) << status;
  EXPECT_EQ(*ReadFile(Path("f"), 100), "old");
  EXPECT_EQ(NumEntries(directory_.path()), 1u);
}

TEST_F(FileTest, TellsWhenTheDirectoryOfAFileIsMissing) {
  const Status status = WriteFileAtomically(Path("none") / "f", AsBytes("x"), FileMode::kPrivate);

  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(MessageOf(status).find("none"), std::string::npos);
}

TEST_F(FileTest, DoesNotFindAnAbsentFile) {
  EXPECT_EQ(ReadFile(Path("none"), 10).status().code(), StatusCode::kNotFound);
}

TEST_F(FileTest, RefusesToReadMoreThanTheLimit) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes("12345"), FileMode::kPrivate).ok());

  EXPECT_EQ(ReadFile(Path("f"), 4).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(ReadFile(Path("f"), 5).ok());
}

TEST_F(FileTest, DoesNotWaitForTheWriterOfAPipe) {
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);

  EXPECT_EQ(ReadFile(Path("pipe"), 10).status().code(), StatusCode::kUnavailable);
}

TEST_F(FileTest, CreatesPrivateDirectoriesWithTheirParents) {
  ASSERT_TRUE(CreatePrivateDirectory(Path("a") / "b").ok());

  EXPECT_EQ(ModeOf(Path("a")), 0700u);
  EXPECT_EQ(ModeOf(Path("a") / "b"), 0700u);
  EXPECT_TRUE(CreatePrivateDirectory(Path("a") / "b").ok());
}

TEST_F(FileTest, RefusesADirectoryThatIsOpenToOthers) {
  ASSERT_EQ(::mkdir(Path("open").c_str(), 0700), 0);
  ASSERT_EQ(::chmod(Path("open").c_str(), 0750), 0);

  const Status status = CreatePrivateDirectory(Path("open"));

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(status).find("chmod 700"), std::string::npos) << status;
}

TEST_F(FileTest, RefusesAFileWhereADirectoryShouldBe) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), AsBytes("x"), FileMode::kPrivate).ok());

  EXPECT_EQ(CreatePrivateDirectory(Path("f")).code(), StatusCode::kUnavailable);
  EXPECT_EQ(CreatePrivateDirectory("").code(), StatusCode::kInvalidArgument);
}

TEST_F(FileTest, RefusesASecondLockOfTheSameProcessAndNamesTheHolder) {
  const StatusOr<DirectoryLock> first = DirectoryLock::Acquire(directory_.path());
  ASSERT_TRUE(first.ok()) << first.status();

  const Status second = DirectoryLock::Acquire(directory_.path()).status();

  EXPECT_EQ(second.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(second).find("process " + std::to_string(::getpid())), std::string::npos)
      << second;
}

TEST_F(FileTest, LocksAgainOnceTheHolderIsGone) {
  { ASSERT_TRUE(DirectoryLock::Acquire(directory_.path()).ok()); }

  EXPECT_TRUE(DirectoryLock::Acquire(directory_.path()).ok());
}

TEST_F(FileTest, HoldsTheLockThroughAMove) {
  StatusOr<DirectoryLock> first = DirectoryLock::Acquire(directory_.path());
  ASSERT_TRUE(first.ok());
  const DirectoryLock moved = *std::move(first);

  EXPECT_FALSE(DirectoryLock::Acquire(directory_.path()).ok());
}

// Whether a new process would get the lock.
bool ChildAcquires(const std::filesystem::path& directory) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(DirectoryLock::Acquire(directory).ok() ? 0 : 1);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status) == 0;
}

TEST_F(FileTest, RefusesTheLockToAnotherProcessUntilReleased) {
  EXPECT_TRUE(ChildAcquires(directory_.path()));
  {
    const StatusOr<DirectoryLock> held = DirectoryLock::Acquire(directory_.path());
    ASSERT_TRUE(held.ok());
    EXPECT_FALSE(ChildAcquires(directory_.path()));
    // The child's end has not released the parent's lock.
    EXPECT_FALSE(ChildAcquires(directory_.path()));
  }
  EXPECT_TRUE(ChildAcquires(directory_.path()));
}

TEST_F(FileTest, FreesTheLockOfAKilledProcess) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const StatusOr<DirectoryLock> lock = DirectoryLock::Acquire(directory_.path());
    const char answer = lock.ok() ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  const Status refused = DirectoryLock::Acquire(directory_.path()).status();
  EXPECT_NE(MessageOf(refused).find("process " + std::to_string(child)), std::string::npos);

  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);

  EXPECT_TRUE(DirectoryLock::Acquire(directory_.path()).ok());
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace chorale::storage
