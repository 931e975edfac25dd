#pragma once

#include <cstdint>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/key_schedule.h"
#include "secagg/shamir.h"

// The messages of a round, decoded. As in setup_messages.h: each Decode takes a body and refuses
// (MALFORMED) whatever is outside the bounds of secagg.proto; each Encode is its inverse.
namespace chorale::secagg {

struct RoundTerms {
  crypto::Digest session{};
  std::uint32_t round = 0;
  std::vector<MemberIndex> participants = {};
  crypto::Digest model{};
  crypto::Digest task{};
  crypto::Digest encoding{};
  std::uint64_t vector_bytes = 0;
  Time sent_at = {};
  Time deadline = {};
  friend bool operator==(const RoundTerms&, const RoundTerms&) = default;
};
[[nodiscard]] StatusOr<RoundTerms> DecodeRoundStart(ByteSpan body);
[[nodiscard]] Bytes Encode(const RoundTerms& terms);
[[nodiscard]] RoundBinding BindingOf(const RoundTerms& terms);

struct MaskedInputHeader {
  crypto::Digest session{};
  std::uint32_t round = 0;
  MemberIndex member = 0;
  crypto::Digest context{};
  std::uint64_t vector_bytes = 0;
  crypto::Digest vector{};
  friend bool operator==(const MaskedInputHeader&, const MaskedInputHeader&) = default;
};
[[nodiscard]] StatusOr<MaskedInputHeader> DecodeMaskedInput(ByteSpan body);
[[nodiscard]] Bytes Encode(const MaskedInputHeader& header);

struct SurvivorSet {
  crypto::Digest session{};
  std::uint32_t round = 0;
  std::vector<MemberIndex> survivors = {};
  friend bool operator==(const SurvivorSet&, const SurvivorSet&) = default;
};
[[nodiscard]] StatusOr<SurvivorSet> DecodeSurvivors(ByteSpan body);
[[nodiscard]] Bytes Encode(const SurvivorSet& survivors);

// What a site saw of a round. All honest sites of a round see the same, or it ends.
struct RoundSeen {
  crypto::Digest session{};
  std::uint32_t round = 0;
  crypto::Digest context{};
  crypto::Digest participants{};
  crypto::Digest survivors{};
  friend bool operator==(const RoundSeen&, const RoundSeen&) = default;
};
struct RoundStatement {
  MemberIndex member = 0;
  RoundSeen seen = {};
  friend bool operator==(const RoundStatement&, const RoundStatement&) = default;
};
[[nodiscard]] StatusOr<RoundStatement> DecodeConsistencySignature(ByteSpan body);
[[nodiscard]] Bytes Encode(const RoundStatement& statement);

// A ConsistencySignatures, which is no signed message itself.
struct CollectedStatements {
  crypto::Digest session{};
  std::uint32_t round = 0;
  std::vector<Bytes> messages = {};
};
[[nodiscard]] StatusOr<CollectedStatements> DecodeConsistencySignatures(ByteSpan message);
[[nodiscard]] Bytes EncodeConsistencySignatures(const crypto::Digest& session, std::uint32_t round,
                                                const std::vector<ByteSpan>& messages);

struct DealerShare {
  MemberIndex dealer = 0;
  SecretShare share = {};
};
struct UnmaskingShares {
  crypto::Digest session{};
  std::uint32_t round = 0;
  MemberIndex member = 0;
  crypto::Digest context{};
  std::vector<DealerShare> seeds = {};  // Of survivors, by dealer.
  std::vector<DealerShare> keys = {};   // Of those who dropped out, by dealer.
};
// Refuses (SHARE_INVALID) a share outside of the field, and (CONFLICTING_SETS) a dealer of whom it
// has both kinds.
[[nodiscard]] StatusOr<UnmaskingShares> DecodeUnmasking(ByteSpan body);
[[nodiscard]] Bytes Encode(const UnmaskingShares& shares);

struct PublishedResult {
  crypto::Digest session{};
  std::uint32_t round = 0;
  crypto::Digest survivors{};
  std::uint32_t num_included = 0;
  crypto::Digest sum{};
  std::vector<crypto::Digest> vectors = {};  // [num_included]
  friend bool operator==(const PublishedResult&, const PublishedResult&) = default;
};
[[nodiscard]] StatusOr<PublishedResult> DecodeRoundResult(ByteSpan body);
[[nodiscard]] Bytes Encode(const PublishedResult& result);

}  // namespace chorale::secagg
