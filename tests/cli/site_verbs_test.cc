#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class SiteVerbsTest : public CommandLineTest {
 protected:
  SiteVerbsTest() {
    MustRun({"site", "init", "--dir", Path("north"), "--coordinator", "localhost:8443"});
    Write("heart.csv", "age,num,split,center\n63,0,train,0\n41,1,test,1\n");
  }
  Result AddDataset(const std::vector<std::string>& further = {}) {
    std::vector<std::string> arguments = {"site",  "dataset",     "add",
                                          "--dir", Path("north"), "--id",
                                          "heart", "--csv",       Path("heart.csv")};
    arguments.insert(arguments.end(), further.begin(), further.end());
    return Run(arguments);
  }
  Result Allow(const std::string& dataset) {
    return Run({"site", "allow", "--dir", Path("north"), "--researcher", "alice", "--dataset",
                dataset, "--model", "logistic_regression", "--model", "mlp", "--metric", "loss",
                "--max-rounds", "50"});
  }
  void Enrol() {
    MakeAuthority();
    MustRun({"site", "enrol", "--dir", Path("north"), "--token", Invite({"--site", "north"}),
             "--authority", Path("authority")});
  }
};

TEST_F(SiteVerbsTest, DoesNotWriteOverASiteFile) {
  const std::string before = Read("north/site.yaml");

  EXPECT_EQ(Run({"site", "init", "--dir", Path("north"), "--coordinator", "other:1"}).code,
            ExitCode::kInvalid);

  EXPECT_EQ(Read("north/site.yaml"), before);
}

TEST_F(SiteVerbsTest, AddsADatasetAndKeepsEveryComment) {
  const std::string before = Read("north/site.yaml");

  ASSERT_EQ(AddDataset({"--split-column", "split", "--keep", "center=0,1"}).code, ExitCode::kOk);

  const std::string after = Read("north/site.yaml");
  std::istringstream lines(before);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#")) {
      EXPECT_THAT(after, HasSubstr(line));
    }
  }
  EXPECT_THAT(after, HasSubstr("  - id: heart\n"));
}

TEST_F(SiteVerbsTest, ListsDatasetsAsTextAndJson) {
  ASSERT_EQ(AddDataset({"--split-column", "split", "--keep", "center=0,1", "--on-missing", "drop",
                        "--missing", ",?"})
                .code,
            ExitCode::kOk);

  const std::string text = MustRun({"site", "dataset", "list", "--dir", Path("north")});
  const auto json = nlohmann::json::parse(
      MustRun({"site", "dataset", "list", "--dir", Path("north"), "--format", "json"}));

  EXPECT_THAT(text, HasSubstr("center=0,1"));
  const auto& dataset = json["datasets"][0];
  EXPECT_EQ(dataset["id"], "heart");
  EXPECT_EQ(dataset["csv"]["path"], Path("heart.csv"));
  EXPECT_EQ(dataset["csv"]["on_missing"], "MISSING_ROWS_DROP");
  EXPECT_EQ(dataset["csv"]["missing"], nlohmann::json({"", "?"}));
  EXPECT_EQ(dataset["keep"][0]["values"], nlohmann::json({"0", "1"}));
}

TEST_F(SiteVerbsTest, RefusesASecondDatasetOfTheSameName) {
  ASSERT_EQ(AddDataset().code, ExitCode::kOk);
  const std::string before = Read("north/site.yaml");

  const Result result = AddDataset();

  EXPECT_EQ(result.code, ExitCode::kInvalid);
  EXPECT_THAT(result.err, HasSubstr("'heart' already"));
  EXPECT_EQ(Read("north/site.yaml"), before);
}

TEST_F(SiteVerbsTest, RefusesADatasetWithoutAFile) {
  EXPECT_EQ(Run({"site", "dataset", "add", "--dir", Path("north"), "--id", "x", "--csv",
                 Path("absent.csv")})
                .code,
            ExitCode::kInvalid);
}

TEST_F(SiteVerbsTest, AddsArraysBesideTheTable) {
  std::ofstream(Path("images.npy")) << "not read yet";

  ASSERT_EQ(AddDataset({"--array", "image=" + Path("images.npy")}).code, ExitCode::kOk);

  const auto json = nlohmann::json::parse(
      MustRun({"site", "dataset", "list", "--dir", Path("north"), "--format", "json"}));
  EXPECT_EQ(json["datasets"][0]["arrays"][0]["column"], "image");
  EXPECT_EQ(json["datasets"][0]["arrays"][0]["path"], Path("images.npy"));
  EXPECT_THAT(AddDataset({"--array", "image"}).err, HasSubstr("COLUMN=FILE.npy"));
  EXPECT_THAT(AddDataset({"--array", "image=" + Path("absent.npy")}).err, HasSubstr("no file"));
}

