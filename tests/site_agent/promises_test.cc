#include "site_agent/promises.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "core/storage/sqlite.h"
#include "tests/support/temporary_directory.h"

namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const crypto::Digest kJob = {7};

class PromisesTest : public testing::Test {
 protected:
  PromisesTest() { Reopen(); }
  void Reopen() {
    promises_.reset();
    auto promises = Promises::Open(directory_.path());
    ASSERT_TRUE(promises.ok()) << promises.status();
    promises_.emplace(*std::move(promises));
  }
  std::filesystem::path file() const { return directory_.path() / "promises.db"; }
  // Changes the file behind the site's back.
  void Execute(const std::string& sql) {
    promises_.reset();
    const storage::Migration already_applied[] = {{.sql = "SELECT 1"}};
    auto database = storage::Database::Open(file(), already_applied);
    ASSERT_TRUE(database.ok()) << database.status();
    ASSERT_TRUE(database->Execute(sql).ok());
  }
  static secagg::RevealedSum Sum(std::uint8_t model, std::vector<SiteId> sites) {
    return {.model = {model}, .task = {2}, .sites = std::move(sites)};
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  std::optional<Promises> promises_;
};

TEST_F(PromisesTest, AreThereAgainAfterTheFileIsOpenedAgain) {
  const secagg::RevealedSum one = Sum(1, {SiteId("east"), SiteId("north")});
  const secagg::RevealedSum two = Sum(3, {SiteId("east")});
  ASSERT_TRUE(promises_->RecordNonce({5}).ok());
  ASSERT_TRUE(promises_->RecordNonce({4}).ok());
  ASSERT_TRUE(promises_->RecordSum(kJob, one).ok());
  ASSERT_TRUE(promises_->RecordSum(kJob, two).ok());

  Reopen();

  EXPECT_THAT(*promises_->Nonces(), ElementsAre(crypto::Digest{5}, crypto::Digest{4}));
  EXPECT_THAT(*promises_->SumsOf(kJob), ElementsAre(one, two));
  EXPECT_THAT(*promises_->SumsOf({8}), IsEmpty());
}

TEST_F(PromisesTest, AreKeptOnceHoweverOftenTheyAreRecorded) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(promises_->RecordNonce({5}).ok());
    ASSERT_TRUE(promises_->RecordSum(kJob, Sum(1, {SiteId("east")})).ok());
  }
  EXPECT_THAT(*promises_->Nonces(), testing::SizeIs(1));
  EXPECT_THAT(*promises_->SumsOf(kJob), testing::SizeIs(1));
}

TEST_F(PromisesTest, ForgetTheOldestWhenTheyAreTooMany) {
  for (std::size_t i = 0; i <= Promises::kMostNonces; ++i) {
    const crypto::Digest digest = {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)};
    ASSERT_TRUE(promises_->RecordNonce(digest).ok());
    ASSERT_TRUE(
        promises_->RecordSum(kJob, {.model = digest, .task = {}, .sites = {SiteId("east")}}).ok());
  }
  EXPECT_THAT(*promises_->Nonces(), testing::SizeIs(Promises::kMostNonces));
  EXPECT_EQ(promises_->Nonces()->front(), crypto::Digest{1});
  EXPECT_THAT(*promises_->SumsOf(kJob), testing::SizeIs(Promises::kMostSumsOfAJob));
  EXPECT_EQ(promises_->SumsOf(kJob)->front().model, crypto::Digest{1});
}

TEST_F(PromisesTest, AFileThatIsNoDatabaseIsRefused) {
  promises_.reset();
  std::filesystem::remove(directory_.path() / "promises.db-wal");
  std::ofstream(file(), std::ios::trunc) << std::string(8192, 'x');

  const auto opened = Promises::Open(directory_.path());

  EXPECT_EQ(opened.status().code(), StatusCode::kDataLoss) << opened.status();
  EXPECT_THAT(MessageOf(opened.status()), HasSubstr("promises.db"));
}

TEST_F(PromisesTest, AFileWithADamagedPageIsRefused) {
  for (std::uint8_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(promises_->RecordSum(kJob, Sum(i, {SiteId("east"), SiteId("north")})).ok());
  }
  promises_.reset();
  const auto size = std::filesystem::file_size(file());
  ASSERT_GT(size, 3u * 4096);
  std::fstream damaged(file(), std::ios::in | std::ios::out | std::ios::binary);
  damaged.seekp(static_cast<std::streamoff>(size) - 4096);
  damaged << std::string(2048, '\xff');
  damaged.close();

  EXPECT_EQ(Promises::Open(directory_.path()).status().code(), StatusCode::kDataLoss);
}

TEST_F(PromisesTest, ARowThatIsNoPromiseIsRefused) {
  for (const char* row : {"INSERT INTO nonces (nonce) VALUES (x'00')",
                          "INSERT INTO sums (job_digest, model, task, sites) "
                          "VALUES (zeroblob(32), zeroblob(32), zeroblob(31), 'east\n')",
                          "INSERT INTO sums (job_digest, model, task, sites) "
                          "VALUES (zeroblob(32), zeroblob(32), zeroblob(32), 'north\neast\n')",
                          "INSERT INTO sums (job_digest, model, task, sites) "
                          "VALUES (zeroblob(32), zeroblob(32), zeroblob(32), 'east')",
                          "INSERT INTO sums (job_digest, model, task, sites) "
                          "VALUES (zeroblob(32), zeroblob(32), zeroblob(32), '')"}) {
    Execute(row);
    EXPECT_EQ(Promises::Open(directory_.path()).status().code(), StatusCode::kDataLoss) << row;
    Execute("DELETE FROM nonces; DELETE FROM sums");
  }
}

}  // namespace
}  // namespace chorale::site_agent
