#include "site_agent/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/site_agent/fixtures.h"
#include "tests/support/temporary_directory.h"

namespace chorale::site_agent {
namespace {

using testing::HasSubstr;

constexpr const char* kValid = R"(coordinator: coordinator.example:8443
state_directory: state
identity_directory: /etc/chorale/identity
datasets:
  - id: heart
    csv:
      path: heart.csv
policy:
  allow:
    - researchers: [ada]
      datasets: [heart]
      models: [logistic_regression]
      metrics: [loss]
      max_parameters: 100
      max_rounds: 10
      max_local_epochs: 5
)";

class SiteConfigTest : public testing::Test {
 protected:
  StatusOr<v1::SiteConfig> Load(std::string_view text) {
    WriteFile(path_, text);
    return LoadSiteConfig(path_);
  }
  // The valid file with one text replaced.
  StatusOr<v1::SiteConfig> LoadWith(std::string_view from, std::string_view to) {
    std::string text = kValid;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return Load(text.replace(at, from.size(), to));
  }

  support::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "site.yaml";
};

TEST_F(SiteConfigTest, FillsInEveryDefault) {
  const StatusOr<v1::SiteConfig> config = Load(kValid);

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->device(), "auto");
  EXPECT_GE(config->threads(), 1u);
  EXPECT_GE(config->max_memory_bytes(), 16u << 20);
  EXPECT_EQ(config->datasets(0).csv().delimiter(), ",");
  EXPECT_EQ(config->datasets(0).csv().missing_size(), 4);
  EXPECT_EQ(config->datasets(0).csv().on_missing(), v1::MISSING_ROWS_REFUSE);
  EXPECT_EQ(config->policy().allow(0).min_examples(), 10u);
}

TEST_F(SiteConfigTest, PrivacyLimitsDefaultToTheWholeBudget) {
  const StatusOr<v1::SiteConfig> config =
      LoadWith("id: heart", "id: heart\n    privacy: {max_epsilon: 3, delta: 1e-5}");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->datasets(0).privacy().max_epsilon_per_job(), 3);
  EXPECT_EQ(config->datasets(0).privacy().max_epsilon_per_project(), 3);
  EXPECT_EQ(config->datasets(0).privacy().relation(), "add-remove");
  EXPECT_FALSE(Load(kValid)->datasets(0).has_privacy());
}

TEST_F(SiteConfigTest, RelativeDirectoriesStartAtTheFile) {
  const StatusOr<v1::SiteConfig> config = Load(kValid);

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_directory(), (directory_.path() / "state").string());
  EXPECT_EQ(config->identity_directory(), "/etc/chorale/identity");
  EXPECT_EQ(config->datasets(0).csv().path(), "heart.csv");
}

TEST_F(SiteConfigTest, AMissingFileIsNotFound) {
  EXPECT_EQ(LoadSiteConfig(directory_.path() / "none.yaml").status().code(), StatusCode::kNotFound);
}

TEST_F(SiteConfigTest, AnEmptyPolicyIsRefusedAndSaysWhatToWrite) {
  std::string text = kValid;
  const Status status = Load(text.substr(0, text.find("policy:"))).status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("policy.allow is empty"));
}

