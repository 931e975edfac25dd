#include "site_agent/task_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/bytes.h"
#include "core/random.h"
#include "data/preparation.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

constexpr DatasetFacts kFacts{
    .num_training_rows = 40, .num_test_rows = 20, .num_training_patients = 40};
const TaskFacts kTask{.task_id = TaskId("job-1/1/1/north"), .kind = ReportKind::kUpdate};

class TaskPolicyTest : public testing::Test {
 protected:
  Decision Ask() { return Ask(policy_); }
  Decision Ask(const v1::PolicyConfig& policy, ReportKind kind = ReportKind::kUpdate) {
    const models::GraphPlan plan = MakePlan(job_.spec);
    return Decide({job_, plan}, {.task_id = kTask.task_id, .kind = kind, .round = 1}, policy,
                  facts_);
  }
  std::optional<Refusal> AskBeforeData() {
    const models::GraphPlan plan = MakePlan(job_.spec);
    return RefusalBeforeData({job_, plan}, policy_);
  }
  std::string CodeOf(const Decision& decision) {
    const auto* refusal = std::get_if<Refusal>(&decision);
    return refusal == nullptr ? "allowed" : std::string(NameOf(refusal->code));
  }
  v1::PolicyRule& rule() { return *policy_.mutable_allow(0); }

  jobs::VerifiedJob job_ = MakeVerifiedJob(MakeJobSpec());
  v1::PolicyConfig policy_ = MakeSiteConfig("/").policy();
  DatasetFacts facts_ = kFacts;
};

TEST_F(TaskPolicyTest, AllowsWhatOneRuleAllows) {
  const Decision decision = Ask();

  ASSERT_EQ(CodeOf(decision), "allowed");
  const ReleaseTerms& terms = std::get<ReleaseTerms>(decision);
  EXPECT_EQ(terms.task_id(), kTask.task_id);
  EXPECT_EQ(terms.num_values(), 3u);
  EXPECT_EQ(terms.dataset().num_training_rows, 40u);
  EXPECT_EQ(terms.metrics().size(), 2u);
  EXPECT_EQ(terms.min_rows_per_metric(), 10u);
}

TEST_F(TaskPolicyTest, ReportsThatTheCoordinatorCanReadNeedARuleThatSaysSo) {
  rule().set_unmasked(false);
  EXPECT_EQ(CodeOf(Ask()), "UNMASKED_NOT_ALLOWED");

  job_.spec.clear_secure_aggregation();
  const Decision decision = Ask();
  ASSERT_EQ(CodeOf(decision), "allowed");
  EXPECT_TRUE(std::get<ReleaseTerms>(decision).is_masked());
}

TEST_F(TaskPolicyTest, SumsOfAPreparationMayLeaveWithoutMetrics) {
  const Decision decision = Ask(policy_, ReportKind::kPreparation);

  ASSERT_EQ(CodeOf(decision), "allowed");
  const ReleaseTerms& terms = std::get<ReleaseTerms>(decision);
  EXPECT_EQ(terms.num_values(), data::PreparationSize(job_.spec.data()));
  EXPECT_EQ(terms.data().SerializeAsString(), job_.spec.data().SerializeAsString());
  EXPECT_TRUE(terms.metrics().empty());
}

TEST_F(TaskPolicyTest, EachKindOfReportHasItsSize) {
  job_.spec = MakeScaffoldSpec();
  EXPECT_EQ(std::get<ReleaseTerms>(Ask()).num_values(), 6u);  // Update and control variate.

  job_.spec = MakeNewtonSpec();
  const ReleaseTerms newton = std::get<ReleaseTerms>(Ask(policy_, ReportKind::kNewtonSums));
  EXPECT_EQ(newton.num_values(), 2u + 3 + 6);  // Loss, rows, gradient, Hessian's triangle.
  EXPECT_TRUE(newton.metrics().empty());

  job_.spec = MakePersonalSpec();
  const ReleaseTerms personal = std::get<ReleaseTerms>(Ask(policy_, ReportKind::kPersonalMetrics));
  EXPECT_EQ(personal.num_values(), 4u);
  EXPECT_EQ(personal.metrics().size(), 2u);
}

