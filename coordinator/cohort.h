#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/round.h"
#include "core/ids.h"

// Who is asked in a round.
namespace chorale::coordinator {

// What is known of one site of the roster for one job.
struct Candidate {
  SiteId site = {};
  bool is_in_good_standing = false;
  bool is_connected = false;
  bool offers_dataset = false;
  bool has_refused = false;  // This job, for good.
  std::string refusal_code = {};
};

struct CohortRules {
  std::uint32_t min_reports = 1;
  std::uint32_t cohort_size = 0;  // 0: every eligible site.
  std::uint64_t job_seed = 0;
  // One site a round, in an order that the seed draws and that repeats (cyclic training).
  bool takes_turns = false;
  std::optional<SiteId> previous = {};  // Whose turn was last; unset: nobody's.
  // Where all of these can be asked, they are, and nobody else. Sorted.
  std::vector<SiteId> preferred = {};
};

struct Cohort {
  std::vector<SiteId> sites;  // Sorted.
};
struct TooFewSites {
  std::string reason;  // "waiting for sites: 2 of 3 connected".
};
struct NeverEnoughSites {
  std::string reason;  // Refusals leave fewer sites than the quorum.
};
using Selection = std::variant<Cohort, TooFewSites, NeverEnoughSites>;

// A site is eligible when it is on the roster in good standing, connected, offers the dataset and
// has not refused this job. Of more than cohort_size eligible sites a sample is drawn that depends
// on the seed, the round and its attempt alone. Where sites take turns, the next eligible one
// behind the previous is taken: who is away is skipped, and the order of the others does not depend
// on who is on the roster. `candidates` and `preferred` are sorted by site id.
[[nodiscard]] Selection SelectCohort(std::span<const Candidate> candidates,
                                     const CohortRules& rules, RoundKey round);

// Sites that take part when everybody is there: in good standing and willing, as far as is known
// with the dataset.
[[nodiscard]] std::size_t CountWilling(std::span<const Candidate> candidates);

}  // namespace chorale::coordinator
