#include "privacy/ledger/event_codec.h"

#include <google/protobuf/repeated_ptr_field.h>

#include <utility>

namespace chorale::privacy {
namespace {

using Repetitions = RepeatAndSelect::Repetitions;

v1::PrivacySampling Encode(Sampling sampling) {
  switch (sampling) {
    case Sampling::kPoisson:
      return v1::PRIVACY_SAMPLING_POISSON;
    case Sampling::kFixedSize:
      return v1::PRIVACY_SAMPLING_FIXED_SIZE;
    case Sampling::kShuffled:
      return v1::PRIVACY_SAMPLING_SHUFFLED;
  }
  return v1::PRIVACY_SAMPLING_UNSPECIFIED;
}

StatusOr<Sampling> Decode(v1::PrivacySampling sampling) {
  switch (sampling) {
    case v1::PRIVACY_SAMPLING_POISSON:
      return Sampling::kPoisson;
    case v1::PRIVACY_SAMPLING_FIXED_SIZE:
      return Sampling::kFixedSize;
    case v1::PRIVACY_SAMPLING_SHUFFLED:
      return Sampling::kShuffled;
    default:
      return InvalidArgument("sampling must be poisson, fixed_size or shuffled");
  }
}

v1::RepetitionLaw Encode(Repetitions repetitions) {
  switch (repetitions) {
    case Repetitions::kLogarithmic:
      return v1::REPETITION_LAW_LOGARITHMIC;
    case Repetitions::kGeometric:
      return v1::REPETITION_LAW_GEOMETRIC;
    case Repetitions::kPoisson:
      return v1::REPETITION_LAW_POISSON;
  }
  return v1::REPETITION_LAW_UNSPECIFIED;
}

StatusOr<Repetitions> Decode(v1::RepetitionLaw repetitions) {
  switch (repetitions) {
    case v1::REPETITION_LAW_LOGARITHMIC:
      return Repetitions::kLogarithmic;
    case v1::REPETITION_LAW_GEOMETRIC:
      return Repetitions::kGeometric;
    case v1::REPETITION_LAW_POISSON:
      return Repetitions::kPoisson;
    default:
      return InvalidArgument("repetitions must be logarithmic, geometric or poisson");
  }
}

struct Encoder {
  v1::PrivacyEvent& out;

