#include "backup/backup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <fstream>
#include <thread>

#include "backup/staging.h"
#include "core/bytes.h"
#include "core/storage/blob_store.h"
#include "core/storage/file.h"
#include "core/storage/sqlite.h"
#include "core/storage/state_mark.h"
#include "tests/support/temporary_directory.h"

namespace chorale::backup {
namespace {

using testing::HasSubstr;

constexpr std::array<storage::Migration, 1> kSchema = {storage::Migration{
    "CREATE TABLE blobs (digest BLOB PRIMARY KEY, size_bytes INTEGER NOT NULL);"}};
constexpr std::array<storage::Migration, 1> kLaterSchema = {
    storage::Migration{"CREATE TABLE facts (id INTEGER PRIMARY KEY, fact TEXT NOT NULL);"}};

// A party's state: a database with blobs, another one, a folder and a file.
class BackupTest : public testing::Test {
 protected:
  BackupTest() {
    EXPECT_TRUE(storage::CreatePrivateDirectory(State()).ok());
    database_.emplace(*storage::Database::Open(State() / "main.db", kSchema));
    later_.emplace(*storage::Database::Open(State() / "later.db", kLaterSchema));
    EXPECT_TRUE(later_->Execute("INSERT INTO facts (fact) VALUES ('kept')").ok());
    blobs_.emplace(*storage::BlobStore::Open(State() / "blobs"));
    std::filesystem::create_directories(State() / "jobs" / "job-1");
    WriteText(State() / "jobs" / "job-1" / "model", "weights");
    WriteText(State() / "version", "7");
    WriteText(Path("site.yaml"), "coordinator: here\n");
    AddBlob(std::string(1'500'000, 'x'));
  }

