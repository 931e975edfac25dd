#include "site_agent/secure_sessions.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <variant>

#include "core/log.h"
#include "core/storage/file.h"
#include "identity/party.h"
#include "identity/roster.h"
#include "secagg/messages.h"
#include "secagg/refusal.h"

namespace chorale::site_agent {
namespace {

constexpr std::string_view kRosterVersionFile = "roster-version";
constexpr std::uint32_t kMinDifference = 2;  // Sites in which two sums of one task may differ.

Status NotVouchedFor(const std::string& who, const Status& why) {
  return secagg::Refused(secagg::RefusalCode::kUnknownCertificate, who + ": " + MessageOf(why));
}

// The only Send among the actions.
StatusOr<Bytes> OnlyMessage(std::vector<secagg::ClientAction> actions) {
  for (secagg::ClientAction& action : actions) {
    if (auto* send = std::get_if<secagg::Send>(&action)) return std::move(send->message);
    if (auto* withdraw = std::get_if<secagg::Withdraw>(&action)) return withdraw->reason;
  }
  return Internal("secure aggregation had nothing to say");
}

// What the session revealed last, or knew to be revealed.
std::optional<secagg::RevealedSum> LastSum(const secagg::ClientSession& session) {
  const std::deque<secagg::RevealedSum>& sums = session.guard().sums();
  return sums.empty() ? std::nullopt : std::optional(sums.back());
}

std::uint64_t ReadVersion(const std::filesystem::path& path) {
  const StatusOr<std::string> text = storage::ReadFile(path, 32);
  if (!text.ok()) return 0;
  std::uint64_t version = 0;
  std::from_chars(text->data(), text->data() + text->size(), version);
  return version;
}

}  // namespace

// Members as the authority's roster states them; the manifest carries it, signed. A roster older
// than one seen before is refused, so that nobody who was revoked comes back.
class SecureSessions::RosterVerifier final : public secagg::MemberVerifier {
 public:
  RosterVerifier(const SecureSessionsParts& parts, const std::string& roster_file)
      : parts_(parts), roster_(identity::Roster::Parse(roster_file, parts.identity.root())) {}

  [[nodiscard]] const Status status() const { return roster_.status(); }

  // NOT older than what this site has seen; remembered.
  Status CheckVersion() const {
    const std::filesystem::path path = parts_.state_directory / kRosterVersionFile;
    const std::uint64_t seen = ReadVersion(path);
    if (roster_->version() < seen) {
      return secagg::Refused(secagg::RefusalCode::kUnknownCertificate,
                             "the roster has version " + std::to_string(roster_->version()) +
                                 ", but this site has seen version " + std::to_string(seen));
    }
    if (roster_->version() == seen) return OkStatus();
    return storage::WriteFileAtomically(path, AsBytes(std::to_string(roster_->version()) + "\n"),
                                        storage::FileMode::kPrivate);
  }

  StatusOr<crypto::SigningPublicKey> CoordinatorKey(const std::string& certificate_pem,
                                                    Time now) const {
    const StatusOr<crypto::Certificate> certificate = crypto::Certificate::FromPem(certificate_pem);
    if (!certificate.ok()) return NotVouchedFor("the coordinator", certificate.status());
    const StatusOr<identity::Party> party = roster_->Authenticate(*certificate, now);
    if (!party.ok()) return NotVouchedFor("the coordinator", party.status());
    if (party->role == v1::PARTY_ROLE_COORDINATOR) return party->signing_key;
    return secagg::Refused(secagg::RefusalCode::kUnknownCertificate,
                           "who signs for the session is a " + identity::RoleName(party->role) +
                               ", not a coordinator");
  }

  StatusOr<std::vector<secagg::Member>> Verify(const v1::SessionManifest& manifest,
                                               Time now) override {
    std::vector<secagg::Member> members;
    certificates_.clear();
    for (const v1::ManifestMember& member : manifest.members()) {
      const std::string who = "member " + std::to_string(members.size());
      const StatusOr<crypto::Certificate> certificate =
          crypto::Certificate::FromPem(member.certificate());
      if (!certificate.ok()) return NotVouchedFor(who, certificate.status());
      const StatusOr<identity::Party> party = roster_->Authenticate(*certificate, now);
      if (!party.ok()) return NotVouchedFor(who, party.status());
      if (party->role != v1::PARTY_ROLE_SITE || party->name != member.site()) {
        return secagg::Refused(secagg::RefusalCode::kUnknownCertificate,
                               who + " has a certificate of another party");
      }
      members.push_back({.site = SiteId(party->name),
                         .key = party->signing_key,
                         .certificate = certificate->fingerprint()});
      certificates_.emplace(certificate->fingerprint(), *certificate);
    }
    return members;
  }

