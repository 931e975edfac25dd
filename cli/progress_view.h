#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/time.h"

// A watched job as text. No terminal, no clock: lines in, lines out.
namespace chorale::cli {

// For a pipe: what is new, one line a thing, nothing twice.
class ProgressLines {
 public:
  [[nodiscard]] std::vector<std::string> Update(const v1::WatchJobResponse& message);

 private:
  std::optional<v1::JobState> state_;
  std::string reason_;
};

// For a terminal: the whole block again after every message.
//   job 7f3a (heart-disease) running  [############--------] 12/20 rounds
//   round 13: in 3, waiting 1, late 0, out 0; 58 s left
//   round 12 published: in 4, late 0, out 0; loss 0.413
//     cleveland  in
class ProgressBlock {
 public:
  // Lines are cut at `columns` characters, so that each takes one row.
  [[nodiscard]] std::vector<std::string> Render(const v1::WatchJobResponse& message, Time now,
                                                std::size_t columns);

 private:
  std::optional<v1::RoundRecord> last_round_;
};

// "round 3 published: in 4, late 0, out 0; loss 0.413; 1.2 s".
[[nodiscard]] std::string DescribeRound(const v1::RoundRecord& round);

}  // namespace chorale::cli
