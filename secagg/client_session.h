#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/crypto/signature.h"
#include "core/ids.h"
#include "core/random.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/client_secrets.h"
#include "secagg/client_state.h"
#include "secagg/differencing_guard.h"
#include "secagg/mask_terms.h"
#include "secagg/members.h"
#include "secagg/messages.h"
#include "secagg/parameters.h"
#include "secagg/refusal.h"

namespace chorale::secagg {

// ---------------------------------------------------------------------------- events

struct ManifestReceived {
  Bytes message = {};  // SignedMessage(SessionManifest).
};
struct KeysReceived {
  Bytes message = {};  // KeyDirectory.
};
struct SharesReceived {
  Bytes message = {};  // ShareDelivery.
};
// A round is opened. The digests and the size are what the site itself computed, from the model
// that it loaded, the task that it accepted and the vector that it is going to send.
struct RoundStarted {
  Bytes message = {};  // SignedMessage(RoundStart).
  crypto::Digest model{};
  crypto::Digest task{};
  crypto::Digest encoding{};
  std::uint64_t vector_bytes = 0;
};
// The masks of MaskInput were applied; these bytes and no others leave the site in this round.
struct InputMasked {
  std::uint32_t round = 0;
  crypto::Digest vector{};  // SHA-256 of the masked bytes.
};
struct SurvivorsReceived {
  Bytes message = {};  // SignedMessage(Survivors).
};
struct SignaturesReceived {
  Bytes message = {};  // ConsistencySignatures.
};
struct ResultReceived {
  Bytes message = {};  // SignedMessage(RoundResult).
  std::optional<crypto::Digest> sum =
      {};  // SHA-256 of the sum's bytes, where the site was given them.
};
// The site or the coordinator gave the round up. It is never unmasked.
struct RoundEnded {
  std::uint32_t round = 0;
};
struct TimePassed {};  // Ends what is past its deadline.
using ClientEvent =
    std::variant<ManifestReceived, KeysReceived, SharesReceived, RoundStarted, InputMasked,
                 SurvivorsReceived, SignaturesReceived, ResultReceived, RoundEnded, TimePassed>;

// ---------------------------------------------------------------------------- actions

// To the coordinator: AdvertiseKeys, ShareKeys, ShareKeysAck, MaskedInput (the vector follows),
// ConsistencySignature or Unmasking. May be repeated: an event that comes again gives the same
// bytes.
struct Send {
  MessageKind kind;
  Bytes message = {};
};
// Encode the site's numbers, apply these masks and answer with InputMasked. Comes once a round: a
// site that cannot answer gives the round up.
struct MaskInput {
  std::uint32_t round;
  std::vector<OwnedMaskTerm> terms = {};
};
// The round, or without one the session, is over for this site, since the coordinator or a member
// contradicted itself. The proof is in evidence().
struct Withdraw {
  std::optional<std::uint32_t> round = {};
  Status reason = {};
};
using ClientAction = std::variant<Send, MaskInput, Withdraw>;

// A list of one: actions own secrets, which an initialiser list would have to copy.
[[nodiscard]] inline std::vector<ClientAction> OneAction(ClientAction action) {
  std::vector<ClientAction> actions = {};
  actions.push_back(std::move(action));
  return actions;
}

// ---------------------------------------------------------------------------- options

struct ClientPolicy {
  GroupPolicy group = {};
  std::vector<Suite> suites = {Suite::kAes128Ctr, Suite::kAes256Ctr};
  Duration max_lifetime = std::chrono::hours(24);      // Of a session.
  Duration max_clock_skew = std::chrono::minutes(10);  // Between the coordinator's clock and this.
};

struct ClientOptions {
  SiteId site = {};
  std::string federation = {};
  JobId job = {};                         // The session must be of this job,
  crypto::Digest job_digest{};            // which the site knows by this digest.
  const crypto::SigningKey& signing_key;  // The site's. Must outlive the session.
  crypto::SigningPublicKey coordinator_key{};
  MemberVerifier& verifier;  // Must outlive the session.
  RandomSource& random;      // crypto::SecureRandom outside of tests. Must outlive the session.
  ClientPolicy policy = {};
  DifferencingGuard guard = DifferencingGuard();
  std::vector<crypto::Digest> used_nonces = {};  // Of earlier sessions of this site.
};

// A site's side of one session, from its manifest on: a state machine without clock, thread,
// network, disk or log. Its secrets are in memory only, so that a session ends with the process.
//
//   ManifestReceived -> Send AdvertiseKeys       SurvivorsReceived  -> Send ConsistencySignature
//   KeysReceived     -> Send ShareKeys           SignaturesReceived -> Send Unmasking
//   SharesReceived   -> Send ShareKeysAck        ResultReceived, RoundEnded -> (erased)
//   RoundStarted     -> MaskInput; InputMasked -> Send MaskedInput
//
// Rounds count up; a higher one ends the one before. Not thread-safe.
class ClientSession {
 public:
  // INVALID_ARGUMENT: a site or federation without a valid name, a policy that allows nothing.
  [[nodiscard]] static StatusOr<ClientSession> Create(ClientOptions options);