  Status VerifyStanding(const secagg::Member& member, Time now) override {
    const auto certificate = certificates_.find(member.certificate);
    if (certificate == certificates_.end()) {
      return secagg::Refused(secagg::RefusalCode::kUnknownCertificate,
                             "a participant is no member");
    }
    const StatusOr<identity::Party> party = roster_->Authenticate(certificate->second, now);
    return party.ok() ? OkStatus() : NotVouchedFor(member.site.value(), party.status());
  }

 private:
  const SecureSessionsParts& parts_;
  StatusOr<identity::Roster> roster_;
  std::map<crypto::Digest, crypto::Certificate> certificates_;
};

SecureSessions::SecureSessions(SecureSessionsParts parts) : parts_(std::move(parts)) {}
SecureSessions::~SecureSessions() = default;

StatusOr<Bytes> SecureSessions::Begin(const SessionOwner& owner, Bytes manifest,
                                      const std::string& coordinator_certificate) {
  Tidy();
  const Time now = parts_.clock.WallNow();
  // Read before it is believed, for the roster, which proves itself.
  CHORALE_ASSIGN_OR_RETURN(const secagg::SignedParts signed_parts,
                           secagg::SplitMessage(secagg::MessageKind::kSessionManifest, manifest));
  v1::SessionManifest content;
  if (!content.ParseFromArray(signed_parts.body.data(),
                              static_cast<int>(signed_parts.body.size()))) {
    return secagg::Refused(secagg::RefusalCode::kMalformed, "the manifest cannot be read");
  }
  auto verifier = std::make_unique<RosterVerifier>(parts_, content.roster());
  if (!verifier->status().ok()) return NotVouchedFor("the roster", verifier->status());
  CHORALE_RETURN_IF_ERROR(verifier->CheckVersion());
  CHORALE_ASSIGN_OR_RETURN(const crypto::SigningPublicKey coordinator,
                           verifier->CoordinatorKey(coordinator_certificate, now));

  // What was begun and revealed before still counts, also by a process that is gone.
  CHORALE_ASSIGN_OR_RETURN(const std::deque<crypto::Digest> nonces, parts_.promises.Nonces());
  CHORALE_ASSIGN_OR_RETURN(std::deque<secagg::RevealedSum> sums,
                           parts_.promises.SumsOf(owner.job_digest));
  secagg::ClientOptions options{.site = SiteId(parts_.identity.party().name),
                                .federation = parts_.identity.party().federation,
                                .job = owner.job,
                                .job_digest = owner.job_digest,
                                .signing_key = parts_.identity.signing_key(),
                                .coordinator_key = coordinator,
                                .verifier = *verifier,
                                .random = parts_.random,
                                .policy = {.group = parts_.policy},
                                .guard = secagg::DifferencingGuard(kMinDifference, std::move(sums)),
                                .used_nonces = {nonces.begin(), nonces.end()}};
  CHORALE_ASSIGN_OR_RETURN(secagg::ClientSession session,
                           secagg::ClientSession::Create(std::move(options)));
  Entry entry{.job_digest = owner.job_digest,
              .verifier = std::move(verifier),
              .session = std::make_unique<secagg::ClientSession>(std::move(session))};
  CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ClientAction> actions,
                           Step(entry, secagg::ManifestReceived{std::move(manifest)}));
  CHORALE_RETURN_IF_ERROR(parts_.promises.RecordNonce(entry.session->membership()->terms->nonce));
  std::erase(order_, owner.job);
  order_.push_back(owner.job);
  entries_.insert_or_assign(owner.job, std::move(entry));
  if (order_.size() > kMaxSessions) {
    entries_.erase(order_.front());
    order_.pop_front();
  }
  return OnlyMessage(std::move(actions));
}

StatusOr<SecureSessions::Entry*> SecureSessions::Find(const SessionOwner& owner) const {
  const auto entry = entries_.find(owner.job);
  if (entry == entries_.end() || entry->second.job_digest != owner.job_digest) {
    return secagg::Refused(secagg::RefusalCode::kStateLost,
                           "there is no session of job " + owner.job.value());
  }
  return &entry->second;
}

