#include "site_agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>

#include "core/log.h"
#include "core/rpc/chunks.h"
#include "core/rpc/tls.h"
#include "jobs/signed_job.h"
#include "site_agent/checkpoints.h"
#include "tests/site_agent/fake_coordinator.h"
#include "tests/site_agent/fixtures.h"

namespace chorale::site_agent {
namespace {

using testing::HasSubstr;
using testing::Not;

// A whole agent against a coordinator that the test plays, over TLS.
class AgentTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    rpc::InitializeRpc();
    pki_ = new support::TestPki();
  }
  static void TearDownTestSuite() { delete pki_; }

  AgentTest() {
    config_.set_coordinator(coordinator_.address());
    config_.set_proxy("none");
    WriteFile(directory_.path() / "heart.csv", MakeCsv(40, 20));
    const ByteSpan bytes = AsBytes(std::span<const float>(model_));
    model_bytes_.assign(bytes.begin(), bytes.end());
    coordinator_.AddBlob(model_bytes_);
  }

  StatusOr<std::unique_ptr<Agent>> Create() {
    auto trainer = std::make_unique<FakeTrainer>();
    trainer_ = trainer.get();
    trainer_->during_training = during_training_;
    return Agent::Create({.config = config_,
                          .config_directory = directory_.path(),
                          .identity = pki_->Load(v1::PARTY_ROLE_SITE, "north"),
                          .trainer = std::move(trainer)});
  }
  std::unique_ptr<Agent> Start() {
    auto agent = Create();
    if (!agent.ok()) {
      ADD_FAILURE() << agent.status();
      return nullptr;
    }
    (*agent)->Start();
    coordinator_.WaitFor(v1::SiteMessage::kHello, ++num_hellos_);
    return *std::move(agent);
  }
  v1::CoordinatorMessage TaskMessage(std::uint32_t round) {
    v1::CoordinatorMessage message;
    v1::Task& task = *message.mutable_task();
    task.set_task_id("job-1/" + std::to_string(round) + "/1/north");
    task.set_job_id("job-1");
    task.set_round(round);
    *task.mutable_job() =
        jobs::SignJob(MakeJobSpec(), pki_->Load(v1::PARTY_ROLE_RESEARCHER, researcher_));
    const Time deadline = SystemClock().WallNow() + std::chrono::minutes(5);
    task.mutable_report_deadline()->set_seconds(
        std::chrono::duration_cast<std::chrono::seconds>(deadline.time_since_epoch()).count());
    if (round == 0) {
      task.mutable_preparation();
      return message;
    }
    *task.mutable_training()->mutable_global_model() =
        rpc::ToProto(crypto::IdentifyBlob(model_bytes_));
    task.mutable_training()->add_moments()->set_mean(60);
    task.mutable_training()->mutable_moments(0)->set_standard_deviation(10);
    return message;
  }

  static support::TestPki* pki_;
  support::TemporaryDirectory directory_;
  FakeCoordinator coordinator_{*pki_};
  v1::SiteConfig config_ = MakeSiteConfig(directory_.path());
  std::string researcher_ = "ada";
  ParameterVector model_ = {1, 2, 3};
  Bytes model_bytes_;
  std::function<void()> during_training_;
  FakeTrainer* trainer_ = nullptr;  // Of the agent created last.
  int num_hellos_ = 0;
};

support::TestPki* AgentTest::pki_ = nullptr;

TEST_F(AgentTest, TakesATaskAndReportsIt) {
  const auto agent = Start();

  coordinator_.Send(TaskMessage(1));

  EXPECT_EQ(coordinator_.WaitFor(v1::SiteMessage::kAccepted).accepted().task_id(),
            "job-1/1/1/north");
  const std::string report = coordinator_.WaitForReport();
  EXPECT_THAT(report, HasSubstr("job-1/1/1/north"));
  const ParameterVector update(3, 0.5f);
  EXPECT_THAT(report, HasSubstr(std::string(AsText(AsBytes(std::span<const float>(update))))));
}

