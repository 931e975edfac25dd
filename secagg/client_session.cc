#include "secagg/client_session.h"

#include <string>
#include <type_traits>
#include <utility>

namespace chorale::secagg {
namespace {

const Membership* MembershipOf(const ClientState& state) {
  return std::visit(
      [](const auto& s) -> const Membership* {
        if constexpr (requires { s.membership; }) return &s.membership;
        return nullptr;
      },
      state);
}

}  // namespace

ClientSession::ClientSession(ClientOptions options) : guard_(std::move(options.guard)) {
  options_ = std::make_unique<const ClientOptions>(std::move(options));
}

StatusOr<ClientSession> ClientSession::Create(ClientOptions options) {
  CHORALE_RETURN_IF_ERROR(ValidateName("site", options.site.value()));
  CHORALE_RETURN_IF_ERROR(ValidateName("federation", options.federation));
  CHORALE_RETURN_IF_ERROR(ValidateName("job", options.job.value()));
  if (options.policy.suites.empty()) {
    return InvalidArgument("policy.suites must name at least one suite, got none");
  }
  if (options.policy.max_lifetime <= Duration::zero() ||
      options.policy.max_clock_skew <= Duration::zero()) {
    return InvalidArgument("policy.max_lifetime and policy.max_clock_skew must be above 0");
  }
  return ClientSession(std::move(options));
}

StatusOr<std::vector<ClientAction>> ClientSession::Step(const ClientEvent& event, Time now) {
  if (const Membership* membership = MembershipOf(state_);
      membership != nullptr && now > membership->expires_at &&
      !std::holds_alternative<TimePassed>(event)) {
    return Refused(RefusalCode::kSessionExpired,
                   "the session ended at " + FormatTime(membership->expires_at));
  }
  CHORALE_ASSIGN_OR_RETURN(
      Transition transition,
      std::visit([&](const auto& state, const auto& e) { return On(state, e, now); }, state_,
                 event));
  // The only place where anything changes.
  state_ = std::move(transition.next);
  if (transition.drawn.has_value()) secrets_ = *std::move(transition.drawn);
  if (transition.dealt.has_value()) secrets_.Keep(*std::move(transition.dealt));
  if (transition.opened.has_value()) {
    secrets_.Keep(*std::move(transition.opened));
    secrets_.EraseChannelKey();
  }
  if (transition.erase_own_keys.has_value()) secrets_.EraseOwnKeys(*transition.erase_own_keys);
  if (transition.erase_round.has_value()) secrets_.EraseRound(*transition.erase_round);
  if (transition.erase_all) secrets_ = ClientSecrets();
  if (transition.revealed.has_value()) guard_.Record(*std::move(transition.revealed));
  for (Evidence& evidence : transition.evidence) evidence_.push_back(std::move(evidence));
  return std::move(transition.actions);
}

// Every pair without a handler of its own.
template <typename State, typename Event>
StatusOr<ClientSession::Transition> ClientSession::On(const State& state, const Event& event,
                                                      Time now) const {
  if constexpr (std::is_same_v<Event, TimePassed>) {
    return Expire(state, now);
  } else if constexpr (std::is_same_v<Event, ManifestReceived> && requires { state.membership; }) {
    return SecondManifest(state.membership, state, event);
  } else if constexpr (std::is_same_v<Event, RoundStarted> ||
                       std::is_same_v<Event, SurvivorsReceived> ||
                       std::is_same_v<Event, SignaturesReceived>) {
    return Refused(RefusalCode::kStateLost, "this site holds no secrets for rounds of the session");
  }
  return FailedPrecondition("the event has no meaning in this state of the session");
}

StatusOr<ClientSession::Transition> ClientSession::Expire(const ClientState& state,
                                                          Time now) const {
  const Membership* membership = MembershipOf(state);
  if (membership != nullptr && now > membership->expires_at) {
    const Status reason = Refused(RefusalCode::kSessionExpired,
                                  "the session ended at " + FormatTime(membership->expires_at));
    return Transition{.next = Closed{reason},
                      .actions = OneAction(Withdraw{std::nullopt, reason}),
                      .erase_all = true};
  }
  const auto* session = std::get_if<InSession>(&state);
  const RoundInHand* round = session == nullptr ? nullptr : RoundOf(session->round);
  if (round == nullptr || now <= round->deadline) return Transition{.next = state};
  const Status reason =
      Refused(RefusalCode::kSessionExpired, "round " + std::to_string(round->terms.round) +
                                                " ended at " + FormatTime(round->deadline));
  InSession next = *session;
  next.round = BetweenRounds{};
  return Transition{.next = std::move(next),
                    .actions = OneAction(Withdraw{round->terms.round, reason}),
                    .erase_round = round->terms.round};
}

const Membership* ClientSession::membership() const { return MembershipOf(state_); }

const SessionView* ClientSession::session() const {
  if (const auto* sharing = std::get_if<AwaitingShares>(&state_)) return sharing->view.get();
  if (const auto* ready = std::get_if<InSession>(&state_)) return ready->view.get();
  return nullptr;
}

const RoundInHand* ClientSession::round() const {
  const auto* session = std::get_if<InSession>(&state_);
  return session == nullptr ? nullptr : RoundOf(session->round);
}

}  // namespace chorale::secagg
