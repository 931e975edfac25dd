#include "privacy/event.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <utility>

#include "privacy/log_math.h"

namespace chorale::privacy {
namespace {

constexpr double kMinNoiseMultiplier = 0.01;
constexpr double kMaxNoiseMultiplier = 1e6;
constexpr std::size_t kMaxContributions = 200;
constexpr double kMaxContribution = 500;  // Over the noise multiplier.
constexpr std::uint64_t kMaxCount = 1'000'000'000;
constexpr std::size_t kMaxDepth = 16;

Status CheckRange(std::string_view name, double low, double high, double value) {
  if (value >= low && value <= high) return OkStatus();
  std::ostringstream text;
  text << name << " must be in [" << low << ", " << high << "], got " << value;
  return InvalidArgument(text.str());
}

Status CheckNoise(double value) {
  if (value == 0) return OkStatus();
  return CheckRange("noise_multiplier", kMinNoiseMultiplier, kMaxNoiseMultiplier, value);
}

Status CheckEvent(const Event& event, std::uint64_t outer_count, std::size_t depth);

Status CheckEvents(const std::vector<Event>& events, std::uint64_t count, std::size_t depth) {
  for (const Event& event : events) CHORALE_RETURN_IF_ERROR(CheckEvent(event, count, depth));
  return OkStatus();
}

struct Checker {
  std::uint64_t count;
  std::size_t depth;

  Status operator()(const Gaussian& e) const { return CheckNoise(e.noise_multiplier); }
  Status operator()(const Laplace& e) const { return CheckNoise(e.noise_multiplier); }
  Status operator()(const SampledGaussian& e) const {
    CHORALE_RETURN_IF_ERROR(CheckRange("sample_rate", 0, 1, e.sample_rate));
    return CheckNoise(e.noise_multiplier);
  }
  Status operator()(const SampledLaplace& e) const {
    CHORALE_RETURN_IF_ERROR(CheckRange("sample_rate", 0, 1, e.sample_rate));
    return CheckNoise(e.noise_multiplier);
  }
  Status operator()(const TruncatedPoissonGaussian& e) const {
    CHORALE_RETURN_IF_ERROR(CheckRange("num_units", 1, 1e9, static_cast<double>(e.num_units)));
    CHORALE_RETURN_IF_ERROR(CheckRange("max_batch", 1, 1e9, static_cast<double>(e.max_batch)));
    CHORALE_RETURN_IF_ERROR(CheckRange("sample_rate", 0, 1, e.sample_rate));
    return CheckNoise(e.noise_multiplier);
  }
  Status operator()(const GaussianMixture& e) const {
    if (e.contributions.empty() || e.contributions.size() != e.probabilities.size()) {
      return InvalidArgument("contributions and probabilities must be as many, and not none");
    }
    if (e.contributions.size() > kMaxContributions) {
      return InvalidArgument("contributions must be at most " + std::to_string(kMaxContributions) +
                             ", got " + std::to_string(e.contributions.size()));
    }
    CHORALE_RETURN_IF_ERROR(CheckNoise(e.noise_multiplier));
    const double largest = e.noise_multiplier > 0 ? kMaxContribution * e.noise_multiplier : 1e6;
    double total = 0;
    for (std::size_t i = 0; i < e.contributions.size(); ++i) {
      CHORALE_RETURN_IF_ERROR(CheckRange("contributions", 0, largest, e.contributions[i]));
      CHORALE_RETURN_IF_ERROR(CheckRange("probabilities", 0, 1, e.probabilities[i]));
      total += e.probabilities[i];
    }
    return CheckRange("the sum of probabilities", 1 - 1e-9, 1 + 1e-9, total);
  }
  Status operator()(const Composed& e) const { return CheckEvents(e.parts, count, depth + 1); }
  Status operator()(const RepeatAndSelect& e) const {
    CHORALE_RETURN_IF_ERROR(CheckRange("the mean number of runs", 1, 1e6, e.mean));
    return CheckEvents(e.run, 1, depth + 1);
  }
};

Status CheckEvent(const Event& event, std::uint64_t outer_count, std::size_t depth) {
  if (depth > kMaxDepth) {
    return InvalidArgument("events must be nested at most " + std::to_string(kMaxDepth) + " deep");
  }
  if (event.count > kMaxCount || (event.count > 0 && outer_count > kMaxCount / event.count)) {
    return InvalidArgument("the number of steps must be at most " + std::to_string(kMaxCount) +
                           ", got " + std::to_string(event.count) + " times " +
                           std::to_string(outer_count));
  }
  return std::visit(Checker{.count = event.count * outer_count, .depth = depth}, event.kind);
}

// Passes begun in `steps` batches of a share `sample_rate`. A pass holds as many batches as fit
// wholly; the allowance keeps 1/0.01 at 100.
std::uint64_t PassesBegun(double sample_rate, std::uint64_t steps) {
  const double batches_exact = 1 / sample_rate;
  const double batches = std::max(1.0, std::floor(batches_exact * (1 + 1e-12)));
  return static_cast<std::uint64_t>(std::ceil(static_cast<double>(steps) / batches));
}

void AddLeaves(const Event& event, std::uint64_t outer_count, std::vector<CountedLeaf>& leaves);

struct Flattener {
  std::uint64_t own_count;
  std::uint64_t outer_count;
  std::vector<CountedLeaf>& leaves;