TEST_F(TaskPolicyTest, AGraphIsAllowedByItsDigestAlone) {
  job_.spec = MakeNormSpec();
  rule().set_max_parameters(100);
  const std::string digest = ToHex(MakePlan(job_.spec).digest());

  for (const char* name : {"graph", "logistic_regression", "norm", ""}) {
    rule().set_models(0, name);
    const Decision decision = Ask();
    ASSERT_EQ(CodeOf(decision), "MODEL_NOT_ALLOWED") << name;
    EXPECT_EQ(std::get<Refusal>(decision).subject, digest);
    EXPECT_THAT(TextOf(std::get<Refusal>(decision)), testing::HasSubstr(digest));
  }
  rule().set_models(0, digest);
  EXPECT_EQ(CodeOf(Ask()), "allowed");
  std::string upper = digest;
  std::ranges::transform(upper, upper.begin(), [](char c) {
    return c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  rule().set_models(0, upper);
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  // One number changed is another graph.
  job_.spec.mutable_model()->mutable_graph()->mutable_nodes(0)->mutable_linear()->set_units(3);
  EXPECT_EQ(CodeOf(Ask()), "MODEL_NOT_ALLOWED");
}

TEST_F(TaskPolicyTest, AModelOfTheZooIsAllowedByNameOrByTheDigestOfItsGraph) {
  rule().set_models(0, ToHex(MakePlan(job_.spec).digest()));
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  rule().set_models(0, std::string(64, '0'));
  EXPECT_EQ(CodeOf(Ask()), "MODEL_NOT_ALLOWED");
  EXPECT_EQ(std::get<Refusal>(Ask()).subject, "logistic_regression");
}

TEST_F(TaskPolicyTest, ANewtonJobIsHeldToTheSameLimits) {
  job_.spec = MakeNewtonSpec();
  rule().clear_metrics();          // None is asked for.
  rule().set_max_local_epochs(1);  // A step passes over the rows once.
  ASSERT_EQ(CodeOf(Ask(policy_, ReportKind::kNewtonSums)), "allowed");

  rule().set_max_rounds(9);
  EXPECT_EQ(CodeOf(Ask(policy_, ReportKind::kNewtonSums)), "ROUNDS_LIMIT");
  rule().set_max_rounds(10);
  rule().set_max_parameters(2);
  EXPECT_EQ(CodeOf(Ask(policy_, ReportKind::kNewtonSums)), "MODEL_TOO_LARGE");
  rule().set_max_parameters(3);
  rule().set_models(0, "cox");
  EXPECT_EQ(CodeOf(Ask(policy_, ReportKind::kNewtonSums)), "MODEL_NOT_ALLOWED");
}

TEST_F(TaskPolicyTest, SumsThatTellMoreThanAnUpdateNeedARuleThatListsThem) {
  rule().clear_sums();
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  v1::JobSpec robust = job_.spec;
  robust.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_ROBUST);
  for (const v1::JobSpec& spec : {MakeNewtonSpec(), robust}) {
    job_.spec = spec;
    const v1::SumKind needed = spec.has_newton() ? v1::SUM_KIND_NEWTON : v1::SUM_KIND_HISTOGRAM;
    const v1::SumKind other = spec.has_newton() ? v1::SUM_KIND_HISTOGRAM : v1::SUM_KIND_NEWTON;
    rule().clear_sums();
    rule().add_sums(other);
    EXPECT_EQ(CodeOf(Ask()), "SUMS_NOT_ALLOWED");
    ASSERT_TRUE(AskBeforeData().has_value());
    EXPECT_EQ(AskBeforeData()->code, ReasonCode::kSumsNotAllowed);

    rule().add_sums(needed);
    EXPECT_EQ(CodeOf(Ask()), "allowed");
  }
}

TEST_F(TaskPolicyTest, TheTrainingAfterTheLastRoundIsBoundedLikeTheOthers) {
  job_.spec = MakePersonalSpec();
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  job_.spec.mutable_personalization()->set_local_epochs(3);

  EXPECT_EQ(CodeOf(Ask()), "LOCAL_EPOCHS_LIMIT");
  ASSERT_TRUE(AskBeforeData().has_value());
  EXPECT_EQ(AskBeforeData()->code, ReasonCode::kLocalEpochsLimit);
}

TEST_F(TaskPolicyTest, KnowsTheNamesOfTheZooAndNoOther) {
  const std::vector<std::string> names = ZooNames();

  for (const char* name : {"logistic_regression", "mlp", "cox", "resnet18_gn", "unet2d"}) {
    EXPECT_NE(std::ranges::find(names, name), names.end()) << name;
  }
  EXPECT_EQ(std::ranges::find(names, "graph"), names.end());
}

TEST_F(TaskPolicyTest, EachPartThatTheRuleLacksHasItsOwnCode) {
  struct Case {
    const char* code;
    std::function<void(v1::PolicyRule&)> spoil;
  };
  const Case cases[] = {
      {"RESEARCHER_NOT_ALLOWED", [](auto& rule) { rule.set_researchers(0, "bob"); }},
      {"RESEARCHER_NOT_ALLOWED", [](auto& rule) { rule.clear_researchers(); }},
      {"DATASET_NOT_ALLOWED", [](auto& rule) { rule.set_datasets(0, "stroke"); }},
      {"DATASET_NOT_ALLOWED", [](auto& rule) { rule.clear_datasets(); }},
      {"MODEL_NOT_ALLOWED", [](auto& rule) { rule.set_models(0, "mlp"); }},
      {"MODEL_NOT_ALLOWED", [](auto& rule) { rule.clear_models(); }},
      {"MODEL_TOO_LARGE", [](auto& rule) { rule.set_max_parameters(2); }},
      {"METRIC_NOT_ALLOWED", [](auto& rule) { rule.mutable_metrics()->RemoveLast(); }},
      {"METRIC_NOT_ALLOWED", [](auto& rule) { rule.clear_metrics(); }},
      {"ROUNDS_LIMIT", [](auto& rule) { rule.set_max_rounds(9); }},
      {"LOCAL_EPOCHS_LIMIT", [](auto& rule) { rule.set_max_local_epochs(1); }},
      {"COHORT_MIN", [](auto& rule) { rule.set_min_examples(41); }},
  };
  for (const Case& spoiled : cases) {
    v1::PolicyConfig policy = policy_;
    spoiled.spoil(*policy.mutable_allow(0));

    EXPECT_EQ(CodeOf(Ask(policy)), spoiled.code);
  }
}

TEST_F(TaskPolicyTest, NoisyMetricsNeedTheSameLeaveAsOthers) {
  job_.spec.clear_secure_aggregation();
  job_.spec.mutable_training()->clear_metrics();
  job_.spec.mutable_privacy()->set_sample_rate(0.5);
  v1::PrivateMetrics& metrics = *job_.spec.mutable_privacy()->mutable_metrics();
  metrics.add_kinds(v1::METRIC_KIND_AUROC);
  metrics.set_split(v1::SPLIT_TEST);

  EXPECT_EQ(CodeOf(Ask()), "METRIC_NOT_ALLOWED");
  rule().add_metrics(v1::METRIC_KIND_AUROC);
  const Decision decision = Ask();
  ASSERT_EQ(CodeOf(decision), "allowed");
  // The first round of several has none.
  EXPECT_EQ(std::get<ReleaseTerms>(decision).num_metric_sums(), 0u);
  metrics.set_every_rounds(1);
  EXPECT_EQ(std::get<ReleaseTerms>(Ask()).num_metric_sums(), 1u + 2 * 20);
}

TEST_F(TaskPolicyTest, AnEmptyPolicyAllowsNothing) {
  policy_.clear_allow();

  EXPECT_EQ(CodeOf(Ask()), "POLICY_NO_MATCH");
}

TEST_F(TaskPolicyTest, ThereIsNoWildcard) {
  rule().set_researchers(0, "*");

  EXPECT_EQ(CodeOf(Ask()), "RESEARCHER_NOT_ALLOWED");
}

TEST_F(TaskPolicyTest, TheClosestRuleIsNamed) {
  v1::PolicyRule& other = *policy_.add_allow();
  other = rule();
  rule().set_researchers(0, "bob");
  rule().set_models(0, "mlp");
  other.set_max_rounds(4);

  const Decision decision = Ask();

  ASSERT_EQ(CodeOf(decision), "ROUNDS_LIMIT");
  EXPECT_EQ(std::get<Refusal>(decision).limit, 4u);
  EXPECT_EQ(std::get<Refusal>(decision).asked, 10u);
}

TEST_F(TaskPolicyTest, PartsAllowedByDifferentRulesDoNotAddUp) {
  v1::PolicyRule& other = *policy_.add_allow();
  other = rule();
  rule().set_researchers(0, "bob");
  rule().set_max_rounds(1);
  other.set_models(0, "mlp");
  other.set_max_parameters(1);

  EXPECT_EQ(CodeOf(Ask()), "POLICY_NO_MATCH");
}

TEST_F(TaskPolicyTest, TheFirstPartThatNobodyAllowsIsNamed) {
  v1::PolicyRule& other = *policy_.add_allow();
  other = rule();
  rule().set_researchers(0, "bob");
  rule().set_max_rounds(1);
  other.set_models(0, "mlp");
  other.set_max_rounds(2);

  EXPECT_EQ(CodeOf(Ask()), "ROUNDS_LIMIT");
}

TEST_F(TaskPolicyTest, LocalStepsCountAsThePassesTheyAmountTo) {
  v1::TrainingSpec& training = *job_.spec.mutable_training();
  training.set_local_steps(6);  // A pass over 40 rows is batches of 16, 16 and 8.
  EXPECT_EQ(LocalEpochsOf(training, 40), 2u);
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  training.set_local_steps(7);

  EXPECT_EQ(LocalEpochsOf(training, 40), 3u);
  EXPECT_EQ(CodeOf(Ask()), "LOCAL_EPOCHS_LIMIT");
}

TEST_F(TaskPolicyTest, AStepOfSeveralBatchesCountsAllOfThem) {
  v1::TrainingSpec& training = *job_.spec.mutable_training();
  training.set_local_steps(3);
  training.set_accumulate_batches(2);
  EXPECT_EQ(LocalEpochsOf(training, 40), 2u);
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  training.set_accumulate_batches(3);

  EXPECT_EQ(CodeOf(Ask()), "LOCAL_EPOCHS_LIMIT");
}

TEST_F(TaskPolicyTest, PassesCountPatientsAndNotTheirRows) {
  job_.spec.mutable_training()->set_local_steps(3);
  facts_.num_training_patients = 20;  // 16 and 4: two batches a pass.
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  facts_.num_training_patients = 4;  // Every batch is a pass over all 40 rows.

  EXPECT_EQ(CodeOf(Ask()), "LOCAL_EPOCHS_LIMIT");
}

TEST_F(TaskPolicyTest, AStepOverAllRowsIsOnePass) {
  v1::TrainingSpec training;
  training.set_local_steps(1'000'000);
  training.set_batch_size(0);
  EXPECT_EQ(LocalEpochsOf(training, 40), 1'000'000u);

  training.set_batch_size(1 << 20);
  EXPECT_EQ(LocalEpochsOf(training, 40), 1'000'000u);
}

TEST_F(TaskPolicyTest, TheNumberOfRowsIsNeverTold) {
  rule().set_min_examples(41);

  const Refusal refusal = std::get<Refusal>(Ask());

  EXPECT_EQ(refusal.asked, std::nullopt);
  EXPECT_EQ(TextOf(refusal).find("40"), std::string::npos);
}

TEST_F(TaskPolicyTest, ARuleWithoutAFloorHasTheDefaultOne) {
  rule().clear_min_examples();
  facts_.num_training_rows = kDefaultMinExamples - 1;

  EXPECT_EQ(CodeOf(Ask()), "COHORT_MIN");
}

TEST_F(TaskPolicyTest, NobodyWithoutARuleMakesTheSiteReadItsData) {
  EXPECT_EQ(AskBeforeData(), std::nullopt);

  job_.researcher.name = "mallory";

  ASSERT_TRUE(AskBeforeData().has_value());
  EXPECT_EQ(AskBeforeData()->code, ReasonCode::kResearcherNotAllowed);
}

// ---- Against an oracle: whatever is asked, the policy allows it only when a plain reading of one
// rule does.

std::string Pick(SeededRandom& random, std::initializer_list<const char*> values) {
  return *(values.begin() + random.NextBelow(values.size()));
}

jobs::VerifiedJob RandomJob(SeededRandom& random) {
  v1::JobSpec spec = MakeJobSpec();
  spec.set_dataset(Pick(random, {"heart", "heart", "heart", "heart", "stroke", "heart ", ""}));
  if (random.NextBelow(3) == 0) {
    spec.mutable_model()->mutable_mlp()->add_hidden_units(
        static_cast<std::uint32_t>(1 + random.NextBelow(4)));
    spec.mutable_model()->mutable_mlp()->set_activation(v1::ACTIVATION_RELU);
  }
  if (random.NextBelow(2) == 0) {
    spec.mutable_training()->set_local_steps(static_cast<std::uint32_t>(1 + random.NextBelow(20)));
  } else {
    spec.mutable_training()->set_local_epochs(static_cast<std::uint32_t>(1 + random.NextBelow(4)));
  }
  spec.mutable_training()->set_batch_size(static_cast<std::uint32_t>(random.NextBelow(60)));
  spec.mutable_rounds()->set_count(static_cast<std::uint32_t>(8 + random.NextBelow(5)));
  for (v1::MetricSpec& metric : *spec.mutable_training()->mutable_metrics()) {
    metric.set_kind(static_cast<v1::MetricKind>(random.NextBelow(3)));
  }
  if (random.NextBelow(3) == 0) spec.mutable_training()->clear_metrics();
  if (random.NextBelow(2) == 0) spec.clear_secure_aggregation();
  jobs::VerifiedJob job = MakeVerifiedJob(spec);
  job.researcher.name = Pick(random, {"ada", "ada", "ada", "ada", "ada", "bob", "Ada", "mallory"});
  return job;
}

v1::PolicyConfig RandomPolicy(SeededRandom& random) {
  v1::PolicyConfig policy;
  const std::uint64_t num_rules = random.NextBelow(4);
  for (std::uint64_t i = 0; i < num_rules; ++i) {
    v1::PolicyRule& rule = *policy.add_allow();
    rule = MakeSiteConfig("/").policy().allow(0);
    if (random.NextBelow(3) == 0) rule.set_researchers(0, Pick(random, {"bob", "*", "ad"}));
    if (random.NextBelow(3) == 0) rule.set_datasets(0, Pick(random, {"stroke", "hear"}));
    if (random.NextBelow(2) == 0) rule.add_models("mlp");
    if (random.NextBelow(4) == 0) rule.clear_models();
    if (random.NextBelow(4) == 0) rule.mutable_metrics()->RemoveLast();
    if (random.NextBelow(6) == 0) rule.set_unmasked(false);
    rule.set_max_parameters(2 + random.NextBelow(20));
    rule.set_max_rounds(static_cast<std::uint32_t>(8 + random.NextBelow(5)));
    rule.set_max_local_epochs(static_cast<std::uint32_t>(1 + random.NextBelow(8)));
    rule.set_min_examples(static_cast<std::uint32_t>(random.NextBelow(30)));
  }
  return policy;
}

bool OracleAllows(const jobs::VerifiedJob& job, const v1::PolicyConfig& policy,
                  const DatasetFacts& facts) {
  const v1::JobSpec& spec = job.spec;
  const bool is_mlp = spec.model().has_mlp();
  std::uint64_t parameters = 3;  // Two inputs and a bias.
  if (is_mlp) {
    const std::uint64_t hidden = spec.model().mlp().hidden_units(0);
    parameters = (2 * hidden + hidden) + (hidden + 1);
  }
  for (const v1::PolicyRule& rule : policy.allow()) {
    bool allowed = false;
    for (const auto& name : rule.researchers()) allowed |= name == job.researcher.name;
    bool has_dataset = false;
    for (const auto& name : rule.datasets()) has_dataset |= name == spec.dataset();
    bool has_model = false;
    for (const auto& name : rule.models()) {
      has_model |= name == (is_mlp ? "mlp" : "logistic_regression");
    }
    allowed = allowed && has_dataset && has_model && parameters <= rule.max_parameters();
    for (const v1::MetricSpec& metric : spec.training().metrics()) {
      bool may_leave = false;
      for (const int kind : rule.metrics()) may_leave |= kind == metric.kind();
      allowed = allowed && may_leave && metric.kind() != v1::METRIC_KIND_UNSPECIFIED;
    }
    allowed = allowed && spec.rounds().count() <= rule.max_rounds();
    allowed = allowed && (rule.unmasked() || !spec.secure_aggregation().has_none());
    const double patients = static_cast<double>(facts.num_training_patients);
    const double batches =
        spec.training().batch_size() == 0 ? 1 : std::ceil(patients / spec.training().batch_size());
    const double passes = spec.training().has_local_epochs()
                              ? spec.training().local_epochs()
                              : spec.training().local_steps() / batches;
    allowed = allowed && passes <= rule.max_local_epochs() + 1e-9;
    const std::uint32_t floor = rule.min_examples() == 0 ? 10 : rule.min_examples();
    allowed = allowed && facts.num_training_rows >= floor;
    if (allowed) return true;
  }
  return false;
}

TEST(TaskPolicyPropertyTest, NeverAllowsWhatAPlainReadingOfTheRulesRefuses) {
  SeededRandom random(20261120);
  int num_allowed = 0;
  for (int i = 0; i < 15'000; ++i) {
    const jobs::VerifiedJob job = RandomJob(random);
    const v1::PolicyConfig policy = RandomPolicy(random);
    const std::uint64_t num_rows = 1 + random.NextBelow(60);
    const DatasetFacts facts{
        .num_training_rows = num_rows,
        .num_test_rows = 5,
        .num_training_patients = std::max<std::uint64_t>(1, num_rows / (1 + random.NextBelow(3)))};

    const models::GraphPlan plan = MakePlan(job.spec);
    const Decision decision = Decide({job, plan}, kTask, policy, facts);

    const bool is_allowed = std::holds_alternative<ReleaseTerms>(decision);
    ASSERT_EQ(is_allowed, OracleAllows(job, policy, facts))
        << job.spec.DebugString() << policy.DebugString() << facts.num_training_rows;
    num_allowed += is_allowed ? 1 : 0;
    // What is refused before the data are read would be refused with them, too.
    if (RefusalBeforeData({job, plan}, policy).has_value()) {
      ASSERT_FALSE(is_allowed);
    }
  }
  EXPECT_GT(num_allowed, 200);  // The property is not empty.
}

}  // namespace
}  // namespace chorale::site_agent
