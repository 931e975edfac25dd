#include <algorithm>
#include <string>
#include <utility>

#include "secagg/client_session.h"
#include "secagg/client_steps.h"
#include "secagg/round_messages.h"

// A site's side of a round, up to its masked vector.
namespace chorale::secagg {

Status CheckSet(const SessionView& view, MemberIndex self, std::string_view name,
                const std::vector<MemberIndex>& set) {
  if (!Contains(set, self)) {
    return Refused(RefusalCode::kNotAParticipant, std::string(name) + " are without this site");
  }
  const SessionTerms& terms = view.terms();
  if (set.size() < terms.least_set()) {
    return Refused(RefusalCode::kGroupTooSmall, std::string(name) + " must be at least " +
                                                    std::to_string(terms.least_set()) + ", got " +
                                                    std::to_string(set.size()));
  }
  if (!terms.neighbors.has_value()) return OkStatus();
  const std::size_t num_holders = Intersect(view.HoldersOf(self), set).size();
  if (num_holders >= terms.share_threshold()) return OkStatus();
  return Refused(RefusalCode::kGroupTooSmall,
                 "at least " + std::to_string(terms.share_threshold()) +
                     " neighbours that this site drew must be among the " + std::string(name) +
                     ", got " + std::to_string(num_holders));
}

StatusOr<Time> LocalDeadline(std::string_view what, Time sent_at, Time deadline,
                             const ClientPolicy& policy, Time now) {
  if (sent_at - now > policy.max_clock_skew) {
    return Refused(RefusalCode::kClockSkew, "the coordinator's clock must be at most " +
                                                FormatDuration(policy.max_clock_skew) +
                                                " ahead of this site's, it said " +
                                                FormatTime(sent_at) + " at " + FormatTime(now));
  }
  const Time local = std::min(now, sent_at + policy.max_clock_skew) + (deadline - sent_at);
  if (now <= local) return local;
  return Refused(
      RefusalCode::kSessionExpired,
      std::string(what) + " ended at " + FormatTime(local) + ", it is " + FormatTime(now));
}

Status CheckDeadline(const RoundInHand& round, Time now) {
  if (now <= round.deadline) return OkStatus();
  return Refused(RefusalCode::kSessionExpired,
                 RoundName(round.terms.round) + " ended at " + FormatTime(round.deadline));
}

Status NotMaskedHere(std::uint32_t round) {
  return Refused(RefusalCode::kRoundAborted,
                 RoundName(round) + " is over, or was not masked by this site");
}

Status ClientSession::CheckStart(const InSession& state, const RoundTerms& terms,
                                 const RoundStarted& event, Time now) const {
  const SessionView& view = *state.view;
  if (terms.round <= state.last_round || terms.round > view.terms().num_rounds) {
    return Refused(RefusalCode::kRoundReplayed, "round must be in [" +
                                                    std::to_string(state.last_round + 1) + ", " +
                                                    std::to_string(view.terms().num_rounds) +
                                                    "], got " + std::to_string(terms.round));
  }
  if (terms.deadline <= terms.sent_at ||
      terms.deadline - terms.sent_at > options_->policy.max_lifetime) {
    return Refused(RefusalCode::kSessionExpired,
                   "the deadline must be within " + FormatDuration(options_->policy.max_lifetime) +
                       " after sent_at, got " + FormatTime(terms.deadline));
  }
  CHORALE_RETURN_IF_ERROR(
      LocalDeadline("the round", terms.sent_at, terms.deadline, options_->policy, now).status());
  for (const MemberIndex member : terms.participants) {
    if (!view.HasAdvertised(member)) {
      return Refused(RefusalCode::kNotAParticipant,
                     "participant " + std::to_string(member) + " has no keys in this session");
    }
    CHORALE_RETURN_IF_ERROR(options_->verifier.VerifyStanding(view.terms().members[member], now));
  }
  CHORALE_RETURN_IF_ERROR(
      CheckSet(view, state.membership.self, "participants", terms.participants));
  if (terms.model != event.model) {
    return Refused(RefusalCode::kModelMismatch, "the round is about model " + ToHex(terms.model) +
                                                    ", this site holds " + ToHex(event.model));
  }
  if (terms.task != event.task) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "the round is about task " + ToHex(terms.task) + ", this site approved " +
                       ToHex(event.task));
  }
  if (terms.encoding != event.encoding || terms.vector_bytes != event.vector_bytes) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "the round's encoding is " + ToHex(terms.encoding) + " of " +
                       std::to_string(terms.vector_bytes) + " bytes, this site's is " +
                       ToHex(event.encoding) + " of " + std::to_string(event.vector_bytes));
  }
  return OkStatus();
}

StatusOr<std::vector<OwnedMaskTerm>> ClientSession::MasksOf(const InSession& state,
                                                            const RoundInHand& round) const {
  const SessionView& view = *state.view;
  const std::uint32_t number = round.terms.round;
  const MemberIndex self = state.membership.self;
  const crypto::X25519PrivateKey* key = secrets_.mask_key(number);
  const crypto::SecretBytes* seed = secrets_.seed(number);
  if (key == nullptr || seed == nullptr) {
    return Refused(RefusalCode::kStateLost, "this site holds no secrets of " + RoundName(number));
  }
  const Suite suite = view.terms().suite;
  std::vector<OwnedMaskTerm> terms;
  terms.push_back({.key = SelfMaskKey(*seed, round.context, suite), .is_subtracted = false});
  std::vector<Peer> peers;
  for (const MemberIndex peer : Intersect(view.NeighborsOf(self), round.terms.participants)) {
    peers.push_back({peer, view.mask_key(peer, number)});
  }
  CHORALE_ASSIGN_OR_RETURN(const std::vector<crypto::SecretBytes> pairs,
                           PairKeys(view.id(), *key, self, peers, number));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    terms.push_back({.key = PairMaskKey(pairs[i], round.context, suite),
                     .is_subtracted = peers[i].index > self});
  }
  return terms;
}

