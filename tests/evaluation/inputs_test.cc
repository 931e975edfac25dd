#include "evaluation/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "jobs/job_spec.h"
#include "models/safetensors.h"
#include "tests/support/temporary_directory.h"

namespace chorale::evaluation {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class InputsTest : public testing::Test {
 protected:
  InputsTest() {
    job_.set_dataset("toy");
    job_.mutable_data()->add_features()->set_column("x");
    job_.mutable_data()->mutable_features(0)->mutable_numeric();
    job_.mutable_data()->mutable_target()->set_column("y");
    job_.mutable_data()->mutable_target()->add_positive("1");
    job_.mutable_data()->set_standardization(v1::STANDARDIZATION_PER_SITE);
    job_.mutable_model()->mutable_logistic_regression();
  }
  std::filesystem::path Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = directory_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }
  std::filesystem::path Save(const ParameterLayout& layout, const ParameterVector& values) {
    const std::filesystem::path path = directory_.path() / "model.safetensors";
    EXPECT_TRUE(models::SaveSafetensors(path, layout, values, {}).ok());
    return path;
  }

  support::TemporaryDirectory directory_;
  v1::JobSpec job_;
};

TEST_F(InputsTest, ASiteIsANameAndAFile) {
  const SiteFile site = ParseSiteFile("north=/etc/chorale/site=a.yaml").value();
  EXPECT_EQ(site.name, "north");
  EXPECT_EQ(site.path, "/etc/chorale/site=a.yaml");
  for (const char* text :
       {"", "north", "north=", "=site.yaml", "Nörth=site.yaml", "../north=site.yaml"}) {
    EXPECT_EQ(ParseSiteFile(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST_F(InputsTest, ReadsTheJobsDatasetBesideSiteYaml) {
  Write("north/toy.csv", "x,y\n1,0\n2,1\n3,1\n");
  const auto yaml = Write("north/site.yaml",
                          "datasets:\n  - id: other\n    csv: {path: none.csv}\n  - id: toy\n    "
                          "csv: {path: toy.csv}\n");

  const data::Dataset dataset =
      LoadSiteDataset({.name = "north", .path = yaml}, job_, std::nullopt).value();

  EXPECT_EQ(dataset.num_training_rows(), 3u);
}

TEST_F(InputsTest, ReadsTablesFromAnotherDirectoryWhenTold) {
  Write("tables/toy.csv", "x,y\n1,0\n2,1\n");
  const auto yaml = Write("north/site.yaml", "datasets:\n  - id: toy\n    csv: {path: toy.csv}\n");
  const SiteFile site{.name = "north", .path = yaml};

  EXPECT_EQ(LoadSiteDataset(site, job_, std::nullopt).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(LoadSiteDataset(site, job_, directory_.path() / "tables")->num_training_rows(), 2u);
}

TEST_F(InputsTest, ErrorsBeginWithTheSiteAndSayWhatItHas) {
  const auto yaml = Write("site.yaml", "datasets:\n  - id: other\n    csv: {path: none.csv}\n");

  const Status status =
      LoadSiteDataset({.name = "north", .path = yaml}, job_, std::nullopt).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), StartsWith("site north: "));
  EXPECT_THAT(MessageOf(status), HasSubstr("no dataset toy; it has: other"));

  const Status missing =
      LoadSiteDataset({.name = "north", .path = "nowhere.yaml"}, job_, std::nullopt).status();
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
}

TEST_F(InputsTest, ReadsTheModelOfTheJob) {
  const ParameterVector values = {0.5F, -1};
  const LoadedModel model =
      LoadFederatedModel(Save(jobs::PlanOf(job_)->layout(), values), job_).value();
  EXPECT_EQ(model.parameters, values);
  EXPECT_EQ(model.blob.size_bytes, 8u);
}

TEST_F(InputsTest, ReadsTheExactCoefficientsOfANewtonJob) {
  job_.mutable_newton();
  const ParameterLayout layout = jobs::PlanOf(job_)->layout();
  const std::vector<double> values = {1.0 / 3, -2};
  std::string file = models::SafetensorsHeader(layout, {}, models::NumberType::kFloat64);
  const auto bytes = AsBytes(std::span<const double>(values));
  file.append(bytes.begin(), bytes.end());
  const std::filesystem::path path = Write("exact.safetensors", file);

  const LoadedModel model = LoadFederatedModel(path, job_).value();

  EXPECT_EQ(model.parameters, (ParameterVector{1.0F / 3, -2}));
  EXPECT_EQ(model.blob.digest, crypto::IdentifyBlob(bytes).digest);
  job_.clear_newton();
  EXPECT_EQ(LoadFederatedModel(path, job_).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(InputsTest, FindsInitialWeightsBesideTheJobInAnyOrder) {
  EXPECT_TRUE(LoadInitialModel(directory_.path() / "job.yaml", job_, nullptr)->empty());
  const ParameterLayout other =
      ParameterLayout::Create(
          {{.name = "linear.bias", .shape = {1}}, {.name = "linear.weight", .shape = {1, 1}}})
          .value();
  Save(other, {9, 4});
  job_.mutable_initial_model()->set_file("model.safetensors");
  v1::JobSpec ran = job_;
  const ParameterVector weights = {4, 9};
  const crypto::Digest digest =
      crypto::IdentifyBlob(AsBytes(std::span<const float>(weights))).digest;
  ran.mutable_initial_model()->mutable_weights()->set_digest(digest.data(), digest.size());

  EXPECT_EQ(LoadInitialModel(directory_.path() / "job.yaml", job_, &ran).value(), weights);

  ran.mutable_initial_model()->mutable_weights()->mutable_digest()->at(0) ^= 1;
  EXPECT_THAT(MessageOf(LoadInitialModel(directory_.path() / "job.yaml", job_, &ran).status()),
              HasSubstr("other weights than the job started from"));
}

TEST_F(InputsTest, RefusesAModelOfAnotherJob) {
  const ParameterLayout transposed =
      ParameterLayout::Create(
          {{.name = "linear.weight", .shape = {1}}, {.name = "linear.bias", .shape = {1}}})
          .value();
  const auto path = Save(transposed, {1, 2});
  EXPECT_EQ(LoadFederatedModel(path, job_).status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(LoadFederatedModel(path, job_).status()),
              HasSubstr("does not hold the job's model"));
}

TEST_F(InputsTest, RefusesWeightsThatAreNotFinite) {
  const auto path =
      Save(jobs::PlanOf(job_)->layout(), {1, std::numeric_limits<float>::quiet_NaN()});
  EXPECT_THAT(MessageOf(LoadFederatedModel(path, job_).status()), HasSubstr("NaN or infinite"));
}

}  // namespace
}  // namespace chorale::evaluation
