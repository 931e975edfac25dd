#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/status.h"
#include "jobs/adaptive_clipping.h"
#include "secagg/fixed_point.h"
#include "secagg/parameters.h"
#include "secagg/vector_spec.h"

// What secure aggregation means for a job: the group that its sums vanish in, and the vector that a
// report becomes. Sites and coordinator compute all of it from the signed specification, so that
// nobody has to be believed.
namespace chorale::jobs {

// Unless the job says secure_aggregation.none.
[[nodiscard]] bool IsMasked(const v1::JobSpec& spec);

// INVALID_ARGUMENT as a config::FieldError: a bound of job_spec.proto broken, or a rule that looks
// at single updates, with what to do.
[[nodiscard]] Status ValidateMasking(const v1::JobSpec& spec);

// Of the numbers of an update: 32 or 64.
[[nodiscard]] int RingBitsOf(const v1::JobSpec& spec, std::uint64_t num_parameters);

// As the job says; 0 means the default for the group's size.
struct GroupRules {
  std::uint32_t colluders = 0;
  std::uint32_t min_group = 0;
};
[[nodiscard]] GroupRules GroupRulesOf(const v1::JobSpec& spec);
// Never below the floors of secagg/parameters.h. REQUIRES: num_members > 0.
[[nodiscard]] secagg::GroupParameters GroupOf(const GroupRules& rules, std::uint32_t num_members);

// What a report holds.
enum class MaskedKind : std::uint8_t { kPreparation, kUpdate, kNewtonSums, kPersonalMetrics };

// One site's report, as it would leave without secure aggregation.
struct SiteNumbers {
  std::span<const float> update = {};          // kUpdate: [num_parameters]
  std::span<const float> control_change = {};  // kUpdate under scaffold: [num_parameters]
  // kUpdate under privacy.distributed, instead of an update: the noisy sum of clipped gradients on
  // the grid of jobs/privacy_spec.h. [num_parameters], and where clipping adapts the votes behind
  // them.
  std::span<const std::int64_t> gradient_sum = {};
  // kUpdate of a private job, in rounds with metrics: the noisy sum of patients' vectors on the
  // grid of jobs/private_metrics.h. [NumMetricSums] or empty.
  std::span<const std::int64_t> metric_sum = {};
  // kPreparation and kNewtonSums of a private job: the noisy sum of patients' vectors on the grid
  // of jobs/private_preparation.h or jobs/private_newton.h.
  std::span<const std::int64_t> noisy_sums = {};
  std::span<const double> sums = {};              // Every other kind.
  std::uint64_t num_examples = 0;                 // Stays at the site in a private job.
  std::span<const v1::MetricValue> metrics = {};  // kUpdate: a part of those that the job asks for.
};

// The exact part of a sum over sites.
struct SummedNumbers {
  std::uint64_t num_examples = 0;  // 0 in a private job, which does not tell.
  std::vector<double> sums = {};   // Every kind but kUpdate.
  // kUpdate: means over the rows behind them; in a private job, what noisy sums tell.
  std::vector<v1::MetricValue> metrics = {};
  // kUpdate of a job whose clipping adapts: what gradients are shortened to in the next round.
  std::optional<double> next_clipping_norm = {};
};

// The vector that one kind of report becomes: first numbers that are summed exactly
// (secagg/exact_sum.h: rows, then metrics or sums), then updates as fixed point, each weighted by
// the share of its rows in max_examples unless sites count the same, then changes of control
// variates. Of a private job the first part is its noisy sum of metrics, zeros in rounds without
// one, or that of its preparation, and where clipping adapts the noisy sum of votes; else there is
// none. Immutable; safe for concurrent use.
class MaskedLayout {
 public:
  // `num_parameters`: of the job's model. `num_members`: of the session, since a sum may run over
  // all of them. INVALID_ARGUMENT: a ring too small for so many sites; a report that a
  // private job does not have.
  [[nodiscard]] static StatusOr<MaskedLayout> Create(const v1::JobSpec& spec, MaskedKind kind,
                                                     std::uint64_t num_parameters,
                                                     std::uint32_t num_members);

