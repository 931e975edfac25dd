#include "secagg/field_codec.h"

#include <algorithm>

#include "secagg/parameters.h"
#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

constexpr std::int64_t kMicrosPerSecond = 1'000'000;
constexpr std::int32_t kNanosPerMicro = 1'000;
constexpr std::int64_t kMaxSeconds = 253'402'300'799;  // The end of the year 9999.

}  // namespace

Status Malformed(std::string_view field, std::string_view rule) {
  return Refused(RefusalCode::kMalformed, std::string(field) + " must " + std::string(rule));
}

Status CheckRange(std::string_view field, std::uint64_t value, std::uint64_t least,
                  std::uint64_t most) {
  if (value >= least && value <= most) return OkStatus();
  return Malformed(field, "be in [" + std::to_string(least) + ", " + std::to_string(most) +
                              "], got " + std::to_string(value));
}

Status Parse(MessageKind kind, ByteSpan bytes, std::span<const FieldRule> rules,
             google::protobuf::MessageLite& message) {
  const std::string_view name = NameOf(kind);
  if (bytes.size() > MaxBytes(kind)) {
    return Malformed(name, "have at most " + std::to_string(MaxBytes(kind)) + " bytes, got " +
                               std::to_string(bytes.size()));
  }
  CHORALE_RETURN_IF_ERROR(CheckFields(name, bytes, rules));
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Malformed(name, "be a protobuf message of its kind");
  }
  return OkStatus();
}

Bytes Serialize(const google::protobuf::MessageLite& message) {
  Bytes bytes(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(bytes.data());
  return bytes;
}

StatusOr<crypto::Digest> ReadDigest(std::string_view field, const std::string& bytes) {
  crypto::Digest digest{};
  if (bytes.size() != digest.size()) {
    return Malformed(field, "have 32 bytes, got " + std::to_string(bytes.size()));
  }
  std::ranges::copy(AsBytes(bytes), digest.begin());
  return digest;
}

StatusOr<std::vector<crypto::Digest>> ReadDigests(std::string_view field, const std::string& bytes,
                                                  std::size_t least, std::size_t most) {
  if (bytes.size() % crypto::kDigestBytes != 0 || bytes.size() < least * crypto::kDigestBytes ||
      bytes.size() > most * crypto::kDigestBytes) {
    return Malformed(field, "have 32 bytes " + std::to_string(least) + " to " +
                                std::to_string(most) + " times, got " +
                                std::to_string(bytes.size()));
  }
  std::vector<crypto::Digest> digests(bytes.size() / crypto::kDigestBytes);
  ByteSpan rest = AsBytes(bytes);
  for (crypto::Digest& digest : digests) {
    std::ranges::copy(rest.first(digest.size()), digest.begin());
    rest = rest.subspan(digest.size());
  }
  return digests;
}

StatusOr<MemberIndex> ReadMember(std::string_view field, std::uint32_t member) {
  CHORALE_RETURN_IF_ERROR(CheckRange(field, member, 0, kMaxMembers - 1));
  return member;
}

StatusOr<std::uint32_t> ReadRound(std::string_view field, std::uint32_t round) {
  CHORALE_RETURN_IF_ERROR(CheckRange(field, round, 1, kMaxRounds));
  return round;
}

StatusOr<std::vector<MemberIndex>> ReadMembers(std::string_view field, const MemberList& members,
                                               std::size_t least) {
  const auto size = static_cast<std::size_t>(members.size());
  if (size < least || size > kMaxMembers) {
    return Malformed(field, "name " + std::to_string(least) + " to " + std::to_string(kMaxMembers) +
                                " members, got " + std::to_string(size));
  }
  for (int i = 0; i < members.size(); ++i) {
    CHORALE_RETURN_IF_ERROR(ReadMember(field, members[i]).status());
    if (i > 0 && members[i] <= members[i - 1]) {
      return Malformed(field, "be in ascending order without repetition");
    }
  }
  return std::vector<MemberIndex>(members.begin(), members.end());
}

StatusOr<Time> ReadTime(std::string_view field, const google::protobuf::Timestamp& time) {
  if (time.seconds() < 0 || time.seconds() > kMaxSeconds || time.nanos() < 0 ||
      time.nanos() >= kMicrosPerSecond * kNanosPerMicro || time.nanos() % kNanosPerMicro != 0) {
    return Malformed(field, "be a time between the years 1970 and 9999 in whole microseconds");
  }
  return Time(Duration(time.seconds() * kMicrosPerSecond + time.nanos() / kNanosPerMicro));
}

std::string ToField(ByteSpan bytes) { return ToString(bytes); }

std::string ToField(const std::vector<crypto::Digest>& digests) {
  std::string field;
  field.reserve(digests.size() * crypto::kDigestBytes);
  for (const crypto::Digest& digest : digests) field += AsText(digest);
  return field;
}

void ToField(const std::vector<MemberIndex>& members, MemberList* field) {
  field->Assign(members.begin(), members.end());
}

void ToField(Time time, google::protobuf::Timestamp* field) {
  const std::int64_t micros = time.time_since_epoch().count();
  field->set_seconds(micros / kMicrosPerSecond);
  field->set_nanos(static_cast<std::int32_t>(micros % kMicrosPerSecond) * kNanosPerMicro);
}

}  // namespace chorale::secagg
