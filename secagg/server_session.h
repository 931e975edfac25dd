#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/crypto/signature.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/mask_terms.h"
#include "secagg/members.h"
#include "secagg/messages.h"
#include "secagg/parameters.h"
#include "secagg/refusal.h"
#include "secagg/server_state.h"
#include "secagg/session_terms.h"

namespace chorale::secagg {

// ---------------------------------------------------------------------------- events

// A site said something; who it is, the transport knows. Of a MaskedInput, only the header.
struct MessageReceived {
  MemberIndex from = 0;
  MessageKind kind;
  Bytes message = {};
};
// The masked vector of this member is here, whole, and has the digest VectorDigestOf(member): it
// will be in the sum.
struct VectorReceived {
  MemberIndex from = 0;
};
// The step is over: everybody awaited answered, or its deadline passed. Goes on with whoever did.
struct StepClosed {};
// Opens a round over some of Eligible(), on a number above every earlier one.
struct RoundRequested {
  std::uint32_t round = 0;
  std::vector<MemberIndex> participants = {};  // Ascending.
  crypto::Digest model{};
  crypto::Digest task{};
  crypto::Digest encoding{};
  std::uint64_t vector_bytes = 0;
  Time deadline = {};  // Of the round's last step.
};
// The masks of RemoveMasks were applied to the sum.
struct SumRevealed {
  crypto::Digest sum{};  // SHA-256 of the sum's bytes.
};
// The round is given up; its masks stay on.
struct RoundAborted {
  std::string reason = {};
};
using ServerEvent = std::variant<MessageReceived, VectorReceived, StepClosed, RoundRequested,
                                 SumRevealed, RoundAborted>;

// ---------------------------------------------------------------------------- actions

// The same message to these members.
struct Broadcast {
  MessageKind kind;
  std::vector<MemberIndex> to = {};
  Bytes message = {};
};
struct SendTo {
  MemberIndex member;
  MessageKind kind;
  Bytes message = {};
};
// Apply these terms to the sum of the survivors' vectors, then answer with SumRevealed.
struct RemoveMasks {
  std::uint32_t round;
  std::vector<MemberIndex> survivors = {};
  std::vector<OwnedMaskTerm> terms = {};
};
// This member is at fault, whether or not the round goes on. It is no longer eligible.
struct Blame {
  MemberIndex member;
  Status reason = {};
};
// A share of this dealer's, from this holder, fits neither what others hold nor what the dealer
// committed to: one of the two is at fault, and nothing tells which. Both stay eligible.
struct Suspect {
  MemberIndex dealer;
  MemberIndex holder;
};
// The round, or without one the session, cannot go on. A session goes on after a round.
struct Abandon {
  std::optional<std::uint32_t> round = {};
  Status reason = {};
};
using ServerAction = std::variant<Broadcast, SendTo, RemoveMasks, Blame, Suspect, Abandon>;

// A list of one: actions own secrets, which an initialiser list would have to copy.
[[nodiscard]] inline std::vector<ServerAction> OneAction(ServerAction action) {
  std::vector<ServerAction> actions = {};
  actions.push_back(std::move(action));
  return actions;
}

// ---------------------------------------------------------------------------- options

struct SessionCandidate {
  Member member;
  std::string certificate = {};  // PEM.
};

struct ServerOptions {
  std::string federation = {};
  JobId job = {};
  crypto::Digest job_digest{};
  std::vector<SessionCandidate> members = {};                // By site, ascending.
  std::string roster = {};                                   // The authority's file.
  GroupParameters group = {};                                // DefaultGroup(n) is a good choice.
  std::uint32_t dropout_permille = kDefaultDropoutPermille;  // Planned for above 128 members.
  std::uint32_t num_rounds = kMaxRounds;
  Suite suite = Suite::kAes128Ctr;
  crypto::Digest nonce{};  // Random; never used before.
  Duration lifetime = std::chrono::hours(24);
  const crypto::SigningKey& signing_key;  // The coordinator's. Must outlive the session.
};

// The coordinator's side of one session: collects answers step by step and closes a step when told
// so. A state machine without clock, thread, network, disk, log or chance: the same events in the
// same order give the same actions. Vectors never enter it.
//
//   step          waits for               closing sends
//   Advertising   AdvertiseKeys           KeyDirectory
//   Sharing       ShareKeys               ShareDelivery
//   Acknowledging ShareKeysAck            (nothing; the session is ready)
//   Collecting    MaskedInput, vectors    Survivors
//   Checking      ConsistencySignature    ConsistencySignatures
//   Unmasking     Unmasking               RemoveMasks; then SumRevealed sends RoundResult
//
// Not thread-safe.
class ServerSession {
 public:
  // INVALID_ARGUMENT, or the refusal that sites would give: members, group or graph out of bounds.
  [[nodiscard]] static StatusOr<ServerSession> Create(ServerOptions options, Time now);

