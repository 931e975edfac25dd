#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

#include "core/status.h"
#include "privacy/accountant.h"
#include "privacy/event.h"

namespace CLI {
class App;
}

// Options that the verbs of `chorale privacy` share. Each bound is checked while the command line
// is parsed; an error names the option, the bound and the value.
namespace chorale::cli {

struct PrivacyOptions {
  double noise_multiplier = 0;
  double sample_rate = 0;
  std::int64_t steps = 1;
  double delta = 0;
  privacy::Sampling sampling = privacy::Sampling::kPoisson;
  privacy::NeighboringRelation relation = privacy::NeighboringRelation::kAddOrRemoveOne;
  privacy::AccountantKind accountant = privacy::AccountantKind::kPld;
  privacy::PrivacyUnit unit = privacy::PrivacyUnit::kPatient;
  std::optional<double> interval;
  bool use_extended_orders = false;
  // Poisson batches are cut at so many, of a dataset of so many; 0: neither is given.
  std::int64_t max_batch = 0;
  std::int64_t dataset_size = 0;
  // The best of a random number of such runs, which is so large on average; else there is one run.
  std::optional<privacy::RepeatAndSelect::Repetitions> repetitions;
  double mean_runs = 0;
};

void AddNoiseOption(CLI::App& verb, PrivacyOptions& options);
void AddSampleRateOption(CLI::App& verb, PrivacyOptions& options);
// `is_required`, or 1 by default.
void AddStepsOption(CLI::App& verb, PrivacyOptions& options, bool is_required);
// --sampling and --neighboring-relation.
void AddSamplingOptions(CLI::App& verb, PrivacyOptions& options);
// --delta (also --target-delta), --accountant, --unit, --interval, --orders.
void AddAccountingOptions(CLI::App& verb, PrivacyOptions& options);
// --max-batch and --dataset-size; --repetitions and --mean-runs.
void AddScheduleOptions(CLI::App& verb, PrivacyOptions& options);
void AddTargetOption(CLI::App& verb, double& target_epsilon);
// --order of the rdp verb.
void AddOrderOption(CLI::App& verb, double& order);

// INVALID_ARGUMENT: options that go together are not given together.
[[nodiscard]] Status CheckSchedule(const PrivacyOptions& options);
// The schedule that the options describe, with other noise or another number of steps.
[[nodiscard]] privacy::Event EventOf(const PrivacyOptions& options);
[[nodiscard]] privacy::AccountingOptions AccountingOf(const PrivacyOptions& options);

// The statement and the schedule as an object of one line: `first_key` first, then "epsilon",
// "delta" and "order". What does not apply is null.
[[nodiscard]] std::string ToJson(const PrivacyOptions& options, const privacy::Guarantee& guarantee,
                                 const std::string& first_key);
// The statement and a line end.
void PrintStatement(const PrivacyOptions& options, const privacy::Guarantee& guarantee,
                    std::ostream& out);

}  // namespace chorale::cli