TEST_F(SiteConfigTest, EveryBoundIsToldWithFileLineKeyAndValue) {
  struct Case {
    const char* from;
    const char* to;
    const char* message;
  };
  const Case cases[] = {
      {"coordinator.example:8443", "coordinator.example",
       "site.yaml:1: coordinator must be host:port"},
      {"coordinator.example:8443", "coordinator.example:70000", "coordinator must be host:port"},
      {"state_directory: state", "device: gpu",
       "site.yaml:2: device must be auto, cpu, cuda or cuda:N"},
      {"state_directory: state", "threads: 2000", "threads must be in [1, 1024], got 2000"},
      {"state_directory: state", "proxy: https://p:1", "proxy must be http://host:port or none"},
      {"state_directory: state", "metrics_listen: here", "metrics_listen must be host:port"},
      {"state_directory: state", "log: {level: loud}", "site.yaml:2: log"},
      {"id: heart", "id: Heart", "site.yaml:5: datasets[0].id must be 1 to 64"},
      {"path: heart.csv", "path: \"\"", "site.yaml:7: datasets[0].csv.path must name a file"},
      {"path: heart.csv", "{path: a, delimiter: \";;\"}", "datasets[0].csv.delimiter"},
      {"id: heart", "id: heart\n    privacy: {delta: 1e-5}",
       "site.yaml:6: datasets[0].privacy.max_epsilon must be in [0.05, 100], got 0"},
      {"id: heart", "id: heart\n    privacy: {max_epsilon: 3}",
       "datasets[0].privacy.delta must be in [1e-10, 0.01], got 0"},
      {"id: heart", "id: heart\n    privacy: {max_epsilon: 3, delta: 1e-5, max_epsilon_per_job: 4}",
       "datasets[0].privacy.max_epsilon_per_job must be in [0.05, 3], got 4"},
      {"id: heart",
       "id: heart\n    privacy: {max_epsilon: 3, delta: 1e-5, max_epsilon_per_project: 0.01}",
       "datasets[0].privacy.max_epsilon_per_project must be in [0.05, 3], got 0.01"},
      {"id: heart", "id: heart\n    privacy: {max_epsilon: 3, delta: 1e-5, relation: swap}",
       "datasets[0].privacy.relation must be add-remove or replace, got \"swap\""},
      {"researchers: [ada]", "researchers: [\"*\"]", "policy.allow[0].researchers[0] must be"},
      {"datasets: [heart]", "datasets: [hart]", "policy.allow[0].datasets[0] must be the id of"},
      {"models: [logistic_regression]", "models: [logistic_regresion]",
       "policy.allow[0].models[0] must be a model of the zoo, or the digest of a graph in 64 "
       "hexadecimal digits (as `chorale model show` prints it), got \"logistic_regresion\": did "
       "you "
       "mean logistic_regression?"},
      {"models: [logistic_regression]", "models: [svm]", "the zoo has logistic_regression, mlp, "},
      {"models: [logistic_regression]", "models: [mlp, graph]",
       "policy.allow[0].models[1] must be"},
      {"models: [logistic_regression]", "models: [\"\"]", "policy.allow[0].models[0] must be"},
      {"models: [logistic_regression]",
       "models: [123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef]",
       "policy.allow[0].models[0] must be"},
      {"models: [logistic_regression]",
       "models: [g0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde]",
       "policy.allow[0].models[0] must be"},
      {"state_directory: state", "max_memory_bytes: 1000000",
       "site.yaml:2: max_memory_bytes must be at least 16777216 (16 MiB), got 1000000"},
      {"max_parameters: 100", "max_parameters: 0", "max_parameters must be at least 1, got 0"},
      {"max_rounds: 10", "max_rounds: 0", "policy.allow[0].max_rounds must be at least 1, got 0"},
      {"max_local_epochs: 5", "max_local_epochs: 0", "max_local_epochs must be at least 1, got 0"},
      {"state_directory: state", "state_directori: state", "state_directory"},
  };
  for (const Case& spoiled : cases) {
    std::string to = spoiled.to;
    std::string from = spoiled.from;
    if (to.starts_with("{path")) from = "\n      path: heart.csv", to = " " + to;

    const Status status = LoadWith(from, to).status();

    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << spoiled.to;
    EXPECT_THAT(MessageOf(status), HasSubstr(spoiled.message)) << spoiled.to;
  }
}

TEST_F(SiteConfigTest, ARuleNamesModelsOfTheZooAndDigestsOfGraphs) {
  const StatusOr<v1::SiteConfig> config =
      LoadWith("models: [logistic_regression]",
               "models: [cox, resnet18_gn, "
               "\"0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef\"]");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->policy().allow(0).models_size(), 3);
}

TEST_F(SiteConfigTest, ARuleWithoutALimitIsRefused) {
  EXPECT_THAT(MessageOf(LoadWith("      max_rounds: 10\n", "").status()),
              HasSubstr("policy.allow[0].max_rounds must be at least 1"));
}

TEST_F(SiteConfigTest, ADatasetIdTwiceIsRefused) {
  EXPECT_THAT(
      MessageOf(LoadWith("policy:", "  - id: heart\n    csv: {path: b.csv}\npolicy:").status()),
      HasSubstr("datasets[1].id must be unique"));
}

TEST_F(SiteConfigTest, ADatasetWithoutConnectorIsRefused) {
  EXPECT_THAT(MessageOf(LoadWith("    csv:\n      path: heart.csv\n", "").status()),
              HasSubstr("datasets[0].csv is required"));
}

}  // namespace
}  // namespace chorale::site_agent