ClientSession::Transition ClientSession::Equivocated(const InSession& state, std::string what,
                                                     Bytes first, Bytes second) {
  const std::uint32_t round = state.last_round;
  const Status reason = Refused(RefusalCode::kEquivocation, what);
  InSession next = state;
  next.round = BetweenRounds{};
  return Transition{.next = std::move(next),
                    .actions = OneAction(Withdraw{round, reason}),
                    .erase_round = round,
                    .evidence = {{.code = RefusalCode::kEquivocation,
                                  .what = std::move(what),
                                  .first = std::move(first),
                                  .second = std::move(second)}}};
}

StatusOr<ClientSession::Transition> ClientSession::On(InSession state, const RoundStarted& event,
                                                      Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, OpenMessage(MessageKind::kRoundStart, event.message,
                                                            options_->coordinator_key));
  CHORALE_ASSIGN_OR_RETURN(RoundTerms terms, DecodeRoundStart(body));
  if (terms.session != state.view->id()) {
    return Refused(RefusalCode::kWrongSession, "the round is of another session");
  }
  const RoundInHand* current = RoundOf(state.round);
  if (current != nullptr && current->terms.round == terms.round) {
    if (current->start == event.message) {
      // Masks go out once; afterwards the same header goes out again.
      const AwaitingSurvivors* input = InputOf(state.round);
      std::vector<ClientAction> actions;
      if (input != nullptr) {
        actions = OneAction(Send{MessageKind::kMaskedInput, input->masked_input});
      }
      return Transition{.next = std::move(state), .actions = std::move(actions)};
    }
    return Equivocated(state, "the coordinator opened " + RoundName(terms.round) + " twice",
                       current->start, event.message);
  }
  CHORALE_RETURN_IF_ERROR(CheckStart(state, terms, event, now));

  const std::uint32_t number = terms.round;
  RoundInHand round{.terms = std::move(terms), .start = event.message};
  round.binding = BindingOf(round.terms);
  round.context = ContextOf(round.binding);
  CHORALE_ASSIGN_OR_RETURN(
      round.deadline,
      LocalDeadline("the round", round.terms.sent_at, round.terms.deadline, options_->policy, now));
  CHORALE_ASSIGN_OR_RETURN(std::vector<OwnedMaskTerm> masks, MasksOf(state, round));
  state.last_round = number;
  state.round = Masking{std::move(round)};
  return Transition{.next = std::move(state),
                    .actions = OneAction(MaskInput{number, std::move(masks)}),
                    .erase_own_keys = number,
                    .erase_round = number - 1};
}

StatusOr<ClientSession::Transition> ClientSession::On(InSession state, const InputMasked& event,
                                                      Time now) const {
  const RoundInHand* current = RoundOf(state.round);
  if (current == nullptr || current->terms.round != event.round) return NotMaskedHere(event.round);
  if (const AwaitingSurvivors* input = InputOf(state.round)) {
    if (input->vector != event.vector) {
      return Refused(RefusalCode::kRoundReplayed,
                     "other bytes left this site in " + RoundName(event.round));
    }
    Send again{MessageKind::kMaskedInput, input->masked_input};
    return Transition{.next = std::move(state), .actions = OneAction(std::move(again))};
  }
  CHORALE_RETURN_IF_ERROR(CheckDeadline(*current, now));
  const Bytes header = Encode(MaskedInputHeader{.session = state.view->id(),
                                                .round = event.round,
                                                .member = state.membership.self,
                                                .context = current->context,
                                                .vector_bytes = current->terms.vector_bytes,
                                                .vector = event.vector});
  Bytes message = SignMessage(MessageKind::kMaskedInput, header, options_->signing_key);
  Send send{MessageKind::kMaskedInput, message};
  state.round = AwaitingSurvivors{
      .round = RoundInHand(*current), .vector = event.vector, .masked_input = std::move(message)};
  return Transition{.next = std::move(state), .actions = OneAction(std::move(send))};
}

StatusOr<ClientSession::Transition> ClientSession::On(InSession state, const RoundEnded& event,
                                                      Time) const {
  const RoundInHand* current = RoundOf(state.round);
  if (event.round < state.last_round) return Transition{.next = std::move(state)};  // Long over.
  if (event.round > state.view->terms().num_rounds) {
    return InvalidArgument("round must be at most " +
                           std::to_string(state.view->terms().num_rounds) + ", got " +
                           std::to_string(event.round));
  }
  if (current != nullptr && current->terms.round < event.round) {
    return FailedPrecondition(RoundName(current->terms.round) + " is under way");
  }
  state.last_round = event.round;
  state.round = BetweenRounds{};
  return Transition{.next = std::move(state), .erase_round = event.round};
}

}  // namespace chorale::secagg
