#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "coordinator/engine.h"
#include "core/rpc/chunks.h"
#include "data/preparation.h"
#include "tests/coordinator/engine_fixture.h"
#include "training/newton_sums.h"

// Jobs other than plain averaging, from submission to their end.
namespace chorale::coordinator {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

class EngineAlgorithmsTest : public EngineTest {
 protected:
  EngineAlgorithmsTest() {
    Connect("north");
    Connect("south");
  }
  template <typename Number>
  static std::vector<Number> Read(const PayloadReader& reader) {
    std::vector<Number> values(reader.size_bytes() / sizeof(Number));
    const std::span<std::uint8_t> bytes(reinterpret_cast<std::uint8_t*>(values.data()),
                                        reader.size_bytes());
    EXPECT_TRUE(reader.ReadAt(0, bytes).ok());
    return values;
  }
  template <typename Number>
  std::vector<Number> Read(const crypto::BlobId& id) {
    const auto reader = payloads_->Find(id);
    EXPECT_TRUE(reader.ok()) << reader.status();
    return reader.ok() ? Read<Number>(*reader) : std::vector<Number>();
  }
  // The last model that the job published, also of one that has ended.
  template <typename Number = float>
  std::vector<Number> ModelOf(const JobId& id) {
    const auto model = engine_->FindModel(id);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? Read<Number>(model->reader) : std::vector<Number>();
  }
  v1::RoundRecord LastRound(const JobId& id) {
    const auto shown = engine_->Show(id);
    return shown->rounds(shown->rounds_size() - 1);
  }
};

// ---------------------------------------------------------------------------- server state

TEST_F(EngineAlgorithmsTest, CarriesServerMomentumFromRoundToRound) {
  v1::JobSpec spec = Spec();
  v1::FedAvgM& rule = *spec.mutable_aggregation()->mutable_fedavgm();
  rule.set_weighting(v1::WEIGHTING_UNIFORM);
  rule.set_momentum(0.5);
  spec.mutable_rounds()->set_count(3);
  const JobId id = Submit(spec);
  DoWork();
  // Mean updates of 2: momentum 2, 3, 3.5; the model 2, 5, 8.5.
  for (const float expected : {2.0f, 5.0f, 8.5f}) {
    EXPECT_TRUE(Report("north", 1).ok());
    EXPECT_TRUE(Report("south", 3).ok());
    DoWork();
    EXPECT_THAT(ModelOf(id), Each(expected));
  }

  EXPECT_EQ(Summary(id).state(), v1::JOB_STATE_COMPLETED) << Summary(id).reason();
  EXPECT_EQ(store_.ListBlobs()->size(), 2u);  // Two models; no state outlives its job.
}

TEST_F(EngineAlgorithmsTest, ServerMomentumSurvivesARestart) {
  v1::JobSpec spec = Spec();
  v1::FedAvgM& rule = *spec.mutable_aggregation()->mutable_fedavgm();
  rule.set_weighting(v1::WEIGHTING_UNIFORM);
  rule.set_momentum(0.5);
  const JobId id = Submit(spec);
  DoWork();
  EXPECT_TRUE(Report("north", 1).ok());
  EXPECT_TRUE(Report("south", 3).ok());
  DoWork();

  Restart();
  Connect("north");
  Connect("south");
  EXPECT_TRUE(Report("north", 1).ok());
  EXPECT_TRUE(Report("south", 3).ok());
  DoWork();

  EXPECT_THAT(ModelOf(id), Each(5.0f));
}

TEST_F(EngineAlgorithmsTest, GivesSitesTheServersControlVariateUnderScaffold) {
  v1::JobSpec spec = Spec();
  spec.mutable_training()->mutable_scaffold();
  const JobId id = Submit(spec);
  DoWork();
  EXPECT_FALSE(Task("north").training().has_control_variate());
  EXPECT_TRUE(ReportNumbers("north", std::vector<float>{1, 1, 1, 1, 0.5f, 0.5f, 0.5f, 0.5f}).ok());
  EXPECT_TRUE(ReportNumbers("south", std::vector<float>{3, 3, 3, 3, 1.5f, 1.5f, 1.5f, 1.5f}).ok());
  DoWork();

  EXPECT_THAT(ModelOf(id), Each(2.0f));
  ASSERT_TRUE(Task("north").training().has_control_variate());
  const auto variate = rpc::FromProto(Task("north").training().control_variate());
  ASSERT_TRUE(variate.ok()) << variate.status();
  EXPECT_THAT(Read<float>(*variate), Each(1.0f));  // The mean change, both sites being all sites.
  const auto task = tasks_->Find(TaskId(Channel("north").LastTask()), SiteId("north"));
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_THAT(task->blobs, testing::Contains(*variate));
  EXPECT_THAT(task->blobs, testing::SizeIs(2));
}

// ---------------------------------------------------------------------------- cyclic

TEST_F(EngineAlgorithmsTest, SitesTakeTurnsUnderCyclicTraining) {
  Connect("east");
  v1::JobSpec spec = Spec();
  spec.mutable_aggregation()->mutable_cyclic();
  spec.mutable_rounds()->set_min_reports(1);
  spec.mutable_rounds()->set_count(6);
  const JobId id = Submit(spec);
  DoWork();
  std::vector<std::string> turns;
  for (int round = 0; round < 6; ++round) {
    const v1::JobSummary summary = Summary(id);
    ASSERT_EQ(summary.current().sites_size(), 1);
    turns.push_back(summary.current().sites(0).site());
    EXPECT_TRUE(Report(turns.back(), 1).ok());
    DoWork();
  }

  EXPECT_EQ(std::set<std::string>(turns.begin(), turns.begin() + 3).size(), 3u);
  EXPECT_TRUE(std::equal(turns.begin(), turns.begin() + 3, turns.begin() + 3));
  EXPECT_THAT(ModelOf(id), Each(6.0f));  // The model travels: every update counts whole.
}

// ---------------------------------------------------------------------------- preparation

TEST_F(EngineAlgorithmsTest, TellsStatisticsOfEveryColumn) {
  Connect("east");
  v1::JobSpec spec = Spec();
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
  spec.mutable_rounds()->set_cohort_size(2);
  const JobId id = Submit(spec);
  DoWork();
  ASSERT_EQ(data::PreparationSize(spec.data()), 8u);
  EXPECT_EQ(Summary(id).current().sites_size(), 3);  // Everybody prepares, whatever trains.
  EXPECT_EQ(Summary(id).current().phase(), "preparation");
  // age: rows, sum, squares, missing; pain: none, mild, strong, missing.
  EXPECT_TRUE(ReportNumbers("east", std::vector<double>{1, 5, 25, 0, 1, 0, 0, 0}, 1).ok());
  EXPECT_TRUE(ReportNumbers("north", std::vector<double>{2, 3, 5, 1, 1, 1, 1, 0}, 3).ok());
  EXPECT_TRUE(ReportNumbers("south", std::vector<double>{1, 4, 16, 0, 0, 0, 0, 1}, 1).ok());
  DoWork();

  const v1::RoundRecord record = engine_->Show(id)->rounds(0);
  ASSERT_EQ(record.statistics_size(), 2);
  EXPECT_EQ(record.statistics(0).column(), "age");
  EXPECT_EQ(record.statistics(0).count(), 4u);
  EXPECT_EQ(record.statistics(0).missing(), 1u);
  EXPECT_DOUBLE_EQ(record.statistics(0).mean(), 3);
  EXPECT_NEAR(record.statistics(0).standard_deviation(), std::sqrt(10.0 / 3), 1e-12);
  EXPECT_EQ(record.statistics(1).column(), "pain");
  EXPECT_THAT(record.statistics(1).level_counts(), ElementsAre(2u, 1u, 1u));
  EXPECT_EQ(record.statistics(1).missing(), 1u);
  EXPECT_EQ(Summary(id).current().sites_size(), 2);
  const std::string trained = Summary(id).current().sites(0).site();
  ASSERT_EQ(Task(trained).training().moments_size(), 1);
  EXPECT_DOUBLE_EQ(Task(trained).training().moments(0).mean(), 3);
}

// ---------------------------------------------------------------------------- newton

// Two sites whose rows are known, and what they report at given coefficients.
class EngineNewtonTest : public EngineAlgorithmsTest {
 protected:
  static v1::JobSpec NewtonSpec() {
    v1::JobSpec spec = Spec();
    spec.clear_training();
    spec.clear_aggregation();
    spec.mutable_newton();
    spec.mutable_rounds()->set_count(30);
    return spec;
  }
  // Rows of age and two indicators with their outcomes, without separation.
  static data::ExactExamples RowsOf(const std::string& site) {
    data::ExactExamples examples;
    examples.num_inputs = 3;
    if (site == "north") {
      examples.inputs = {0.1, 0, 0, 1.2, 1, 0, -0.7, 0, 1, 0.4, 1, 0, 2.0, 0, 1, -1.1, 0, 0};
      examples.targets = {0, 1, 0, 0, 1, 1};
    } else {
      examples.inputs = {0.3, 1, 0, -0.2, 0, 1, 1.4, 0, 0, -1.6, 1, 0, 0.9, 0, 1};
      examples.targets = {1, 1, 0, 0, 1};
    }
    for (std::size_t i = 0; i < examples.targets.size(); ++i) {
      examples.patients.push_back(static_cast<std::uint32_t>(i));
    }
    return examples;
  }
  Status ReportSums(const std::string& site) {
    const auto coefficients = rpc::FromProto(Task(site).newton().coefficients());
    EXPECT_TRUE(coefficients.ok()) << coefficients.status();
    EXPECT_EQ(coefficients->size_bytes, 32u);
    const data::ExactExamples rows = RowsOf(site);
    const auto sums =
        training::NewtonSums(training::NewtonKind::kLogistic, rows, Read<double>(*coefficients));
    EXPECT_TRUE(sums.ok()) << sums.status();
    return ReportNumbers(site, *sums, rows.size());
  }
};

TEST_F(EngineNewtonTest, SolvesAndSaysThatItConverged) {
  const JobId id = Submit(NewtonSpec());
  DoWork();
  EXPECT_EQ(Summary(id).current().phase(), "newton");
  int steps = 0;
  while (Summary(id).state() == v1::JOB_STATE_RUNNING && ++steps < 30) {
    EXPECT_TRUE(ReportSums("north").ok());
    EXPECT_TRUE(ReportSums("south").ok());
    DoWork();
  }

  EXPECT_EQ(Summary(id).state(), v1::JOB_STATE_COMPLETED);
  EXPECT_NE(Summary(id).reason(), "");
  EXPECT_LT(steps, 12);
  EXPECT_EQ(engine_->Show(id)->rounds(0).phase(), "newton");
  // At the solution the gradient of all rows is zero.
  const std::vector<double> solution = ModelOf<double>(id);
  ASSERT_EQ(solution.size(), 4u);
  const auto north =
      *training::NewtonSums(training::NewtonKind::kLogistic, RowsOf("north"), solution);
  const auto south =
      *training::NewtonSums(training::NewtonKind::kLogistic, RowsOf("south"), solution);
  for (std::size_t i = 2; i < 6; ++i) EXPECT_NEAR(north[i] + south[i], 0, 1e-6);
  EXPECT_LE(store_.ListBlobs()->size(), 2u);
}

TEST_F(EngineNewtonTest, FindsTheSameSolutionAcrossARestart) {
  std::vector<crypto::BlobId> solutions;
  for (const bool restarts : {false, true}) {
    const JobId id = Submit(NewtonSpec());
    DoWork();
    for (int step = 0; step < 30 && Summary(id).state() == v1::JOB_STATE_RUNNING; ++step) {
      EXPECT_TRUE(ReportSums("north").ok());
      if (restarts && step == 2) {
        Restart();
        Connect("north");
        Connect("south");
      }
      EXPECT_TRUE(ReportSums("south").ok());
      DoWork();
    }
    solutions.push_back(engine_->FindModel(id)->id);
  }

  EXPECT_EQ(solutions[0], solutions[1]);
}

TEST_F(EngineNewtonTest, ComparesLossesOverTheSameSitesOnly) {
  v1::JobSpec spec = NewtonSpec();
  spec.mutable_rounds()->set_min_reports(1);
  Submit(spec);
  DoWork();
  EXPECT_TRUE(ReportSums("north").ok());
  EXPECT_TRUE(ReportSums("south").ok());
  DoWork();
  EXPECT_TRUE(ReportSums("north").ok());
  EXPECT_TRUE(ReportSums("south").ok());
  ASSERT_EQ(work_.queue.size(), 1u);
  EXPECT_TRUE(std::get<NewtonWork>(work_.queue.front().task).state.has_value());
  DoWork();

  Disconnect("south");
  EXPECT_TRUE(ReportSums("north").ok());
  Advance(std::chrono::seconds(10));  // The grace of the site that is gone.
  ASSERT_EQ(work_.queue.size(), 1u);
  EXPECT_FALSE(std::get<NewtonWork>(work_.queue.front().task).state.has_value());
  DoWork();

  EXPECT_TRUE(ReportSums("north").ok());
  ASSERT_EQ(work_.queue.size(), 1u);
  EXPECT_TRUE(std::get<NewtonWork>(work_.queue.front().task).state.has_value());
}

// ---------------------------------------------------------------------------- ends

TEST_F(EngineAlgorithmsTest, StopsEarlyAndPersonalizes) {
  v1::JobSpec spec = Spec();
  spec.mutable_rounds()->set_count(10);
  v1::EarlyStop& stop = *spec.mutable_rounds()->mutable_early_stop();
  *stop.mutable_metric() = spec.training().metrics(0);
  stop.set_patience(1);
  spec.mutable_personalization()->set_local_epochs(3);
  const JobId id = Submit(spec);
  DoWork();
  v1::MetricValue loss;
  loss.set_kind(v1::METRIC_KIND_LOSS);
  loss.set_split(v1::SPLIT_TRAIN);
  loss.set_value(0.5);
  loss.set_num_examples(10);
  for (int round = 0; round < 2; ++round) {
    for (const char* site : {"north", "south"}) {
      EXPECT_TRUE(ReportNumbers(site, std::vector<float>(4, 1), 10, {loss}).ok());
    }
    DoWork();
  }

  EXPECT_EQ(Summary(id).current().phase(), "personalization");
  EXPECT_THAT(Summary(id).reason(), HasSubstr("the personalization round waits for"));
  EXPECT_TRUE(Task("north").has_personalization());
  EXPECT_EQ(Task("north").round(), 3u);
  EXPECT_TRUE(ReportNumbers("north", std::vector<double>{2, 10}).ok());
  EXPECT_TRUE(ReportNumbers("south", std::vector<double>{9, 30}).ok());
  DoWork();

  EXPECT_EQ(Summary(id).state(), v1::JOB_STATE_COMPLETED);
  EXPECT_THAT(Summary(id).reason(), HasSubstr("stopped early after round 2"));
  EXPECT_EQ(Summary(id).published_rounds(), 2u);
  const v1::RoundRecord last = LastRound(id);
  EXPECT_EQ(last.phase(), "personalization");
  ASSERT_EQ(last.metrics_size(), 1);
  EXPECT_DOUBLE_EQ(last.metrics(0).value(), 0.275);
  EXPECT_EQ(last.metrics(0).num_examples(), 40u);
  EXPECT_THAT(ModelOf(id), Each(2.0f));
  Restart();
  EXPECT_THAT(Summary(id).reason(), HasSubstr("stopped early after round 2"));
}

// ---------------------------------------------------------------------------- initial models

class EngineInitialModelTest : public EngineAlgorithmsTest {
 protected:
  // A job that starts from these weights, which ada uploads.
  v1::JobSpec SpecFrom(const std::vector<float>& weights) {
    StatusOr<HeldPayload> held = Hold(weights);
    EXPECT_TRUE(held.ok()) << held.status();
    v1::JobSpec spec = Spec();
    spec.mutable_initial_model()->set_file("start.safetensors");
    *spec.mutable_initial_model()->mutable_weights() = rpc::ToProto(held->id());
    uploads_->Put(ResearcherId("ada"), *std::move(held), clock_.Now());
    return spec;
  }
};

TEST_F(EngineInitialModelTest, StartsFromUploadedWeights) {
  const JobId id = Submit(SpecFrom({1, 2, 3, 4}));
  DoWork();
  EXPECT_TRUE(Report("north", 1).ok());
  EXPECT_TRUE(Report("south", 1).ok());
  DoWork();

  EXPECT_THAT(ModelOf(id), ElementsAre(2, 3, 4, 5));
}

TEST_F(EngineInitialModelTest, KeepsUploadedWeightsOnceAJobNamesThem) {
  const JobId id = Submit(SpecFrom({1, 2, 3, 4}));
  Restart();  // Forgets uploads, not jobs.
  Connect("north");
  Connect("south");
  DoWork();
  EXPECT_TRUE(Report("north", 1).ok());
  EXPECT_TRUE(Report("south", 1).ok());
  DoWork();

  EXPECT_THAT(ModelOf(id), ElementsAre(2, 3, 4, 5));
}

TEST_F(EngineInitialModelTest, RefusesWeightsThatAreNotThere) {
  const v1::JobSpec spec = SpecFrom({1, 2, 3, 4});
  Advance(Uploads::kLifetime);

  const Status status = TrySubmit(spec).status();

  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("upload them again"));
}

TEST_F(EngineInitialModelTest, RefusesAJobThatDoesNotNameItsWeights) {
  v1::JobSpec spec = Spec();
  spec.mutable_initial_model()->set_file("start.safetensors");

  const Status status = TrySubmit(spec).status();

  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("initial_model.weights is required"));
}

TEST_F(EngineInitialModelTest, LetsUploadedWeightsGoWithACancelledJob) {
  const JobId id = Submit(SpecFrom({1, 2, 3, 4}));
  engine_->Cancel(id, ResearcherId("ada"), [](const StatusOr<v1::JobSummary>&) {});
  MustCommit();

  EXPECT_TRUE(store_.ListBlobs()->empty());
}

}  // namespace
}  // namespace chorale::coordinator
