#include "tests/secagg/federation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "core/crypto/digest.h"
#include "secagg/mask_stream.h"

namespace chorale::secagg {
namespace {

constexpr Time kStart{std::chrono::hours(24 * 365 * 55)};
constexpr Duration kRoundTime = std::chrono::minutes(30);

crypto::SigningKey KeyFrom(std::uint64_t seed) {
  SeededRandom random(seed);
  Bytes bytes(32);
  random.Fill(bytes);
  return *crypto::SigningKey::FromSeed(bytes);
}

SiteId SiteNamed(MemberIndex member) {
  std::string digits = std::to_string(member);
  return SiteId("site-" + std::string(4 - digits.size(), '0') + digits);
}

}  // namespace

crypto::Digest DigestOf(std::uint8_t byte) {
  crypto::Digest digest;
  digest.fill(byte);
  return digest;
}

Bytes OnlySend(const StatusOr<std::vector<ClientAction>>& actions) {
  if (!actions.ok()) {
    ADD_FAILURE() << actions.status();
    return {};
  }
  for (const ClientAction& action : *actions) {
    if (const auto* send = std::get_if<Send>(&action)) return send->message;
  }
  ADD_FAILURE() << "nothing was sent";
  return {};
}

std::string PlainVerifier::CertificateOf(const SiteId& site, const crypto::SigningPublicKey& key) {
  return site.value() + ":" + ToHex(key);
}

StatusOr<std::vector<Member>> PlainVerifier::Verify(const v1::SessionManifest& manifest, Time) {
  std::vector<Member> members;
  for (const v1::ManifestMember& member : manifest.members()) {
    const SiteId site(member.site());
    const auto known = keys_.find(site);
    if (known == keys_.end() || member.certificate() != CertificateOf(site, known->second)) {
      return Refused(RefusalCode::kUnknownCertificate,
                     "the authority does not vouch for " + site.value());
    }
    members.push_back({site, known->second, crypto::Sha256(AsBytes(member.certificate()))});
  }
  return members;
}

Status PlainVerifier::VerifyStanding(const Member& member, Time) {
  if (std::ranges::find(revoked_, member.site) == revoked_.end()) return OkStatus();
  return Refused(RefusalCode::kUnknownCertificate, "site " + member.site.value() + " was revoked");
}

Federation::Federation(FederationOptions options)
    : now(kStart),
      model(DigestOf(0x11)),
      task(DigestOf(0x22)),
      encoding(DigestOf(0x33)),
      options_(std::move(options)),
      coordinator_key_(KeyFrom(options_.seed * 1000003)) {
  spec_ = *VectorSpec::Create(options_.sections);
  for (MemberIndex i = 0; i < options_.num_members; ++i) {
    keys_.push_back(KeyFrom(options_.seed * 1000003 + 1 + i));
    verifier_.Admit(SiteNamed(i), keys_[i].public_key());
  }
  sites_.resize(options_.num_members);
  random_.resize(options_.num_members);
  for (MemberIndex i = 0; i < options_.num_members; ++i) {
    random_[i] = std::make_unique<RecordingRandom>(options_.seed * 7919 + i);
    Restart(i);
    SeededRandom numbers(options_.seed * 104729 + i);
    inputs_.emplace_back(spec_->size_bytes());
    numbers.Fill(inputs_.back());
  }
  masked_.resize(options_.num_members);
  auto server = ServerSession::Create(ServerOptionsNow(), now);
  if (!server.ok()) {
    ADD_FAILURE() << server.status();
    return;
  }
  server_ = std::make_unique<ServerSession>(*std::move(server));
  actions_ = server_->OutstandingActions();
}

ServerOptions Federation::ServerOptionsNow() const {
  ServerOptions server{.federation = "north",
                       .job = JobId("job-1"),
                       .job_digest = DigestOf(0x44),
                       .members = {},
                       .roster = "roster",
                       .group = options_.group.value_or(DefaultGroup(options_.num_members)),
                       .num_rounds = options_.num_rounds,
                       .suite = options_.suite,
                       .nonce = DigestOf(options_.nonce),
                       .signing_key = coordinator_key_};
  for (MemberIndex i = 0; i < options_.num_members; ++i) {
    const std::string certificate =
        PlainVerifier::CertificateOf(SiteNamed(i), keys_[i].public_key());
    server.members.push_back(
        {.member = {SiteNamed(i), keys_[i].public_key(), crypto::Sha256(AsBytes(certificate))},
         .certificate = certificate});
  }
  return server;
}

ClientOptions Federation::OptionsOf(MemberIndex member) {
  return {.site = SiteNamed(member),
          .federation = "north",
          .job = JobId("job-1"),
          .job_digest = DigestOf(0x44),
          .signing_key = keys_[member],
          .coordinator_key = coordinator_key_.public_key(),
          .verifier = verifier_,
          .random = *random_[member],
          .policy = options_.policy,
          .guard = DifferencingGuard(options_.min_difference)};
}

void Federation::Restart(MemberIndex member) {
  sites_[member] = std::make_unique<ClientSession>(*ClientSession::Create(OptionsOf(member)));
}

StatusOr<std::vector<ClientAction>> Federation::Step(MemberIndex member, const ClientEvent& event) {
  StatusOr<std::vector<ClientAction>> actions = sites_[member]->Step(event, now);
  if (!actions.ok()) return actions;
  for (const ClientAction& action : *actions) {
    if (const auto* send = std::get_if<Send>(&action)) {
      transcript_.push_back({send->kind, true, member, send->message});
    }
  }
  return actions;
}

StatusOr<std::vector<ServerAction>> Federation::Step(const ServerEvent& event) {
  StatusOr<std::vector<ServerAction>> actions = server_->Step(event, now);
  if (actions.ok()) {
    server_events_.push_back(event);
    Note(*actions);
  }
  return actions;
}

void Federation::Note(const std::vector<ServerAction>& actions) {
  for (const ServerAction& action : actions) {
    if (const auto* broadcast = std::get_if<Broadcast>(&action)) {
      for (const MemberIndex to : broadcast->to) {
        transcript_.push_back({broadcast->kind, false, to, broadcast->message});
      }
    } else if (const auto* send = std::get_if<SendTo>(&action)) {
      transcript_.push_back({send->kind, false, send->member, send->message});
    } else if (const auto* blame = std::get_if<Blame>(&action)) {
      outcome_.blamed.push_back(blame->member);
    } else if (const auto* suspect = std::get_if<Suspect>(&action)) {
      outcome_.suspects.emplace_back(suspect->dealer, suspect->holder);
    } else if (const auto* abandon = std::get_if<Abandon>(&action)) {
      outcome_.reason = abandon->reason;
    }
  }
}

void Federation::Close() {
  auto actions = Step(StepClosed{});
  if (!actions.ok()) {
    ADD_FAILURE() << actions.status();
    return;
  }
  actions_ = *std::move(actions);
}

const Bytes* Federation::MessageTo(MemberIndex member) const {
  for (const ServerAction& action : actions_) {
    if (const auto* broadcast = std::get_if<Broadcast>(&action)) {
      if (std::ranges::binary_search(broadcast->to, member)) return &broadcast->message;
    } else if (const auto* send = std::get_if<SendTo>(&action)) {
      if (send->member == member) return &send->message;
    }
  }
  return nullptr;
}

bool Federation::IsHere(MemberIndex member, DropPoint until) const {
  const auto drop = drops_.find(member);
  return drop == drops_.end() || drop->second == DropPoint::kNever || drop->second > until;
}

// What the site answers goes to the server.
void Federation::Give(MemberIndex member, const ClientEvent& event) {
  auto actions = Step(member, event);
  if (!actions.ok()) {
    ADD_FAILURE() << "site " << member << ": " << actions.status();
    return;
  }
  for (ClientAction& action : *actions) {
    if (auto* send = std::get_if<Send>(&action)) {
      const auto taken = Step(MessageReceived{member, send->kind, send->message});
      EXPECT_TRUE(taken.ok()) << "of site " << member << ": " << taken.status();
    }
  }
}

void Federation::Advertise(const Drops& drops) {
  drops_ = drops;
  for (MemberIndex i = 0; i < num_members(); ++i) {
    if (IsHere(i, DropPoint::kBeforeKeys)) Give(i, ManifestReceived{server_->manifest()});
  }
  Close();
}

void Federation::Share(const Drops& drops) {
  drops_.insert(drops.begin(), drops.end());
  for (MemberIndex i = 0; i < num_members(); ++i) {
    const Bytes* keys = MessageTo(i);
    if (keys != nullptr && IsHere(i, DropPoint::kAfterKeys)) Give(i, KeysReceived{*keys});
  }
  Close();
}

void Federation::Acknowledge(const Drops& drops) {
  drops_.insert(drops.begin(), drops.end());
  for (MemberIndex i = 0; i < num_members(); ++i) {
    const Bytes* shares = MessageTo(i);
    if (shares != nullptr && IsHere(i, DropPoint::kAfterShares)) Give(i, SharesReceived{*shares});
  }
  Close();
}

void Federation::SetUp(const Drops& drops) {
  Advertise(drops);
  if (server_->session() != nullptr) Share();
  if (std::holds_alternative<Acknowledging>(server_->state())) Acknowledge();
}

RoundTerms Federation::Terms(std::uint32_t round,
                             const std::vector<MemberIndex>& participants) const {
  return {.session = view().id(),
          .round = round,
          .participants = participants,
          .model = model,
          .task = task,
          .encoding = encoding,
          .vector_bytes = spec_->size_bytes(),
          .sent_at = now,
          .deadline = now + kRoundTime};
}

RoundStarted Federation::Started(const Bytes& message) const {
  return {.message = message,
          .model = model,
          .task = task,
          .encoding = encoding,
          .vector_bytes = spec_->size_bytes()};
}

Bytes Federation::Survivors(std::uint32_t round, const std::vector<MemberIndex>& survivors) const {
  return ByCoordinator(
      MessageKind::kSurvivors,
      Encode(SurvivorSet{.session = view().id(), .round = round, .survivors = survivors}));
}

std::vector<MemberIndex> Federation::Everybody() const {
  std::vector<MemberIndex> all;
  for (MemberIndex i = 0; i < num_members(); ++i) all.push_back(i);
  return all;
}

std::vector<MemberIndex> Federation::Without(MemberIndex member) const {
  std::vector<MemberIndex> rest = Everybody();
  std::erase(rest, member);
  return rest;
}

void Federation::Start(std::uint32_t round, const std::vector<MemberIndex>& participants) {
  outcome_ = {};
  arrived_.clear();
  auto actions =
      Step(RoundRequested{.round = round,
                          .participants = participants.empty() ? server_->Eligible() : participants,
                          .model = model,
                          .task = task,
                          .encoding = encoding,
                          .vector_bytes = spec_->size_bytes(),
                          .deadline = now + kRoundTime});
  if (!actions.ok()) {
    outcome_.reason = actions.status();
    actions_.clear();
    return;
  }
  actions_ = *std::move(actions);
}

StatusOr<std::vector<ClientAction>> Federation::MaskInputOf(MemberIndex member, MaskInput mask) {
  masked_[member] = inputs_[member];
  const Status applied = ApplyMasks(*spec_, 0, masked_[member], Borrow(mask.terms), 1);
  if (!applied.ok()) return applied;
  return Step(member, InputMasked{mask.round, crypto::Sha256(masked_[member])});
}

void Federation::Collect(const Drops& drops) {
  drops_ = drops;
  if (!std::holds_alternative<Collecting>(server_->state())) return;
  for (MemberIndex i = 0; i < num_members(); ++i) {
    const Bytes* start = MessageTo(i);
    if (start == nullptr) continue;
    auto actions = Step(i, Started(*start));
    if (!actions.ok()) {
      ADD_FAILURE() << "site " << i << ": " << actions.status();
      continue;
    }
    if (!IsHere(i, DropPoint::kBeforeUpload)) continue;
    auto header = MaskInputOf(i, std::get<MaskInput>(std::move(actions->front())));
    const auto taken = Step(MessageReceived{i, MessageKind::kMaskedInput, OnlySend(header)});
    EXPECT_TRUE(taken.ok()) << taken.status();
    const auto drop = drops_.find(i);
    if (drop != drops_.end() && drop->second == DropPoint::kDuringUpload) continue;
    EXPECT_EQ(server_->VectorDigestOf(i), crypto::Sha256(masked_[i]));
    EXPECT_TRUE(Step(VectorReceived{i}).ok());
    arrived_.push_back(i);
  }
  Close();
}

void Federation::Check(const Drops& drops) {
  drops_.insert(drops.begin(), drops.end());
  if (!std::holds_alternative<Checking>(server_->state())) return;
  for (MemberIndex i = 0; i < num_members(); ++i) {
    const Bytes* survivors = MessageTo(i);
    if (survivors != nullptr && IsHere(i, DropPoint::kAfterUpload)) {
      Give(i, SurvivorsReceived{*survivors});
    }
  }
  Close();
}

void Federation::Unmask(const Drops& drops) {
  drops_.insert(drops.begin(), drops.end());
  if (!std::holds_alternative<Unmasking>(server_->state())) return;
  for (MemberIndex i = 0; i < num_members(); ++i) {
    const Bytes* signatures = MessageTo(i);
    if (signatures != nullptr && IsHere(i, DropPoint::kAfterSignature)) {
      Give(i, SignaturesReceived{*signatures});
    }
  }
  Close();
}

Outcome Federation::Finish() {
  for (const ServerAction& action : actions_) {
    const auto* remove = std::get_if<RemoveMasks>(&action);
    if (remove == nullptr) continue;
    outcome_.survivors = remove->survivors;
    outcome_.sum.assign(spec_->size_bytes(), 0);
    for (const MemberIndex member : remove->survivors) {
      EXPECT_TRUE(std::ranges::binary_search(arrived_, member));
      EXPECT_TRUE(AddVectors(*spec_, 0, masked_[member], outcome_.sum, 1).ok());
    }
    EXPECT_TRUE(ApplyMasks(*spec_, 0, outcome_.sum, Borrow(remove->terms), 1).ok());
    outcome_.is_revealed = true;
  }
  if (!outcome_.is_revealed) return std::move(outcome_);
  auto actions = Step(SumRevealed{crypto::Sha256(outcome_.sum)});
  EXPECT_TRUE(actions.ok()) << actions.status();
  if (actions.ok()) actions_ = *std::move(actions);
  return std::move(outcome_);
}

Outcome Federation::Run(std::uint32_t round, const Drops& drops,
                        const std::vector<MemberIndex>& participants) {
  Start(round, participants);
  Collect(drops);
  Check();
  Unmask();
  return Finish();
}

// Element by element, with as many bits as the ring has.
Bytes Federation::SumOf(const std::vector<MemberIndex>& members) const {
  Bytes sum(spec_->size_bytes());
  std::size_t at = 0;
  for (const Section& section : spec_->sections()) {
    const std::size_t width = ElementBytes(section.bits);
    for (std::uint64_t e = 0; e < section.count; ++e, at += width) {
      std::uint64_t total = 0;
      for (const MemberIndex member : members) {
        std::uint64_t value = 0;
        for (std::size_t b = 0; b < width; ++b) {
          value |= std::uint64_t{inputs_[member][at + b]} << (8 * b);
        }
        total += value;
      }
      for (std::size_t b = 0; b < width; ++b) {
        sum[at + b] = static_cast<std::uint8_t>(total >> (8 * b));
      }
    }
  }
  return sum;
}

}  // namespace chorale::secagg
