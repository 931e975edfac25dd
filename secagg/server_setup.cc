#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "secagg/server_session.h"
#include "secagg/server_steps.h"

// The coordinator's side of setting a session up.
namespace chorale::secagg {
namespace {

Status WrongSession() {
  return Refused(RefusalCode::kWrongSession, "the message is of another session or member");
}

// A point of low order agrees on zero with every key.
Status CheckOrders(const AdvertisedKeys& keys) {
  constexpr std::array<std::uint8_t, 32> kAnyKey = {1};
  CHORALE_ASSIGN_OR_RETURN(const auto any, crypto::X25519PrivateKey::FromBytes(kAnyKey));
  std::vector<crypto::X25519PublicKey> all = keys.mask_keys;
  all.push_back(keys.channel_key);
  const auto is_agreed = [](const StatusOr<crypto::SecretBytes>& shared) { return shared.ok(); };
  if (std::ranges::all_of(any.AgreeAll(all), is_agreed)) return OkStatus();
  return Refused(RefusalCode::kKeyInvalid, "an advertised key is a point of low order");
}

}  // namespace

std::vector<ServerAction> Deliveries(const SessionView& view, const Answers<DealtShares>& shares,
                                     const std::vector<MemberIndex>& to) {
  std::vector<ServerAction> actions;
  for (const MemberIndex holder : to) {
    DeliveredShares delivered{.session = view.id(), .member = holder, .shares = {}};
    for (const MemberIndex dealer : view.DealersOf(holder)) {
      if (shares[dealer] == nullptr) continue;
      const ByteSpan sealed = shares[dealer]->content.shares.Of(holder);
      delivered.shares.members.push_back(dealer);
      delivered.shares.sealed.insert(delivered.shares.sealed.end(), sealed.begin(), sealed.end());
    }
    actions.push_back(SendTo{holder, MessageKind::kShareDelivery, Encode(delivered)});
  }
  return actions;
}

StatusOr<ServerSession::Transition> ServerSession::On(Advertising state,
                                                      const MessageReceived& event, Time) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, Open(event, MessageKind::kAdvertiseKeys));
  if (state.keys[event.from] != nullptr)
    return Again(event, state.keys[event.from]->message, state);
  CHORALE_ASSIGN_OR_RETURN(AdvertisedKeys keys, DecodeAdvertiseKeys(body));
  if (keys.manifest != terms_->manifest || keys.member != event.from) return WrongSession();
  CHORALE_RETURN_IF_ERROR(CheckAdvertised(*terms_, keys));
  CHORALE_RETURN_IF_ERROR(CheckOrders(keys));
  keys.message = crypto::Sha256(event.message);
  state.keys[event.from] = Keep(event.message, std::move(keys));
  return Transition{.next = std::move(state)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Advertising state, const StepClosed&,
                                                      Time) const {
  std::vector<AdvertisedKeys> keys;
  for (const auto& answer : state.keys) {
    if (answer != nullptr) keys.push_back(answer->content);
  }
  StatusOr<SessionView> view = SessionView::Create(terms_, std::move(keys));
  if (!view.ok()) {
    return Transition{.next = Failed{view.status()},
                      .actions = OneAction(Abandon{std::nullopt, view.status()})};
  }
  const auto directory = std::make_shared<const Bytes>(EncodeKeyDirectory(MessagesOf(state.keys)));
  const std::vector<MemberIndex> to = view->advertised();
  return Transition{.next = Sharing{.view = std::make_shared<const SessionView>(*std::move(view)),
                                    .directory = directory,
                                    .shares = Answers<DealtShares>(terms_->num_members())},
                    .actions = OneAction(Broadcast{MessageKind::kKeyDirectory, to, *directory})};
}

