#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "data/moments.h"

// What a federation tells of one job, for the report: rounds, curves, traffic, time. The source is
// the JSON form of v1::ShowJobResponse with the names of the proto.
namespace chorale::evaluation {

struct RoundSummary {
  std::uint32_t round = 0;
  std::string phase;  // "preparation", "training", "newton" or "personalization".
  bool is_published = false;
  std::string reason;  // Why it was abandoned.
  double seconds = 0;  // From dispatch to the end.
  std::uint32_t num_asked = 0;
  std::uint32_t num_reported = 0;
  std::uint64_t bytes_down = 0;  // Over the cohort.
  std::uint64_t bytes_up = 0;
  std::vector<v1::MetricValue> metrics;
};

// Weights that travelled, without the frames around them. A round's bytes are told for the cohort
// as a whole; every site of a cohort gets the same model and sends an update of the same size, so a
// site's part is an equal share: of the bytes down among those asked, of the bytes up among those
// that reported.
struct SiteTraffic {
  std::string site;
  std::uint32_t rounds_asked = 0;
  std::uint32_t rounds_reported = 0;
  std::uint64_t bytes_down = 0;  // To the site.
  std::uint64_t bytes_up = 0;    // From the site.
};

struct RunRecord {
  std::string job_id;
  std::string researcher;
  std::string state;  // "completed", "running", ...
  v1::JobSpec spec;
  std::vector<RoundSummary> rounds;  // Oldest first, with the preparation round if there is one.
  std::vector<SiteTraffic> sites;    // By name.
  std::string model_digest;  // Of the last published model, lower-case hexadecimal; empty if none.
  std::uint32_t num_published = 0;  // Rounds that published a model.
  // What the preparation of a private job told of numeric features, in order; empty without one.
  std::vector<data::Moments> noisy_moments = {};
};

// INVALID_ARGUMENT: not that JSON, a field out of bounds, a number that is not finite.
// RESOURCE_EXHAUSTED: over 64 MiB.
[[nodiscard]] StatusOr<RunRecord> ParseRunRecord(std::string_view json);
// The same from a file; messages begin with its name. NOT_FOUND when there is none.
[[nodiscard]] StatusOr<RunRecord> LoadRunRecord(const std::filesystem::path& path);

}  // namespace chorale::evaluation
