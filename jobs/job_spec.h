#pragma once

#include <cstdint>
#include <filesystem>

#include "chorale/v1/jobs.pb.h"
#include "core/status.h"
#include "models/graph.h"

// What a JobSpec means, checked alike by the researcher's tool, the coordinator and every site.
namespace chorale::jobs {

// Most coefficients that newton solves for: their Hessian is one report, and one decomposition.
inline constexpr std::uint64_t kMaxCoefficients = 2048;
// Most bytes of a report that is checked as a whole: the sums of a preparation round.
inline constexpr std::uint64_t kMaxPreparationBytes = 64u << 20;

// INVALID_ARGUMENT as a config::FieldError: "rounds.min_reports must be in [1, 1024], got 0".
// initial_model.weights may still be missing, where initial_model.file is not.
[[nodiscard]] Status Validate(const v1::JobSpec& spec);

// Reads and validates job.yaml. Errors carry file and line.
[[nodiscard]] StatusOr<v1::JobSpec> LoadJobFile(const std::filesystem::path& path);

// The model that the job trains, for the inputs that its data give; plan.layout() is the layout of
// its parameters. INVALID_ARGUMENT: as Validate.
[[nodiscard]] StatusOr<models::GraphPlan> PlanOf(const v1::JobSpec& spec);

// Of the global model as it travels and is kept: 8 (float64) under newton, else 4 (float32).
[[nodiscard]] std::uint64_t BytesPerParameter(const v1::JobSpec& spec);

// True when the job begins with a preparation round: it standardises over all sites, and there is
// something to standardise.
[[nodiscard]] bool NeedsPreparation(const v1::JobSpec& spec);

// The same with every default of job_spec.proto filled in, but for multi_krum.selected, which
// depends on the reports of a round.
[[nodiscard]] v1::AggregationSpec WithDefaults(v1::AggregationSpec aggregation);
[[nodiscard]] v1::NewtonSpec WithDefaults(v1::NewtonSpec newton);

}  // namespace chorale::jobs
