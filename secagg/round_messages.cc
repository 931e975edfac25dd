#include "secagg/round_messages.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "chorale/v1/secagg.pb.h"
#include "secagg/field_codec.h"
#include "secagg/parameters.h"
#include "secagg/refusal.h"
#include "secagg/vector_spec.h"

namespace chorale::secagg {
namespace {

constexpr std::array kStartFields = {FieldRule{1}, FieldRule{2}, FieldRule{3},
                                     FieldRule{4}, FieldRule{5}, FieldRule{6},
                                     FieldRule{7}, FieldRule{8}, FieldRule{9}};
constexpr std::array kInputFields = {FieldRule{1}, FieldRule{2}, FieldRule{3},
                                     FieldRule{4}, FieldRule{5}, FieldRule{6}};
constexpr std::array kSurvivorFields = {FieldRule{1}, FieldRule{2}, FieldRule{3}};
constexpr std::array kStatementFields = {FieldRule{1}, FieldRule{2}, FieldRule{3},
                                         FieldRule{4}, FieldRule{5}, FieldRule{6}};
constexpr std::array kCollectedFields = {FieldRule{1}, FieldRule{2}, FieldRule{3, kMaxMembers}};
constexpr std::array kUnmaskingFields = {FieldRule{1}, FieldRule{2}, FieldRule{3}, FieldRule{4},
                                         FieldRule{5}, FieldRule{6}, FieldRule{7}, FieldRule{8}};
constexpr std::array kResultFields = {FieldRule{1}, FieldRule{2}, FieldRule{3},
                                      FieldRule{4}, FieldRule{5}, FieldRule{6}};

// One share of 40 bytes for each dealer.
StatusOr<std::vector<DealerShare>> ReadShares(std::string_view field,
                                              const std::vector<MemberIndex>& dealers,
                                              const std::string& bytes) {
  if (bytes.size() != dealers.size() * kShareBytes) {
    return Malformed(field, "have 40 bytes for each of " + std::to_string(dealers.size()) +
                                " dealers, got " + std::to_string(bytes.size()));
  }
  std::vector<DealerShare> shares;
  shares.reserve(dealers.size());
  ByteSpan rest = AsBytes(bytes);
  for (const MemberIndex dealer : dealers) {
    CHORALE_ASSIGN_OR_RETURN(SecretShare share, DecodeShare(rest.first(kShareBytes)));
    shares.push_back({dealer, std::move(share)});
    rest = rest.subspan(kShareBytes);
  }
  return shares;
}

void WriteShares(const std::vector<DealerShare>& shares, MemberList* dealers, std::string* bytes) {
  bytes->resize(shares.size() * kShareBytes);
  std::span<std::uint8_t> rest(reinterpret_cast<std::uint8_t*>(bytes->data()), bytes->size());
  for (const DealerShare& share : shares) {
    dealers->Add(share.dealer);
    EncodeShare(share.share, rest.first<kShareBytes>());
    rest = rest.subspan(kShareBytes);
  }
}

}  // namespace

StatusOr<RoundTerms> DecodeRoundStart(ByteSpan body) {
  v1::RoundStart proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kRoundStart, body, kStartFields, proto));
  RoundTerms terms;
  CHORALE_ASSIGN_OR_RETURN(terms.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(terms.round, ReadRound("round", proto.round()));
  CHORALE_ASSIGN_OR_RETURN(terms.participants,
                           ReadMembers("participants", proto.participants(), 1));
  CHORALE_ASSIGN_OR_RETURN(terms.model, ReadDigest("model", proto.model()));
  CHORALE_ASSIGN_OR_RETURN(terms.task, ReadDigest("task", proto.task()));
  CHORALE_ASSIGN_OR_RETURN(terms.encoding, ReadDigest("encoding", proto.encoding()));
  CHORALE_RETURN_IF_ERROR(
      CheckRange("vector_bytes", proto.vector_bytes(), 1, VectorSpec::kMaxBytes));
  terms.vector_bytes = proto.vector_bytes();
  CHORALE_ASSIGN_OR_RETURN(terms.sent_at, ReadTime("sent_at", proto.sent_at()));
  CHORALE_ASSIGN_OR_RETURN(terms.deadline, ReadTime("deadline", proto.deadline()));
  return terms;
}