TEST_F(AgentTest, ReportsSumsOfColumnsAndThenTrains) {
  const auto agent = Start();

  coordinator_.Send(TaskMessage(0));
  coordinator_.WaitForReport(1);
  coordinator_.Send(TaskMessage(1));
  coordinator_.WaitForReport(2);

  EXPECT_EQ(trainer_->num_trainings, 1);
}

TEST_F(AgentTest, RefusesWithACodeAndAFixedText) {
  researcher_ = "mallory";
  const auto agent = Start();

  coordinator_.Send(TaskMessage(1));

  const v1::TaskRefused refused = coordinator_.WaitFor(v1::SiteMessage::kRefused).refused();
  EXPECT_EQ(refused.code(), "RESEARCHER_NOT_ALLOWED");
  EXPECT_EQ(refused.message(), "this site's policy does not allow researcher mallory");
}

TEST_F(AgentTest, SendsTheSameBytesUntilTheyAreTaken) {
  coordinator_.AnswerReportsWith({{grpc::StatusCode::UNAVAILABLE, "not now"}});
  const auto agent = Start();

  coordinator_.Send(TaskMessage(1));

  const std::string first = coordinator_.WaitForReport(1);
  EXPECT_EQ(coordinator_.WaitForReport(2), first);
  EXPECT_EQ(trainer_->num_trainings, 1);
}

TEST_F(AgentTest, ARestartResendsTheSameBytesAndDoesNotTrainAgain) {
  coordinator_.AnswerReportsWith({{grpc::StatusCode::UNAVAILABLE, "crashing"}});
  auto agent = Start();
  coordinator_.Send(TaskMessage(1));
  const std::string first = coordinator_.WaitForReport(1);
  agent->Drain();
  agent->Wait();
  const int sent_before = coordinator_.num_reports();
  agent.reset();
  coordinator_.AnswerReportsWith({});

  agent = Start();
  EXPECT_EQ(coordinator_.WaitForReport(sent_before + 1), first);
  coordinator_.Send(TaskMessage(1));
  coordinator_.Send(TaskMessage(2));
  coordinator_.WaitForReport(sent_before + 2);

  EXPECT_EQ(trainer_->num_trainings, 1);  // Round 2 alone.
}

TEST_F(AgentTest, ASettledTaskIsRefusedAsRepeated) {
  const auto agent = Start();
  coordinator_.Send(TaskMessage(1));
  coordinator_.WaitForReport(1);
  coordinator_.Send(TaskMessage(2));
  coordinator_.WaitForReport(2);  // By then the first is settled.

  coordinator_.Send(TaskMessage(1));

  EXPECT_EQ(coordinator_.WaitFor(v1::SiteMessage::kRefused).refused().code(), "TASK_REPEATED");
  EXPECT_EQ(trainer_->num_trainings, 2);
}

TEST_F(AgentTest, ReconnectsWhenTheSessionEnds) {
  const auto agent = Start();

  coordinator_.EndSession();

  coordinator_.WaitFor(v1::SiteMessage::kHello, 2);
  coordinator_.Send(TaskMessage(1));
  coordinator_.WaitForReport(1);
}

TEST_F(AgentTest, ADrainTellsTheCoordinatorWhatItGivesUp) {
  std::promise<void> training;
  std::promise<void> drained;
  during_training_ = [&] {
    training.set_value();
    drained.get_future().wait();
  };
  const auto agent = Start();
  coordinator_.Send(TaskMessage(1));
  training.get_future().wait();

  agent->Drain();

  EXPECT_EQ(coordinator_.WaitFor(v1::SiteMessage::kRefused).refused().code(), "SITE_STOPPING");
  drained.set_value();
  agent->Wait();
  EXPECT_EQ(coordinator_.num_reports(), 0);
}

