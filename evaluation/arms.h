#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/dataset.h"
#include "evaluation/metrics.h"
#include "training/local_trainer.h"

// The same job trained three ways, judged on the same test rows. Needs every site's rows in one
// place: for public or synthetic data, or an environment that may hold them all.
//
// - local: each site alone; the job's rounds of local training, one after another, unaveraged.
// - federated: parameters that a federation made; nothing is trained here.
// - centralized: all training rows in one place, trained as if they were one site's.
//
// Equal budgets: an arm meets as many examples, counted with repetition, as the job gives it. A
// local arm takes its site's own steps of every round; the centralized arm takes, in every round,
// the least number of steps of the job's batch size that meets as many examples as all sites
// together.
//
// Standardisation of numeric features travels with the model: a local model uses the moments of the
// site that trained it, everywhere; the centralized model the moments of all training rows; the
// federated model what the job says, either those same pooled moments (they come from sums, as in
// the federation) or each row's own site's moments.
namespace chorale::evaluation {

struct Site {
  std::string name;
  const data::Dataset* dataset = nullptr;  // Not owned; read with the job's DataSpec.
};

struct ArmsRequest {
  const v1::JobSpec& job;
  std::span<const Site> sites;                  // At least one, distinct names.
  std::span<const float> federated_parameters;  // [num_parameters]
  training::LocalTrainer& trainer;
  // Told when an arm begins: "local cleveland". May be empty.
  std::function<void(std::string_view arm)> on_arm;
  const std::atomic<bool>* cancelled = nullptr;  // May be null.
};

// On one set of test rows.
struct Scores {
  std::size_t num_rows = 0;
  Metric accuracy;
  Metric auroc;
  Metric log_loss;
};

enum class ArmKind { kLocal, kFederated, kCentralized };
// "local", "federated", "centralized".
[[nodiscard]] std::string_view NameOf(ArmKind kind);

struct Arm {
  ArmKind kind = ArmKind::kLocal;
  std::string site;                   // Of a local arm; else empty.
  std::uint64_t optimizer_steps = 0;  // Over all rounds; of the federated arm: summed over sites.
  std::uint64_t examples_processed = 0;  // Counted with repetition.
  // Zero for the federated arm: it was trained elsewhere.
  std::chrono::microseconds training_time{0};
  Scores pooled;                // On all sites' test rows.
  std::vector<Scores> by_site;  // In the order of ArmsRequest::sites.
};

// Counts only: nothing of a row's content.
struct SiteRows {
  std::string site;
  std::size_t train_rows = 0;
  std::size_t train_positives = 0;
  std::size_t test_rows = 0;
  std::size_t test_positives = 0;
  std::size_t dropped_rows = 0;  // For missing values.
};

struct Comparison {
  std::vector<SiteRows> sites;
  std::vector<Arm> arms;  // Every local, then federated, then centralized.
};

// INVALID_ARGUMENT: no site, a repeated name, parameters that do not fit the job. Training errors
// pass through, naming the arm. The same request gives the same numbers, but for the times.
[[nodiscard]] StatusOr<Comparison> CompareArms(const ArmsRequest& request);

}  // namespace chorale::evaluation
