#include "secagg/server_session.h"

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>

#include "secagg/field_codec.h"
#include "secagg/server_steps.h"

namespace chorale::secagg {
namespace {

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

v1::SessionManifest WriteManifest(const ServerOptions& options, Time now) {
  v1::SessionManifest manifest;
  manifest.set_version(1);
  manifest.set_suite(static_cast<std::uint32_t>(options.suite));
  manifest.set_federation(options.federation);
  manifest.set_nonce(ToField(options.nonce));
  manifest.set_job_id(options.job.value());
  manifest.set_job_digest(ToField(options.job_digest));
  for (const SessionCandidate& candidate : options.members) {
    v1::ManifestMember* member = manifest.add_members();
    member->set_site(candidate.member.site.value());
    member->set_certificate(candidate.certificate);
  }
  manifest.set_roster(options.roster);
  manifest.set_colluders(options.group.colluders);
  manifest.set_threshold(options.group.threshold);
  manifest.set_min_group(options.group.min_group);
  if (const auto graph = GraphFor(options.group, options.dropout_permille)) {
    v1::NeighborGraph* neighbors = manifest.mutable_neighbors();
    neighbors->set_out_degree(graph->graph.out_degree);
    neighbors->set_share_threshold(graph->graph.threshold);
    neighbors->set_dropout_permille(graph->dropout_permille);
  } else {
    manifest.mutable_complete();
  }
  manifest.set_num_rounds(options.num_rounds);
  ToField(now, manifest.mutable_created_at());
  ToField(now + options.lifetime, manifest.mutable_not_after());
  return manifest;
}

// Those of `asked` without an answer.
template <typename Content>
std::vector<MemberIndex> Missing(std::vector<MemberIndex> asked, const Answers<Content>& answers) {
  std::erase_if(asked, [&](MemberIndex member) { return answers[member] != nullptr; });
  return asked;
}

}  // namespace

ServerSession::ServerSession(const crypto::SigningKey& key,
                             std::shared_ptr<const SessionTerms> terms, Bytes manifest)
    : key_(&key),
      terms_(std::move(terms)),
      manifest_(std::make_shared<const Bytes>(std::move(manifest))),
      state_(Advertising{.keys = Answers<AdvertisedKeys>(terms_->num_members())}) {}

StatusOr<ServerSession> ServerSession::Create(ServerOptions options, Time now) {
  if (options.group.num_members != options.members.size()) {
    return InvalidArgument("group.num_members must be the number of members, " +
                           std::to_string(options.members.size()) + ", got " +
                           std::to_string(options.group.num_members));
  }
  CHORALE_RETURN_IF_ERROR(CheckGroup(options.group, GroupPolicy()));
  const Bytes body = Serialize(WriteManifest(options, now));
  Bytes message = SignMessage(MessageKind::kSessionManifest, body, options.signing_key);
  CHORALE_ASSIGN_OR_RETURN(const v1::SessionManifest manifest, DecodeManifest(body));
  CHORALE_ASSIGN_OR_RETURN(SessionTerms terms, DecodeTerms(manifest, crypto::Sha256(message)));
  terms.members.clear();
  for (SessionCandidate& candidate : options.members) {
    terms.members.push_back(std::move(candidate.member));
  }
  CHORALE_RETURN_IF_ERROR(CheckDistinct(terms.members));
  CHORALE_RETURN_IF_ERROR(CheckGraph(terms));
  return ServerSession(options.signing_key, std::make_shared<const SessionTerms>(std::move(terms)),
                       std::move(message));
}

StatusOr<std::vector<ServerAction>> ServerSession::Step(const ServerEvent& event, Time now) {
  CHORALE_ASSIGN_OR_RETURN(
      Transition transition,
      std::visit([&](const auto& state, const auto& e) { return On(state, e, now); }, state_,
                 event));
  // The only place where anything changes.
  state_ = std::move(transition.next);
  for (Evidence& evidence : transition.evidence) evidence_.push_back(std::move(evidence));
  return std::move(transition.actions);
}

// Every pair without a handler of its own.
template <typename State, typename Event>
StatusOr<ServerSession::Transition> ServerSession::On(const State& state, const Event&,
                                                      Time) const {
  if constexpr (std::is_same_v<Event, RoundAborted> && requires { state.round.session; }) {
    return Transition{.next = Ready{state.round.session}};
  } else if constexpr (std::is_same_v<State, Failed>) {
    return Annotate(FailedPrecondition(MessageOf(state.reason)), "the session cannot go on");
  }
  return FailedPrecondition("the event has no meaning in this step of the session");
}

StatusOr<ByteSpan> ServerSession::Open(const MessageReceived& event, MessageKind wanted) const {
  if (event.kind != wanted) {
    return FailedPrecondition("this step waits for " + std::string(NameOf(wanted)) + ", got " +
                              std::string(NameOf(event.kind)));
  }
  if (event.from >= terms_->num_members()) {
    return InvalidArgument("from must be below " + std::to_string(terms_->num_members()) +
                           ", got " + std::to_string(event.from));
  }
  return OpenMessage(wanted, event.message, terms_->members[event.from].key);
}

const SessionView* ServerSession::session() const {
  return std::visit(
      [](const auto& state) -> const SessionView* {
        if constexpr (requires { state.view; }) return state.view.get();
        if constexpr (requires { state.session; }) return state.session.view.get();
        if constexpr (requires { state.round; }) return state.round.session.view.get();
        return nullptr;
      },
      state_);
}

std::vector<MemberIndex> ServerSession::Awaited() const {
  return std::visit(Overloaded{
                        [&](const Advertising& s) { return Missing(AllMembers(*terms_), s.keys); },
                        [](const Sharing& s) { return Missing(s.view->advertised(), s.shares); },
                        [](const Acknowledging& s) { return Missing(Answered(s.shares), s.acks); },
                        [](const Collecting& s) {
                          std::vector<MemberIndex> missing = s.round.terms->participants;
                          std::erase_if(missing,
                                        [&](MemberIndex member) { return s.arrived[member]; });
                          return missing;
                        },
                        [](const Checking& s) { return Missing(s.survivors, s.statements); },
                        [](const Unmasking& s) { return Missing(s.signers, s.responses); },
                        [](const auto&) { return std::vector<MemberIndex>(); },
                    },
                    state_);
}

std::vector<ServerAction> ServerSession::OutstandingActions() const {
  const std::vector<MemberIndex> awaited = Awaited();
  if (awaited.empty()) return {};
  const auto broadcast = [&](MessageKind kind, const Bytes& message) {
    return OneAction(Broadcast{kind, awaited, message});
  };
  return std::visit(
      Overloaded{
          [&](const Advertising&) { return broadcast(MessageKind::kSessionManifest, *manifest_); },
          [&](const Sharing& s) { return broadcast(MessageKind::kKeyDirectory, *s.directory); },
          [&](const Acknowledging& s) { return Deliveries(*s.view, s.shares, awaited); },
          [&](const Collecting& s) { return broadcast(MessageKind::kRoundStart, *s.round.start); },
          [&](const Checking& s) { return broadcast(MessageKind::kSurvivors, *s.survivors_sent); },
          [&](const Unmasking& s) {
            return broadcast(MessageKind::kConsistencySignatures, *s.signatures_sent);
          },
          [](const auto&) { return std::vector<ServerAction>(); },
      },
      state_);
}

std::vector<MemberIndex> ServerSession::Eligible() const {
  return std::visit(
      [](const auto& state) -> std::vector<MemberIndex> {
        if constexpr (requires { state.session; }) return state.session.eligible;
        if constexpr (requires { state.round; }) return state.round.session.eligible;
        return {};
      },
      state_);
}

std::optional<crypto::Digest> ServerSession::VectorDigestOf(MemberIndex member) const {
  const auto* collecting = std::get_if<Collecting>(&state_);
  if (collecting == nullptr || member >= collecting->inputs.size() ||
      collecting->inputs[member] == nullptr) {
    return std::nullopt;
  }
  return collecting->inputs[member]->content.vector;
}

}  // namespace chorale::secagg