TEST_F(AgentTest, WhereTrainingStoodIsForgottenWithTheReportAndNotWithACancellation) {
  Checkpoints checkpoints(config_.state_directory());
  std::promise<void> training;
  std::promise<void> drained;
  during_training_ = [&] {
    training.set_value();
    drained.get_future().wait();
  };
  auto agent = Start();
  ASSERT_TRUE(checkpoints.Keep(crypto::Digest{}, {}).ok());
  coordinator_.Send(TaskMessage(1));
  training.get_future().wait();
  agent->Drain();
  coordinator_.WaitFor(v1::SiteMessage::kRefused);
  drained.set_value();
  agent->Wait();
  EXPECT_FALSE(checkpoints.IsEmpty());

  during_training_ = nullptr;
  agent.reset();
  agent = Start();
  coordinator_.Send(TaskMessage(1));
  coordinator_.WaitForReport(1);
  EXPECT_TRUE(checkpoints.IsEmpty());
}

TEST_F(AgentTest, AStateDirectoryInUseIsRefused) {
  const auto first = Create();
  ASSERT_TRUE(first.ok()) << first.status();

  const auto second = Create();

  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(second.status()), HasSubstr("another site agent uses state_directory"));
}

TEST_F(AgentTest, OnlyASitesIdentityWillDo) {
  const auto agent = Agent::Create({.config = config_,
                                    .config_directory = directory_.path(),
                                    .identity = pki_->Load(v1::PARTY_ROLE_RESEARCHER, "ada"),
                                    .trainer = nullptr});

  EXPECT_EQ(agent.status().code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(agent.status()), HasSubstr("researcher"));
}

// Values planted in the table never occur in a byte that leaves or in the log, whatever the table
// is like.
TEST_F(AgentTest, NoCanaryLeavesOrIsLogged) {
  const std::filesystem::path log_file = directory_.path() / "agent.log";
  ASSERT_TRUE(log::Configure({.level = log::Level::kDebug, .file = log_file.string()}).ok());
  constexpr double kCanaryAge = 8347261.5;
  const std::string sound = MakeCsv(40, 20) + "8347261.5,f,yes,train\n";
  const std::string spoiled[] = {
      sound + "CANARYNOTANUMBER,f,yes,train\n",   sound + "50,CANARYLEVEL,yes,train\n",
      sound + "50,f,yes,CANARYSPLIT\n",           sound + "50,f,yes,train,CANARYEXTRACELL\n",
      sound + "50,\"CANARYOPENQUOTE,yes,train\n", "age,CANARYCOLUMN,sick,split\n50,f,yes,train\n"};
  WriteFile(directory_.path() / "heart.csv", sound);
  auto agent = Start();
  coordinator_.Send(TaskMessage(0));
  coordinator_.WaitForReport(1);
  coordinator_.Send(TaskMessage(1));
  coordinator_.WaitForReport(2);
  int num_refused = 0;
  for (const std::string& table : spoiled) {
    WriteFile(directory_.path() / "heart.csv", table);
    coordinator_.Send(TaskMessage(static_cast<std::uint32_t>(2 + num_refused)));
    const v1::SiteMessage refused = coordinator_.WaitFor(v1::SiteMessage::kRefused, ++num_refused);
    EXPECT_THAT(refused.refused().code(), testing::AnyOf("DATA_INVALID", "SCHEMA_MISMATCH"));
  }
  agent->Drain();
  agent->Wait();
  agent.reset();
  ASSERT_TRUE(log::Configure({}).ok());

  const std::string left = coordinator_.AllBytes() + ReadWholeFile(log_file) +
                           ReadWholeFile(directory_.path() / "state" / "journal.db") +
                           ReadWholeFile(directory_.path() / "state" / "journal.db-wal");
  const auto kFloat = static_cast<float>(kCanaryAge);
  EXPECT_GT(left.size(), 1000u);
  EXPECT_THAT(left, Not(HasSubstr("CANARY")));
  EXPECT_THAT(left, Not(HasSubstr("8347261")));
  EXPECT_THAT(left, Not(HasSubstr(std::string(reinterpret_cast<const char*>(&kFloat), 4))));
  EXPECT_THAT(left, Not(HasSubstr(std::string(reinterpret_cast<const char*>(&kCanaryAge), 8))));
}

}  // namespace
}  // namespace chorale::site_agent
