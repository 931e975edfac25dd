#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "secagg/client_session.h"
#include "secagg/client_steps.h"
#include "secagg/round_messages.h"

// A site's side of a round, from the survivors on: agree on one version of it, then give shares.
namespace chorale::secagg {
namespace {

RevealedSum SumOf(const SessionView& view, const RoundTerms& terms,
                  const std::vector<MemberIndex>& survivors) {
  RevealedSum sum{.model = terms.model, .task = terms.task, .sites = {}};
  for (const MemberIndex member : survivors) {
    sum.sites.push_back(view.terms().members[member].site);
  }
  return sum;
}

}  // namespace

StatusOr<ClientSession::Transition> ClientSession::On(InSession state,
                                                      const SurvivorsReceived& event,
                                                      Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, OpenMessage(MessageKind::kSurvivors, event.message,
                                                            options_->coordinator_key));
  CHORALE_ASSIGN_OR_RETURN(SurvivorSet set, DecodeSurvivors(body));
  const SessionView& view = *state.view;
  if (set.session != view.id()) {
    return Refused(RefusalCode::kWrongSession, "the survivors are of another session");
  }
  const AwaitingSurvivors* input = InputOf(state.round);
  if (input == nullptr || input->round.terms.round != set.round) return NotMaskedHere(set.round);
  if (const AwaitingSignatures* consent = ConsentOf(state.round)) {
    if (consent->survivors != set.survivors) {
      return Equivocated(state,
                         "the coordinator named two sets of survivors of " + RoundName(set.round),
                         consent->survivors_message, event.message);
    }
    Send again{MessageKind::kConsistencySignature, consent->statement};
    return Transition{.next = std::move(state), .actions = OneAction(std::move(again))};
  }
  CHORALE_RETURN_IF_ERROR(CheckDeadline(input->round, now));
  if (!std::ranges::includes(input->round.terms.participants, set.survivors)) {
    return Refused(RefusalCode::kConflictingSets,
                   "the survivors of " + RoundName(set.round) + " are not all its participants");
  }
  CHORALE_RETURN_IF_ERROR(CheckSet(view, state.membership.self, "survivors", set.survivors));
  CHORALE_RETURN_IF_ERROR(guard_.Check(SumOf(view, input->round.terms, set.survivors)));

  AwaitingSignatures consent{.input = *input,
                             .survivors = std::move(set.survivors),
                             .seen = {},
                             .survivors_message = event.message,
                             .statement = {}};
  consent.seen = {.session = view.id(),
                  .round = set.round,
                  .context = input->round.context,
                  .participants = input->round.binding.participants,
                  .survivors = ParticipantsDigest(consent.survivors)};
  consent.statement = SignMessage(MessageKind::kConsistencySignature,
                                  Encode(RoundStatement{state.membership.self, consent.seen}),
                                  options_->signing_key);
  Send send{MessageKind::kConsistencySignature, consent.statement};
  state.round = std::move(consent);
  return Transition{.next = std::move(state), .actions = OneAction(std::move(send))};
}

