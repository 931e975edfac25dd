#pragma once

#include <filesystem>
#include <string_view>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"

// What a JobSpec means, checked alike by the researcher's tool, the coordinator and every site.
namespace chorale::jobs {

// INVALID_ARGUMENT as a config::FieldError: "rounds.min_reports must be in [1, 1024], got 0".
[[nodiscard]] Status Validate(const v1::JobSpec& spec);

// Reads and validates job.yaml. Errors carry file and line.
[[nodiscard]] StatusOr<v1::JobSpec> LoadJobFile(const std::filesystem::path& path);

// The layout of the parameters that a valid job trains.
[[nodiscard]] StatusOr<ParameterLayout> LayoutOf(const v1::JobSpec& spec);

// True when the job begins with a preparation round.
[[nodiscard]] bool NeedsPreparation(const v1::JobSpec& spec);

}  // namespace chorale::jobs
