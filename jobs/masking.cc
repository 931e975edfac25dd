#include "jobs/masking.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "core/config/yaml.h"
#include "core/parameters.h"
#include "data/preparation.h"
#include "jobs/algorithm_spec.h"
#include "jobs/field_checks.h"
#include "jobs/noisy_sum.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_metrics.h"
#include "jobs/private_newton.h"
#include "jobs/private_preparation.h"
#include "secagg/exact_sum.h"
#include "secagg/refusal.h"
#include "training/newton_sums.h"

namespace chorale::jobs {
namespace {

constexpr double kDefaultMaxUpdate = 16;
constexpr double kDefaultMaxControlChange = 1024;
constexpr double kLargestBound = 1e12;
constexpr std::uint64_t kDefaultMaxExamples = std::uint64_t{1} << 20;
constexpr std::uint64_t kLargestMaxExamples = std::uint64_t{1} << 40;
// A model up to this size pays nothing worth mentioning for the finer ring.
constexpr std::uint64_t kFewParameters = 65536;

Status CheckBound(const std::string& field, double value) {
  if (value == 0 || (value > 0 && value <= kLargestBound)) return OkStatus();
  return config::FieldError(field, "must be above 0 and at most 1e12, got " + Text(value));
}

// The rules that cannot do with a sum, and what looks at single updates in them.
std::optional<std::string> RuleOfSingleUpdates(const v1::AggregationSpec& aggregation) {
  switch (aggregation.rule_case()) {
    case v1::AggregationSpec::kCyclic:
      return "cyclic";
    case v1::AggregationSpec::kMedian:
      return "median";
    case v1::AggregationSpec::kTrimmedMean:
      return "trimmed_mean";
    case v1::AggregationSpec::kMultiKrum:
      return "multi_krum";
    case v1::AggregationSpec::kNormBound:
      return "norm_bound";
    default:
      return std::nullopt;
  }
}

void Add(std::string_view text, Bytes& out) { out.insert(out.end(), text.begin(), text.end()); }
void Add(std::uint64_t number, Bytes& out) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(number >> shift));
}
void Add(double number, Bytes& out) { Add(std::bit_cast<std::uint64_t>(number), out); }
void Add(const crypto::Digest& digest, Bytes& out) {
  out.insert(out.end(), digest.begin(), digest.end());
}

// Numbers beside the updates and the number of rows.
std::uint64_t NumSums(const v1::JobSpec& spec, MaskedKind kind, std::uint64_t num_parameters) {
  switch (kind) {
    case MaskedKind::kPreparation:
      return data::PreparationSize(spec.data());
    case MaskedKind::kNewtonSums:
      return training::NewtonSumsSize(num_parameters);
    case MaskedKind::kUpdate:
    case MaskedKind::kPersonalMetrics:
      break;
  }
  return 2 * static_cast<std::uint64_t>(spec.training().metrics_size());
}

// What patients' vectors with noise add up to in such a report; none of a job that is not private,
// or of a private one whose updates come without metrics.
StatusOr<std::optional<NoisySum>> NoisySumIn(const v1::JobSpec& spec, MaskedKind kind,
                                             std::uint64_t num_parameters) {
  if (!IsPrivate(spec)) return std::nullopt;
  if (kind == MaskedKind::kPreparation && HasPrivatePreparation(spec)) {
    return PreparationSumOf(spec);
  }
  if (kind == MaskedKind::kNewtonSums && spec.has_newton()) {
    return NewtonSumOf(spec, num_parameters);
  }
  if (kind != MaskedKind::kUpdate || spec.has_newton()) {
    return InvalidArgument("a private job has no report of this kind");
  }
  if (!spec.privacy().has_metrics()) return std::nullopt;
  return MetricSumOf(spec.privacy().metrics());
}

template <typename Value>
Status CheckSize(std::string_view what, std::span<const Value> values, std::uint64_t size) {
  if (values.size() == size) return OkStatus();
  return InvalidArgument("a report with " + std::to_string(values.size()) + " " +
                         std::string(what) + " where its kind has " + std::to_string(size));
}

