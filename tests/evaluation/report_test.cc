#include "evaluation/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/support/temporary_directory.h"

namespace chorale::evaluation {
namespace {

using testing::HasSubstr;
using testing::Not;

Scores MakeScores(std::size_t rows, bool has_two_classes) {
  return {.num_rows = rows,
          .metrics = {Estimated(0.75, 0.7, 0.8),
                      has_two_classes ? Estimated(0.875, 0.85, 0.9) : NotEstimable("one class"),
                      Estimated(0.5, 0.4, 0.6)}};
}

Arm MakeArm(ArmKind kind, const std::string& site) {
  return {.kind = kind,
          .site = site,
          .optimizer_steps = 1500,
          .examples_processed = 6000,
          .training_time = std::chrono::milliseconds(kind == ArmKind::kFederated ? 0 : 250),
          .pooled = MakeScores(120, true),
          .by_site = {MakeScores(104, true), MakeScores(16, false)}};
}

RoundSummary MakeRound(std::uint32_t number, double seconds, bool is_published) {
  RoundSummary round{.round = number,
                     .phase = "training",
                     .is_published = is_published,
                     .reason = is_published ? "" : "1 of 2 reports",
                     .seconds = seconds,
                     .num_asked = 2,
                     .num_reported = is_published ? 2u : 1u,
                     .bytes_down = 112,
                     .bytes_up = 112,
                     .metrics = {}};
  for (const v1::MetricKind kind : {v1::METRIC_KIND_LOSS, v1::METRIC_KIND_ACCURACY}) {
    v1::MetricValue metric;
    metric.set_kind(kind);
    metric.set_split(v1::SPLIT_TEST);
    metric.set_value(0.6 / number);
    metric.set_num_examples(120);
    round.metrics.push_back(metric);
  }
  return round;
}

ReportContent MakeContent() {
  ReportContent content;
  content.job.set_name("heart-disease");
  content.job.set_dataset("heart-disease");
  content.job.mutable_model()->mutable_logistic_regression();
  content.job.mutable_rounds()->set_count(15);
  content.job.set_seed(42);
  content.job.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED);
  content.num_parameters = 14;
  content.model_digest = "abc123";
  content.device = "cpu";
  content.comparison.sites = {{"north", 199, 104, 91, 48, 3}, {"<south>", 30, 16, 30, 16, 0}};
  content.comparison.arms = {MakeArm(ArmKind::kLocal, "north"), MakeArm(ArmKind::kLocal, "<south>"),
                             MakeArm(ArmKind::kFederated, ""), MakeArm(ArmKind::kCentralized, "")};
  RunRecord run;
  run.job_id = "job-7";
  run.researcher = "ada";
  run.state = "completed";
  run.rounds = {MakeRound(1, 0.5, true), MakeRound(2, 0.1, true), MakeRound(3, 9, false),
                MakeRound(4, 0.2, true)};
  run.sites = {{"north", 4, 4, 224, 224}, {"<south>", 4, 3, 224, 168}};
  run.model_digest = "abc123";
  content.run = run;
  return content;
}

TEST(ReportJsonTest, HoldsEveryNumberAProgramMayWant) {
  const auto json = nlohmann::json::parse(ToJson(MakeContent()));

  EXPECT_EQ(json["format"], "chorale.report.v1");
  EXPECT_EQ(json["job"]["seed"], 42);
  EXPECT_EQ(json["model"]["digest"], "abc123");
  EXPECT_EQ(json["sites"][0]["train_rows"], 199);
  EXPECT_EQ(json["sites"][0]["dropped_rows"], 3);
  ASSERT_EQ(json["arms"].size(), 4u);
  EXPECT_EQ(json["arms"][0]["site"], "north");
  EXPECT_EQ(json["arms"][0]["training_seconds"], 0.25);
  EXPECT_FALSE(json["arms"][2].contains("training_seconds"));
  EXPECT_FALSE(json["arms"][2].contains("site"));
  EXPECT_EQ(json["arms"][2]["pooled_test"]["auroc"]["lower"], 0.85);
  EXPECT_EQ(json["arms"][2]["site_tests"][1]["auroc"]["not_estimable"], "one class");
  EXPECT_EQ(json["run"]["rounds"][2]["reason"], "1 of 2 reports");
  EXPECT_EQ(json["run"]["rounds"][0]["metrics"][0]["kind"], "loss");
  EXPECT_EQ(json["run"]["sites"][1]["bytes_up"], 168);
  EXPECT_EQ(json["run"]["round_seconds"]["median"], 0.2);
  EXPECT_EQ(json["run"]["is_published_model"], true);
  EXPECT_TRUE(json["statements"].contains("budget"));
}

TEST(ReportJsonTest, SaysWhenTheModelIsNotThePublishedOne) {
  ReportContent content = MakeContent();
  content.model_digest = "other";
  EXPECT_EQ(nlohmann::json::parse(ToJson(content))["run"]["is_published_model"], false);
  EXPECT_THAT(ToHtml(content), HasSubstr("is not the one it published last"));
}

TEST(ReportJsonTest, SurvivesNamesThatAreNotUtf8) {
  ReportContent content = MakeContent();
  content.run->researcher = "\xff\xfe";
  EXPECT_TRUE(nlohmann::json::accept(ToJson(content)));
}

TEST(ReportTextTest, ShowsRowsPooledScoresSitesAndTraffic) {
  const std::string text = ToText(MakeContent());

  EXPECT_THAT(text, HasSubstr("site     train rows  positive  test rows  positive  dropped\n"));
  EXPECT_THAT(text, HasSubstr("north           199    45.7 %        104    46.2 %        3\n"));
  EXPECT_THAT(text, HasSubstr("Pooled test set, 120 rows"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "federated      0.750 [0.700, 0.800]  0.875 [0.850, 0.900]  0.500 [0.400, 0.600]\n"));
  EXPECT_THAT(text, HasSubstr("n.e. <south>: not estimable (one class)"));
  EXPECT_THAT(text, HasSubstr("seconds per round: median 0.200, longest 0.500"));
}

TEST(ReportTextTest, FitsATerminal) {
  std::istringstream lines(ToText(MakeContent()));
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST(ReportTextTest, LeavesTheRunOutWhenThereIsNone) {
  ReportContent content = MakeContent();
  content.run.reset();
  EXPECT_THAT(ToText(content), Not(HasSubstr("Traffic")));
  EXPECT_THAT(ToHtml(content), Not(HasSubstr("The federation's run")));
  EXPECT_FALSE(nlohmann::json::parse(ToJson(content)).contains("run"));
}

TEST(ReportHtmlTest, NeedsNothingFromElsewhere) {
  const std::string html = ToHtml(MakeContent());

  for (const char* forbidden :
       {"<script", "<link", "<img", "<iframe", "url(", "@import", "src=", "href="}) {
    EXPECT_THAT(html, Not(HasSubstr(forbidden)));
  }
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
}

TEST(ReportHtmlTest, EscapesNamesEverywhere) {
  ReportContent content = MakeContent();
  content.job.set_name("<b>heart</b>");
  content.run->job_id = "<i>";
  content.run->rounds[2].reason = "<u>late</u>";

  const std::string html = ToHtml(content);

  for (const char* raw : {"<south>", "<b>", "<i>", "<u>"}) EXPECT_THAT(html, Not(HasSubstr(raw)));
  EXPECT_THAT(html, HasSubstr("&lt;south&gt;"));
}

TEST(ReportHtmlTest, HasTablesPlotsAndTheCaution) {
  const std::string html = ToHtml(MakeContent());

  std::size_t plots = 0;
  for (std::size_t at = html.find("<svg"); at != std::string::npos; at = html.find("<svg", at + 1))
    ++plots;
  EXPECT_EQ(plots, 6u);  // Three forests, two curves, traffic.
  EXPECT_THAT(html, HasSubstr("0.875 [0.850, 0.900]"));
  EXPECT_THAT(html, HasSubstr("not estimable (one class)"));
  EXPECT_THAT(html, HasSubstr("read every site&#39;s rows in one place"));
  EXPECT_THAT(html, HasSubstr("<html lang=\"en\">"));
}

// A Cox model at nine sites: one measure, events in the place of positives.
ReportContent MakeSurvivalContent() {
  ReportContent content = MakeContent();
  content.run.reset();
  content.job.clear_training();
  content.job.mutable_model()->mutable_cox();
  content.job.mutable_newton();
  Comparison& comparison = content.comparison;
  comparison = {.target = models::TargetKind::kSurvival, .sites = {}, .arms = {}};
  const auto make = [](ArmKind kind, const std::string& site) {
    Arm arm{.kind = kind, .site = site};
    arm.pooled = {.num_rows = 90, .metrics = {Estimated(0.8, 0.7, 0.9)}};
    arm.by_site = std::vector<Scores>(9, {.num_rows = 10, .metrics = {Estimated(0.7, 0.6, 0.8)}});
    if (kind == ArmKind::kFederated) arm.by_site[3].metrics = {NotEstimable("no comparable pair")};
    return arm;
  };
  for (int i = 1; i <= 9; ++i) {
    const std::string name = "site-" + std::to_string(i);
    comparison.sites.push_back({name, 100, 10, 20, 2, 0});
    comparison.arms.push_back(make(ArmKind::kLocal, name));
  }
  comparison.arms.push_back(make(ArmKind::kFederated, ""));
  comparison.arms.push_back(make(ArmKind::kCentralized, ""));
  return content;
}

TEST(ReportTest, ASurvivalModelIsToldByItsConcordanceAndItsEvents) {
  const ReportContent content = MakeSurvivalContent();
  const auto json = nlohmann::json::parse(ToJson(content));

  EXPECT_EQ(json["target"], "survival");
  EXPECT_EQ(json["sites"][0]["train_events"], 20);
  EXPECT_FALSE(json["sites"][0].contains("train_positives"));
  EXPECT_EQ(json["arms"][9]["pooled_test"]["c_index"]["value"], 0.8);
  EXPECT_FALSE(json["arms"][9]["pooled_test"].contains("auroc"));
  EXPECT_EQ(json["arms"][9]["site_tests"][3]["c_index"]["not_estimable"], "no comparable pair");
  const std::string text = ToText(content);
  EXPECT_THAT(text, HasSubstr("train rows  events  test rows  events"));
  EXPECT_THAT(text, HasSubstr("C-index on each site's own test rows"));
  EXPECT_THAT(text, HasSubstr("one stratum a site"));
  EXPECT_THAT(text, Not(HasSubstr("Equal budgets")));
  EXPECT_THAT(ToHtml(content), HasSubstr("<h3>C-index</h3>"));
}

TEST(ReportTest, ManySitesAreRowsAndLocalModelsAreTheirOwn) {
  const ReportContent content = MakeSurvivalContent();

  const SiteGrid grid = GridOf(content.comparison, 0);

  EXPECT_EQ(grid.corner, "site");
  EXPECT_THAT(grid.columns, testing::ElementsAre("its own model", "federated", "centralized"));
  ASSERT_EQ(grid.rows.size(), 9u);
  EXPECT_EQ(grid.rows[3].label, "site-4");
  EXPECT_EQ(grid.rows[3].cells[1].not_estimable, "no comparable pair");
  std::istringstream lines(ToText(content));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_THAT(ToHtml(content), HasSubstr("<th scope=\"col\">its own model</th>"));
}

TEST(ReportTest, APersonalisedArmIsExplained) {
  v1::JobSpec job = MakeContent().job;
  job.mutable_personalization()->set_local_epochs(5);
  EXPECT_THAT(StatementsOf(job, models::TargetKind::kBinary).budget,
              HasSubstr("trained on from the federated one for 5 epochs"));
}

TEST(ReportTest, InitialWeightsThatTheToolDescribedMakeNoOtherJob) {
  RunRecord run = *MakeContent().run;
  v1::JobSpec job = MakeContent().job;
  job.mutable_initial_model()->set_file("start.safetensors");
  run.spec = job;
  run.spec.mutable_initial_model()->mutable_weights()->set_size_bytes(56);
  EXPECT_TRUE(CheckSameJob(run, job).ok());
  run.spec.mutable_initial_model()->set_file("other.safetensors");
  EXPECT_FALSE(CheckSameJob(run, job).ok());
}

TEST(ReportTest, NoiseThatTheToolFilledInMakesNoOtherJob) {
  RunRecord run = *MakeContent().run;
  v1::JobSpec job = MakeContent().job;
  job.mutable_privacy()->set_target_epsilon(1);
  run.spec = job;
  run.spec.mutable_privacy()->set_noise_multiplier(4);
  EXPECT_TRUE(CheckSameJob(run, job).ok());
  job.mutable_privacy()->set_noise_multiplier(3);
  EXPECT_FALSE(CheckSameJob(run, job).ok());
}

TEST(ReportTest, StatesWhoseMomentsEachArmUses) {
  v1::JobSpec job = MakeContent().job;
  EXPECT_THAT(StatementsOf(job, models::TargetKind::kBinary).standardization,
              HasSubstr("the federated and the centralized model by the moments of all"));
  job.mutable_data()->set_standardization(v1::STANDARDIZATION_PER_SITE);
  EXPECT_THAT(StatementsOf(job, models::TargetKind::kBinary).standardization,
              HasSubstr("each row by its own site's moments"));
  job.mutable_data()->set_standardization(v1::STANDARDIZATION_NONE);
  EXPECT_THAT(StatementsOf(job, models::TargetKind::kBinary).standardization,
              HasSubstr("as they are"));
}

TEST(ReportTest, SecondsArePublishedRoundsMedian) {
  RunRecord run = *MakeContent().run;
  EXPECT_DOUBLE_EQ(SecondsOfRounds(run)->median, 0.2);
  EXPECT_DOUBLE_EQ(SecondsOfRounds(run)->total, 9.8);
  run.rounds.pop_back();
  EXPECT_DOUBLE_EQ(SecondsOfRounds(run)->median, 0.3);
  run.rounds = {MakeRound(1, 2, false)};
  EXPECT_FALSE(SecondsOfRounds(run).has_value());
}

TEST(ReportTest, RefusesARunOfAnotherJob) {
  RunRecord run = *MakeContent().run;
  run.spec = MakeContent().job;
  EXPECT_TRUE(CheckSameJob(run, MakeContent().job).ok());
  run.spec.set_seed(43);
  EXPECT_EQ(CheckSameJob(run, MakeContent().job).code(), StatusCode::kInvalidArgument);
}

TEST(ReportTest, WritesBothFilesIntoANewDirectory) {
  const support::TemporaryDirectory directory;
  const auto out = directory.path() / "a" / "b";

  ASSERT_TRUE(WriteReport(MakeContent(), out).ok());

  std::ostringstream json;
  json << std::ifstream(out / "report.json").rdbuf();
  EXPECT_EQ(json.str(), ToJson(MakeContent()));
  EXPECT_GT(std::filesystem::file_size(out / "report.html"), 1000u);
}

TEST(ReportTest, SaysWhenItsDirectoryCannotBe) {
  const support::TemporaryDirectory directory;
  std::ofstream(directory.path() / "file") << "x";
  EXPECT_FALSE(WriteReport(MakeContent(), directory.path() / "file" / "out").ok());
}

}  // namespace
}  // namespace chorale::evaluation
