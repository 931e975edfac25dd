#include "training/batch_schedule.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace chorale::training {
namespace {

std::uint64_t DivideUp(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

std::uint64_t Accumulated(const v1::TrainingSpec& training) {
  return std::max(1u, training.accumulate_batches());
}

}  // namespace

std::uint64_t BatchPatients(const v1::TrainingSpec& training, std::uint64_t num_patients) {
  if (training.batch_size() == 0) return num_patients;
  return std::min<std::uint64_t>(training.batch_size(), num_patients);
}

std::uint64_t NumBatches(const v1::TrainingSpec& training, std::uint64_t num_patients) {
  if (training.has_local_steps()) return training.local_steps() * Accumulated(training);
  return training.local_epochs() * DivideUp(num_patients, BatchPatients(training, num_patients));
}

std::uint64_t NumSteps(const v1::TrainingSpec& training, std::uint64_t num_patients) {
  return DivideUp(NumBatches(training, num_patients), Accumulated(training));
}

std::uint64_t PatientsProcessed(const v1::TrainingSpec& training, std::uint64_t num_patients) {
  const std::uint64_t batch = BatchPatients(training, num_patients);
  const std::uint64_t batches = NumBatches(training, num_patients);
  const std::uint64_t batches_per_epoch = DivideUp(num_patients, batch);
  return batches / batches_per_epoch * num_patients + batches % batches_per_epoch * batch;
}

std::uint64_t StepsToProcess(std::uint64_t patients_processed, const v1::TrainingSpec& training,
                             std::uint64_t num_patients) {
  const std::uint64_t batch = BatchPatients(training, num_patients);
  const std::uint64_t batches = patients_processed / num_patients * DivideUp(num_patients, batch) +
                                DivideUp(patients_processed % num_patients, batch);
  return DivideUp(batches, Accumulated(training));
}

BatchSchedule::BatchSchedule(const v1::TrainingSpec& training,
                             std::span<const std::uint32_t> patients, std::uint64_t seed)
    : rows_(patients.size()),
      first_row_(std::size_t{*std::max_element(patients.begin(), patients.end())} + 2),
      patient_order_(first_row_.size() - 1),
      order_(patients.size()),
      first_place_(first_row_.size()),
      random_(seed),
      batch_patients_(BatchPatients(training, patient_order_.size())),
      num_batches_(NumBatches(training, patient_order_.size())),
      num_steps_(NumSteps(training, patient_order_.size())),
      accumulate_(Accumulated(training)) {
  for (const std::uint32_t patient : patients) ++first_row_[patient + 1];
  std::partial_sum(first_row_.begin(), first_row_.end(), first_row_.begin());
  std::vector<std::uint64_t> next(first_row_.begin(), first_row_.end() - 1);
  for (std::size_t row = 0; row < patients.size(); ++row) {
    rows_[next[patients[row]]++] = static_cast<std::int64_t>(row);
  }
  std::iota(patient_order_.begin(), patient_order_.end(), std::uint64_t{0});
  std::iota(order_.begin(), order_.end(), std::int64_t{0});
  std::copy(first_row_.begin(), first_row_.end(), first_place_.begin());
}

void BatchSchedule::Shuffle() {
  for (std::size_t i = patient_order_.size() - 1; i > 0; --i) {
    std::swap(patient_order_[i], patient_order_[random_.NextBelow(i + 1)]);
  }
  std::uint64_t place = 0;
  for (std::size_t i = 0; i < patient_order_.size(); ++i) {
    const std::uint64_t patient = patient_order_[i];
    first_place_[i] = place;
    for (std::uint64_t at = first_row_[patient]; at < first_row_[patient + 1]; ++at) {
      order_[place++] = rows_[at];
    }
  }
}

BatchSchedule::Batch BatchSchedule::Next() {
  const bool begins_epoch = position_ == 0;
  if (begins_epoch && !is_full_batch()) Shuffle();
  const std::uint64_t end =
      std::min<std::uint64_t>(position_ + batch_patients_, patient_order_.size());
  const std::uint64_t index = next_batch_++;
  const std::uint64_t first_of_step = index / accumulate_ * accumulate_;
  Batch batch{.first = first_place_[position_],
              .size = first_place_[end] - first_place_[position_],
              .begins_epoch = begins_epoch,
              .begins_step = index == first_of_step,
              .step_batches = std::min(accumulate_, num_batches_ - first_of_step)};
  batch.ends_step = index + 1 == first_of_step + batch.step_batches;
  position_ = end == patient_order_.size() ? 0 : end;
  batch.ends_epoch = position_ == 0 || next_batch_ == num_batches_;
  return batch;
}

}  // namespace chorale::training