StatusOr<ServerSession::Transition> ServerSession::On(Sharing state, const MessageReceived& event,
                                                      Time) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, Open(event, MessageKind::kShareKeys));
  if (state.shares[event.from] != nullptr) {
    return Again(event, state.shares[event.from]->message, state);
  }
  CHORALE_ASSIGN_OR_RETURN(DealtShares dealt, DecodeShareKeys(body));
  if (dealt.session != state.view->id() || dealt.member != event.from ||
      !state.view->HasAdvertised(event.from)) {
    return WrongSession();
  }
  const std::size_t num_rounds = terms_->num_rounds;
  if (dealt.commitments.size() != num_rounds ||
      dealt.shares.members != state.view->HoldersOf(event.from) ||
      dealt.shares.sealed.size() != dealt.shares.members.size() * num_rounds * kSealedSharesBytes) {
    return Refused(RefusalCode::kShareInvalid,
                   "ShareKeys must have " + std::to_string(num_rounds) +
                       " commitments and seals for " +
                       std::to_string(state.view->HoldersOf(event.from).size()) + " holders");
  }
  state.shares[event.from] = Keep(event.message, std::move(dealt));
  return Transition{.next = std::move(state)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Sharing state, const StepClosed&,
                                                      Time) const {
  const std::vector<MemberIndex> dealers = Answered(state.shares);
  if (dealers.size() < terms_->least_set()) {
    const Status reason =
        Refused(RefusalCode::kGroupTooSmall, "at least " + std::to_string(terms_->least_set()) +
                                                 " members must deal shares, got " +
                                                 std::to_string(dealers.size()));
    return Transition{.next = Failed{reason}, .actions = OneAction(Abandon{std::nullopt, reason})};
  }
  auto commitments = std::make_shared<Commitments>(terms_->num_members());
  for (const MemberIndex dealer : dealers) {
    (*commitments)[dealer] = state.shares[dealer]->content.commitments;
  }
  std::vector<ServerAction> actions = Deliveries(*state.view, state.shares, dealers);
  return Transition{
      .next = Acknowledging{.view = std::move(state.view),
                            .commitments = std::move(commitments),
                            .shares = std::move(state.shares),
                            .acks = Answers<AcknowledgedShares>(terms_->num_members())},
      .actions = std::move(actions)};
}

StatusOr<ServerSession::Transition> ServerSession::On(Acknowledging state,
                                                      const MessageReceived& event, Time) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, Open(event, MessageKind::kShareKeysAck));
  if (state.acks[event.from] != nullptr)
    return Again(event, state.acks[event.from]->message, state);
  CHORALE_ASSIGN_OR_RETURN(AcknowledgedShares ack, DecodeShareKeysAck(body));
  if (ack.session != state.view->id() || ack.member != event.from ||
      state.shares[event.from] == nullptr) {
    return WrongSession();
  }
  if (!std::ranges::includes(state.view->DealersOf(event.from), ack.dealers)) {
    return Refused(RefusalCode::kConflictingSets, "shares are acknowledged that were not sent");
  }
  state.acks[event.from] = Keep(event.message, std::move(ack));
  return Transition{.next = std::move(state)};
}

// A dealer stays when enough holders could open its shares, and when no more failed to than may
// lie: beyond that, an honest one failed.
StatusOr<ServerSession::Transition> ServerSession::On(Acknowledging state, const StepClosed&,
                                                      Time) const {
  const SessionView& view = *state.view;
  std::vector<std::uint32_t> opened(terms_->num_members());
  std::vector<std::uint32_t> failed(terms_->num_members());
  for (const auto& ack : state.acks) {
    if (ack == nullptr) continue;
    for (const MemberIndex dealer : view.DealersOf(ack->content.member)) {
      if (state.shares[dealer] == nullptr) continue;
      const bool is_opened = std::ranges::binary_search(ack->content.dealers, dealer);
      ++(is_opened ? opened : failed)[dealer];
    }
  }
  std::vector<ServerAction> actions;
  std::vector<MemberIndex> eligible;
  const std::uint32_t own = view.keeps_own_share() ? 1 : 0;
  for (const MemberIndex member : Answered(state.acks)) {
    if (failed[member] > terms_->group.colluders) {
      actions.push_back(Blame{
          member, Refused(RefusalCode::kShareInvalid,
                          std::to_string(failed[member]) + " holders could not open its shares")});
    } else if (opened[member] + own >= terms_->share_threshold()) {
      eligible.push_back(member);
    }
  }
  if (eligible.size() < terms_->least_set()) {
    const Status reason =
        Refused(RefusalCode::kGroupTooSmall, "at least " + std::to_string(terms_->least_set()) +
                                                 " members must be ready for rounds, got " +
                                                 std::to_string(eligible.size()));
    actions.push_back(Abandon{std::nullopt, reason});
    return Transition{.next = Failed{reason}, .actions = std::move(actions)};
  }
  return Transition{.next = Ready{{.view = std::move(state.view),
                                   .commitments = std::move(state.commitments),
                                   .eligible = std::move(eligible)}},
                    .actions = std::move(actions)};
}

}  // namespace chorale::secagg