Bytes Encode(const RoundTerms& terms) {
  v1::RoundStart proto;
  proto.set_session(ToField(terms.session));
  proto.set_round(terms.round);
  ToField(terms.participants, proto.mutable_participants());
  proto.set_model(ToField(terms.model));
  proto.set_task(ToField(terms.task));
  proto.set_encoding(ToField(terms.encoding));
  proto.set_vector_bytes(terms.vector_bytes);
  ToField(terms.sent_at, proto.mutable_sent_at());
  ToField(terms.deadline, proto.mutable_deadline());
  return Serialize(proto);
}

RoundBinding BindingOf(const RoundTerms& terms) {
  return {.session_id = terms.session,
          .round = terms.round,
          .model = terms.model,
          .task = terms.task,
          .encoding = terms.encoding,
          .participants = ParticipantsDigest(terms.participants)};
}

StatusOr<MaskedInputHeader> DecodeMaskedInput(ByteSpan body) {
  v1::MaskedInput proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kMaskedInput, body, kInputFields, proto));
  MaskedInputHeader header;
  CHORALE_ASSIGN_OR_RETURN(header.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(header.round, ReadRound("round", proto.round()));
  CHORALE_ASSIGN_OR_RETURN(header.member, ReadMember("member", proto.member()));
  CHORALE_ASSIGN_OR_RETURN(header.context, ReadDigest("context", proto.context()));
  CHORALE_RETURN_IF_ERROR(
      CheckRange("vector_bytes", proto.vector_bytes(), 1, VectorSpec::kMaxBytes));
  header.vector_bytes = proto.vector_bytes();
  CHORALE_ASSIGN_OR_RETURN(header.vector, ReadDigest("vector", proto.vector()));
  return header;
}

Bytes Encode(const MaskedInputHeader& header) {
  v1::MaskedInput proto;
  proto.set_session(ToField(header.session));
  proto.set_round(header.round);
  proto.set_member(header.member);
  proto.set_context(ToField(header.context));
  proto.set_vector_bytes(header.vector_bytes);
  proto.set_vector(ToField(header.vector));
  return Serialize(proto);
}

StatusOr<SurvivorSet> DecodeSurvivors(ByteSpan body) {
  v1::Survivors proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kSurvivors, body, kSurvivorFields, proto));
  SurvivorSet set;
  CHORALE_ASSIGN_OR_RETURN(set.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(set.round, ReadRound("round", proto.round()));
  CHORALE_ASSIGN_OR_RETURN(set.survivors, ReadMembers("survivors", proto.survivors(), 1));
  return set;
}

Bytes Encode(const SurvivorSet& survivors) {
  v1::Survivors proto;
  proto.set_session(ToField(survivors.session));
  proto.set_round(survivors.round);
  ToField(survivors.survivors, proto.mutable_survivors());
  return Serialize(proto);
}

StatusOr<RoundStatement> DecodeConsistencySignature(ByteSpan body) {
  v1::ConsistencySignature proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kConsistencySignature, body, kStatementFields, proto));
  RoundStatement statement;
  CHORALE_ASSIGN_OR_RETURN(statement.seen.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(statement.seen.round, ReadRound("round", proto.round()));
  CHORALE_ASSIGN_OR_RETURN(statement.member, ReadMember("member", proto.member()));
  CHORALE_ASSIGN_OR_RETURN(statement.seen.context, ReadDigest("context", proto.context()));
  CHORALE_ASSIGN_OR_RETURN(statement.seen.participants,
                           ReadDigest("participants", proto.participants()));
  CHORALE_ASSIGN_OR_RETURN(statement.seen.survivors, ReadDigest("survivors", proto.survivors()));
  return statement;
}

Bytes Encode(const RoundStatement& statement) {
  v1::ConsistencySignature proto;
  proto.set_session(ToField(statement.seen.session));
  proto.set_round(statement.seen.round);
  proto.set_member(statement.member);
  proto.set_context(ToField(statement.seen.context));
  proto.set_participants(ToField(statement.seen.participants));
  proto.set_survivors(ToField(statement.seen.survivors));
  return Serialize(proto);
}

