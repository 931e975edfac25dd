#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"

// What somebody can do about what happened to a job.
namespace chorale::cli {

// For one of the codes of docs/reason_codes.md; of a newer site's code, where to look it up.
[[nodiscard]] std::string_view HintOf(std::string_view reason_code);

struct Hint {
  std::string what;  // "north: LEDGER_ROLLED_BACK (round 3)": what happened, last when.
  std::string to_do;
};
// One for each thing that went wrong, however often, in the order of its first time. Empty: nothing
// did.
[[nodiscard]] std::vector<Hint> HintsOf(const v1::ExplainJobResponse& story);

}  // namespace chorale::cli
