#include "privacy/ledger/entry.h"

#include <array>
#include <charconv>
#include <utility>

#include "chorale/v1/privacy.pb.h"
#include "core/utf8.h"
#include "privacy/ledger/event_codec.h"

namespace chorale::privacy {
namespace {

constexpr std::size_t kMaxParts = 16;
constexpr std::uint64_t kMaxSteps = 1'000'000'000;
constexpr std::size_t kMaxTextBytes = 256;
// Years 1 to 9999, as timestamps allow.
constexpr std::int64_t kMinSeconds = -62'135'596'800;
constexpr std::int64_t kMaxSeconds = 253'402'300'799;

Status CheckText(std::string_view name, std::string_view text) {
  if (!text.empty() && text.size() <= kMaxTextBytes && IsValidUtf8(text)) return OkStatus();
  return InvalidArgument(std::string(name) + " must be 1 to 256 bytes of UTF-8, got " +
                         std::to_string(text.size()) + " bytes");
}

Status CheckSteps(std::uint64_t least, std::uint64_t steps) {
  if (steps >= least && steps <= kMaxSteps) return OkStatus();
  return InvalidArgument("steps must be in [" + std::to_string(least) + ", 1000000000], got " +
                         std::to_string(steps));
}

struct Encoder {
  v1::LedgerEntry& out;

