#pragma once

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include "core/status.h"

// What touched the data, as data: an accountant turns events into a guarantee. Events are kept and
// added up rather than epsilons, because epsilons do not add up well.
//
// Throughout, `noise_multiplier` is the noise's standard deviation (of Laplace noise: its scale)
// over the bound C on one unit's contribution, whatever the sampling and the relation. Where a
// relation or a sampling moves the sum by up to 2 C, the accountant counts 2 C.
namespace chorale::privacy {

// Which datasets count as neighbours.
enum class NeighboringRelation {
  kAddOrRemoveOne,  // One unit more or less. The sum moves by at most C.
  kReplaceOne,      // One unit exchanged for another. The sum moves by at most 2 C.
};

// Whose presence is hidden: what is sampled, summed and clipped as one.
enum class PrivacyUnit { kPatient, kRecord, kClient };

// How a step's batch is drawn. Each has a rule of its own; none is taken for another.
enum class Sampling {
  kPoisson,    // Each unit by itself with probability `sample_rate`.
  kFixedSize,  // A share `sample_rate` of the units, all such batches equally likely.
  kShuffled,   // A shuffled pass in batches of a share `sample_rate`: no amplification at all.
};

enum class AccountantKind { kRdp, kPld };

// The names that files and the command line use: "add-remove", "patient", "poisson", "pld".
[[nodiscard]] std::string_view NameOf(NeighboringRelation relation);
[[nodiscard]] std::string_view NameOf(PrivacyUnit unit);
[[nodiscard]] std::string_view NameOf(Sampling sampling);
[[nodiscard]] std::string_view NameOf(AccountantKind accountant);

// Noise on a sum over all units.
struct Gaussian {
  double noise_multiplier = 0;
};
struct Laplace {
  double noise_multiplier = 0;
};

// Gaussian noise on the sum over a drawn batch: a step of DP-SGD.
struct SampledGaussian {
  Sampling sampling = Sampling::kPoisson;
  double sample_rate = 0;
  double noise_multiplier = 0;
};

// Laplace noise on a sum over a Poisson batch.
struct SampledLaplace {
  double sample_rate = 0;
  double noise_multiplier = 0;
};

// Poisson batches cut at `max_batch` units, at random, of a dataset of `num_units` (public).
struct TruncatedPoissonGaussian {
  std::uint64_t num_units = 0;
  double sample_rate = 0;
  std::uint64_t max_batch = 0;
  double noise_multiplier = 0;
};

// Gaussian noise on a sum to which the unit contributes contributions[i] times C with
// probabilities[i]: a patient whose k records are drawn one by one contributes binomially.
struct GaussianMixture {
  std::vector<double> contributions;  // At least 0.
  std::vector<double> probabilities;  // Sum to 1.
  double noise_multiplier = 0;
};

struct Event;

// One after the other.
struct Composed {
  std::vector<Event> parts;
};

// Repeats `run` a random number of times and publishes the best result alone (Papernot and Steinke,
// arXiv 2110.03620): what choosing hyper-parameters on the same data costs.
struct RepeatAndSelect {
  enum class Repetitions { kLogarithmic, kGeometric, kPoisson };
  std::vector<Event> run;
  Repetitions repetitions = Repetitions::kGeometric;
  double mean = 1;  // Of the number of runs, at least 1.
};

// An event that happened `count` times.
struct Event {
  std::variant<Gaussian, Laplace, SampledGaussian, SampledLaplace, TruncatedPoissonGaussian,
               GaussianMixture, Composed, RepeatAndSelect>
      kind;
  std::uint64_t count = 1;
};

// DP-SGD: `steps` noisy sums over batches drawn alike.
[[nodiscard]] Event NoisySteps(Sampling sampling, double sample_rate, double noise_multiplier,
                               std::uint64_t steps);

// A step of Poisson sampling by record, seen by a patient with `num_records`: binomially many.
[[nodiscard]] GaussianMixture RecordsOfOnePatient(std::uint64_t num_records, double sample_rate,
                                                  double noise_multiplier);

// INVALID_ARGUMENT names the field, the bound and the value. Bounds: rates and probabilities in
// [0, 1], noise multipliers 0 (no noise) or in [0.01, 1e6], counts up to 1e9 in all, up to 200
// contributions of at most 500 times the noise.
[[nodiscard]] Status Validate(const Event& event);

// An event that is neither composed nor, with shuffled batches, more than a sum over all units.
struct CountedLeaf {
  std::variant<Gaussian, Laplace, SampledGaussian, SampledLaplace, TruncatedPoissonGaussian,
               GaussianMixture, RepeatAndSelect>
      kind;
  std::uint64_t count = 1;
};

// The leaves with their counts multiplied out. Shuffled steps become one sum over all units for
// each pass begun, with batches of a share `sample_rate` and the incomplete one dropped, which is
// the more passes; a batch of the whole dataset becomes a sum over it; what costs nothing (rate or
// count 0) is left out. REQUIRES: the event is valid.
[[nodiscard]] std::vector<CountedLeaf> Flatten(const Event& event);

}  // namespace chorale::privacy