  // Applies one event that happened at `now`. Returns the actions to carry out, in order. On error
  // nothing has changed:
  //   a refusal            of MessageReceived: that member is at fault, nobody else is concerned
  //   ALREADY_EXISTS       this very message was received before
  //   FAILED_PRECONDITION  the event has no meaning in this state; a message after its step closed
  //   INVALID_ARGUMENT     of RoundRequested: which field
  [[nodiscard]] StatusOr<std::vector<ServerAction>> Step(const ServerEvent& event, Time now);

  // What the present step asks for, again: for members that reconnect. After creation, the manifest
  // to everybody.
  [[nodiscard]] std::vector<ServerAction> OutstandingActions() const;

  // Who has been asked in this step and has not answered, ascending; in Collecting, whose vector
  // has not come.
  [[nodiscard]] std::vector<MemberIndex> Awaited() const;
  // Who may be in a round: advertised, dealt shares that enough could open, and opened their own;
  // not blamed since. Empty until the session is ready.
  [[nodiscard]] std::vector<MemberIndex> Eligible() const;
  // From the member's MaskedInput; unset before it, and outside of Collecting.
  [[nodiscard]] std::optional<crypto::Digest> VectorDigestOf(MemberIndex member) const;

  [[nodiscard]] const ServerState& state() const { return state_; }
  [[nodiscard]] const Bytes& manifest() const { return *manifest_; }  // SignedMessage.
  [[nodiscard]] const SessionTerms& terms() const { return *terms_; }
  // Null until the keys are known.
  [[nodiscard]] const SessionView* session() const;
  [[nodiscard]] const std::vector<Evidence>& evidence() const { return evidence_; }

 private:
  struct Transition {
    ServerState next;
    std::vector<ServerAction> actions = {};
    std::vector<Evidence> evidence = {};
  };

  ServerSession(const crypto::SigningKey& key, std::shared_ptr<const SessionTerms> terms,
                Bytes manifest);

  // Set-up: server_setup.cc.
  [[nodiscard]] StatusOr<Transition> On(Advertising state, const MessageReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Advertising state, const StepClosed& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Sharing state, const MessageReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Sharing state, const StepClosed& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Acknowledging state, const MessageReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Acknowledging state, const StepClosed& event,
                                        Time now) const;
  // Rounds: server_round.cc.
  [[nodiscard]] StatusOr<Transition> On(Ready state, const RoundRequested& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const MessageReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const VectorReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Collecting state, const StepClosed& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Checking state, const MessageReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Checking state, const StepClosed& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Unmasking state, const MessageReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Unmasking state, const StepClosed& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(Revealing state, const SumRevealed& event, Time now) const;
  template <typename State, typename Event>
  [[nodiscard]] StatusOr<Transition> On(const State& state, const Event& event, Time now) const;

  // Another message where one is held: the same again, or a second version as evidence.
  template <typename State>
  [[nodiscard]] static StatusOr<Transition> Again(const MessageReceived& event, const Bytes& held,
                                                  State state);
  [[nodiscard]] static Transition AbandonRound(OpenRound round, Status reason);
  // What `from` signed, as the step wants it.
  [[nodiscard]] StatusOr<ByteSpan> Open(const MessageReceived& event, MessageKind wanted) const;

  const crypto::SigningKey* key_;  // Never null.
  std::shared_ptr<const SessionTerms> terms_;
  std::shared_ptr<const Bytes> manifest_;
  ServerState state_;
  std::vector<Evidence> evidence_;
};

}  // namespace chorale::secagg
