#pragma once

#include <google/protobuf/message_lite.h>
#include <google/protobuf/repeated_field.h>
#include <google/protobuf/timestamp.pb.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/key_schedule.h"
#include "secagg/messages.h"
#include "secagg/wire_scan.h"

// Private to the .cc files of this folder: fields of messages to and from types. What is outside of
// its bounds is refused (MALFORMED), with the name of the field.
namespace chorale::secagg {

using MemberList = google::protobuf::RepeatedField<std::uint32_t>;

// Looks at the size and the fields, then decodes.
[[nodiscard]] Status Parse(MessageKind kind, ByteSpan bytes, std::span<const FieldRule> rules,
                           google::protobuf::MessageLite& message);
[[nodiscard]] Bytes Serialize(const google::protobuf::MessageLite& message);

[[nodiscard]] Status Malformed(std::string_view field, std::string_view rule);
[[nodiscard]] Status CheckRange(std::string_view field, std::uint64_t value, std::uint64_t least,
                                std::uint64_t most);

// Exactly 32 bytes.
[[nodiscard]] StatusOr<crypto::Digest> ReadDigest(std::string_view field, const std::string& bytes);
// `least` to `most` pieces of 32 bytes each.
[[nodiscard]] StatusOr<std::vector<crypto::Digest>> ReadDigests(std::string_view field,
                                                                const std::string& bytes,
                                                                std::size_t least,
                                                                std::size_t most);
[[nodiscard]] StatusOr<MemberIndex> ReadMember(std::string_view field, std::uint32_t member);
[[nodiscard]] StatusOr<std::uint32_t> ReadRound(std::string_view field, std::uint32_t round);
// Ascending, at least `least`.
[[nodiscard]] StatusOr<std::vector<MemberIndex>> ReadMembers(std::string_view field,
                                                             const MemberList& members,
                                                             std::size_t least);
// Between the years 1970 and 9999, whole microseconds.
[[nodiscard]] StatusOr<Time> ReadTime(std::string_view field,
                                      const google::protobuf::Timestamp& time);

[[nodiscard]] std::string ToField(ByteSpan bytes);
[[nodiscard]] std::string ToField(const std::vector<crypto::Digest>& digests);
void ToField(const std::vector<MemberIndex>& members, MemberList* field);
void ToField(Time time, google::protobuf::Timestamp* field);

}  // namespace chorale::secagg