// A count as sums of doubles hold it: whole, from 0 to 2^53.
std::optional<std::uint64_t> AsCount(double value) {
  if (!(value >= 0 && value <= 0x1p53) || std::floor(value) != value) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

}  // namespace

bool IsMasked(const v1::JobSpec& spec) { return !spec.secure_aggregation().has_none(); }

Status ValidateMasking(const v1::JobSpec& spec) {
  if (!IsMasked(spec)) return OkStatus();
  const std::string field = "secure_aggregation.masking";
  const v1::Masking& masking = spec.secure_aggregation().masking();
  if (const auto rule = RuleOfSingleUpdates(spec.aggregation()); rule.has_value()) {
    return config::FieldError(
        "aggregation." + *rule,
        "looks at the updates of single sites, which secure aggregation hides: choose fedavg or an "
        "optimizer at the server, or set secure_aggregation: {none: {}}, which every site must "
        "allow in its policy");
  }
  if (masking.colluders() > secagg::kMaxMembers / 3) {
    return config::FieldError(field + ".colluders",
                              "must be at most 333, got " + std::to_string(masking.colluders()));
  }
  if (masking.min_group() != 0 &&
      (masking.min_group() < secagg::kLeastGroup || masking.min_group() > secagg::kMaxMembers)) {
    return config::FieldError(field + ".min_group",
                              "must be in [3, 1000], got " + std::to_string(masking.min_group()));
  }
  CHORALE_RETURN_IF_ERROR(CheckBound(field + ".max_update", masking.max_update()));
  CHORALE_RETURN_IF_ERROR(CheckBound(field + ".max_control_change", masking.max_control_change()));
  if (masking.max_examples() > kLargestMaxExamples) {
    return config::FieldError(field + ".max_examples", "must be in [1, 2^40], got " +
                                                           std::to_string(masking.max_examples()));
  }
  if (masking.ring_bits() != 0 && masking.ring_bits() != 32 && masking.ring_bits() != 64) {
    return config::FieldError(field + ".ring_bits",
                              "must be 32 or 64, got " + std::to_string(masking.ring_bits()));
  }
  if (spec.rounds().cohort_size() == 0 || spec.rounds().cohort_size() >= secagg::kMinMembers) {
    return OkStatus();
  }
  return config::FieldError("rounds.cohort_size",
                            "must be 0 or at least 3 under secure aggregation: a sum of two is no "
                            "secret from either, got " +
                                std::to_string(spec.rounds().cohort_size()));
}

int RingBitsOf(const v1::JobSpec& spec, std::uint64_t num_parameters) {
  const std::uint32_t asked = spec.secure_aggregation().masking().ring_bits();
  if (asked != 0) return static_cast<int>(asked);
  return num_parameters <= kFewParameters ? 64 : 32;
}

GroupRules GroupRulesOf(const v1::JobSpec& spec) {
  const v1::Masking& masking = spec.secure_aggregation().masking();
  return {.colluders = masking.colluders(), .min_group = masking.min_group()};
}

secagg::GroupParameters GroupOf(const GroupRules& rules, std::uint32_t num_members) {
  secagg::GroupParameters group = secagg::DefaultGroup(num_members);
  if (rules.colluders != 0) {
    group.colluders = rules.colluders;
    group.threshold = secagg::ThresholdFor(num_members, rules.colluders);
  }
  if (rules.min_group != 0) group.min_group = rules.min_group;
  return group;
}

// ---------------------------------------------------------------------------- the vector

