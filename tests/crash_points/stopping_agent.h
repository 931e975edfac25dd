#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "privacy/ledger/ledger.h"
#include "site_agent/journal.h"
#include "tests/crash_points/crash_points.h"
#include "training/local_trainer.h"

// What a site agent does to the world, with points around it.
namespace chorale::crash_points {

// verdict; coordinator, the one that is followed; hello, accepted, refused, progress (words into
// the session); the kind of a report, as the release guard calls it; settling.
class StoppingJournal final : public site_agent::Journal {
 public:
  StoppingJournal(std::unique_ptr<site_agent::Journal> journal, CrashPoints& points)
      : journal_(std::move(journal)), points_(points) {}

  Status RecordTask(const site_agent::TaskRecord& record) override {
    return points_.Around("verdict", [&] { return journal_->RecordTask(record); });
  }
  Status RecordRelease(const site_agent::ReleaseRecord& record) override {
    return points_.Around(record.kind, [&] { return journal_->RecordRelease(record); });
  }
  Status RecordCoordinators(const site_agent::KnownCoordinators& known) override {
    return points_.Around("coordinator", [&] { return journal_->RecordCoordinators(known); });
  }
  StatusOr<site_agent::KnownCoordinators> LoadCoordinators() override {
    return journal_->LoadCoordinators();
  }
  Status RecordReport(const site_agent::ReleaseRecord& record, const v1::ReportHeader& header,
                      ByteSpan payload) override {
    return points_.Around(record.kind,
                          [&] { return journal_->RecordReport(record, header, payload); });
  }
  StatusOr<site_agent::ReportState> FindReport(const TaskId& task_id) override {
    return journal_->FindReport(task_id);
  }
  StatusOr<std::vector<TaskId>> PendingReports() override { return journal_->PendingReports(); }
  // The way out of the site: what was recorded is about to be sent, for the first time or again.
  StatusOr<site_agent::OutgoingReport> LoadReport(const TaskId& task_id) override {
    points_.Pass("before sending");
    return journal_->LoadReport(task_id);
  }
  Status SettleReport(const TaskId& task_id, std::string_view outcome, Time time) override {
    return points_.Around("settling",
                          [&] { return journal_->SettleReport(task_id, outcome, time); });
  }

 private:
  std::unique_ptr<site_agent::Journal> journal_;
  CrashPoints& points_;
};

// reserve, charge, commit.
class StoppingLedger final : public privacy::Ledger {
 public:
  StoppingLedger(std::unique_ptr<privacy::Ledger> ledger, CrashPoints& points)
      : ledger_(std::move(ledger)), points_(points) {}

  StatusOr<privacy::ReservationId> Reserve(const privacy::ReserveRequest& request) override {
    return points_.Around("reserve", [&] { return ledger_->Reserve(request); });
  }
  Status Start(const privacy::Started& started) override {
    return points_.Around("charge", [&] { return ledger_->Start(started); });
  }
  Status Commit(std::string_view step_key) override {
    return points_.Around("commit", [&] { return ledger_->Commit(step_key); });
  }
  Status Release(privacy::ReservationId reservation) override {
    return ledger_->Release(reservation);
  }
  std::vector<privacy::OpenReservation> OpenReservations() const override {
    return ledger_->OpenReservations();
  }
  privacy::Guarantee Spent(const DatasetId& dataset, double delta) const override {
    return ledger_->Spent(dataset, delta);
  }
  privacy::BurnDown BurnDownOf(const DatasetId& dataset,
                               const privacy::Limits& limits) const override {
    return ledger_->BurnDownOf(dataset, limits);
  }
  privacy::LedgerHead Head() const override { return ledger_->Head(); }
  Status CheckHead(const privacy::LedgerHead& receipt) const override {
    return ledger_->CheckHead(receipt);
  }

 private:
  std::unique_ptr<privacy::Ledger> ledger_;
  CrashPoints& points_;
};

// training, in the middle of training; checkpoint, after every step of the optimizer; private sum.
class StoppingTrainer final : public training::LocalTrainer {
 public:
  StoppingTrainer(std::unique_ptr<training::LocalTrainer> trainer, CrashPoints& points)
      : trainer_(std::move(trainer)), points_(points) {}

  StatusOr<training::TrainResult> Train(const training::TrainRequest& request) override;
  StatusOr<training::TrainResult> TrainOnGradients(
      const training::TrainRequest& request, const training::GradientSource& source) override {
    return trainer_->TrainOnGradients(request, source);
  }
  StatusOr<training::ClippedSum> SumClippedGradients(
      const training::ClippedSumRequest& request) override {
    return points_.Around("private sum", [&] { return trainer_->SumClippedGradients(request); });
  }
  StatusOr<std::vector<float>> Predict(const models::GraphPlan& plan,
                                       std::span<const float> parameters,
                                       const data::Examples& examples) override {
    return trainer_->Predict(plan, parameters, examples);
  }
  StatusOr<training::EvaluationResult> Evaluate(const models::GraphPlan& plan,
                                                std::span<const float> parameters,
                                                const data::Examples& examples,
                                                const std::atomic<bool>* cancelled) override {
    return trainer_->Evaluate(plan, parameters, examples, cancelled);
  }
  StatusOr<training::RowEvaluation> EvaluateRows(const models::GraphPlan& plan,
                                                 std::span<const float> parameters,
                                                 const data::Examples& examples,
                                                 const std::atomic<bool>* cancelled) override {
    return trainer_->EvaluateRows(plan, parameters, examples, cancelled);
  }
  [[nodiscard]] std::string device() const override { return trainer_->device(); }

 private:
  std::unique_ptr<training::LocalTrainer> trainer_;
  CrashPoints& points_;
};

}  // namespace chorale::crash_points
