#include "site_agent/privacy_accounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/crypto/secret_bytes.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_preparation.h"
#include "privacy/accountant.h"
#include "site_agent/release_guard.h"
#include "tests/site_agent/fixtures.h"
#include "tests/support/temporary_directory.h"
#include "training/newton_patients.h"
#include "training/newton_sums.h"

// What a private job is charged, and that nothing private leaves that was not.
namespace chorale::site_agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const TaskId kTask("job-1/1/1/north");

void AddMetrics(v1::JobSpec& spec) {
  v1::PrivateMetrics& metrics = *spec.mutable_privacy()->mutable_metrics();
  metrics.add_kinds(v1::METRIC_KIND_LOSS);
  metrics.set_split(v1::SPLIT_TEST);
  spec.mutable_privacy()->clear_noise_multiplier();
  EXPECT_TRUE(jobs::CalibrateNoise(spec).ok());
}

void AddPreparation(v1::JobSpec& spec) {
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_FEDERATED_PRIVATE);
  spec.mutable_privacy()->clear_noise_multiplier();
  EXPECT_TRUE(jobs::CalibrateNoise(spec).ok());
}

v1::JobSpec PrivateSpec(std::uint32_t rounds = 3) {
  v1::JobSpec spec = MakeJobSpec();
  spec.clear_secure_aggregation();
  spec.mutable_aggregation()->mutable_fedavg()->set_weighting(v1::WEIGHTING_UNIFORM);
  spec.mutable_data()->set_standardization(v1::STANDARDIZATION_RANGE);
  for (v1::FeatureSpec& feature : *spec.mutable_data()->mutable_features()) {
    if (feature.has_numeric()) feature.mutable_numeric()->mutable_range()->set_high(120);
  }
  spec.mutable_training()->clear_metrics();
  spec.mutable_training()->clear_batch_size();
  spec.mutable_training()->set_local_steps(1);
  spec.mutable_rounds()->set_count(rounds);
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  privacy.set_target_epsilon(1);
  privacy.set_target_delta(1e-4);
  privacy.set_sample_rate(0.5);
  privacy.set_max_grad_norm(1);
  privacy.set_expected_patients(100);
  privacy.mutable_distributed();
  EXPECT_TRUE(jobs::CalibrateNoise(spec).ok());
  return spec;
}

class PrivacyAccountsTest : public testing::Test {
 protected:
  PrivacyAccountsTest() {
    dataset_.set_id("heart");
    SetLimit(1.2);
    Open();
  }
  void SetLimit(double epsilon) {
    dataset_.mutable_privacy()->set_max_epsilon(epsilon);
    dataset_.mutable_privacy()->set_max_epsilon_per_job(epsilon);
    dataset_.mutable_privacy()->set_max_epsilon_per_project(epsilon);
    dataset_.mutable_privacy()->set_delta(1e-4);
    dataset_.mutable_privacy()->set_relation("add-remove");
  }
  void Open() {
    accounts_.reset();
    ledger_.reset();
    StatusOr<std::unique_ptr<privacy::Ledger>> ledger =
        privacy::Ledger::Open(privacy::LedgerFilesIn(directory_.path(), directory_.path()), clock_);
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    ledger_ = *std::move(ledger);
    accounts_.emplace(*ledger_, directory_.path());
  }
  AccountedJob Job() const { return {job_, JobId("job-1"), dataset_}; }
  StatusOr<std::shared_ptr<const PrivacyCharge>> Charge(const std::string& task,
                                                        std::uint8_t content = 1,
                                                        std::uint32_t round = 1) {
    return accounts_->Charge(Job(), {.task = TaskId(task), .number = round, .content = {content}});
  }
  privacy::JobSpending Spending() const {
    const auto limits = privacy::LimitsOf(dataset_.privacy());
    return ledger_->BurnDownOf(DatasetId("heart"), *limits).jobs.at(0);
  }

  support::TemporaryDirectory directory_;
  FakeClock clock_{kStart};
  std::unique_ptr<privacy::Ledger> ledger_;
  std::optional<PrivacyAccounts> accounts_;
  v1::DatasetConfig dataset_;
  jobs::VerifiedJob job_ = MakeVerifiedJob(PrivateSpec());
};