StatusOr<MaskedLayout> MaskedLayout::Create(const v1::JobSpec& spec, MaskedKind kind,
                                            std::uint64_t num_parameters,
                                            std::uint32_t num_members) {
  const v1::Masking& masking = spec.secure_aggregation().masking();
  const bool is_update = kind == MaskedKind::kUpdate;
  const bool has_control = is_update && spec.training().has_scaffold();
  const bool is_private = IsPrivate(spec);
  CHORALE_ASSIGN_OR_RETURN(const std::optional<NoisySum> noisy,
                           NoisySumIn(spec, kind, num_parameters));
  std::optional<training::NewtonBounds> newton;
  if (is_private && kind == MaskedKind::kNewtonSums) newton = NewtonBoundsOf(spec, num_parameters);
  const std::uint64_t num_exact = is_private ? 0 : 1 + NumSums(spec, kind, num_parameters);
  std::vector<v1::MetricSpec> metrics;
  if (is_update) {
    metrics = {spec.training().metrics().begin(), spec.training().metrics().end()};
  } else {
    num_parameters = 0;
  }
  const secagg::RingBits ring =
      RingBitsOf(spec, num_parameters) == 64 ? secagg::RingBits::k64 : secagg::RingBits::k32;

  std::vector<secagg::Section> sections;
  sections.reserve(4);
  if (!is_private) {
    sections.push_back({secagg::RingBits::k64, num_exact * secagg::kExactSumLimbs});
  }
  const std::uint64_t num_noisy_sums = noisy.has_value() ? noisy->num_values : 0;
  if (num_noisy_sums > 0) sections.push_back({secagg::RingBits::k64, num_noisy_sums});
  const bool adapts =
      is_update && spec.privacy().has_distributed() && HasAdaptiveClipping(spec.privacy());
  if (adapts) sections.push_back({ring, 1});  // Votes.
  if (is_update) sections.push_back({ring, num_parameters});
  if (has_control) sections.push_back({ring, num_parameters});
  CHORALE_ASSIGN_OR_RETURN(secagg::VectorSpec vector,
                           secagg::VectorSpec::Create(std::move(sections)));
  MaskedLayout layout(std::move(vector), kind);
  layout.num_exact_ = num_exact;
  layout.exact_bytes_ = num_exact * secagg::kExactSumBytes +
                        num_noisy_sums * secagg::ElementBytes(secagg::RingBits::k64) +
                        (adapts ? secagg::ElementBytes(ring) : 0);
  layout.num_parameters_ = num_parameters;
  layout.num_update_values_ = num_parameters * (has_control ? 2 : 1);
  layout.max_examples_ = masking.max_examples() == 0 ? kDefaultMaxExamples : masking.max_examples();
  layout.weights_by_examples_ =
      is_update && WeightingOf(spec.aggregation()) == v1::WEIGHTING_EXAMPLES;
  layout.metrics_ = std::move(metrics);
  layout.is_private_ = is_private;
  if (noisy.has_value()) {
    CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, GridOf(*noisy, spec.privacy()));
    CHORALE_ASSIGN_OR_RETURN(layout.noisy_scale_,
                             secagg::FixedPoint::OfIntegers(secagg::RingBits::k64,
                                                            -std::ilogb(grid.step()), num_members));
    layout.num_noisy_sums_ = num_noisy_sums;
    if (is_update) layout.private_metrics_ = spec.privacy().metrics();
  }
  const bool has_gradients = is_private && is_update && spec.privacy().has_distributed();
  if (has_gradients) {
    layout.step_factor_ =
        -spec.training().optimizer().sgd().learning_rate() / ExpectedBatch(spec.privacy());
    CHORALE_ASSIGN_OR_RETURN(const privacy::Grid grid, GridOf(spec.privacy(), num_parameters));
    CHORALE_ASSIGN_OR_RETURN(
        secagg::FixedPoint scale,
        secagg::FixedPoint::OfIntegers(ring, -std::ilogb(grid.step()), num_members));
    layout.fixed_points_.push_back(scale);
    if (adapts) {
      CHORALE_ASSIGN_OR_RETURN(const ClippingScale clipping, ClippingScaleOf(spec.privacy(), grid));
      layout.adaptive_ = Adaptive{.privacy = spec.privacy(), .scale = clipping};
    }
  }
  const auto add_scale = [&](double bound, double fallback) -> Status {
    CHORALE_ASSIGN_OR_RETURN(
        secagg::FixedPoint scale,
        secagg::FixedPoint::Create(ring, bound == 0 ? fallback : bound, num_members));
    layout.fixed_points_.push_back(scale);
    return OkStatus();
  };
  if (is_update && !has_gradients) {
    CHORALE_RETURN_IF_ERROR(add_scale(masking.max_update(), kDefaultMaxUpdate));
  }
  if (has_control) {
    CHORALE_RETURN_IF_ERROR(add_scale(masking.max_control_change(), kDefaultMaxControlChange));
  }

  Bytes encoding;
  Add("chorale/v1/masked-vector", encoding);
  encoding.push_back(static_cast<std::uint8_t>(kind));
  for (const secagg::Section& section : layout.vector_.sections()) {
    encoding.push_back(static_cast<std::uint8_t>(section.bits));
    Add(section.count, encoding);
  }
  for (const secagg::FixedPoint& scale : layout.fixed_points_) {
    Add(static_cast<std::uint64_t>(static_cast<std::int64_t>(scale.scale_exponent())), encoding);
    Add(scale.clip(), encoding);
  }
  encoding.push_back(layout.weights_by_examples_ ? 1 : 0);
  Add(layout.max_examples_, encoding);
  Add(layout.step_factor_, encoding);
  if (layout.noisy_scale_) {
    Add(static_cast<std::uint64_t>(
            static_cast<std::int64_t>(layout.noisy_scale_->scale_exponent())),
        encoding);
    Add(layout.noisy_scale_->clip(), encoding);
    for (const int metric : layout.private_metrics_.kinds()) {
      Add(static_cast<std::uint64_t>(metric), encoding);
    }
    Add(layout.private_metrics_.max_loss(), encoding);
  }
  if (layout.adaptive_) {
    Add(layout.adaptive_->scale.gradient_norm, encoding);
    Add(layout.adaptive_->scale.count_norm, encoding);
  }
  if (newton.has_value()) {
    for (const double bound : {newton->gradient, newton->hessian, newton->hessian_share}) {
      Add(bound, encoding);
    }
  }
  layout.digest_ = crypto::Sha256(encoding);
  return layout;
}

