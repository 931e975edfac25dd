#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "core/crypto/digest.h"
#include "core/status.h"
#include "data/examples.h"
#include "training/checkpoint.h"
#include "training/local_trainer.h"

// Where long training stands, so that a restart does not begin it again: <state directory>/
// training/checkpoint, mode 0600, of the training that was interrupted last.
//   checkpoint := "chorale-checkpoint-1\n" work(32) num_batches(8) num_steps(8) sum_of_rates(8)
//                 num_parameters(8) num_means(8) num_variances(8) float32* sha256(32)
// Numbers are little-endian; the digest is that of all before it.
namespace chorale::site_agent {

// Names a training by everything that its result depends on: the request's seed, start, rules and
// rows. Whoever gets another number somewhere begins anew.
[[nodiscard]] crypto::Digest NameOfTraining(const crypto::Digest& job,
                                            const training::TrainRequest& request);

// Not thread-safe: the worker's.
class Checkpoints {
 public:
  explicit Checkpoints(std::filesystem::path state_directory);

  [[nodiscard]] bool IsEmpty() const;
  // What was kept of this training. Unset: nothing, or it is damaged, which the log tells.
  [[nodiscard]] std::optional<training::TrainCheckpoint> Find(const crypto::Digest& training) const;
  // In place of what was kept. Durable when this returns OK. Errors: the disk's.
  [[nodiscard]] Status Keep(const crypto::Digest& training,
                            const training::TrainCheckpoint& checkpoint);
  void Remove();

 private:
  std::filesystem::path directory_;
  std::filesystem::path file_;
};

}  // namespace chorale::site_agent