  void operator()(const Gaussian& e) const {
    out.mutable_gaussian()->set_noise_multiplier(e.noise_multiplier);
  }
  void operator()(const Laplace& e) const {
    out.mutable_laplace()->set_noise_multiplier(e.noise_multiplier);
  }
  void operator()(const SampledGaussian& e) const {
    v1::SampledGaussianEvent& message = *out.mutable_sampled_gaussian();
    message.set_sampling(Encode(e.sampling));
    message.set_sample_rate(e.sample_rate);
    message.set_noise_multiplier(e.noise_multiplier);
  }
  void operator()(const SampledLaplace& e) const {
    v1::SampledLaplaceEvent& message = *out.mutable_sampled_laplace();
    message.set_sample_rate(e.sample_rate);
    message.set_noise_multiplier(e.noise_multiplier);
  }
  void operator()(const TruncatedPoissonGaussian& e) const {
    v1::TruncatedPoissonGaussianEvent& message = *out.mutable_truncated_poisson_gaussian();
    message.set_num_units(e.num_units);
    message.set_sample_rate(e.sample_rate);
    message.set_max_batch(e.max_batch);
    message.set_noise_multiplier(e.noise_multiplier);
  }
  void operator()(const GaussianMixture& e) const {
    v1::GaussianMixtureEvent& message = *out.mutable_gaussian_mixture();
    message.mutable_contributions()->Add(e.contributions.begin(), e.contributions.end());
    message.mutable_probabilities()->Add(e.probabilities.begin(), e.probabilities.end());
    message.set_noise_multiplier(e.noise_multiplier);
  }
  void operator()(const Composed& e) const {
    v1::ComposedEvent& message = *out.mutable_composed();
    for (const Event& part : e.parts) *message.add_parts() = EncodeEvent(part);
  }
  void operator()(const RepeatAndSelect& e) const {
    v1::RepeatAndSelectEvent& message = *out.mutable_repeat_and_select();
    for (const Event& part : e.run) *message.add_run() = EncodeEvent(part);
    message.set_repetitions(Encode(e.repetitions));
    message.set_mean(e.mean);
  }
};

StatusOr<Event> DecodeUnchecked(const v1::PrivacyEvent& message);

StatusOr<std::vector<Event>> DecodeAll(
    const google::protobuf::RepeatedPtrField<v1::PrivacyEvent>& messages) {
  std::vector<Event> events;
  for (const v1::PrivacyEvent& message : messages) {
    CHORALE_ASSIGN_OR_RETURN(events.emplace_back(), DecodeUnchecked(message));
  }
  return events;
}

// As deep as the parser allowed: Validate has the bound.
StatusOr<Event> DecodeUnchecked(const v1::PrivacyEvent& message) {
  Event event{.kind = Gaussian{}, .count = message.count()};
  switch (message.kind_case()) {
    case v1::PrivacyEvent::kGaussian:
      event.kind = Gaussian{message.gaussian().noise_multiplier()};
      return event;
    case v1::PrivacyEvent::kLaplace:
      event.kind = Laplace{message.laplace().noise_multiplier()};
      return event;
    case v1::PrivacyEvent::kSampledGaussian: {
      const v1::SampledGaussianEvent& e = message.sampled_gaussian();
      CHORALE_ASSIGN_OR_RETURN(const Sampling sampling, Decode(e.sampling()));
      event.kind = SampledGaussian{.sampling = sampling,
                                   .sample_rate = e.sample_rate(),
                                   .noise_multiplier = e.noise_multiplier()};
      return event;
    }
    case v1::PrivacyEvent::kSampledLaplace:
      event.kind = SampledLaplace{.sample_rate = message.sampled_laplace().sample_rate(),
                                  .noise_multiplier = message.sampled_laplace().noise_multiplier()};
      return event;
    case v1::PrivacyEvent::kTruncatedPoissonGaussian: {
      const v1::TruncatedPoissonGaussianEvent& e = message.truncated_poisson_gaussian();
      event.kind = TruncatedPoissonGaussian{.num_units = e.num_units(),
                                            .sample_rate = e.sample_rate(),
                                            .max_batch = e.max_batch(),
                                            .noise_multiplier = e.noise_multiplier()};
      return event;
    }
    case v1::PrivacyEvent::kGaussianMixture: {
      const v1::GaussianMixtureEvent& e = message.gaussian_mixture();
      event.kind =
          GaussianMixture{.contributions = {e.contributions().begin(), e.contributions().end()},
                          .probabilities = {e.probabilities().begin(), e.probabilities().end()},
                          .noise_multiplier = e.noise_multiplier()};
      return event;
    }
    case v1::PrivacyEvent::kComposed: {
      CHORALE_ASSIGN_OR_RETURN(std::vector<Event> parts, DecodeAll(message.composed().parts()));
      event.kind = Composed{std::move(parts)};
      return event;
    }
    case v1::PrivacyEvent::kRepeatAndSelect: {
      const v1::RepeatAndSelectEvent& e = message.repeat_and_select();
      CHORALE_ASSIGN_OR_RETURN(std::vector<Event> run, DecodeAll(e.run()));
      CHORALE_ASSIGN_OR_RETURN(const Repetitions repetitions, Decode(e.repetitions()));
      event.kind =
          RepeatAndSelect{.run = std::move(run), .repetitions = repetitions, .mean = e.mean()};
      return event;
    }
    case v1::PrivacyEvent::KIND_NOT_SET:
      break;
  }
  return InvalidArgument("an event must have a kind that this version knows");
}

}  // namespace

v1::PrivacyEvent EncodeEvent(const Event& event) {
  v1::PrivacyEvent message;
  std::visit(Encoder{message}, event.kind);
  message.set_count(event.count);
  return message;
}

StatusOr<Event> DecodeEvent(const v1::PrivacyEvent& message) {
  CHORALE_ASSIGN_OR_RETURN(Event event, DecodeUnchecked(message));
  CHORALE_RETURN_IF_ERROR(Validate(event));
  return event;
}

v1::PrivacyUnitKind Encode(PrivacyUnit unit) {
  switch (unit) {
    case PrivacyUnit::kPatient:
      return v1::PRIVACY_UNIT_KIND_PATIENT;
    case PrivacyUnit::kRecord:
      return v1::PRIVACY_UNIT_KIND_RECORD;
    case PrivacyUnit::kClient:
      return v1::PRIVACY_UNIT_KIND_CLIENT;
  }
  return v1::PRIVACY_UNIT_KIND_UNSPECIFIED;
}

StatusOr<PrivacyUnit> Decode(v1::PrivacyUnitKind unit) {
  switch (unit) {
    case v1::PRIVACY_UNIT_KIND_PATIENT:
      return PrivacyUnit::kPatient;
    case v1::PRIVACY_UNIT_KIND_RECORD:
      return PrivacyUnit::kRecord;
    case v1::PRIVACY_UNIT_KIND_CLIENT:
      return PrivacyUnit::kClient;
    default:
      return InvalidArgument("unit must be patient, record or client");
  }
}

v1::NeighboringRelationKind Encode(NeighboringRelation relation) {
  switch (relation) {
    case NeighboringRelation::kAddOrRemoveOne:
      return v1::NEIGHBORING_RELATION_KIND_ADD_OR_REMOVE_ONE;
    case NeighboringRelation::kReplaceOne:
      return v1::NEIGHBORING_RELATION_KIND_REPLACE_ONE;
  }
  return v1::NEIGHBORING_RELATION_KIND_UNSPECIFIED;
}

StatusOr<NeighboringRelation> Decode(v1::NeighboringRelationKind relation) {
  switch (relation) {
    case v1::NEIGHBORING_RELATION_KIND_ADD_OR_REMOVE_ONE:
      return NeighboringRelation::kAddOrRemoveOne;
    case v1::NEIGHBORING_RELATION_KIND_REPLACE_ONE:
      return NeighboringRelation::kReplaceOne;
    default:
      return InvalidArgument("relation must be add_or_remove_one or replace_one");
  }
}

}  // namespace chorale::privacy
