#include "training/batch_schedule.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace chorale::training {
namespace {

std::uint64_t DivideUp(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

std::uint64_t BatchExamples(const v1::TrainingSpec& training, std::uint64_t num_examples) {
  if (training.batch_size() == 0) return num_examples;
  return std::min<std::uint64_t>(training.batch_size(), num_examples);
}

std::uint64_t NumSteps(const v1::TrainingSpec& training, std::uint64_t num_examples) {
  if (training.has_local_steps()) return training.local_steps();
  return training.local_epochs() * DivideUp(num_examples, BatchExamples(training, num_examples));
}

std::uint64_t ExamplesProcessed(const v1::TrainingSpec& training, std::uint64_t num_examples) {
  if (!training.has_local_steps()) return training.local_epochs() * num_examples;
  const std::uint64_t batch = BatchExamples(training, num_examples);
  const std::uint64_t steps_per_epoch = DivideUp(num_examples, batch);
  return training.local_steps() / steps_per_epoch * num_examples +
         training.local_steps() % steps_per_epoch * batch;
}

std::uint64_t StepsToProcess(std::uint64_t examples_processed, const v1::TrainingSpec& training,
                             std::uint64_t num_examples) {
  const std::uint64_t batch = BatchExamples(training, num_examples);
  return examples_processed / num_examples * DivideUp(num_examples, batch) +
         DivideUp(examples_processed % num_examples, batch);
}

BatchSchedule::BatchSchedule(const v1::TrainingSpec& training, std::uint64_t num_examples,
                             std::uint64_t seed)
    : order_(num_examples),
      random_(seed),
      batch_examples_(BatchExamples(training, num_examples)),
      num_steps_(NumSteps(training, num_examples)) {
  std::iota(order_.begin(), order_.end(), std::int64_t{0});
}

BatchSchedule::Batch BatchSchedule::Next() {
  const bool begins_epoch = position_ == 0;
  if (begins_epoch && !is_full_batch()) {
    for (std::size_t i = order_.size() - 1; i > 0; --i) {
      std::swap(order_[i], order_[random_.NextBelow(i + 1)]);
    }
  }
  ++step_;
  Batch batch{.first = position_,
              .size = std::min<std::uint64_t>(batch_examples_, order_.size() - position_),
              .begins_epoch = begins_epoch};
  position_ += batch.size;
  if (position_ == order_.size()) position_ = 0;
  batch.ends_epoch = position_ == 0 || step_ == num_steps_;
  return batch;
}

}  // namespace chorale::training
