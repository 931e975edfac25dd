#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"

// Words for what the coordinator tells of jobs and rounds. Everything that came from elsewhere is
// made printable here.
namespace chorale::cli {

// "queued", "running", "completed", "failed", "cancelled"; "unknown" for a state of a newer
// coordinator.
[[nodiscard]] std::string_view JobStateName(v1::JobState state);
[[nodiscard]] bool HasEnded(v1::JobState state);

// The cohort of a round: in (reported), waiting, late (not reported by the deadline), out (dropped
// or refused).
struct SiteCounts {
  std::size_t reported = 0;
  std::size_t waiting = 0;
  std::size_t late = 0;
  std::size_t out = 0;
};
using SiteList = google::protobuf::RepeatedPtrField<v1::SiteProgress>;
[[nodiscard]] SiteCounts CountSites(const SiteList& sites);

// "in", "waiting", "late", "out: connection lost", "out: refused, dataset_not_allowed (…)".
[[nodiscard]] std::string SiteStateText(const v1::SiteProgress& site);
// "NAME late" for every site that is not in and not waiting.
[[nodiscard]] std::vector<std::string> DescribeMissing(const SiteList& sites);

// "3", or the phase of a round that makes no model: "preparation", "personalization".
[[nodiscard]] std::string RoundLabel(std::string_view phase, std::uint32_t round);
// The training loss, else the test loss, of a round: "0.413", or "-" when no site told it.
[[nodiscard]] std::string LossText(const v1::RoundRecord& round);

// "clipping norm 0.93"; empty for rounds whose clipping does not adapt.
[[nodiscard]] std::string ClippingText(const v1::RoundRecord& round);

// What a preparation round found of each column, a line each, under a heading: rows, missing
// values, mean, deviation and quantiles, or the rows of each level. Levels are named by `spec`, the
// job's own words. Empty when the round found nothing.
[[nodiscard]] std::string StatisticsText(const v1::RoundRecord& round, const v1::JobSpec& spec);

}  // namespace chorale::cli
