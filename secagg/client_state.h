#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/round_messages.h"
#include "secagg/session_terms.h"
#include "secagg/session_view.h"

// Where a site is in a session. Messages are kept as sent, since a repeated event gets the same
// bytes; secrets are elsewhere (client_secrets.h). What is shared by pointer never changes and is
// shared by one state and the next.
namespace chorale::secagg {

struct AwaitingManifest {};

// What the site agreed to when it accepted the manifest.
struct Membership {
  std::shared_ptr<const SessionTerms> terms = {};
  MemberIndex self = 0;
  Time expires_at = {};                              // By this site's clock.
  std::shared_ptr<const Bytes> manifest = {};        // SignedMessage, as received.
  std::shared_ptr<const Bytes> advertise_keys = {};  // SignedMessage, as sent.
};
struct AwaitingKeys {
  Membership membership = {};
};
struct AwaitingShares {
  Membership membership = {};
  std::shared_ptr<const SessionView> view = {};
  crypto::Digest directory{};                    // Of the KeyDirectory.
  std::shared_ptr<const Bytes> share_keys = {};  // SignedMessage, as sent.
};

// ---------------------------------------------------------------------------- rounds of a session

struct BetweenRounds {};
// What every state of a round knows.
struct RoundInHand {
  RoundTerms terms = {};
  RoundBinding binding = {};
  crypto::Digest context{};
  Time deadline = {};  // By this site's clock.
  Bytes start = {};    // SignedMessage(RoundStart), as received.
};
// The masks are out; the masked vector is being made.
struct Masking {
  RoundInHand round = {};
};
struct AwaitingSurvivors {
  RoundInHand round = {};
  crypto::Digest vector{};
  Bytes masked_input = {};  // SignedMessage, as sent.
};
// Signed one version of the round.
struct AwaitingSignatures {
  AwaitingSurvivors input = {};
  std::vector<MemberIndex> survivors = {};
  RoundSeen seen = {};
  Bytes survivors_message = {};  // SignedMessage(Survivors), as received.
  Bytes statement = {};          // SignedMessage(ConsistencySignature), as sent.
};
// Gave its shares away; the secrets of the round are erased.
struct Unmasked {
  AwaitingSignatures consent = {};
  crypto::Digest signatures{};  // Of the ConsistencySignatures that was answered.
  Bytes unmasking = {};         // SignedMessage, as sent.
};
using ClientRound =
    std::variant<BetweenRounds, Masking, AwaitingSurvivors, AwaitingSignatures, Unmasked>;

// The parts that a state of a round has; null where it has none.
[[nodiscard]] const RoundInHand* RoundOf(const ClientRound& round);
[[nodiscard]] const AwaitingSurvivors* InputOf(const ClientRound& round);
[[nodiscard]] const AwaitingSignatures* ConsentOf(const ClientRound& round);

struct InSession {
  Membership membership = {};
  std::shared_ptr<const SessionView> view = {};
  crypto::Digest delivery{};                     // Of the ShareDelivery.
  std::shared_ptr<const Bytes> shares_ack = {};  // SignedMessage, as sent.
  std::uint32_t last_round = 0;                  // The highest that was started or ended.
  ClientRound round = {};
};
// Over: expired, or the coordinator contradicted itself. Nothing is left but the reason.
struct Closed {
  Status reason = {};
};
using ClientState = std::variant<AwaitingManifest, AwaitingKeys, AwaitingShares, InSession, Closed>;

}  // namespace chorale::secagg