TEST_F(PrivacyAccountsTest, SetsTheWholeJobAsideOnce) {
  ASSERT_TRUE(accounts_->Reserve(Job()).ok());
  ASSERT_TRUE(accounts_->Reserve(Job()).ok());
  EXPECT_EQ(Spending().steps_reserved, 4u);  // Three rounds and a spare one.
  EXPECT_EQ(Spending().steps_started, 0u);
}

TEST_F(PrivacyAccountsTest, AJobThatEndedGivesBackWhatItDidNotStart) {
  ASSERT_TRUE(accounts_->Reserve(Job()).ok());
  ASSERT_TRUE(Charge(kTask.value()).ok());
  const double spent = Spending().epsilon_started;
  EXPECT_THAT(accounts_->OpenJobs(), ElementsAre(JobId("job-1")));

  ASSERT_TRUE(accounts_->Release(JobId("job-2")).ok());  // Of which nothing is known.
  EXPECT_FALSE(Spending().is_released);
  ASSERT_TRUE(accounts_->Release(JobId("job-1")).ok());

  EXPECT_TRUE(Spending().is_released);
  EXPECT_EQ(Spending().epsilon_started, spent);
  EXPECT_THAT(accounts_->OpenJobs(), IsEmpty());
  EXPECT_EQ(CodeOfAccounts(Charge("job-1/2/1/north").status()), ReasonCode::kBudgetRefused);
}

TEST_F(PrivacyAccountsTest, RefusesAJobBeyondTheBudgetBeforeAnythingIsCharged) {
  SetLimit(0.5);
  const Status status = accounts_->Reserve(Job());
  EXPECT_EQ(CodeOfAccounts(status), ReasonCode::kBudgetExceeded);
  EXPECT_THAT(MessageOf(status), HasSubstr("noise_multiplier"));
  EXPECT_EQ(ledger_->Head().seq, 0u);
}

TEST_F(PrivacyAccountsTest, RefusesAJobWithoutPrivacyWhereThereIsABudget) {
  const jobs::VerifiedJob plain = MakeVerifiedJob(MakeJobSpec());
  const Status status = accounts_->Reserve({plain, JobId("job-2"), dataset_});
  EXPECT_EQ(CodeOfAccounts(status), ReasonCode::kPrivacyRequired);

  dataset_.clear_privacy();
  EXPECT_TRUE(accounts_->Reserve({plain, JobId("job-2"), dataset_}).ok());
}

TEST_F(PrivacyAccountsTest, ChargesARoundForGoodAndNoRoundTwice) {
  ASSERT_TRUE(Charge("job-1/1/1/north").ok());  // Never committed: spent all the same.
  EXPECT_EQ(Spending().steps_started, 1u);
  Open();
  EXPECT_EQ(Spending().steps_started, 1u);

  EXPECT_EQ(CodeOfAccounts(Charge("job-1/1/1/north").status()), ReasonCode::kTaskRepeated);
  EXPECT_EQ(CodeOfAccounts(Charge("job-1/1/1/north", 2).status()), ReasonCode::kBudgetRefused);
  EXPECT_EQ(Spending().steps_started, 1u);
}

TEST_F(PrivacyAccountsTest, ACoordinatorThatRepeatsRoundsRunsOutOfThem) {
  for (int attempt = 1; attempt <= 4; ++attempt) {
    const auto charge = Charge("job-1/1/" + std::to_string(attempt) + "/north");
    ASSERT_TRUE(charge.ok()) << charge.status();
    EXPECT_TRUE((*charge)->Commit().ok());
  }
  EXPECT_EQ(CodeOfAccounts(Charge("job-1/1/5/north").status()), ReasonCode::kBudgetExceeded);
  EXPECT_EQ(Spending().rounds_committed, 4u);
}

class AccountsOfMetricsTest : public PrivacyAccountsTest {
 protected:
  AccountsOfMetricsTest() { AddMetrics(job_.spec); }
};

TEST_F(AccountsOfMetricsTest, ASumOfMetricsIsChargedInTheRoundsThatHaveOne) {
  ASSERT_TRUE(accounts_->Reserve(Job()).ok());
  EXPECT_EQ(Spending().steps_reserved, 4u + 2u);  // Of either, one is spare.
  const auto without = Charge("job-1/1/1/north", 1, 1);
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_FALSE((*without)->covers_metrics());
  EXPECT_EQ(Spending().steps_started, 1u);
  const auto with = Charge("job-1/3/1/north", 1, 3);
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_TRUE((*with)->covers_metrics());
  EXPECT_EQ(Spending().steps_started, 3u);
}