  // The same, to read sums of a round in which gradients were shortened to `norm`. REQUIRES: a job
  // whose clipping adapts.
  [[nodiscard]] MaskedLayout WithClippingNorm(double norm) const;

  [[nodiscard]] const secagg::VectorSpec& vector() const { return vector_; }
  // Over sections, scales, bounds and weighting: two parties that read a sum in two ways have two
  // digests.
  [[nodiscard]] const crypto::Digest& digest() const { return digest_; }
  [[nodiscard]] std::uint64_t num_update_values() const { return num_update_values_; }

  // The vector, before masks. Refuses (secagg VALUE_OUT_OF_RANGE) a number beyond its bound,
  // naming the bound and never the number; INVALID_ARGUMENT: sizes that are not those of the kind.
  [[nodiscard]] StatusOr<Bytes> Encode(const SiteNumbers& numbers) const;

  // Bytes at the front of the vector that Summed reads.
  [[nodiscard]] std::uint64_t exact_bytes() const { return exact_bytes_; }
  // `sum` are the first exact_bytes() of a sum over sites, masks removed. INVALID_ARGUMENT: no
  // numbers that sites could have: rows below the number of sites, or not whole. REQUIRES: the
  // round's clipping norm where clipping adapts.
  [[nodiscard]] StatusOr<SummedNumbers> Summed(ByteSpan sum, std::uint32_t num_sites) const;
  // The values that begin at byte `offset_bytes` of the vector, in float32: updates divided by
  // their weights, changes of control variates as their sum; sums of gradients as the step that
  // they make the model take. [sum / element bytes] REQUIRES:
  // whole elements behind the exact part that do not run over the end of updates; the round's
  // clipping norm where clipping adapts.
  void DecodeUpdates(std::uint64_t offset_bytes, ByteSpan sum, const SummedNumbers& summed,
                     std::uint32_t num_sites, std::span<float> out) const;

 private:
  MaskedLayout(secagg::VectorSpec vector, MaskedKind kind)
      : vector_(std::move(vector)), kind_(kind) {}

  // Of the exact part, those in front of votes.
  [[nodiscard]] std::uint64_t noisy_bytes() const {
    return num_noisy_sums_ * secagg::ElementBytes(secagg::RingBits::k64);
  }

  secagg::VectorSpec vector_;
  MaskedKind kind_;
  crypto::Digest digest_{};
  std::uint64_t exact_bytes_ = 0;
  std::uint64_t num_exact_ = 0;
  std::uint64_t num_update_values_ = 0;  // With those of the control variate.
  std::uint64_t num_parameters_ = 0;
  std::uint64_t max_examples_ = 0;
  bool weights_by_examples_ = false;
  bool is_private_ = false;
  double step_factor_ =
      0;  // Of sums of gradients: minus learning rate over expected batch. Else 0.
  std::vector<v1::MetricSpec> metrics_;
  v1::PrivateMetrics private_metrics_;
  std::uint64_t num_noisy_sums_ = 0;  // Of metrics, a preparation or a step of newton.
  std::optional<secagg::FixedPoint> noisy_scale_;
  std::vector<secagg::FixedPoint> fixed_points_;  // Of the update, then of the control variate.
  struct Adaptive {
    v1::PrivacySpec privacy;
    ClippingScale scale;
    double norm = 0;
  };
  std::optional<Adaptive> adaptive_;  // Where clipping adapts.
};

// What a round asks, for secagg's H_task: the job, what it asks and in which round, and what came
// with it beside the model. Attempts of a round are the same task.
struct MaskedTask {
  crypto::Digest job{};  // SHA-256 of the signed specification.
  MaskedKind kind = MaskedKind::kUpdate;
  std::uint32_t round = 0;
  std::span<const v1::FeatureMoments> moments = {};
  crypto::Digest control_variate{};          // Zeros where there is none.
  std::optional<double> clipping_norm = {};  // Where clipping adapts.
};
[[nodiscard]] crypto::Digest DigestOf(const MaskedTask& task);

}  // namespace chorale::jobs