  void operator()(const Reserved& r) const {
    v1::LedgerReserve& message = *out.mutable_reserve();
    message.set_dataset(r.dataset.value());
    message.set_researcher(r.researcher.value());
    message.set_job_id(r.job_id.value());
    message.set_job_digest(ToString(r.job_digest));
    message.set_unit(Encode(r.unit));
    message.set_relation(Encode(r.relation));
    for (const Part& part : r.parts) {
      v1::LedgerPart& added = *message.add_parts();
      *added.mutable_step() = EncodeEvent(part.step);
      added.set_steps(part.steps);
    }
    message.set_dataset_order(r.dataset_order);
    message.set_researcher_order(r.researcher_order);
  }
  void operator()(const Started& s) const {
    v1::LedgerStart& message = *out.mutable_start();
    message.set_reservation(s.reservation.value());
    message.set_step_key(s.step_key);
    message.set_content_digest(ToString(s.content));
    message.mutable_steps()->Add(s.steps.begin(), s.steps.end());
  }
  void operator()(const Committed& c) const { out.mutable_commit()->set_step_key(c.step_key); }
  void operator()(const Released& r) const {
    out.mutable_release()->set_reservation(r.reservation.value());
  }
};

StatusOr<Reserved> DecodeReserve(const v1::LedgerReserve& message) {
  Reserved reserved{.dataset = DatasetId(message.dataset()),
                    .researcher = ResearcherId(message.researcher()),
                    .job_id = JobId(message.job_id()),
                    .job_digest = {},
                    .parts = {},
                    .dataset_order = message.dataset_order(),
                    .researcher_order = message.researcher_order()};
  CHORALE_ASSIGN_OR_RETURN(reserved.job_digest,
                           crypto::DigestFromBytes(AsBytes(message.job_digest())));
  CHORALE_ASSIGN_OR_RETURN(reserved.unit, Decode(message.unit()));
  CHORALE_ASSIGN_OR_RETURN(reserved.relation, Decode(message.relation()));
  for (const v1::LedgerPart& part : message.parts()) {
    CHORALE_ASSIGN_OR_RETURN(Event step, DecodeEvent(part.step()));
    reserved.parts.push_back({.step = std::move(step), .steps = part.steps()});
  }
  CHORALE_RETURN_IF_ERROR(Validate(reserved));
  if (!(reserved.dataset_order > 1) || !(reserved.researcher_order > 1)) {
    return InvalidArgument("the orders must be above 1");
  }
  return reserved;
}

StatusOr<Started> DecodeStart(const v1::LedgerStart& message) {
  Started started{.reservation = ReservationId(message.reservation()),
                  .step_key = message.step_key(),
                  .content = {},
                  .steps = {message.steps().begin(), message.steps().end()}};
  CHORALE_RETURN_IF_ERROR(ValidateStepKey(started.step_key));
  CHORALE_ASSIGN_OR_RETURN(started.content,
                           crypto::DigestFromBytes(AsBytes(message.content_digest())));
  for (const std::uint64_t steps : started.steps) CHORALE_RETURN_IF_ERROR(CheckSteps(0, steps));
  return started;
}

StatusOr<decltype(Entry::kind)> DecodeKind(const v1::LedgerEntry& message) {
  switch (message.kind_case()) {
    case v1::LedgerEntry::kReserve:
      return DecodeReserve(message.reserve());
    case v1::LedgerEntry::kStart:
      return DecodeStart(message.start());
    case v1::LedgerEntry::kCommit:
      CHORALE_RETURN_IF_ERROR(ValidateStepKey(message.commit().step_key()));
      return Committed{message.commit().step_key()};
    case v1::LedgerEntry::kRelease:
      return Released{ReservationId(message.release().reservation())};
    case v1::LedgerEntry::KIND_NOT_SET:
      break;
  }
  return InvalidArgument("an entry must have a kind that this version knows");
}

}  // namespace

Event EventOf(const Event& step, std::uint64_t steps) {
  return {.kind = Composed{{step}}, .count = steps};
}

Status Validate(const Reserved& reserved) {
  CHORALE_RETURN_IF_ERROR(ValidateName("dataset", reserved.dataset.value()));
  CHORALE_RETURN_IF_ERROR(CheckText("researcher", reserved.researcher.value()));
  CHORALE_RETURN_IF_ERROR(CheckText("job id", reserved.job_id.value()));
  if (reserved.parts.empty() || reserved.parts.size() > kMaxParts) {
    return InvalidArgument("a reservation must have 1 to 16 parts, got " +
                           std::to_string(reserved.parts.size()));
  }
  for (const Part& part : reserved.parts) {
    CHORALE_RETURN_IF_ERROR(CheckSteps(1, part.steps));
    CHORALE_RETURN_IF_ERROR(Validate(EventOf(part.step, part.steps)));
  }
  return OkStatus();
}

Status ValidateStepKey(std::string_view step_key) { return CheckText("step key", step_key); }

Bytes EncodeEntry(const Entry& entry) {
  v1::LedgerEntry message;
  const auto since_epoch = entry.time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  message.mutable_time()->set_seconds(seconds.count());
  message.mutable_time()->set_nanos(
      static_cast<std::int32_t>(std::chrono::nanoseconds(since_epoch - seconds).count()));
  std::visit(Encoder{message}, entry.kind);
  const std::string bytes = message.SerializeAsString();
  return {bytes.begin(), bytes.end()};
}

StatusOr<Entry> DecodeEntry(ByteSpan bytes) {
  v1::LedgerEntry message;
  if (bytes.size() > (1u << 30) ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidArgument("the bytes are no entry");
  }
  const std::int64_t seconds = message.time().seconds();
  const std::int32_t nanos = message.time().nanos();
  if (seconds < kMinSeconds || seconds > kMaxSeconds || nanos < 0 || nanos > 999'999'999) {
    return InvalidArgument("the entry's time is none");
  }
  CHORALE_ASSIGN_OR_RETURN(auto kind, DecodeKind(message));
  return Entry{
      .time = Time(std::chrono::seconds(seconds) + std::chrono::microseconds(nanos / 1000)),
      .kind = std::move(kind)};
}

std::string EncodeHead(const LedgerHead& head) {
  return std::to_string(head.seq) + " " + ToHex(head.digest) + "\n";
}

std::optional<LedgerHead> DecodeHead(std::string_view text) {
  LedgerHead head;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, head.seq);
  if (error != std::errc() || end - rest < 2 || *rest != ' ' || text.back() != '\n') {
    return std::nullopt;
  }
  const StatusOr<Bytes> bytes =
      FromHex(std::string_view(rest + 1, static_cast<std::size_t>(end - rest - 2)));
  if (!bytes.ok()) return std::nullopt;
  const StatusOr<crypto::Digest> digest = crypto::DigestFromBytes(*bytes);
  if (!digest.ok()) return std::nullopt;
  head.digest = *digest;
  return head;
}

LedgerHead Extend(const LedgerHead& before, ByteSpan entry) {
  constexpr std::string_view kDomain("chorale.v1.LedgerEntry\0", 23);
  LedgerHead head{.seq = before.seq + 1};
  std::array<std::uint8_t, 8> seq{};
  for (std::size_t i = 0; i < seq.size(); ++i) {
    seq[i] = static_cast<std::uint8_t>(head.seq >> (8 * (seq.size() - 1 - i)));
  }
  crypto::Sha256Hasher hasher;
  hasher.Update(AsBytes(kDomain));
  hasher.Update(seq);
  hasher.Update(before.digest);
  hasher.Update(entry);
  head.digest = std::move(hasher).Finish();
  return head;
}

}  // namespace chorale::privacy
