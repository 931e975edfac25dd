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
#include "secagg/session_view.h"
#include "secagg/setup_messages.h"

// Where a coordinator is in a session. What is shared by pointer never changes and is shared by one
// state and the next, so that a step costs a copy of pointers and not of messages.
namespace chorale::secagg {

// A signed message and what it said.
template <typename Content>
struct Received {
  Bytes message = {};  // SignedMessage.
  Content content;
};
// One place for each member; null: has not answered.
template <typename Content>
using Answers = std::vector<std::shared_ptr<const Received<Content>>>;

struct Advertising {
  Answers<AdvertisedKeys> keys = {};
};
struct Sharing {
  std::shared_ptr<const SessionView> view = {};
  std::shared_ptr<const Bytes> directory = {};  // KeyDirectory, as sent.
  Answers<DealtShares> shares = {};
};
// Commitments to the self-mask seeds, [num_rounds] for each member; empty: dealt no shares.
using Commitments = std::vector<std::vector<crypto::Digest>>;
struct Acknowledging {
  std::shared_ptr<const SessionView> view = {};
  std::shared_ptr<const Commitments> commitments = {};
  Answers<DealtShares> shares = {};
  Answers<AcknowledgedShares> acks = {};
};

// What stays true from round to round.
struct ReadySession {
  std::shared_ptr<const SessionView> view = {};
  std::shared_ptr<const Commitments> commitments = {};
  std::vector<MemberIndex> eligible = {};  // Ascending.
  std::uint32_t last_round = 0;
};
struct Ready {
  ReadySession session = {};
};
// What every step of a round knows.
struct OpenRound {
  ReadySession session = {};
  std::shared_ptr<const RoundTerms> terms = {};
  std::shared_ptr<const Bytes> start = {};  // SignedMessage(RoundStart), as sent.
  crypto::Digest context{};
};
struct Collecting {
  OpenRound round = {};
  Answers<MaskedInputHeader> inputs = {};
  std::vector<bool> arrived = {};  // [num_members]: the vector is here.
};
struct Checking {
  OpenRound round = {};
  std::vector<MemberIndex> survivors = {};
  std::vector<crypto::Digest> vectors = {};          // [num_survivors]
  std::shared_ptr<const Bytes> survivors_sent = {};  // SignedMessage(Survivors).
  RoundSeen seen = {};
  Answers<RoundStatement> statements = {};
};
struct Unmasking {
  OpenRound round = {};
  std::vector<MemberIndex> survivors = {};
  std::vector<crypto::Digest> vectors = {};
  std::vector<MemberIndex> signers = {};              // Who is asked.
  std::shared_ptr<const Bytes> signatures_sent = {};  // ConsistencySignatures.
  Answers<UnmaskingShares> responses = {};
};
struct Revealing {
  OpenRound round = {};
  std::vector<MemberIndex> survivors = {};
  std::vector<crypto::Digest> vectors = {};
};
// The session cannot go on.
struct Failed {
  Status reason = {};
};
using ServerState = std::variant<Advertising, Sharing, Acknowledging, Ready, Collecting, Checking,
                                 Unmasking, Revealing, Failed>;

}  // namespace chorale::secagg