  void Add(decltype(CountedLeaf::kind) kind, std::uint64_t count) const {
    if (count > 0) leaves.push_back({.kind = std::move(kind), .count = count});
  }
  void operator()(const Composed& e) const {
    for (const Event& part : e.parts) AddLeaves(part, own_count * outer_count, leaves);
  }
  void operator()(const SampledGaussian& e) const {
    if (e.sample_rate == 0) return;
    if (e.sampling == Sampling::kShuffled) {
      Add(Gaussian{e.noise_multiplier}, PassesBegun(e.sample_rate, own_count) * outer_count);
    } else if (e.sample_rate == 1) {
      Add(Gaussian{e.noise_multiplier}, own_count * outer_count);
    } else {
      Add(e, own_count * outer_count);
    }
  }
  void operator()(const SampledLaplace& e) const {
    if (e.sample_rate > 0) Add(e, own_count * outer_count);
  }
  void operator()(const TruncatedPoissonGaussian& e) const {
    if (e.sample_rate > 0) Add(e, own_count * outer_count);
  }
  template <typename Leaf>
  void operator()(const Leaf& e) const {
    Add(e, own_count * outer_count);
  }
};

void AddLeaves(const Event& event, std::uint64_t outer_count, std::vector<CountedLeaf>& leaves) {
  std::visit(Flattener{.own_count = event.count, .outer_count = outer_count, .leaves = leaves},
             event.kind);
}

}  // namespace

std::string_view NameOf(NeighboringRelation relation) {
  switch (relation) {
    case NeighboringRelation::kAddOrRemoveOne:
      return "add-remove";
    case NeighboringRelation::kReplaceOne:
      return "replace";
  }
  return "unknown";
}

std::string_view NameOf(PrivacyUnit unit) {
  switch (unit) {
    case PrivacyUnit::kPatient:
      return "patient";
    case PrivacyUnit::kRecord:
      return "record";
    case PrivacyUnit::kClient:
      return "client";
  }
  return "unknown";
}

std::string_view NameOf(Sampling sampling) {
  switch (sampling) {
    case Sampling::kPoisson:
      return "poisson";
    case Sampling::kFixedSize:
      return "fixed";
    case Sampling::kShuffled:
      return "shuffled";
  }
  return "unknown";
}

std::string_view NameOf(AccountantKind accountant) {
  switch (accountant) {
    case AccountantKind::kRdp:
      return "rdp";
    case AccountantKind::kPld:
      return "pld";
  }
  return "unknown";
}

Event NoisySteps(Sampling sampling, double sample_rate, double noise_multiplier,
                 std::uint64_t steps) {
  return {.kind = SampledGaussian{.sampling = sampling,
                                  .sample_rate = sample_rate,
                                  .noise_multiplier = noise_multiplier},
          .count = steps};
}

GaussianMixture RecordsOfOnePatient(std::uint64_t num_records, double sample_rate,
                                    double noise_multiplier) {
  GaussianMixture mixture{
      .contributions = {}, .probabilities = {}, .noise_multiplier = noise_multiplier};
  const auto n = static_cast<double>(num_records);
  for (std::uint64_t i = 0; i <= num_records; ++i) {
    const auto k = static_cast<double>(i);
    // 0 ln 0 is 0: a rate of 0 or 1 leaves one outcome.
    const double hits = i == 0 ? 0 : k * std::log(sample_rate);
    const double misses = i == num_records ? 0 : (n - k) * std::log1p(-sample_rate);
    mixture.contributions.push_back(k);
    mixture.probabilities.push_back(std::exp(LogBinomial(n, k) + hits + misses));
  }
  return mixture;
}

Status Validate(const Event& event) { return CheckEvent(event, 1, 0); }

std::vector<CountedLeaf> Flatten(const Event& event) {
  std::vector<CountedLeaf> leaves;
  AddLeaves(event, 1, leaves);
  return leaves;
}

}  // namespace chorale::privacy
