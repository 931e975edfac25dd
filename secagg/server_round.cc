#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "secagg/mask_recovery.h"
#include "secagg/server_session.h"
#include "secagg/server_steps.h"
#include "secagg/vector_spec.h"

// The coordinator's side of a round.
namespace chorale::secagg {
namespace {

constexpr Duration kMaxRoundTime = std::chrono::hours(24);

std::string RoundName(const OpenRound& round) {
  return "round " + std::to_string(round.terms->round);
}

bool Contains(const std::vector<MemberIndex>& sorted, MemberIndex member) {
  return std::ranges::binary_search(sorted, member);
}

Status CheckRound(const OpenRound& round, const crypto::Digest& session, std::uint32_t number,
                  const crypto::Digest& context) {
  if (session != round.terms->session || number != round.terms->round) {
    return Refused(RefusalCode::kWrongSession, "the message is of another session or round");
  }
  if (context != round.context) {
    return Refused(RefusalCode::kConflictingSets,
                   "the member saw another version of " + RoundName(round));
  }
  return OkStatus();
}

// Unset when enough of `holders` can tell every secret of the round; else of whom there are too
// few.
std::optional<MemberIndex> FindUnrecoverable(const SessionView& view,
                                             const std::vector<MemberIndex>& participants,
                                             const std::vector<MemberIndex>& holders) {
  if (!view.terms().neighbors.has_value()) return std::nullopt;  // The threshold says it all.
  for (const MemberIndex dealer : participants) {
    std::vector<MemberIndex> present;
    std::ranges::set_intersection(view.HoldersOf(dealer), holders, std::back_inserter(present));
    if (present.size() < view.terms().share_threshold()) return dealer;
  }
  return std::nullopt;
}

Status TooFew(const SessionTerms& terms, std::string_view what, std::size_t got) {
  return Refused(RefusalCode::kGroupTooSmall, std::string(what) + " must be at least " +
                                                  std::to_string(terms.least_set()) + ", got " +
                                                  std::to_string(got));
}

Status TooFewHolders(MemberIndex dealer) {
  return Refused(RefusalCode::kGroupTooSmall, "too few of the neighbours of member " +
                                                  std::to_string(dealer) + " are in the round");
}

}  // namespace

StatusOr<ServerSession::Transition> ServerSession::On(Ready state, const RoundRequested& event,
                                                      Time now) const {
  ReadySession& session = state.session;
  const SessionView& view = *session.view;
  if (now > terms_->not_after) {
    return Refused(RefusalCode::kSessionExpired,
                   "the session ended at " + FormatTime(terms_->not_after));
  }
  if (event.round <= session.last_round || event.round > terms_->num_rounds) {
    return InvalidArgument("round must be in [" + std::to_string(session.last_round + 1) + ", " +
                           std::to_string(terms_->num_rounds) + "], got " +
                           std::to_string(event.round));
  }
  if (std::ranges::adjacent_find(event.participants, std::ranges::greater_equal{}) !=
      event.participants.end()) {
    return InvalidArgument("participants must be in ascending order without repetition");
  }
  if (!std::ranges::includes(session.eligible, event.participants)) {
    return InvalidArgument("participants must all be eligible");
  }
  if (event.participants.size() < terms_->least_set()) {
    return TooFew(*terms_, "participants", event.participants.size());
  }
  if (const auto dealer = FindUnrecoverable(view, event.participants, event.participants)) {
    return TooFewHolders(*dealer);
  }
  if (event.vector_bytes == 0 || event.vector_bytes > VectorSpec::kMaxBytes) {
    return InvalidArgument("vector_bytes must be in [1, 2^36], got " +
                           std::to_string(event.vector_bytes));
  }
  if (event.deadline <= now || event.deadline - now > kMaxRoundTime) {
    return InvalidArgument("deadline must be within 24 hours, got " + FormatTime(event.deadline));
  }
  RoundTerms terms{.session = view.id(),
                   .round = event.round,
                   .participants = event.participants,
                   .model = event.model,
                   .task = event.task,
                   .encoding = event.encoding,
                   .vector_bytes = event.vector_bytes,
                   .sent_at = now,
                   .deadline = event.deadline};
  Bytes message = SignMessage(MessageKind::kRoundStart, Encode(terms), *key_);
  std::vector<ServerAction> actions =
      OneAction(Broadcast{MessageKind::kRoundStart, event.participants, message});
  session.last_round = event.round;
  const crypto::Digest context = ContextOf(BindingOf(terms));
  return Transition{
      .next = Collecting{.round = {.session = std::move(session),
                                   .terms = std::make_shared<const RoundTerms>(std::move(terms)),
                                   .start = std::make_shared<const Bytes>(std::move(message)),
                                   .context = context},
                         .inputs = Answers<MaskedInputHeader>(terms_->num_members()),
                         .arrived = std::vector<bool>(terms_->num_members())},
      .actions = std::move(actions)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Collecting state,
                                                      const MessageReceived& event, Time) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, Open(event, MessageKind::kMaskedInput));
  if (state.inputs[event.from] != nullptr) {
    return Again(event, state.inputs[event.from]->message, state);
  }
  CHORALE_ASSIGN_OR_RETURN(const MaskedInputHeader header, DecodeMaskedInput(body));
  if (header.member != event.from || !Contains(state.round.terms->participants, event.from)) {
    return Refused(RefusalCode::kNotAParticipant,
                   "the vector is of nobody who takes part in " + RoundName(state.round));
  }
  CHORALE_RETURN_IF_ERROR(CheckRound(state.round, header.session, header.round, header.context));
  if (header.vector_bytes != state.round.terms->vector_bytes) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "vector_bytes must be " + std::to_string(state.round.terms->vector_bytes) +
                       ", got " + std::to_string(header.vector_bytes));
  }
  state.inputs[event.from] = Keep(event.message, header);
  return Transition{.next = std::move(state)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Collecting state, const VectorReceived& event,
                                                      Time) const {
  if (event.from >= state.inputs.size() || state.inputs[event.from] == nullptr) {
    return FailedPrecondition("a vector of member " + std::to_string(event.from) +
                              " must come after its MaskedInput");
  }
  if (state.arrived[event.from]) return AlreadyExists("this vector is here already");
  state.arrived[event.from] = true;
  return Transition{.next = std::move(state)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Collecting state, const StepClosed&,
                                                      Time) const {
  std::vector<MemberIndex> survivors;
  std::vector<crypto::Digest> vectors;
  for (const MemberIndex member : state.round.terms->participants) {
    if (!state.arrived[member]) continue;
    survivors.push_back(member);
    vectors.push_back(state.inputs[member]->content.vector);
  }
  const SessionView& view = *state.round.session.view;
  if (survivors.size() < terms_->least_set()) {
    return AbandonRound(state.round, TooFew(*terms_, "survivors", survivors.size()));
  }
  if (const auto dealer = FindUnrecoverable(view, state.round.terms->participants, survivors)) {
    return AbandonRound(state.round, TooFewHolders(*dealer));
  }
  const SurvivorSet set{
      .session = view.id(), .round = state.round.terms->round, .survivors = survivors};
  const auto message =
      std::make_shared<const Bytes>(SignMessage(MessageKind::kSurvivors, Encode(set), *key_));
  std::vector<ServerAction> actions =
      OneAction(Broadcast{MessageKind::kSurvivors, survivors, *message});
  const RoundSeen seen{.session = view.id(),
                       .round = state.round.terms->round,
                       .context = state.round.context,
                       .participants = ParticipantsDigest(state.round.terms->participants),
                       .survivors = ParticipantsDigest(survivors)};
  return Transition{.next = Checking{.round = std::move(state.round),
                                     .survivors = std::move(survivors),
                                     .vectors = std::move(vectors),
                                     .survivors_sent = message,
                                     .seen = seen,
                                     .statements = Answers<RoundStatement>(terms_->num_members())},
                    .actions = std::move(actions)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Checking state, const MessageReceived& event,
                                                      Time) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, Open(event, MessageKind::kConsistencySignature));
  if (state.statements[event.from] != nullptr) {
    return Again(event, state.statements[event.from]->message, state);
  }
  CHORALE_ASSIGN_OR_RETURN(const RoundStatement statement, DecodeConsistencySignature(body));
  if (statement.member != event.from || !Contains(state.survivors, event.from)) {
    return Refused(RefusalCode::kNotAParticipant,
                   "the signature is of nobody who is in the sum of " + RoundName(state.round));
  }
  if (statement.seen.session != state.seen.session || statement.seen.round != state.seen.round) {
    return Refused(RefusalCode::kWrongSession, "the signature is of another session or round");
  }
  if (statement.seen != state.seen) {
    const std::string what = "member " + std::to_string(event.from) +
                             " signed another version of " + RoundName(state.round);
    std::erase(state.round.session.eligible, event.from);
    Evidence evidence{.code = RefusalCode::kEquivocation,
                      .what = what,
                      .first = *state.survivors_sent,
                      .second = event.message};
    return Transition{
        .next = std::move(state),
        .actions = OneAction(Blame{event.from, Refused(RefusalCode::kEquivocation, what)}),
        .evidence = {std::move(evidence)}};
  }
  state.statements[event.from] = Keep(event.message, statement);
  return Transition{.next = std::move(state)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Checking state, const StepClosed&,
                                                      Time) const {
  std::vector<MemberIndex> signers = Answered(state.statements);
  if (signers.size() < terms_->group.threshold) {
    return AbandonRound(state.round, Refused(RefusalCode::kNotEnoughSignatures,
                                             "at least " + std::to_string(terms_->group.threshold) +
                                                 " members must sign " + RoundName(state.round) +
                                                 ", got " + std::to_string(signers.size())));
  }
  const auto message = std::make_shared<const Bytes>(EncodeConsistencySignatures(
      state.seen.session, state.seen.round, MessagesOf(state.statements)));
  std::vector<ServerAction> actions =
      OneAction(Broadcast{MessageKind::kConsistencySignatures, signers, *message});
  return Transition{.next = Unmasking{.round = std::move(state.round),
                                      .survivors = std::move(state.survivors),
                                      .vectors = std::move(state.vectors),
                                      .signers = std::move(signers),
                                      .signatures_sent = message,
                                      .responses = Answers<UnmaskingShares>(terms_->num_members())},
                    .actions = std::move(actions)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Unmasking state, const MessageReceived& event,
                                                      Time) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, Open(event, MessageKind::kUnmasking));
  if (state.responses[event.from] != nullptr) {
    return Again(event, state.responses[event.from]->message, state);
  }
  CHORALE_ASSIGN_OR_RETURN(UnmaskingShares shares, DecodeUnmasking(body));
  if (shares.member != event.from || !Contains(state.signers, event.from)) {
    return Refused(RefusalCode::kNotAParticipant,
                   "the shares are of nobody who signed " + RoundName(state.round));
  }
  CHORALE_RETURN_IF_ERROR(CheckRound(state.round, shares.session, shares.round, shares.context));
  const SessionView& view = *state.round.session.view;
  for (const auto* list : {&shares.seeds, &shares.keys}) {
    const bool is_seeds = list == &shares.seeds;
    for (const DealerShare& one : *list) {
      const bool is_held = one.dealer == event.from
                               ? view.keeps_own_share() && is_seeds
                               : Contains(view.DealersOf(event.from), one.dealer);
      if (!is_held || !Contains(state.round.terms->participants, one.dealer) ||
          Contains(state.survivors, one.dealer) != is_seeds) {
        return Refused(
            RefusalCode::kConflictingSets,
            "a share of member " + std::to_string(one.dealer) + " is none that was asked for");
      }
    }
  }
  state.responses[event.from] = Keep(event.message, std::move(shares));
  return Transition{.next = std::move(state)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Unmasking state, const StepClosed&,
                                                      Time) const {
  Recovery recovery = RecoverMasks({.view = *state.round.session.view,
                                    .terms = *state.round.terms,
                                    .context = state.round.context,
                                    .commitments = *state.round.session.commitments,
                                    .survivors = state.survivors,
                                    .responses = state.responses});
  std::vector<ServerAction> actions;
  for (auto& [member, reason] : recovery.faults) {
    std::erase(state.round.session.eligible, member);
    actions.push_back(Blame{member, std::move(reason)});
  }
  for (const auto& [dealer, holder] : recovery.suspects) {
    actions.push_back(Suspect{dealer, holder});
  }
  if (!recovery.status.ok()) {
    actions.push_back(Abandon{state.round.terms->round, recovery.status});
    return Transition{.next = Ready{std::move(state.round.session)}, .actions = std::move(actions)};
  }
  actions.push_back(
      RemoveMasks{state.round.terms->round, state.survivors, std::move(recovery.terms)});
  return Transition{.next = Revealing{.round = std::move(state.round),
                                      .survivors = std::move(state.survivors),
                                      .vectors = std::move(state.vectors)},
                    .actions = std::move(actions)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Revealing state, const SumRevealed& event,
                                                      Time) const {
  const PublishedResult result{.session = state.round.terms->session,
                               .round = state.round.terms->round,
                               .survivors = ParticipantsDigest(state.survivors),
                               .num_included = static_cast<std::uint32_t>(state.survivors.size()),
                               .sum = event.sum,
                               .vectors = std::move(state.vectors)};
  Bytes message = SignMessage(MessageKind::kRoundResult, Encode(result), *key_);
  return Transition{
      .next = Ready{std::move(state.round.session)},
      .actions = OneAction(
          Broadcast{MessageKind::kRoundResult, std::move(state.survivors), std::move(message)})};
}

ServerSession::Transition ServerSession::AbandonRound(OpenRound round, Status reason) {
  const std::uint32_t number = round.terms->round;
  return Transition{.next = Ready{std::move(round.session)},
                    .actions = OneAction(Abandon{number, std::move(reason)})};
}

}  // namespace chorale::secagg
