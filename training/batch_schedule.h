#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/random.h"

// Which examples meet the optimizer at which step. Pure arithmetic and one seeded shuffle: no
// LibTorch here.
//
// The unit is the patient, not the row: batches are drawn over patients, every row of a drawn
// patient is in the batch, and an epoch meets every patient once. A step is what the optimizer
// does; it follows accumulate_batches batches.
namespace chorale::training {

// Patients in one batch: batch_size, or all when batch_size is 0 or larger than num_patients.
[[nodiscard]] std::uint64_t BatchPatients(const v1::TrainingSpec& training,
                                          std::uint64_t num_patients);

// Batches and optimizer steps of one round at a site. Epochs end with a smaller batch when the
// patients do not divide, and a round of epochs with a step of fewer batches likewise.
[[nodiscard]] std::uint64_t NumBatches(const v1::TrainingSpec& training,
                                       std::uint64_t num_patients);
[[nodiscard]] std::uint64_t NumSteps(const v1::TrainingSpec& training, std::uint64_t num_patients);

// Patients that NumSteps() steps process, counted as often as they are met.
[[nodiscard]] std::uint64_t PatientsProcessed(const v1::TrainingSpec& training,
                                              std::uint64_t num_patients);

// Least number of steps that process `patients_processed` patients of a site with `num_patients`.
[[nodiscard]] std::uint64_t StepsToProcess(std::uint64_t patients_processed,
                                           const v1::TrainingSpec& training,
                                           std::uint64_t num_patients);

// Walks through the batches of one round. Each epoch is a fresh Fisher-Yates shuffle of the
// patients; a full batch is never shuffled. The same seed gives the same order on every platform.
// Not thread-safe.
class BatchSchedule {
 public:
  // `patients`: the patient of each row, numbered from 0 without gaps. REQUIRES: at least one row
  // and a valid specification.
  BatchSchedule(const v1::TrainingSpec& training, std::span<const std::uint32_t> patients,
                std::uint64_t seed);

  struct Batch {
    std::uint64_t first = 0;         // Place in order() of the first row.
    std::uint64_t size = 0;          // Rows, at least 1.
    bool begins_epoch = false;       // order() has changed (unless the batch is full).
    bool ends_epoch = false;         // Every patient has been met, or this is the last batch.
    bool begins_step = false;        // The first batch whose gradient makes up a step.
    bool ends_step = false;          // The last one.
    std::uint64_t step_batches = 1;  // Batches of that step.
  };
  // REQUIRES: called at most num_batches() times.
  Batch Next();

  [[nodiscard]] std::uint64_t num_batches() const { return num_batches_; }
  [[nodiscard]] std::uint64_t num_steps() const { return num_steps_; }
  [[nodiscard]] bool is_full_batch() const { return batch_patients_ == patient_order_.size(); }
  // Rows in the order of the epoch under way; of one patient, in file order. [num_examples]
  [[nodiscard]] std::span<const std::int64_t> order() const { return order_; }

 private:
  void Shuffle();

  std::vector<std::int64_t> rows_;        // By patient, in file order within one.
  std::vector<std::uint64_t> first_row_;  // Of each patient in rows_. [num_patients + 1]
  std::vector<std::uint64_t> patient_order_;
  std::vector<std::int64_t> order_;
  std::vector<std::uint64_t> first_place_;  // Of each patient of patient_order_ in order_.
  SeededRandom random_;
  std::uint64_t batch_patients_;
  std::uint64_t num_batches_;
  std::uint64_t num_steps_;
  std::uint64_t accumulate_;
  std::uint64_t next_batch_ = 0;
  std::uint64_t position_ = 0;  // In patient_order_.
};

}  // namespace chorale::training
