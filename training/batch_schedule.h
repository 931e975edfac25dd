#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/random.h"

// Which examples meet the optimizer at which step. Pure arithmetic and one seeded shuffle: no
// LibTorch here.
namespace chorale::training {

// Examples in one step: batch_size, or all when batch_size is 0 or larger than num_examples.
[[nodiscard]] std::uint64_t BatchExamples(const v1::TrainingSpec& training,
                                          std::uint64_t num_examples);

// Optimizer steps of one round at a site. Epochs end with a smaller batch when the rows do not
// divide.
[[nodiscard]] std::uint64_t NumSteps(const v1::TrainingSpec& training, std::uint64_t num_examples);

// Examples that NumSteps() steps process, counted as often as they are met.
[[nodiscard]] std::uint64_t ExamplesProcessed(const v1::TrainingSpec& training,
                                              std::uint64_t num_examples);

// Least number of steps that process `examples_processed` examples of a site with `num_examples`.
[[nodiscard]] std::uint64_t StepsToProcess(std::uint64_t examples_processed,
                                           const v1::TrainingSpec& training,
                                           std::uint64_t num_examples);

// Walks through the steps of one round. Each epoch is a fresh Fisher-Yates shuffle; a full batch is
// never shuffled. The same seed gives the same order on every platform. Not thread-safe.
class BatchSchedule {
 public:
  // REQUIRES: num_examples > 0 and a valid specification.
  BatchSchedule(const v1::TrainingSpec& training, std::uint64_t num_examples, std::uint64_t seed);

  struct Batch {
    std::uint64_t first = 0;    // Place in order() of the first example.
    std::uint64_t size = 0;     // At least 1.
    bool begins_epoch = false;  // order() has changed (unless the batch is full).
    bool ends_epoch = false;    // Every example has been met, or this is the last step.
  };
  // REQUIRES: called at most num_steps() times.
  Batch Next();

  [[nodiscard]] std::uint64_t num_steps() const { return num_steps_; }
  [[nodiscard]] bool is_full_batch() const { return batch_examples_ == order_.size(); }
  // Rows in the order of the epoch under way. [num_examples]
  [[nodiscard]] std::span<const std::int64_t> order() const { return order_; }

 private:
  std::vector<std::int64_t> order_;
  SeededRandom random_;
  std::uint64_t batch_examples_;
  std::uint64_t num_steps_;
  std::uint64_t step_ = 0;
  std::uint64_t position_ = 0;
};

}  // namespace chorale::training