MaskedLayout MaskedLayout::WithClippingNorm(double norm) const {
  MaskedLayout layout = *this;
  layout.adaptive_->norm = norm;
  return layout;
}

StatusOr<Bytes> MaskedLayout::Encode(const SiteNumbers& numbers) const {
  const bool is_update = kind_ == MaskedKind::kUpdate;
  const bool has_control = num_update_values_ > num_parameters_;
  const bool has_gradients = step_factor_ != 0;
  CHORALE_RETURN_IF_ERROR(
      CheckSize("parameters", numbers.update, has_gradients ? 0 : num_parameters_));
  const std::uint64_t num_votes = adaptive_ ? 1 : 0;
  CHORALE_RETURN_IF_ERROR(CheckSize("gradients", numbers.gradient_sum,
                                    has_gradients ? num_parameters_ + num_votes : 0));
  CHORALE_RETURN_IF_ERROR(CheckSize("changes of a control variate", numbers.control_change,
                                    has_control ? num_parameters_ : 0));
  CHORALE_RETURN_IF_ERROR(
      CheckSize("sums", numbers.sums, num_exact_ == 0 || is_update ? 0 : num_exact_ - 1));
  if (!numbers.metric_sum.empty()) {
    CHORALE_RETURN_IF_ERROR(
        CheckSize("numbers of metrics", numbers.metric_sum, is_update ? num_noisy_sums_ : 0));
  }
  const bool has_noisy_sums = is_private_ && !is_update;
  CHORALE_RETURN_IF_ERROR(
      CheckSize("noisy sums", numbers.noisy_sums, has_noisy_sums ? num_noisy_sums_ : 0));
  Bytes out(vector_.size_bytes());
  const std::span<std::uint8_t> bytes(out);
  const std::span<const std::int64_t> noisy =
      has_noisy_sums ? numbers.noisy_sums : numbers.metric_sum;
  if (!noisy.empty()) {
    CHORALE_RETURN_IF_ERROR(noisy_scale_->EncodeIntegers(noisy, bytes.first(noisy_bytes())));
  }
  if (has_noisy_sums) return out;
  if (has_gradients) {
    const secagg::FixedPoint& scale = fixed_points_[0];
    CHORALE_RETURN_IF_ERROR(scale.EncodeIntegers(numbers.gradient_sum.first(num_parameters_),
                                                 bytes.subspan(exact_bytes_)));
    CHORALE_RETURN_IF_ERROR(
        scale.EncodeIntegers(numbers.gradient_sum.subspan(num_parameters_),
                             bytes.subspan(noisy_bytes(), exact_bytes_ - noisy_bytes())));
    return out;
  }
  if (numbers.num_examples > max_examples_) {
    return secagg::Refused(secagg::RefusalCode::kValueOutOfRange,
                           "the site has more training rows than secure_aggregation.masking."
                           "max_examples, " +
                               std::to_string(max_examples_));
  }

  if (is_private_ && !numbers.metrics.empty()) {
    return InvalidArgument("a metric beside the update of a private job");
  }
  std::vector<double> exact(num_exact_, 0.0);
  if (!is_private_) exact[0] = static_cast<double>(numbers.num_examples);
  if (!numbers.sums.empty()) std::ranges::copy(numbers.sums, exact.begin() + 1);
  for (const v1::MetricValue& metric : numbers.metrics) {
    const auto place = std::ranges::find_if(metrics_, [&](const v1::MetricSpec& asked) {
      return asked.kind() == metric.kind() && asked.split() == metric.split();
    });
    if (place == metrics_.end()) return InvalidArgument("a metric that the job does not ask for");
    const auto index = static_cast<std::size_t>(place - metrics_.begin());
    exact[1 + 2 * index] = metric.value() * static_cast<double>(metric.num_examples());
    exact[2 + 2 * index] = static_cast<double>(metric.num_examples());
  }
  if (!is_private_) {
    CHORALE_RETURN_IF_ERROR(secagg::EncodeExact(exact, bytes.first(exact_bytes_)));
  }

  const double weight = weights_by_examples_ ? static_cast<double>(numbers.num_examples) /
                                                   static_cast<double>(max_examples_)
                                             : 1.0;
  std::uint64_t offset = exact_bytes_;
  const auto encode = [&](std::span<const float> values, const secagg::FixedPoint& scale,
                          double factor, std::string_view bound) -> Status {
    const std::uint64_t size = values.size() * secagg::ElementBytes(scale.bits());
    const Status encoded = scale.EncodeWeighted(values, factor, bytes.subspan(offset, size));
    if (secagg::RefusalOf(encoded) == secagg::RefusalCode::kValueOutOfRange) {
      return secagg::Refused(secagg::RefusalCode::kValueOutOfRange,
                             "a number is beyond secure_aggregation.masking." + std::string(bound) +
                                 ", " + Text(scale.clip()));
    }
    offset += size;
    return encoded;
  };
  if (is_update) {
    CHORALE_RETURN_IF_ERROR(encode(numbers.update, fixed_points_[0], weight, "max_update"));
  }
  if (has_control) {
    CHORALE_RETURN_IF_ERROR(
        encode(numbers.control_change, fixed_points_[1], 1.0, "max_control_change"));
  }
  return out;
}