  static StateLayout Layout() {
    return {.databases = {"main.db", "later.db", "absent.db"},
            .blobs = StateLayout::Blobs{.folder = "blobs",
                                        .query = "SELECT digest, size_bytes FROM blobs"},
            .folders = {"jobs", "absent"},
            .files = {"version", "missing"}};
  }
  [[nodiscard]] std::filesystem::path Path(const std::string& name) const {
    return directory_.path() / name;
  }
  [[nodiscard]] std::filesystem::path State() const { return Path("state"); }
  static void WriteText(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  crypto::BlobId AddBlob(const std::string& content) {
    const crypto::BlobId id = *blobs_->Put(AsBytes(content));
    auto insert = *database_->Prepare("INSERT INTO blobs VALUES (?1, ?2)");
    EXPECT_TRUE(insert.Bind(1, ByteSpan(id.digest))
                    .Bind(2, static_cast<std::int64_t>(id.size_bytes))
                    .Run()
                    .ok());
    return id;
  }
  [[nodiscard]] Request MakeRequest(const std::string& file = "backup") const {
    Request request{.header = {},
                    .layout = Layout(),
                    .state_directory = State(),
                    .further = {{"config/site.yaml", Path("site.yaml")}},
                    .file = Path(file)};
    request.header.set_role(v1::PARTY_ROLE_SITE);
    request.header.set_party("north");
    request.header.set_federation("choir");
    return request;
  }
  StatusOr<Written> RestoreTo(const std::string& name, const std::string& file = "backup") {
    return Restore(Path(file),
                   {.role = v1::PARTY_ROLE_SITE, .layout = Layout(), .directory = Path(name)},
                   random_);
  }
  // Folders and files beside each other, whatever their names.
  [[nodiscard]] std::vector<std::string> Listing(const std::filesystem::path& directory) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  support::TemporaryDirectory directory_{support::Medium::kMemory};
  SeededRandom random_{1};
  std::optional<storage::Database> database_;  // Open, as a running program has them.
  std::optional<storage::Database> later_;
  std::optional<storage::BlobStore> blobs_;
};

TEST_F(BackupTest, ARestoredStateIsTheOneThatWasBackedUp) {
  const auto written = Write(MakeRequest());
  ASSERT_TRUE(written.ok()) << written.status();

  const auto restored = RestoreTo("new");

  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->digest, written->digest);
  EXPECT_EQ(restored->header.party(), "north");
  EXPECT_EQ(*DigestState(Layout(), Path("new/state")), *DigestState(Layout(), State()));
  EXPECT_EQ(ToString(*DigestState(Layout(), State())), written->header.state_digest());
  EXPECT_EQ(*storage::ReadFile(Path("new/site.yaml"), 100), "coordinator: here\n");
  EXPECT_EQ(*storage::ReadFile(Path("new/state/jobs/job-1/model"), 100), "weights");
  EXPECT_THAT(Listing(Path("new/state")), testing::ElementsAre("blobs", "jobs", "later.db",
                                                               "main.db", "state_mark", "version"));
  EXPECT_EQ(std::filesystem::status(Path("new")).permissions() & std::filesystem::perms::mask,
            std::filesystem::perms::owner_all);
  EXPECT_EQ(Check(Path("backup"))->digest, written->digest);
}

TEST_F(BackupTest, ARestoredStateHasALineageOfItsOwn) {
  const std::string lineage = storage::BeginEpoch(State(), random_)->lineage;
  ASSERT_TRUE(Write(MakeRequest()).ok());
  ASSERT_TRUE(RestoreTo("one").ok());
  ASSERT_TRUE(RestoreTo("two").ok());

  const std::string one = storage::LoadStateMark(Path("one/state"))->lineage;
  EXPECT_NE(one, lineage);
  EXPECT_NE(one, storage::LoadStateMark(Path("two/state"))->lineage);
}

TEST_F(BackupTest, ABackupLeavesNothingInTheStateDirectory) {
  const auto before = Listing(State());
  std::filesystem::create_directories(State() / ".backup-killed" / "state");  // Of a killed one.
  ASSERT_TRUE(Write(MakeRequest()).ok());
  EXPECT_EQ(Listing(State()), before);
}

TEST_F(BackupTest, ADamagedBackupLeavesNoDirectory) {
  ASSERT_TRUE(Write(MakeRequest()).ok());
  const std::string sound = *storage::ReadFile(Path("backup"), 1u << 30);
  for (std::size_t i = 0; i < sound.size(); i += 1 + sound.size() / 150) {
    std::string spoiled = sound;
    spoiled[i] = static_cast<char>(spoiled[i] ^ 4);
    WriteText(Path("spoiled"), spoiled);
    EXPECT_FALSE(RestoreTo("new", "spoiled").ok()) << "byte " << i;
    WriteText(Path("spoiled"), sound.substr(0, i));
    EXPECT_EQ(RestoreTo("new", "spoiled").status().code(), StatusCode::kDataLoss) << i << " bytes";
  }
  EXPECT_THAT(Listing(directory_.path()),
              testing::ElementsAre("backup", "site.yaml", "spoiled", "state"));
}

TEST_F(BackupTest, RestoresIntoAnEmptyDirectoryAlone) {
  ASSERT_TRUE(Write(MakeRequest()).ok());
  std::filesystem::create_directory(Path("empty"));
  EXPECT_TRUE(RestoreTo("empty").ok());
  const auto again = RestoreTo("empty");
  EXPECT_EQ(again.status().code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(again.status()), HasSubstr("not empty"));
}

TEST_F(BackupTest, ABackupOfAnotherRoleIsRefused) {
  Request request = MakeRequest();
  request.header.set_role(v1::PARTY_ROLE_COORDINATOR);
  ASSERT_TRUE(Write(request).ok());
  EXPECT_EQ(RestoreTo("new").status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(Path("new")));
}

TEST_F(BackupTest, ADamagedOrMissingBlobIsNotBackedUp) {
  const crypto::BlobId id = AddBlob("content");
  const std::filesystem::path file = State() / "blobs" / ToHex(id.digest);
  WriteText(file, "CONTENT");
  EXPECT_EQ(Write(MakeRequest()).status().code(), StatusCode::kDataLoss);
  std::filesystem::remove(file);
  EXPECT_EQ(Write(MakeRequest()).status().code(), StatusCode::kDataLoss);
  EXPECT_FALSE(std::filesystem::exists(Path("backup")));
}

TEST_F(BackupTest, ThereIsNothingToBackUpBeforeTheFirstStart) {
  Request request = MakeRequest();
  request.state_directory = Path("nowhere");
  EXPECT_EQ(Write(request).status().code(), StatusCode::kNotFound);
}

TEST_F(BackupTest, EveryBackupOfABusyStateCanBeRestored) {
  std::atomic<bool> is_over = false;
  std::thread program([&] {
    crypto::BlobId last = AddBlob("first");
    for (int i = 0; !is_over; ++i) {
      const crypto::BlobId next = AddBlob(std::to_string(i) + std::string(100'000, 'y'));
      auto remove = *database_->Prepare("DELETE FROM blobs WHERE digest = ?1");
      EXPECT_TRUE(remove.Bind(1, ByteSpan(last.digest)).Run().ok());
      EXPECT_TRUE(blobs_->Remove(last).ok());
      last = next;
    }
  });
  for (int i = 0; i < 10; ++i) {
    const std::string file = "backup" + std::to_string(i);
    const auto written = Write(MakeRequest(file));
    EXPECT_TRUE(written.ok()) << written.status();
    const auto restored = RestoreTo("new" + std::to_string(i), file);
    EXPECT_TRUE(restored.ok()) << restored.status();
  }
  is_over = true;
  program.join();
}

}  // namespace
}  // namespace chorale::backup
