#pragma once

#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "secagg/server_session.h"

// Private to the .cc files of this folder: what the steps of a ServerSession have in common.
namespace chorale::secagg {

[[nodiscard]] inline std::vector<MemberIndex> AllMembers(const SessionTerms& terms) {
  std::vector<MemberIndex> all(terms.num_members());
  std::iota(all.begin(), all.end(), MemberIndex{0});
  return all;
}

// Who answered, ascending.
template <typename Content>
[[nodiscard]] std::vector<MemberIndex> Answered(const Answers<Content>& answers) {
  std::vector<MemberIndex> members;
  for (MemberIndex member = 0; member < answers.size(); ++member) {
    if (answers[member] != nullptr) members.push_back(member);
  }
  return members;
}

// The signed messages of who answered, by member.
template <typename Content>
[[nodiscard]] std::vector<ByteSpan> MessagesOf(const Answers<Content>& answers) {
  std::vector<ByteSpan> messages;
  for (const auto& answer : answers) {
    if (answer != nullptr) messages.emplace_back(answer->message);
  }
  return messages;
}

template <typename Content>
[[nodiscard]] std::shared_ptr<const Received<Content>> Keep(Bytes message, Content content) {
  return std::make_shared<const Received<Content>>(
      Received<Content>{.message = std::move(message), .content = std::move(content)});
}

template <typename State>
StatusOr<ServerSession::Transition> ServerSession::Again(const MessageReceived& event,
                                                         const Bytes& held, State state) {
  const std::string kind(NameOf(event.kind));
  if (event.message == held) return AlreadyExists("this " + kind + " was received before");
  const std::string what =
      "member " + std::to_string(event.from) + " signed two versions of " + kind;
  Evidence evidence{
      .code = RefusalCode::kEquivocation, .what = what, .first = held, .second = event.message};
  // It stays in the step that it answered, and takes part in no other round.
  if constexpr (requires { state.round.session; }) {
    std::erase(state.round.session.eligible, event.from);
  }
  return Transition{
      .next = std::move(state),
      .actions = OneAction(Blame{event.from, Refused(RefusalCode::kEquivocation, what)}),
      .evidence = {std::move(evidence)}};
}

// A ShareDelivery for each of `to`, of what everybody dealt.
[[nodiscard]] std::vector<ServerAction> Deliveries(const SessionView& view,
                                                   const Answers<DealtShares>& shares,
                                                   const std::vector<MemberIndex>& to);

}  // namespace chorale::secagg