TEST_F(AccountsOfMetricsTest, ACoordinatorThatRepeatsTheLastRoundRunsOutOfMetrics) {
  EXPECT_TRUE(Charge("job-1/3/1/north", 1, 3).ok());
  EXPECT_TRUE(Charge("job-1/3/2/north", 1, 3).ok());
  EXPECT_EQ(CodeOfAccounts(Charge("job-1/3/3/north", 1, 3).status()), ReasonCode::kBudgetExceeded);
  EXPECT_TRUE(Charge("job-1/2/1/north", 1, 2).ok());  // Steps are left.
}

TEST_F(AccountsOfMetricsTest, MetricsCountAgainstTheBudget) {
  // Enough for the steps by themselves, and not for the metrics as well.
  const privacy::Event steps =
      jobs::EventOfRounds(job_.spec, {.rounds = jobs::MaxRounds(job_.spec)});
  const double alone =
      privacy::EpsilonFor(steps, 1e-4, jobs::AccountingOf(job_.spec.privacy()))->epsilon;
  const double both = jobs::StatementOf(job_.spec, jobs::MostRounds(job_.spec))->guarantee.epsilon;
  ASSERT_LT(alone, both - 0.01);
  SetLimit((alone + both) / 2);
  EXPECT_EQ(CodeOfAccounts(accounts_->Reserve(Job())), ReasonCode::kBudgetExceeded);
  EXPECT_EQ(ledger_->Head().seq, 0u);
}

class AccountsOfPreparationTest : public PrivacyAccountsTest {
 protected:
  AccountsOfPreparationTest() { AddPreparation(job_.spec); }
};

TEST_F(AccountsOfPreparationTest, APreparationIsChargedBesideTheSteps) {
  ASSERT_TRUE(accounts_->Reserve(Job()).ok());
  EXPECT_EQ(Spending().steps_reserved, 4u + 2u);  // Of either, one is spare.
  const auto preparation = Charge("job-1/0/1/north", 1, 0);
  ASSERT_TRUE(preparation.ok()) << preparation.status();
  EXPECT_TRUE((*preparation)->covers_preparation());
  EXPECT_FALSE((*preparation)->covers_training());
  const auto round = Charge("job-1/1/1/north", 1, 1);
  ASSERT_TRUE(round.ok()) << round.status();
  EXPECT_FALSE((*round)->covers_preparation());
  EXPECT_TRUE((*round)->covers_training());
  EXPECT_EQ(Spending().steps_started, 2u);
}

TEST_F(AccountsOfPreparationTest, ACoordinatorThatRepeatsThePreparationRunsOutOfIt) {
  EXPECT_TRUE(Charge("job-1/0/1/north", 1, 0).ok());
  EXPECT_TRUE(Charge("job-1/0/2/north", 1, 0).ok());
  EXPECT_EQ(CodeOfAccounts(Charge("job-1/0/3/north", 1, 0).status()), ReasonCode::kBudgetExceeded);
  EXPECT_TRUE(Charge("job-1/1/1/north", 1, 1).ok());  // Steps are left.
}

// ---------------------------------------------------------------------------- the door

TEST_F(PrivacyAccountsTest, ALedgerBehindItsReceiptIsChargedNothingUntilTheLossIsAccepted) {
  ASSERT_TRUE(Charge("job-1/1/1/north").ok());
  privacy::LedgerHead ahead = accounts_->Head();
  accounts_->TakeReceipt(ahead);
  EXPECT_TRUE(Charge("job-1/2/1/north").ok());

  ahead.seq += 5;
  accounts_->TakeReceipt(ahead);

  const Status refused = Charge("job-1/3/1/north").status();
  EXPECT_EQ(CodeOfAccounts(refused), ReasonCode::kLedgerRolledBack);
  EXPECT_THAT(MessageOf(refused), HasSubstr("rolled back"));
  const auto kept = directory_.path() / kRefusedReceiptFile;
  EXPECT_EQ(ReadWholeFile(kept), privacy::EncodeHead(ahead));
  std::filesystem::rename(kept, directory_.path() / kAcceptedReceiptFile);
  accounts_->TakeReceipt(ahead);
  EXPECT_TRUE(Charge("job-1/3/1/north").ok());
  ahead.seq += 1;  // Another loss than the accepted one.
  accounts_->TakeReceipt(ahead);
  EXPECT_FALSE(Charge("job-1/4/1/north").ok());
}

