#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/parameters.h"
#include "core/status.h"
#include "site_agent/journal.h"

// What a site keeps of a job and never tells, under its state directory, readable by its owner
// alone:
//   jobs/<job>/current.safetensors   what the next round starts from
//   jobs/<job>/next.safetensors      what the last trained round leaves behind
//   models/<job>/personal.safetensors   the personalised model, for the hospital to use
// Of either folder the 16 jobs that were written last are kept; what is to last longer is copied
// elsewhere.
namespace chorale::site_agent {

struct LocalState {
  ParameterVector control_variate = {};  // SCAFFOLD. [num_parameters], or empty: zeros.
  ParameterVector normalization = {};    // FedBN: local_normalization.h; empty: the global ones.
};

// As the coordinator names a job, and as the researcher signed it. The name alone proves nothing.
struct JobKey {
  JobId id;
  crypto::Digest spec_digest{};
};

// State moves in step with the reports that were released. A round proposes a state before its
// report meets the release guard; the proposal counts from the next round on, and only if the
// journal holds that report and the coordinator did not turn it down. So a crash anywhere, a report
// that may not leave, and a round that is tried again all find the state that the round began with.
//
// Not thread-safe.
class LocalStore {
 public:
  static constexpr std::size_t kMaxJobs = 16;

  // `journal` must outlive the store.
  LocalStore(std::filesystem::path state_directory, Journal& journal);

  // What `round` starts from; empty for a job that left nothing yet. INVALID_ARGUMENT: an id that
  // is no name (ValidateName), which never becomes a path; PERMISSION_DENIED: the id is that of
  // another signed job here; DATA_LOSS: a damaged file, or over `max_parameters` numbers; else the
  // journal's and the disk's.
  [[nodiscard]] StatusOr<LocalState> Load(const JobKey& job, std::uint32_t round,
                                          std::uint64_t max_parameters);

  // What the round after `round` starts from if the report of `task` is released. Durable when this
  // returns OK; replaces what was proposed before. Errors: as Load; RESOURCE_EXHAUSTED: disk full.
  // REQUIRES: some state; Load(job, round) before, so that an earlier proposal that counts is kept.
  [[nodiscard]] Status Propose(const JobKey& job, std::uint32_t round, const TaskId& task,
                               const LocalState& state);

  // Keeps a personalised model; the path is for the site's log. Errors: as Propose.
  [[nodiscard]] StatusOr<std::filesystem::path> SaveModel(
      const JobKey& job, const ParameterLayout& layout, std::span<const float> values,
      std::map<std::string, std::string> metadata);

 private:
  struct Stored {
    TaskId task;
    std::uint32_t round = 0;
    LocalState state;
  };
  [[nodiscard]] StatusOr<std::optional<Stored>> Read(const std::filesystem::path& path,
                                                     const JobKey& job,
                                                     std::uint64_t max_parameters) const;

  std::filesystem::path jobs_;
  std::filesystem::path models_;
  Journal& journal_;
};

}  // namespace chorale::site_agent
