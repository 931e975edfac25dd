#include "tests/simulation/round_witness.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "data/data_spec.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/job_spec.h"
#include "jobs/masking.h"
#include "jobs/privacy_spec.h"
#include "secagg/parameters.h"
#include "tests/simulation/trainer.h"
#include "training/local_trainer.h"

namespace chorale::simulation {
namespace {

// Float32 over a handful of sites.
constexpr double kRoundingError = 1e-5;
constexpr double kLoss = 0.75;  // Of PureTrainer.

Status Wrong(const std::string& what) { return Internal(what); }

std::string Named(const PublishedRound& round) {
  std::string text = "round " + std::to_string(round.round) + " of";
  for (const std::string& site : round.contributors) text += " " + site;
  return text;
}

StatusOr<ParameterVector> Read(const std::map<crypto::Digest, Bytes>& blobs,
                               const crypto::Digest& digest) {
  const auto found = blobs.find(digest);
  if (found == blobs.end()) return Wrong("a model that the store names is not in it");
  ParameterVector values(found->second.size() / sizeof(float));
  std::memcpy(values.data(), found->second.data(), values.size() * sizeof(float));
  return values;
}

// sum += addend in the rings of the vector; little-endian, without the product's own addition.
void AddInRings(const secagg::VectorSpec& spec, const Bytes& addend, Bytes& sum) {
  std::size_t at = 0;
  for (const secagg::Section& section : spec.sections()) {
    const std::size_t width = secagg::ElementBytes(section.bits);
    for (std::uint64_t i = 0; i < section.count; ++i, at += width) {
      unsigned carry = 0;
      for (std::size_t k = 0; k < width; ++k) {
        carry += unsigned{sum[at + k]} + addend[at + k];
        sum[at + k] = static_cast<std::uint8_t>(carry);
        carry >>= 8;
      }
    }
  }
}

}  // namespace

RoundWitness::RoundWitness(v1::JobSpec spec, const Parties& parties)
    : spec_(std::move(spec)), parties_(&parties) {}

// ---------------------------------------------------------------------------- events

Status RoundWitness::Add(const v1::JobEvent& event, const std::map<crypto::Digest, Bytes>& blobs) {
  if (event.has_started()) {
    CHORALE_ASSIGN_OR_RETURN(
        model_, crypto::DigestFromBytes(AsBytes(event.started().initial_model().digest())));
    return Read(blobs, model_).status();
  }
  if (event.has_cohort_selected()) {
    const v1::CohortSelected& cohort = event.cohort_selected();
    cohort_ = {cohort.sites().begin(), cohort.sites().end()};
    if (cohort.begins_session()) session_size_ = static_cast<std::uint32_t>(cohort_.size());
    return OkStatus();
  }
  if (event.has_site_reported()) return AddReport(event.site_reported());
  if (event.has_step_done() && event.step_done().step() == 0) {
    const v1::StepDone& done = event.step_done();
    survivors_[{done.round(), done.attempt()}] = {done.sites().begin(), done.sites().end()};
    return OkStatus();
  }
  if (event.has_aggregated()) return AddResult(event.aggregated(), blobs);
  return OkStatus();
}

Status RoundWitness::AddReport(const v1::SiteReported& reported) {
  const std::string key = std::to_string(reported.round()) + "/" +
                          std::to_string(reported.attempt()) + "/" +
                          std::to_string(reported.step()) + "/" + reported.site();
  if (!answered_.insert(key).second) return Wrong("a report counts twice: " + key);
  if (!cohort_.contains(reported.site())) {
    return Wrong("a report counts of a site that was not asked: " + key);
  }
  if (reported.step() == 0) {
    reports_[{reported.round(), reported.attempt()}][reported.site()] = reported.num_examples();
  }
  return OkStatus();
}

Status RoundWitness::AddResult(const v1::RoundAggregated& result,
                               const std::map<crypto::Digest, Bytes>& blobs) {
  if (reports_.empty()) return Wrong("a result without reports");
  const auto& [attempt, reports] = *reports_.rbegin();
  PublishedRound round{.round = attempt.first, .contributors = {}, .model = {}};
  const bool prepares = jobs::NeedsPreparation(spec_) && !is_prepared_;
  const std::uint32_t expected = prepares             ? 0
                                 : published_.empty() ? 1
                                                      : published_.back().round + 1;
  if (round.round != expected) {
    return Wrong("a round is published out of turn: " + std::to_string(round.round) +
                 " where it is the turn of " + std::to_string(expected));
  }
  const bool is_masked = jobs::IsMasked(spec_);
  for (const auto& [site, rows] : reports) {
    if (is_masked && !survivors_[attempt].contains(site)) continue;
    round.contributors.push_back(site);
  }
  const std::size_t quorum =
      std::max<std::size_t>(spec_.rounds().min_reports(), is_masked ? secagg::kMinMembers : 1);
  if (round.contributors.size() < quorum) {
    return Wrong("published below the quorum of " + std::to_string(quorum) + ": " + Named(round));
  }
  if (prepares) return AddPreparation(result);
  if (!result.has_model()) return Wrong("a round without a model");
  CHORALE_ASSIGN_OR_RETURN(round.model, crypto::DigestFromBytes(AsBytes(result.model().digest())));
  CHORALE_ASSIGN_OR_RETURN(const ParameterVector start, Read(blobs, model_));
  CHORALE_ASSIGN_OR_RETURN(const ParameterVector model, Read(blobs, round.model));
  if (start.size() != model.size()) return Wrong("the model has changed its size");
  const double next_norm = result.masked().clipping_norm();
  if (jobs::HasAdaptiveClipping(spec_.privacy())) {
    CHORALE_RETURN_IF_ERROR(Annotate(
        jobs::CheckClippingNorm(spec_.privacy(), round.round + 1, next_norm), "a clipping norm"));
  } else if (next_norm != 0) {
    return Wrong("a clipping norm of a job whose clipping does not adapt");
  }
  if (!jobs::IsPrivate(spec_)) {
    CHORALE_RETURN_IF_ERROR(CheckPlainModel(round, start, model));
    if (is_masked) CHORALE_RETURN_IF_ERROR(CheckMaskedModel(round, result, start, model));
  }
  model_ = round.model;
  published_.push_back(std::move(round));
  return OkStatus();
}

Status RoundWitness::AddPreparation(const v1::RoundAggregated& result) {
  const auto& moments = result.moments().moments();
  if (static_cast<std::size_t>(moments.size()) != data::NumNumericFeatures(spec_.data())) {
    return Wrong("a preparation that does not tell of every numeric feature");
  }
  for (const v1::FeatureMoments& feature : moments) {
    if (!(std::isfinite(feature.mean()) && feature.standard_deviation() > 0)) {
      return Wrong("a preparation with a number that none can be");
    }
  }
  is_prepared_ = true;
  return OkStatus();
}

// ---------------------------------------------------------------------------- sums

double RoundWitness::WeightOf(const std::string& site) const {
  const bool by_rows = spec_.aggregation().fedavg().weighting() == v1::WEIGHTING_EXAMPLES;
  return by_rows ? static_cast<double>(parties_->NumRows(site)) : 1.0;
}

ParameterVector RoundWitness::UpdateOf(const std::string& site, std::uint32_t round) const {
  constexpr std::size_t kNumParameters = 3;  // Of the simulation's one model.
  return simulation::UpdateOf(training::SeedFor(spec_.seed(), round, site), kNumParameters);
}

// The mean of the contributors' updates, each once, in double precision.
Status RoundWitness::CheckPlainModel(const PublishedRound& round, const ParameterVector& start,
                                     const ParameterVector& model) const {
  std::vector<double> sum(start.size(), 0.0);
  double weights = 0;
  for (const std::string& site : round.contributors) {
    const ParameterVector update = UpdateOf(site, round.round);
    weights += WeightOf(site);
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i] += WeightOf(site) * static_cast<double>(update[i]);
    }
  }
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const double expected = static_cast<double>(start[i]) + sum[i] / weights;
    if (!(std::abs(expected - static_cast<double>(model[i])) <= kRoundingError)) {
      return Wrong("the model is not the mean of the reports: " + Named(round) + ", off by " +
                   std::to_string(expected - static_cast<double>(model[i])));
    }
  }
  return OkStatus();
}