  // Applies one event that happened at `now`. Returns the actions to carry out, in order. On error
  // nothing has changed, and the event's message is to be treated as if it had never come:
  //   a refusal            RefusalOf says which; tell the coordinator and write it down
  //   FAILED_PRECONDITION  without one: the event has no meaning in this state
  [[nodiscard]] StatusOr<std::vector<ClientAction>> Step(const ClientEvent& event, Time now);

  [[nodiscard]] const ClientState& state() const { return state_; }
  // Null before the manifest was accepted, and when the session is over.
  [[nodiscard]] const Membership* membership() const;
  // Null before the keys were received, and when the session is over.
  [[nodiscard]] const SessionView* session() const;
  // The round under way, from RoundStarted on; null between rounds.
  [[nodiscard]] const RoundInHand* round() const;

  // What the coordinator and members said twice, in the order of discovery.
  [[nodiscard]] const std::vector<Evidence>& evidence() const { return evidence_; }
  // To be kept for the site's next session.
  [[nodiscard]] const DifferencingGuard& guard() const { return guard_; }
  // A sum that the site reveals in another session under way.
  void Remember(RevealedSum sum) { guard_.Record(std::move(sum)); }

  ClientSession(ClientSession&&) noexcept = default;
  ClientSession& operator=(ClientSession&&) noexcept = default;

 private:
  // What a step changes; applied in one place.
  struct Transition {
    ClientState next;
    std::vector<ClientAction> actions = {};
    std::optional<ClientSecrets> drawn = {};
    std::optional<DealtSecrets> dealt = {};
    std::optional<OpenedShares> opened = {};
    std::optional<std::uint32_t> erase_own_keys = {};  // Of this round and all before it.
    std::optional<std::uint32_t> erase_round = {};     // This one and all before it.
    bool erase_all = false;
    std::optional<RevealedSum> revealed = {};
    std::vector<Evidence> evidence = {};
  };

  explicit ClientSession(ClientOptions options);

  // Set-up: client_setup.cc.
  [[nodiscard]] StatusOr<Transition> On(AwaitingManifest state, const ManifestReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(AwaitingKeys state, const KeysReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(AwaitingShares state, const KeysReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(AwaitingShares state, const SharesReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(InSession state, const SharesReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<SessionTerms> AcceptManifest(ByteSpan message, Time now) const;
  [[nodiscard]] StatusOr<Transition> SecondManifest(const Membership& membership, ClientState state,
                                                    const ManifestReceived& event) const;

  // Rounds: client_round.cc and client_unmasking.cc.
  [[nodiscard]] StatusOr<Transition> On(InSession state, const RoundStarted& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(InSession state, const InputMasked& event, Time now) const;
  [[nodiscard]] StatusOr<Transition> On(InSession state, const SurvivorsReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(InSession state, const SignaturesReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(InSession state, const ResultReceived& event,
                                        Time now) const;
  [[nodiscard]] StatusOr<Transition> On(InSession state, const RoundEnded& event, Time now) const;
  [[nodiscard]] Status CheckStart(const InSession& state, const RoundTerms& terms,
                                  const RoundStarted& event, Time now) const;
  [[nodiscard]] StatusOr<std::vector<OwnedMaskTerm>> MasksOf(const InSession& state,
                                                             const RoundInHand& round) const;
  // Ends the round in hand and keeps the proof.
  [[nodiscard]] static Transition Equivocated(const InSession& state, std::string what, Bytes first,
                                              Bytes second);
  [[nodiscard]] Bytes Unmask(const InSession& state, const AwaitingSignatures& consent) const;

  [[nodiscard]] StatusOr<Transition> Expire(const ClientState& state, Time now) const;
  // Every pair without a handler of its own.
  template <typename State, typename Event>
  [[nodiscard]] StatusOr<Transition> On(const State& state, const Event& event, Time now) const;

  std::unique_ptr<const ClientOptions> options_;
  ClientState state_;
  ClientSecrets secrets_;
  DifferencingGuard guard_;
  std::vector<Evidence> evidence_;
};

}  // namespace chorale::secagg