StatusOr<CollectedStatements> DecodeConsistencySignatures(ByteSpan message) {
  v1::ConsistencySignatures proto;
  CHORALE_RETURN_IF_ERROR(
      Parse(MessageKind::kConsistencySignatures, message, kCollectedFields, proto));
  CollectedStatements collected;
  CHORALE_ASSIGN_OR_RETURN(collected.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(collected.round, ReadRound("round", proto.round()));
  for (const std::string& one : proto.messages()) {
    const ByteSpan bytes = AsBytes(one);
    collected.messages.emplace_back(bytes.begin(), bytes.end());
  }
  return collected;
}

Bytes EncodeConsistencySignatures(const crypto::Digest& session, std::uint32_t round,
                                  const std::vector<ByteSpan>& messages) {
  v1::ConsistencySignatures proto;
  proto.set_session(ToField(session));
  proto.set_round(round);
  for (const ByteSpan message : messages) proto.add_messages(message.data(), message.size());
  return Serialize(proto);
}

StatusOr<UnmaskingShares> DecodeUnmasking(ByteSpan body) {
  v1::Unmasking proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kUnmasking, body, kUnmaskingFields, proto));
  UnmaskingShares shares;
  CHORALE_ASSIGN_OR_RETURN(shares.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(shares.round, ReadRound("round", proto.round()));
  CHORALE_ASSIGN_OR_RETURN(shares.member, ReadMember("member", proto.member()));
  CHORALE_ASSIGN_OR_RETURN(shares.context, ReadDigest("context", proto.context()));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<MemberIndex> survivors,
                           ReadMembers("survivors", proto.survivors(), 0));
  CHORALE_ASSIGN_OR_RETURN(const std::vector<MemberIndex> dropped,
                           ReadMembers("dropped", proto.dropped(), 0));
  for (const MemberIndex dealer : dropped) {
    if (std::ranges::binary_search(survivors, dealer)) {
      return Refused(RefusalCode::kConflictingSets,
                     "member " + std::to_string(dealer) + " is a survivor and dropped out");
    }
  }
  CHORALE_ASSIGN_OR_RETURN(shares.seeds, ReadShares("seed_shares", survivors, proto.seed_shares()));
  CHORALE_ASSIGN_OR_RETURN(shares.keys, ReadShares("key_shares", dropped, proto.key_shares()));
  return shares;
}

Bytes Encode(const UnmaskingShares& shares) {
  v1::Unmasking proto;
  proto.set_session(ToField(shares.session));
  proto.set_round(shares.round);
  proto.set_member(shares.member);
  proto.set_context(ToField(shares.context));
  WriteShares(shares.seeds, proto.mutable_survivors(), proto.mutable_seed_shares());
  WriteShares(shares.keys, proto.mutable_dropped(), proto.mutable_key_shares());
  return Serialize(proto);
}

StatusOr<PublishedResult> DecodeRoundResult(ByteSpan body) {
  v1::RoundResult proto;
  CHORALE_RETURN_IF_ERROR(Parse(MessageKind::kRoundResult, body, kResultFields, proto));
  PublishedResult result;
  CHORALE_ASSIGN_OR_RETURN(result.session, ReadDigest("session", proto.session()));
  CHORALE_ASSIGN_OR_RETURN(result.round, ReadRound("round", proto.round()));
  CHORALE_ASSIGN_OR_RETURN(result.survivors, ReadDigest("survivors", proto.survivors()));
  CHORALE_RETURN_IF_ERROR(CheckRange("num_included", proto.num_included(), 1, kMaxMembers));
  result.num_included = proto.num_included();
  CHORALE_ASSIGN_OR_RETURN(result.sum, ReadDigest("sum", proto.sum()));
  CHORALE_ASSIGN_OR_RETURN(result.vectors, ReadDigests("vectors", proto.vectors(),
                                                       result.num_included, result.num_included));
  return result;
}

Bytes Encode(const PublishedResult& result) {
  v1::RoundResult proto;
  proto.set_session(ToField(result.session));
  proto.set_round(result.round);
  proto.set_survivors(ToField(result.survivors));
  proto.set_num_included(result.num_included);
  proto.set_sum(ToField(result.sum));
  proto.set_vectors(ToField(result.vectors));
  return Serialize(proto);
}

}  // namespace chorale::secagg
