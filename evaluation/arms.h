#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "core/parameters.h"
#include "core/status.h"
#include "data/dataset.h"
#include "evaluation/scores.h"
#include "training/local_trainer.h"

// The same job trained in several ways, judged on the same test rows. Needs every site's rows in
// one place: for public or synthetic data, or an environment that may hold them all.
//
// - local: each site alone; the job's rounds of local training, one after another, unaveraged.
// - federated: parameters that a federation made; nothing is trained here.
// - personalised (where the job asks for it): at each site, trained on from the federated
//   parameters with the site's rows, and judged on the site's own test rows.
// - private (where one is given): parameters that another job of the federation made under
//   differential privacy, judged as that job prepares its rows; see JudgePrivate.
// - centralized: all training rows in one place, trained as if they were one site's.
//
// Equal budgets: an arm meets as many patients, counted with repetition, as the job gives it. A
// local arm takes its site's own steps of every round; the centralized arm takes, in every round,
// the least number of steps of the job's batch size that meets as many patients as the sites of a
// round together (where a round asks only some of the sites: as they are on average). What a job
// adds against drift (fedprox, scaffold) is left out where nobody drifts. A newton job has no
// budget: every arm is solved until nothing is to be gained. A Cox model has one stratum a site in
// the federation, and one for all rows in the centralized arm.
//
// Standardisation of numeric features travels with the model: a local model uses the statistics of
// the site that trained it, everywhere; the centralized model those of all training rows; the
// federated model what the job says, either those same pooled statistics (they come from sums, as
// in the federation), what a private preparation told of them, or each row's own site's. A
// personalised model sees what the federated one sees.
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
  // Rounds whose models the federation published; without: all that the job asks for.
  std::optional<std::uint32_t> published_rounds = {};
  // What the job started from (initial_model). Empty: initialised from its seed. [num_parameters]
  std::span<const float> initial_parameters = {};
  // Of a job with standardization federated_private, what its preparation told
  // (RunRecord::noisy_moments): the federated and the private model see rows by it.
  std::span<const data::Moments> noisy_moments = {};
  // Told when an arm begins: "local cleveland". May be empty.
  std::function<void(std::string_view arm)> on_arm = {};
  const std::atomic<bool>* cancelled = nullptr;  // May be null.
};

enum class ArmKind { kLocal, kFederated, kPersonalised, kPrivate, kCentralized };
// "local", "federated", "personalised", "private", "centralized".
[[nodiscard]] std::string_view NameOf(ArmKind kind);

struct Arm {
  ArmKind kind = ArmKind::kLocal;
  std::string site = {};  // Of a local arm; else empty.
  // Over all rounds; of the federated and the personalised arm: summed over sites. Of a newton job:
  // steps of Newton's method.
  std::uint64_t optimizer_steps = 0;
  std::uint64_t examples_processed = 0;  // Counted with repetition.
  // Zero for the federated arm: it was trained elsewhere.
  std::chrono::microseconds training_time{0};
  Scores pooled = {};                // On all sites' test rows.
  std::vector<Scores> by_site = {};  // In the order of ArmsRequest::sites.
};

// "local cleveland", "federated".
[[nodiscard]] std::string LabelOf(const Arm& arm);

// Counts only: nothing of a row's content.
struct SiteRows {
  std::string site;
  std::size_t train_rows = 0;
  std::size_t test_rows = 0;
  // Of a binary target: rows with 1. Of survival: rows that had their event. Else none.
  std::optional<std::size_t> train_positives;
  std::optional<std::size_t> test_positives;
  std::size_t dropped_rows = 0;  // For missing values.
};

struct Comparison {
  models::TargetKind target = models::TargetKind::kBinary;
  std::vector<SiteRows> sites;
  std::vector<Arm> arms;  // Every local, federated, personalised if asked for, centralized.
};

// The private arm, to be put into a comparison of the same sites and test rows. `request` has the
// private job and its sites' datasets; federated_parameters are its model's; nothing is trained.
// Errors as CompareArms.
[[nodiscard]] StatusOr<Arm> JudgePrivate(const ArmsRequest& request);
// In front of the centralized arm. INVALID_ARGUMENT: it was judged on other test rows.
[[nodiscard]] Status AddPrivate(Arm arm, Comparison& comparison);

// INVALID_ARGUMENT: no site, a repeated name, no noisy moments where the job needs them, parameters
// that do not fit the job, a model of masks (MeasuresOf has nothing). Training errors pass through,
// naming the arm. The same request gives the same numbers, but for the times.
[[nodiscard]] StatusOr<Comparison> CompareArms(const ArmsRequest& request);

}  // namespace chorale::evaluation
