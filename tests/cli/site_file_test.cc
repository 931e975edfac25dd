#include "cli/site_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "core/config/yaml.h"
#include "tests/support/temporary_directory.h"

namespace chorale::cli {
namespace {

class SiteFileTest : public testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(SiteFilePath(directory_.path())) << text; }
  std::string Read() {
    std::ifstream file(SiteFilePath(directory_.path()));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static v1::DatasetConfig Dataset(const std::string& id) {
    v1::DatasetConfig dataset;
    dataset.set_id(id);
    dataset.mutable_csv()->set_path("/srv/" + id + ".csv");
    return dataset;
  }
  support::TemporaryDirectory directory_;
};

TEST_F(SiteFileTest, WritesAFileThatParsesAndOffersNothing) {
  v1::SiteConfig config;

  const Status status = config::ParseYaml(RenderSiteFile("localhost:8443"), "site.yaml", config);

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.coordinator(), "localhost:8443");
  EXPECT_EQ(config.datasets_size(), 0);
  EXPECT_EQ(config.policy().allow_size(), 0);
}

TEST_F(SiteFileTest, AddsDatasetsOneAfterAnother) {
  Write(RenderSiteFile("localhost:8443"));

  ASSERT_TRUE(AddDataset(directory_.path(), Dataset("a")).ok());
  ASSERT_TRUE(AddDataset(directory_.path(), Dataset("b")).ok());

  const auto config = LoadSiteFile(directory_.path());
  ASSERT_TRUE(config.ok());
  ASSERT_EQ(config->datasets_size(), 2);
  EXPECT_EQ(config->datasets(1).csv().path(), "/srv/b.csv");
}

TEST_F(SiteFileTest, KeepsValuesThatLookLikeSomethingElse) {
  Write(RenderSiteFile("localhost:8443"));
  v1::DatasetConfig dataset = Dataset("a");
  dataset.set_split_column("no: #1 \"x\"");
  v1::RowFilter& filter = *dataset.add_keep();
  filter.set_column("center");
  for (const char* value : {"0", "true", "", "~", "- a", "1e5"}) filter.add_values(value);

  ASSERT_TRUE(AddDataset(directory_.path(), dataset).ok());

  const auto config = LoadSiteFile(directory_.path());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->datasets(0).SerializeAsString(), dataset.SerializeAsString());
}

TEST_F(SiteFileTest, ChangesNothingInAFileThatItCannotAddTo) {
  const std::string text =
      "coordinator: \"localhost:8443\"\ndatasets: [{id: a, csv: {path: /srv/a.csv}}]\n";
  Write(text);

  EXPECT_EQ(AddDataset(directory_.path(), Dataset("b")).code(), StatusCode::kFailedPrecondition);

  EXPECT_EQ(Read(), text);
}

TEST_F(SiteFileTest, ChangesNothingWhenTheEditWouldMeanSomethingElse) {
  // The text editor takes the words in the block scalar for the key.
  const std::string text =
      "coordinator: |-\n"
      "  localhost:8443\n"
      "log:\n"
      "  file: |-\n"
      "datasets: []\n";
  Write(text);

  const Status status = AddDataset(directory_.path(), Dataset("b"));

  const auto config = LoadSiteFile(directory_.path());
  if (status.ok()) {
    ASSERT_TRUE(config.ok());
    EXPECT_EQ(config->datasets_size(), 1);
  } else {
    EXPECT_EQ(Read(), text);
  }
}

TEST_F(SiteFileTest, KeepsAPrivateFilePrivate) {
  Write(RenderSiteFile("localhost:8443"));
  const std::filesystem::path file = SiteFilePath(directory_.path());
  std::filesystem::permissions(
      file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);

  ASSERT_TRUE(AddDataset(directory_.path(), Dataset("a")).ok());

  EXPECT_EQ(std::filesystem::status(file).permissions() & std::filesystem::perms::others_all,
            std::filesystem::perms::none);
}

TEST_F(SiteFileTest, FollowsALink) {
  const std::filesystem::path target = directory_.path() / "target.yaml";
  std::ofstream(target) << RenderSiteFile("localhost:8443");
  std::filesystem::create_symlink(target, SiteFilePath(directory_.path()));

  ASSERT_TRUE(AddDataset(directory_.path(), Dataset("a")).ok());

  EXPECT_TRUE(std::filesystem::is_symlink(SiteFilePath(directory_.path())));
  EXPECT_NE(Read().find("/srv/a.csv"), std::string::npos);
}

TEST_F(SiteFileTest, SaysWhichCommandMakesAMissingFile) {
  const auto config = LoadSiteFile(directory_.path());

  EXPECT_EQ(config.status().code(), StatusCode::kNotFound);
  EXPECT_NE(MessageOf(config.status()).find("chorale site init"), std::string::npos);
}

}  // namespace
}  // namespace chorale::cli