StatusOr<ClientSession::Transition> ClientSession::On(InSession state,
                                                      const SignaturesReceived& event,
                                                      Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const CollectedStatements collected,
                           DecodeConsistencySignatures(event.message));
  const SessionView& view = *state.view;
  if (collected.session != view.id()) {
    return Refused(RefusalCode::kWrongSession, "the signatures are of another session");
  }
  const AwaitingSignatures* consent = ConsentOf(state.round);
  if (consent == nullptr || consent->seen.round != collected.round) {
    return NotMaskedHere(collected.round);
  }
  const crypto::Digest digest = crypto::Sha256(event.message);
  if (const auto* unmasked = std::get_if<Unmasked>(&state.round)) {
    if (unmasked->signatures != digest) {
      return Refused(RefusalCode::kAlreadyUnmasked,
                     RoundName(collected.round) + " was unmasked on other signatures");
    }
    Send again{MessageKind::kUnmasking, unmasked->unmasking};
    return Transition{.next = std::move(state), .actions = OneAction(std::move(again))};
  }
  CHORALE_RETURN_IF_ERROR(CheckDeadline(consent->input.round, now));

  const std::uint32_t threshold = view.terms().group.threshold;
  std::set<MemberIndex> signers;
  for (const Bytes& message : collected.messages) {
    const auto parts = SplitMessage(MessageKind::kConsistencySignature, message);
    if (!parts.ok()) continue;
    const auto statement = DecodeConsistencySignature(parts->body);
    if (!statement.ok() || statement->member >= view.terms().num_members()) continue;
    const bool is_same = statement->seen == consent->seen;
    const bool is_of_round = statement->seen.session == consent->seen.session &&
                             statement->seen.round == consent->seen.round;
    // Once enough agree, only those who do not are worth a verification.
    if (!is_of_round || (is_same && signers.size() >= threshold)) continue;
    const crypto::SigningPublicKey& key = view.terms().members[statement->member].key;
    // What this site signed itself needs no verification.
    if (message != consent->statement &&
        !OpenMessage(MessageKind::kConsistencySignature, message, key).ok()) {
      continue;
    }
    if (!is_same) {
      return Equivocated(state,
                         "member " + std::to_string(statement->member) +
                             " and this site saw different versions of " +
                             RoundName(collected.round),
                         consent->statement, message);
    }
    if (Contains(consent->survivors, statement->member)) signers.insert(statement->member);
  }
  if (signers.size() < threshold) {
    return Refused(RefusalCode::kNotEnoughSignatures,
                   "at least " + std::to_string(threshold) + " members must have signed " +
                       RoundName(collected.round) + " as this site saw it, got " +
                       std::to_string(signers.size()));
  }
  RevealedSum revealed = SumOf(view, consent->input.round.terms, consent->survivors);
  // Once more: another session may have revealed a sum since this one consented.
  CHORALE_RETURN_IF_ERROR(guard_.Check(revealed));
  Bytes unmasking = Unmask(state, *consent);
  Send send{MessageKind::kUnmasking, unmasking};
  state.round = Unmasked{.consent = AwaitingSignatures(*consent),
                         .signatures = digest,
                         .unmasking = std::move(unmasking)};
  return Transition{.next = std::move(state),
                    .actions = OneAction(std::move(send)),
                    .erase_round = collected.round,
                    .revealed = std::move(revealed)};
}

Bytes ClientSession::Unmask(const InSession& state, const AwaitingSignatures& consent) const {
  const SessionView& view = *state.view;
  const MemberIndex self = state.membership.self;
  const std::uint32_t round = consent.seen.round;
  UnmaskingShares shares{.session = view.id(),
                         .round = round,
                         .member = self,
                         .context = consent.seen.context,
                         .seeds = {},
                         .keys = {}};
  for (const MemberIndex dealer : consent.input.round.terms.participants) {
    const bool is_survivor = Contains(consent.survivors, dealer);
    SecretShare share;
    if (dealer == self) {
      const SecretShare* own = secrets_.own_share(round);
      if (own == nullptr) continue;
      share.MutableReveal() = own->Reveal();
    } else {
      const crypto::SecretBytes* both = secrets_.shares_of(dealer, round);
      if (both == nullptr) continue;
      const ByteSpan one =
          is_survivor ? both->Reveal().first(kShareBytes) : both->Reveal().last(kShareBytes);
      share = *DecodeShare(one);  // Checked when it was opened.
    }
    // One kind for each dealer: this is what keeps the vectors of the dropped out of reach.
    (is_survivor ? shares.seeds : shares.keys).push_back({dealer, std::move(share)});
  }
  return SignMessage(MessageKind::kUnmasking, Encode(shares), options_->signing_key);
}

StatusOr<ClientSession::Transition> ClientSession::On(InSession state, const ResultReceived& event,
                                                      Time) const {
  CHORALE_ASSIGN_OR_RETURN(
      const ByteSpan body,
      OpenMessage(MessageKind::kRoundResult, event.message, options_->coordinator_key));
  CHORALE_ASSIGN_OR_RETURN(const PublishedResult result, DecodeRoundResult(body));
  if (result.session != state.view->id()) {
    return Refused(RefusalCode::kWrongSession, "the result is of another session");
  }
  const AwaitingSignatures* consent = ConsentOf(state.round);
  if (consent == nullptr || consent->seen.round != result.round) {
    return NotMaskedHere(result.round);
  }
  if (result.survivors != consent->seen.survivors ||
      result.num_included != consent->survivors.size() ||
      std::ranges::find(result.vectors, consent->input.vector) == result.vectors.end()) {
    return Refused(RefusalCode::kConflictingSets,
                   "the result of " + RoundName(result.round) + " is over other vectors");
  }
  if (event.sum.has_value() && *event.sum != result.sum) {
    return DataLoss("the sum of " + RoundName(result.round) + " is not the one that was signed");
  }
  RevealedSum revealed = SumOf(*state.view, consent->input.round.terms, consent->survivors);
  state.round = BetweenRounds{};
  return Transition{
      .next = std::move(state), .erase_round = result.round, .revealed = std::move(revealed)};
}

}  // namespace chorale::secagg
