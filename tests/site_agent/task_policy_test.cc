#include "site_agent/task_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "core/random.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

constexpr DatasetFacts kFacts{.num_training_rows = 40, .num_test_rows = 20};
const TaskFacts kTask{.task_id = TaskId("job-1/1/1/north"), .kind = ReportKind::kUpdate};

class TaskPolicyTest : public testing::Test {
 protected:
  Decision Ask() { return Decide(job_, kTask, policy_, facts_); }
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

TEST_F(TaskPolicyTest, MomentsMayLeaveWithoutMetrics) {
  const Decision decision =
      Decide(job_, {.task_id = kTask.task_id, .kind = ReportKind::kMoments}, policy_, facts_);

  ASSERT_EQ(CodeOf(decision), "allowed");
  EXPECT_EQ(std::get<ReleaseTerms>(decision).num_values(), 3u);  // One numeric feature.
  EXPECT_TRUE(std::get<ReleaseTerms>(decision).metrics().empty());
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

    EXPECT_EQ(CodeOf(Decide(job_, kTask, policy, facts_)), spoiled.code);
  }
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
  training.set_local_steps(5);  // 5 * 16 = 80 rows: two passes over 40.
  EXPECT_EQ(LocalEpochsOf(training, 40), 2u);
  EXPECT_EQ(CodeOf(Ask()), "allowed");

  training.set_local_steps(6);

  EXPECT_EQ(LocalEpochsOf(training, 40), 3u);
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
  EXPECT_EQ(RefusalBeforeData(job_, policy_), std::nullopt);

  job_.researcher.name = "mallory";

  ASSERT_TRUE(RefusalBeforeData(job_, policy_).has_value());
  EXPECT_EQ(RefusalBeforeData(job_, policy_)->code, ReasonCode::kResearcherNotAllowed);
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
    const double rows = static_cast<double>(facts.num_training_rows);
    const double batch = spec.training().batch_size() == 0
                             ? rows
                             : std::min<double>(rows, spec.training().batch_size());
    const double passes = spec.training().has_local_epochs()
                              ? spec.training().local_epochs()
                              : spec.training().local_steps() * batch / rows;
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
  for (int i = 0; i < 10'000; ++i) {
    const jobs::VerifiedJob job = RandomJob(random);
    const v1::PolicyConfig policy = RandomPolicy(random);
    const DatasetFacts facts{.num_training_rows = 1 + random.NextBelow(60), .num_test_rows = 5};

    const Decision decision = Decide(job, kTask, policy, facts);

    const bool is_allowed = std::holds_alternative<ReleaseTerms>(decision);
    ASSERT_EQ(is_allowed, OracleAllows(job, policy, facts))
        << job.spec.DebugString() << policy.DebugString() << facts.num_training_rows;
    num_allowed += is_allowed ? 1 : 0;
    // What is refused before the data are read would be refused with them, too.
    if (RefusalBeforeData(job, policy).has_value()) {
      ASSERT_FALSE(is_allowed);
    }
  }
  EXPECT_GT(num_allowed, 200);  // The property is not empty.
}

}  // namespace
}  // namespace chorale::site_agent