StatusOr<std::vector<secagg::ClientAction>> SecureSessions::Step(Entry& entry,
                                                                 const secagg::ClientEvent& event) {
  const std::size_t known = entry.session->evidence().size();
  StatusOr<std::vector<secagg::ClientAction>> actions =
      entry.session->Step(event, parts_.clock.WallNow());
  for (std::size_t i = known; i < entry.session->evidence().size(); ++i) {
    const secagg::Evidence& evidence = entry.session->evidence()[i];
    // Both statements whole: whoever knows the federation's root can verify them.
    log::Error("secagg.equivocation", {{"what", evidence.what},
                                       {"first", ToBase64Url(evidence.first)},
                                       {"second", ToBase64Url(evidence.second)}});
  }
  return actions;
}

Status SecureSessions::Remember(const crypto::Digest& job_digest, const secagg::RevealedSum& sum) {
  CHORALE_RETURN_IF_ERROR(parts_.promises.RecordSum(job_digest, sum));
  for (auto& [job, entry] : entries_) {
    if (entry.job_digest == job_digest) entry.session->Remember(sum);
  }
  return OkStatus();
}

StatusOr<Bytes> SecureSessions::Answer(const SessionOwner& owner, secagg::ClientEvent message) {
  Tidy();
  CHORALE_ASSIGN_OR_RETURN(Entry * entry, Find(owner));
  const std::optional<secagg::RevealedSum> last = LastSum(*entry->session);
  CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ClientAction> actions, Step(*entry, message));
  const std::optional<secagg::RevealedSum> revealed = LastSum(*entry->session);
  if (revealed != last) {
    if (Status kept = Remember(owner.job_digest, *revealed); !kept.ok()) {
      // The session would give the same answer again, which nothing remembers.
      entries_.erase(owner.job);
      std::erase(order_, owner.job);
      return Annotate(kept, "a sum that is about to be revealed cannot be remembered");
    }
  }
  return OnlyMessage(std::move(actions));
}

StatusOr<secagg::GroupParameters> SecureSessions::GroupOf(const SessionOwner& owner) const {
  CHORALE_ASSIGN_OR_RETURN(const Entry* entry, Find(owner));
  const secagg::Membership* membership = entry->session->membership();
  if (membership != nullptr) return membership->terms->group;
  return secagg::Refused(secagg::RefusalCode::kStateLost,
                         "the session of job " + owner.job.value() + " is over");
}

std::uint32_t SecureSessions::ExpectedColluders(std::uint32_t num_members) const {
  return parts_.policy.colluders != 0 ? parts_.policy.colluders
                                      : secagg::DefaultColluders(num_members);
}

StatusOr<secagg::MaskInput> SecureSessions::StartRound(const SessionOwner& owner,
                                                       const MaskedRound& round,
                                                       const crypto::Digest& encoding,
                                                       std::uint64_t vector_bytes) {
  CHORALE_ASSIGN_OR_RETURN(Entry * entry, Find(owner));
  CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ClientAction> actions,
                           Step(*entry, secagg::RoundStarted{.message = round.start,
                                                             .model = round.model,
                                                             .task = round.task,
                                                             .encoding = encoding,
                                                             .vector_bytes = vector_bytes}));
  for (secagg::ClientAction& action : actions) {
    if (auto* mask = std::get_if<secagg::MaskInput>(&action)) return std::move(*mask);
    if (auto* withdraw = std::get_if<secagg::Withdraw>(&action)) return withdraw->reason;
  }
  return secagg::Refused(secagg::RefusalCode::kRoundReplayed,
                         "this round was opened before and its vector is not to be made again");
}

void SecureSessions::GiveUp(const SessionOwner& owner, std::uint32_t round) {
  const StatusOr<Entry*> entry = Find(owner);
  if (!entry.ok()) return;
  const auto* in_session = std::get_if<secagg::InSession>(&(*entry)->session->state());
  if (in_session == nullptr) return;
  const auto* masking = std::get_if<secagg::Masking>(&in_session->round);
  if (masking == nullptr || masking->round.binding.round != round) return;
  const auto ended = Step(**entry, secagg::RoundEnded{round});
  if (!ended.ok()) log::Error("secagg.round_not_ended", {{"reason", MessageOf(ended.status())}});
}

void SecureSessions::Tidy() {
  for (auto& [job, entry] : entries_) {
    const auto passed = Step(entry, secagg::TimePassed{});
    if (!passed.ok()) log::Debug("secagg.time", {{"reason", MessageOf(passed.status())}});
  }
}

StatusOr<Bytes> SecureSessions::Sign(const SessionOwner& owner, std::uint32_t round,
                                     const crypto::Digest& vector) {
  CHORALE_ASSIGN_OR_RETURN(Entry * entry, Find(owner));
  CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ClientAction> actions,
                           Step(*entry, secagg::InputMasked{.round = round, .vector = vector}));
  return OnlyMessage(std::move(actions));
}

}  // namespace chorale::site_agent
