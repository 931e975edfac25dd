#pragma once

#include <atomic>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/ids.h"
#include "core/parameters.h"
#include "core/time.h"
#include "jobs/signed_job.h"
#include "models/graph.h"
#include "site_agent/outlet.h"
#include "site_agent/task_policy.h"
#include "training/local_trainer.h"

// Valid things, for tests to spoil one field of.
namespace chorale::site_agent {

// Stands still until a test moves it. Safe for concurrent use.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(Time now) : micros_(now.time_since_epoch().count()) {}
  Time Now() const override { return Time(Duration(micros_)); }
  Time WallNow() const override { return Now(); }
  void Advance(Duration by) { micros_ += by.count(); }

 private:
  std::atomic<std::int64_t> micros_;
};

inline constexpr Time kStart{std::chrono::hours(24 * 365 * 50)};

// Logistic regression on `age` (numeric) and `sex` (two levels): 3 parameters, target `sick`.
[[nodiscard]] v1::JobSpec MakeJobSpec();
// The same with something more; each needs MakeJobSpec's data and policy alone unless said.
[[nodiscard]] v1::JobSpec MakeNewtonSpec();    // Newton's method instead of training.
[[nodiscard]] v1::JobSpec MakeScaffoldSpec();  // Control variates.
[[nodiscard]] v1::JobSpec MakePersonalSpec();  // Two epochs more after the last round.
// Layers `hidden` (linear, 2), `norm` (batch norm), `out` (linear, 1) under local_normalization: 17
// parameters. The policy has to list its digest.
[[nodiscard]] v1::JobSpec MakeNormSpec();
// REQUIRES: a valid specification.
[[nodiscard]] models::GraphPlan MakePlan(const v1::JobSpec& spec);

// A configuration whose one rule allows exactly MakeJobSpec of researcher `ada` and nothing more.
[[nodiscard]] v1::SiteConfig MakeSiteConfig(const std::filesystem::path& directory);
// As VerifySignedJob would return it for `ada`.
[[nodiscard]] jobs::VerifiedJob MakeVerifiedJob(const v1::JobSpec& spec);
// Of an allowing decision. REQUIRES: the policy allows it.
[[nodiscard]] ReleaseTerms MakeTerms(const v1::JobSpec& spec, ReportKind kind, DatasetFacts facts,
                                     std::string_view task_id = "job-1/1/1/north",
                                     std::uint32_t round = 1);

// A table of `num_train` + `num_test` rows that fits MakeJobSpec; ages count up from 40.
[[nodiscard]] std::string MakeCsv(int num_train, int num_test);
void WriteFile(const std::filesystem::path& path, std::string_view text);
[[nodiscard]] std::string ReadWholeFile(const std::filesystem::path& path);

// Trains nothing: the update is 0.5 everywhere, the change of the control variate 0.25, every loss
// 0.7 and every accuracy 0.8. Fields may be changed between calls.
class FakeTrainer final : public training::LocalTrainer {
 public:
  StatusOr<training::TrainResult> Train(const training::TrainRequest& request) override;
  StatusOr<std::vector<float>> Predict(const models::GraphPlan& plan,
                                       std::span<const float> parameters,
                                       const data::Examples& examples) override;
  StatusOr<training::EvaluationResult> Evaluate(const models::GraphPlan& plan,
                                                std::span<const float> parameters,
                                                const data::Examples& examples,
                                                const std::atomic<bool>* cancelled) override;
  std::string device() const override { return "fake"; }

  Status failure;      // Returned by Train unless OK.
  float value = 0.5f;  // Of every coordinate of the update.
  float control_value = 0.25f;
  std::size_t num_missing = 0;  // Numbers that the change of the control variate lacks.
  training::EvaluationResult evaluation = {.loss = 0.7, .accuracy = 0.8};
  std::atomic<int> num_trainings = 0;
  std::vector<float> last_start;
  std::vector<float> last_server_variate;
  std::vector<float> last_site_variate;
  std::vector<float> last_evaluated;
  v1::TrainingSpec last_training;
  training::RoundPlace last_place;
  std::uint64_t last_seed = 0;
  std::optional<training::TrainCheckpoint> last_resume;
  training::TrainCheckpoint checkpoint;  // Told after the first step, where it is wanted.
  std::function<void()> during_training;
  std::function<void()> during_evaluation;
};

// Keeps what the guard let out.
class RecordingOutlet final : public Outlet {
 public:
  struct SentReport {
    v1::ReportHeader header;
    std::string payload;
  };
  Status Send(Released<v1::SiteMessage> message) override;
  Status Report(Released<OutgoingReport> report) override;

  Status send_answer;
  Status report_answer;
  std::vector<v1::SiteMessage> messages;
  std::vector<SentReport> reports;
};

}  // namespace chorale::site_agent