// The rows that were lost may have started what the ledger still holds for the job.
TEST_F(PrivacyAccountsTest, WhatWasReservedBeforeALossStaysHeldWhenTheJobEnds) {
  ASSERT_TRUE(Charge(kTask.value()).ok());
  privacy::LedgerHead ahead = accounts_->Head();
  ahead.seq += 5;
  accounts_->TakeReceipt(ahead);
  EXPECT_EQ(accounts_->Release(JobId("job-1")).code(), StatusCode::kDataLoss);

  std::filesystem::rename(directory_.path() / kRefusedReceiptFile,
                          directory_.path() / kAcceptedReceiptFile);
  accounts_->TakeReceipt(ahead);
  EXPECT_TRUE(accounts_->Release(JobId("job-1")).ok());

  EXPECT_FALSE(Spending().is_released);
  EXPECT_THAT(accounts_->OpenJobs(), IsEmpty());
}

class PrivateReleaseTest : public PrivacyAccountsTest {
 protected:
  PrivateReleaseTest() : journal_(*Journal::Open(directory_.path() / "state")) {
    report_.payload = std::vector<std::int64_t>{5, -7, 1000};
    report_.charge = *Charge(kTask.value());
  }
  Masking MakeMasking() {
    std::vector<secagg::OwnedMaskTerm> terms;
    terms.push_back({crypto::SecretBytes(std::size_t{16}), false});
    return {.layout = layout_, .terms = std::move(terms), .sign = [](const crypto::Digest&) {
              return StatusOr<Bytes>(Bytes{1});
            }};
  }
  StatusCode Release() { return guard_.Release(terms_, report_, MakeMasking()).code(); }

  std::unique_ptr<Journal> journal_;
  RecordingOutlet outlet_;
  ReleaseGuard guard_{outlet_, *journal_, clock_, {"heart"}};
  jobs::MaskedLayout layout_ =
      *jobs::MaskedLayout::Create(job_.spec, jobs::MaskedKind::kUpdate, 3, 4);
  ReleaseTerms terms_ =
      MakeTerms(job_.spec, ReportKind::kUpdate, {.num_training_rows = 40, .num_test_rows = 20});
  Report report_;
};

TEST_F(PrivateReleaseTest, WhatWasChargedLeavesMaskedWithoutNumbersOrTimes) {
  report_.training_time = std::chrono::seconds(5);
  ASSERT_EQ(Release(), StatusCode::kOk);
  ASSERT_TRUE(guard_.Deliver(kTask).ok());
  const v1::ReportHeader& header = outlet_.reports.at(0).header;
  EXPECT_EQ(header.num_examples(), 0u);
  EXPECT_EQ(header.metrics_size(), 0);
  EXPECT_FALSE(header.has_training_time());
  EXPECT_EQ(outlet_.reports.at(0).payload.size(), 3 * sizeof(std::int64_t));
  EXPECT_EQ(Spending().rounds_committed, 1u);
}

TEST_F(PrivateReleaseTest, NothingLeavesThatWasNotChargedForThisTask) {
  report_.charge = nullptr;
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.charge = *Charge("job-1/2/1/north");
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
}