TEST_F(SiteVerbsTest, AllowsSumsOnlyWhenAsked) {
  ASSERT_EQ(AddDataset().code, ExitCode::kOk);
  ASSERT_EQ(Allow("heart").code, ExitCode::kOk);
  EXPECT_THAT(Read("north/site.yaml"), Not(HasSubstr("\n      sums:")));

  ASSERT_EQ(Run({"site", "allow", "--dir", Path("north"), "--researcher", "alice", "--dataset",
                 "heart", "--model", "cox", "--sums", "newton"})
                .code,
            ExitCode::kOk);
  EXPECT_THAT(Read("north/site.yaml"), HasSubstr("sums: [newton]"));
}

TEST_F(SiteVerbsTest, RefusesAMalformedFilter) {
  EXPECT_THAT(AddDataset({"--keep", "center"}).err, HasSubstr("COLUMN=VALUE"));
}

TEST_F(SiteVerbsTest, RefusesOptionsThatTheAgentWouldRefuse) {
  const std::string before = Read("north/site.yaml");

  EXPECT_EQ(AddDataset({"--decimal", ",", "--delimiter", ","}).code, ExitCode::kInvalid);

  EXPECT_EQ(Read("north/site.yaml"), before);
}

TEST_F(SiteVerbsTest, AllowsWhatItIsToldAndNothingMore) {
  ASSERT_EQ(AddDataset().code, ExitCode::kOk);

  ASSERT_EQ(Allow("heart").code, ExitCode::kOk);

  const std::string file = Read("north/site.yaml");
  EXPECT_THAT(file, HasSubstr("alice"));
  EXPECT_THAT(file, HasSubstr("max_rounds: 50"));
  EXPECT_THAT(file, HasSubstr("loss"));
  EXPECT_EQ(file.find("accuracy"), std::string::npos);
}

TEST_F(SiteVerbsTest, RefusesARuleForADatasetThatIsNotThere) {
  EXPECT_EQ(Allow("heart").code, ExitCode::kInvalid);
}

TEST_F(SiteVerbsTest, ChecksEverythingAndSaysOk) {
  Enrol();
  ASSERT_EQ(AddDataset({"--split-column", "split"}).code, ExitCode::kOk);
  ASSERT_EQ(Allow("heart").code, ExitCode::kOk);

  const std::string out = MustRun({"site", "check", "--dir", Path("north")});

  EXPECT_THAT(out, HasSubstr("ok      identity: site 'north'"));
  EXPECT_THAT(out, HasSubstr("ok      dataset heart: 2 rows, 4 columns"));
}

TEST_F(SiteVerbsTest, CheckTellsOfATableThatABudgetDoesNotCover) {
  Enrol();
  ASSERT_EQ(AddDataset({"--max-epsilon", "2", "--delta", "1e-5"}).code, ExitCode::kOk);
  ASSERT_EQ(Allow("heart").code, ExitCode::kOk);
  EXPECT_THAT(MustRun({"site", "check", "--dir", Path("north")}), Not(HasSubstr("note")));

  MustRun({"site", "dataset", "add", "--dir", Path("north"), "--id", "again", "--csv",
           Path("heart.csv")});

  EXPECT_THAT(MustRun({"site", "check", "--dir", Path("north")}),
              HasSubstr("note    dataset heart: its privacy budget does not count jobs on dataset "
                        "again, which offers the same table without a budget"));
}

TEST_F(SiteVerbsTest, ChecksSaysWhatIsWrongAndGoesOn) {
  ASSERT_EQ(AddDataset({"--split-column", "part"}).code, ExitCode::kOk);
  ASSERT_EQ(Allow("heart").code, ExitCode::kOk);

  const Result result = Run({"site", "check", "--dir", Path("north")});

  EXPECT_EQ(result.code, ExitCode::kInvalid);
  EXPECT_THAT(result.out, HasSubstr("FAILED  identity"));
  EXPECT_THAT(result.out, HasSubstr("FAILED  dataset heart: split_column names 'part'"));
  EXPECT_THAT(result.err, HasSubstr("2 checks failed"));
}

TEST_F(SiteVerbsTest, CheckRefusesASiteThatAllowsNothing) {
  const Result result = Run({"site", "check", "--dir", Path("north")});

  EXPECT_EQ(result.code, ExitCode::kInvalid);
  EXPECT_THAT(result.out, HasSubstr("policy"));
}

TEST_F(SiteVerbsTest, MakesFourSyntheticHospitalsThatAreTheSameForASeed) {
  MustRun({"data", "synthetic", "--out", Path("one"), "--seed", "7"});
  MustRun({"data", "synthetic", "--out", Path("two"), "--seed", "7"});
  std::size_t count = 0;

  for (const auto& entry : std::filesystem::directory_iterator(Path("one"))) {
    ++count;
    const std::string name = entry.path().filename().string();
    EXPECT_EQ(Read("one/" + name), Read("two/" + name));
  }

  EXPECT_EQ(count, 4u);
}

}  // namespace
}  // namespace chorale::cli