StatusOr<jobs::MaskedLayout> RoundWitness::Layout(std::uint32_t num_members) const {
  constexpr std::uint64_t kNumParameters = 3;
  return jobs::MaskedLayout::Create(spec_, jobs::MaskedKind::kUpdate, kNumParameters, num_members);
}

StatusOr<Bytes> RoundWitness::PlainVector(const std::string& site, std::uint32_t round,
                                          std::uint32_t num_members) const {
  CHORALE_ASSIGN_OR_RETURN(const jobs::MaskedLayout layout, Layout(num_members));
  const ParameterVector update = UpdateOf(site, round);
  const std::uint64_t rows = parties_->NumRows(site);
  std::vector<v1::MetricValue> metrics;
  for (const v1::MetricSpec& asked : spec_.training().metrics()) {
    v1::MetricValue& metric = metrics.emplace_back();
    metric.set_kind(asked.kind());
    metric.set_split(asked.split());
    metric.set_value(kLoss);
    metric.set_num_examples(rows);
  }
  return layout.Encode({.update = update, .num_examples = rows, .metrics = metrics});
}

// To the last bit: what the sum of the vectors without masks decodes to.
Status RoundWitness::CheckMaskedModel(const PublishedRound& round,
                                      const v1::RoundAggregated& result,
                                      const ParameterVector& start,
                                      const ParameterVector& model) const {
  const auto num_sites = static_cast<std::uint32_t>(round.contributors.size());
  CHORALE_ASSIGN_OR_RETURN(const jobs::MaskedLayout layout, Layout(session_size_));
  Bytes sum(layout.vector().size_bytes(), 0);
  for (const std::string& site : round.contributors) {
    CHORALE_ASSIGN_OR_RETURN(const Bytes plain, PlainVector(site, round.round, session_size_));
    AddInRings(layout.vector(), plain, sum);
  }
  const ByteSpan bytes(sum);
  CHORALE_ASSIGN_OR_RETURN(const jobs::SummedNumbers numbers,
                           layout.Summed(bytes.first(layout.exact_bytes()), num_sites));
  if (numbers.num_examples != result.masked().num_examples()) {
    return Wrong("the sum has " + std::to_string(result.masked().num_examples()) +
                 " rows where its reports have " + std::to_string(numbers.num_examples));
  }
  ParameterVector mean(layout.num_update_values());
  layout.DecodeUpdates(layout.exact_bytes(), bytes.subspan(layout.exact_bytes()), numbers,
                       num_sites, mean);
  for (std::size_t i = 0; i < model.size(); ++i) {
    const auto expected =
        static_cast<float>(static_cast<double>(start[i]) + static_cast<double>(mean[i]));
    if (expected != model[i]) {
      return Wrong("the sum without masks is not the sum of the reports: " + Named(round));
    }
  }
  return OkStatus();
}

}  // namespace chorale::simulation