TEST_F(PrivateReleaseTest, NothingExactLeavesBesideIt) {
  report_.num_examples = 40;
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.num_examples = 0;
  report_.metrics.emplace_back();
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.metrics.clear();
  report_.payload = std::vector<float>{1, 2, 3};  // An update where the job has sums.
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.payload = std::vector<std::int64_t>{1, 2};
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.payload = std::vector<std::int64_t>{1, 2, 3};
  EXPECT_EQ(guard_.Release(terms_, report_).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
  EXPECT_EQ(Release(), StatusCode::kOk);
}

class ReleaseOfPreparationTest : public PrivateReleaseTest {
 protected:
  ReleaseOfPreparationTest() {
    AddPreparation(job_.spec);
    job_.spec_digest[0] ^= 1;  // Another job.
    layout_ = *jobs::MaskedLayout::Create(job_.spec, jobs::MaskedKind::kPreparation, 3, 4);
    terms_ = MakeTerms(job_.spec, ReportKind::kPreparation,
                       {.num_training_rows = 40, .num_test_rows = 20}, kTask.value(), 0);
    dataset_.clear_privacy();  // Counts nothing, but tells what it covers.
    report_.charge = *Charge(kTask.value(), 1, 0);
    report_.payload =
        std::vector<std::int64_t>(jobs::PreparationSumOf(job_.spec).num_values, -12345);
  }
};

TEST_F(ReleaseOfPreparationTest, WhatWasChargedLeavesMasked) {
  ASSERT_EQ(Release(), StatusCode::kOk);
  ASSERT_TRUE(guard_.Deliver(kTask).ok());
  EXPECT_EQ(outlet_.reports.at(0).header.num_examples(), 0u);
  EXPECT_EQ(outlet_.reports.at(0).payload.size(), layout_.vector().size_bytes());
}

TEST_F(ReleaseOfPreparationTest, NoChargeForARoundCoversIt) {
  report_.charge = *Charge(kTask.value(), 1, 1);
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.charge = nullptr;
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
}

TEST_F(ReleaseOfPreparationTest, NothingExactLeaves) {
  report_.num_examples = 40;
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.num_examples = 0;
  const auto noisy = report_.payload;
  report_.payload = std::vector<double>(terms_.num_values(), 1.0);
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.payload = std::vector<std::int64_t>{1};
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.payload = noisy;
  EXPECT_EQ(guard_.Release(terms_, report_).code(), StatusCode::kPermissionDenied);
}

// Nor does what a preparation was charged for cover a step.
TEST_F(PrivateReleaseTest, AChargeForAPreparationCoversNoRound) {
  AddPreparation(job_.spec);
  dataset_.clear_privacy();
  report_.charge = *Charge(kTask.value(), 1, 0);
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
}

void SolveByNewton(v1::JobSpec& spec) {
  spec.clear_training();
  spec.clear_aggregation();
  spec.mutable_newton();
  spec.mutable_privacy()->clear_sample_rate();
  spec.mutable_privacy()->clear_noise_multiplier();
  EXPECT_TRUE(jobs::CalibrateNoise(spec).ok());
  EXPECT_TRUE(jobs::Validate(spec).ok()) << jobs::Validate(spec);
}

TEST_F(PrivacyAccountsTest, ARoundOfNewtonIsChargedAsOneSumOverAllPatients) {
  SolveByNewton(job_.spec);
  ASSERT_TRUE(accounts_->Reserve(Job()).ok());
  EXPECT_EQ(Spending().steps_reserved, 4u);  // Three rounds and a spare one.
  for (int round = 1; round <= 3; ++round) {
    ASSERT_TRUE(
        Charge("job-1/" + std::to_string(round) + "/1/north", 1, static_cast<std::uint32_t>(round))
            .ok());
    EXPECT_EQ(Spending().steps_started, static_cast<std::uint64_t>(round));
  }
  const auto limits = privacy::LimitsOf(dataset_.privacy());
  const privacy::Event all{
      .kind = privacy::Gaussian{.noise_multiplier = job_.spec.privacy().noise_multiplier()},
      .count = 3};
  const double expected =
      privacy::EpsilonFor(all, 1e-4, jobs::AccountingOf(job_.spec.privacy()))->epsilon;
  // The ledger's orders are finer.
  EXPECT_LE(Spending().epsilon_started, expected * (1 + 1e-9));
  EXPECT_GT(Spending().epsilon_started, 0.98 * expected);
}

TEST_F(PrivacyAccountsTest, AJobOfNewtonBeyondTheBudgetIsRefused) {
  SetLimit(0.5);
  SolveByNewton(job_.spec);
  EXPECT_EQ(CodeOfAccounts(accounts_->Reserve(Job())), ReasonCode::kBudgetExceeded);
}

class ReleaseOfNewtonTest : public PrivateReleaseTest {
 protected:
  ReleaseOfNewtonTest() {
    SolveByNewton(job_.spec);
    job_.spec_digest[0] ^= 1;  // Another job.
    terms_ = MakeTerms(job_.spec, ReportKind::kNewtonSums,
                       {.num_training_rows = 40, .num_test_rows = 20}, kTask.value(), 1);
    layout_ = *jobs::MaskedLayout::Create(job_.spec, jobs::MaskedKind::kNewtonSums,
                                          terms_.num_parameters(), 4);
    dataset_.clear_privacy();  // Counts nothing, but tells what it covers.
    report_.charge = *Charge(kTask.value());
    report_.payload = std::vector<std::int64_t>(training::NewtonVectorSize(terms_.num_parameters()),
                                                std::int64_t{-1} << 50);
  }
};

TEST_F(ReleaseOfNewtonTest, WhatWasChargedLeavesMaskedWithoutNumbersOrTimes) {
  report_.training_time = std::chrono::seconds(5);
  ASSERT_EQ(Release(), StatusCode::kOk);
  ASSERT_TRUE(guard_.Deliver(kTask).ok());
  const v1::ReportHeader& header = outlet_.reports.at(0).header;
  EXPECT_EQ(header.num_examples(), 0u);
  EXPECT_FALSE(header.has_training_time());
  EXPECT_EQ(outlet_.reports.at(0).payload.size(), 8 * terms_.num_values());
}

TEST_F(ReleaseOfNewtonTest, NothingLeavesThatWasNotChargedForThisTask) {
  const auto charge = report_.charge;
  report_.charge = nullptr;
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.charge = *Charge("job-1/2/1/north");
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
  report_.charge = charge;
  EXPECT_EQ(Release(), StatusCode::kOk);
}

TEST_F(ReleaseOfNewtonTest, NothingExactLeaves) {
  report_.num_examples = 40;
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.num_examples = 0;
  const auto noisy = report_.payload;
  for (const std::uint64_t size :
       {terms_.num_values(), training::NewtonSumsSize(terms_.num_parameters())}) {
    report_.payload = std::vector<double>(size, 1.0);
    EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  }
  report_.payload = std::vector<std::int64_t>{1};
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.payload = noisy;
  report_.metric_sum = {1};
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);
  report_.metric_sum.clear();
  EXPECT_EQ(guard_.Release(terms_, report_).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
}

class ReleaseOfMetricsTest : public PrivateReleaseTest {
 protected:
  ReleaseOfMetricsTest() {
    AddMetrics(job_.spec);
    job_.spec_digest[0] ^= 1;  // Another job.
    layout_ = *jobs::MaskedLayout::Create(job_.spec, jobs::MaskedKind::kUpdate, 3, 4);
    terms_ = TermsOfRound(3);
    report_.charge = ChargeRound(3);
    report_.metric_sum = {100, -5};
  }
  ReleaseTerms TermsOfRound(std::uint32_t round) {
    return MakeTerms(job_.spec, ReportKind::kUpdate, {.num_training_rows = 40, .num_test_rows = 20},
                     kTask.value(), round);
  }
  std::shared_ptr<const PrivacyCharge> ChargeRound(std::uint32_t round) {
    dataset_.clear_privacy();  // Counts nothing, but tells what it covers.
    return *Charge(kTask.value(), 1, round);
  }
};

TEST_F(ReleaseOfMetricsTest, LeaveInTheRoundThatHasThem) {
  ASSERT_EQ(Release(), StatusCode::kOk);
  ASSERT_TRUE(guard_.Deliver(kTask).ok());
  EXPECT_EQ(outlet_.reports.at(0).payload.size(), 5 * sizeof(std::int64_t));
  EXPECT_EQ(outlet_.reports.at(0).header.metrics_size(), 0);
}

TEST_F(ReleaseOfMetricsTest, NoneLeavesInAnotherRoundOrUncharged) {
  report_.charge = ChargeRound(2);
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);  // Charged for the steps alone.
  report_.charge = ChargeRound(3);
  terms_ = TermsOfRound(2);
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);  // A round without.
  terms_ = TermsOfRound(3);
  report_.metric_sum.push_back(1);
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);  // Another size.
  report_.metric_sum.clear();
  EXPECT_EQ(Release(), StatusCode::kPermissionDenied);  // Its noise would be missing in the sum.
  EXPECT_EQ(guard_.Deliver(kTask).code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace chorale::site_agent