StatusOr<SummedNumbers> MaskedLayout::Summed(ByteSpan sum, std::uint32_t num_sites) const {
  if (is_private_) {
    SummedNumbers summed;
    if (num_noisy_sums_ > 0) {
      std::vector<double> sums(num_noisy_sums_);
      noisy_scale_->Decode(sum.first(noisy_bytes()), sums);
      if (kind_ != MaskedKind::kUpdate) return SummedNumbers{.sums = std::move(sums)};
      summed.metrics = MetricsOf(private_metrics_, sums);
    }
    if (adaptive_) {
      double votes = 0;
      fixed_points_[0].Decode(sum.subspan(noisy_bytes()), {&votes, 1});
      summed.next_clipping_norm = NextClippingNorm(adaptive_->privacy, adaptive_->norm,
                                                   votes / adaptive_->scale.count_norm);
    }
    return summed;
  }
  std::vector<double> exact(num_exact_);
  secagg::DecodeExact(sum, exact);
  const std::optional<std::uint64_t> num_examples = AsCount(exact[0]);
  if (!num_examples.has_value() || *num_examples < num_sites) {
    return InvalidArgument("the sum over sites holds no number of rows that they could have");
  }
  SummedNumbers summed{.num_examples = *num_examples};
  if (kind_ != MaskedKind::kUpdate) {
    summed.sums.assign(exact.begin() + 1, exact.end());
    return summed;
  }
  for (std::size_t i = 0; i < metrics_.size(); ++i) {
    const std::optional<std::uint64_t> rows = AsCount(exact[2 + 2 * i]);
    if (!rows.has_value()) return InvalidArgument("the sum over sites holds a metric of no rows");
    if (*rows == 0) continue;  // No site's policy lets it leave.
    v1::MetricValue& metric = summed.metrics.emplace_back();
    metric.set_kind(metrics_[i].kind());
    metric.set_split(metrics_[i].split());
    metric.set_value(exact[1 + 2 * i] / static_cast<double>(*rows));
    metric.set_num_examples(*rows);
  }
  return summed;
}

void MaskedLayout::DecodeUpdates(std::uint64_t offset_bytes, ByteSpan sum,
                                 const SummedNumbers& summed, std::uint32_t num_sites,
                                 std::span<float> out) const {
  const std::uint64_t element = secagg::ElementBytes(fixed_points_[0].bits());
  const double clipping = adaptive_ ? adaptive_->norm / adaptive_->scale.gradient_norm : 1.0;
  const double factor = step_factor_ != 0      ? step_factor_ * clipping
                        : weights_by_examples_ ? static_cast<double>(max_examples_) /
                                                     static_cast<double>(summed.num_examples)
                                               : 1.0 / num_sites;
  const std::uint64_t first = (offset_bytes - exact_bytes_) / element;
  // Both have the same ring; the first elements may be of the update, the others of the control
  // variate.
  const std::uint64_t num_updates =
      first >= num_parameters_ ? 0 : std::min<std::uint64_t>(num_parameters_ - first, out.size());
  std::vector<double> values(out.size());
  const std::span<double> decoded(values);
  fixed_points_[0].Decode(sum.first(num_updates * element), decoded.first(num_updates));
  if (num_updates < out.size()) {
    fixed_points_[1].Decode(sum.subspan(num_updates * element), decoded.subspan(num_updates));
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(i < num_updates ? values[i] * factor : values[i]);
  }
}

crypto::Digest DigestOf(const MaskedTask& task) {
  Bytes bytes;
  Add("chorale/v1/masked-task", bytes);
  Add(task.job, bytes);
  bytes.push_back(static_cast<std::uint8_t>(task.kind));
  Add(std::uint64_t{task.round}, bytes);
  Add(std::uint64_t{task.moments.size()}, bytes);
  for (const v1::FeatureMoments& moments : task.moments) {
    Add(moments.mean(), bytes);
    Add(moments.standard_deviation(), bytes);
    Add(moments.imputed(), bytes);
  }
  Add(task.control_variate, bytes);
  if (task.clipping_norm.has_value()) {
    Add("clipping-norm", bytes);
    Add(*task.clipping_norm, bytes);
  }
  return crypto::Sha256(bytes);
}

}  // namespace chorale::jobs
