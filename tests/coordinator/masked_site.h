#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chorale/v1/federation.pb.h"
#include "core/crypto/certificate.h"
#include "core/crypto/digest.h"
#include "core/random.h"
#include "identity/identity.h"
#include "identity/party.h"
#include "jobs/masking.h"
#include "secagg/client_session.h"
#include "secagg/mask_terms.h"

namespace chorale::coordinator {

// Takes the certificates of a manifest for what they say: the sites' own checks are tested there.
class TrustingVerifier final : public secagg::MemberVerifier {
 public:
  StatusOr<std::vector<secagg::Member>> Verify(const v1::SessionManifest& manifest, Time) override {
    std::vector<secagg::Member> members;
    for (const v1::ManifestMember& member : manifest.members()) {
      CHORALE_ASSIGN_OR_RETURN(const crypto::Certificate certificate,
                               crypto::Certificate::FromPem(member.certificate()));
      CHORALE_ASSIGN_OR_RETURN(const identity::Party party, identity::PartyOf(certificate));
      members.push_back({SiteId(member.site()), party.signing_key, certificate.fingerprint()});
    }
    return members;
  }
};

// A site's side of secure aggregation without a network: answers messages, masks vectors.
class MaskedSite {
 public:
  MaskedSite(identity::Identity identity, const crypto::SigningPublicKey& coordinator,
             std::uint64_t seed)
      : identity_(std::move(identity)), coordinator_(coordinator), random_(seed) {}

  // The answer to a step that reports nothing. `message` is what the task names.
  StatusOr<Bytes> Answer(const v1::Task& task, Bytes message, Time now) {
    if (task.has_advertise_keys()) {
      CHORALE_RETURN_IF_ERROR(Begin(task));
      return MessageOf(secagg::ManifestReceived{std::move(message)}, now);
    }
    if (session_ == nullptr) return FailedPrecondition("the site has no session");
    if (task.has_share_keys()) return MessageOf(secagg::KeysReceived{std::move(message)}, now);
    if (task.has_acknowledge_shares()) {
      return MessageOf(secagg::SharesReceived{std::move(message)}, now);
    }
    if (task.has_consistency_check()) {
      return MessageOf(secagg::SurvivorsReceived{std::move(message)}, now);
    }
    return MessageOf(secagg::SignaturesReceived{std::move(message)}, now);
  }

  struct MaskedReport {
    Bytes vector;
    std::string masked_input;
    crypto::BlobId payload;
  };
  // The masked vector of a report task.
  StatusOr<MaskedReport> Report(const v1::Task& task, const v1::JobSpec& spec,
                                const crypto::Digest& model, jobs::MaskedKind kind,
                                std::uint64_t num_parameters, const jobs::SiteNumbers& numbers,
                                Time now) {
    if (session_ == nullptr) return FailedPrecondition("the site has no session");
    CHORALE_ASSIGN_OR_RETURN(
        const jobs::MaskedLayout layout,
        jobs::MaskedLayout::Create(spec, kind, num_parameters,
                                   session_->membership()->terms->num_members()));
    jobs::MaskedTask masked{
        .job = crypto::Sha256(AsBytes(task.job().spec())), .kind = kind, .round = task.round()};
    if (const double norm = task.training().clipping_norm(); norm != 0) masked.clipping_norm = norm;
    const ByteSpan start = AsBytes(task.round_start());
    CHORALE_ASSIGN_OR_RETURN(
        const std::vector<secagg::ClientAction> actions,
        session_->Step(secagg::RoundStarted{.message = Bytes(start.begin(), start.end()),
                                            .model = model,
                                            .task = jobs::DigestOf(masked),
                                            .encoding = layout.digest(),
                                            .vector_bytes = layout.vector().size_bytes()},
                       now));
    const auto& mask = std::get<secagg::MaskInput>(actions.at(0));
    MaskedReport report;
    CHORALE_ASSIGN_OR_RETURN(report.vector, layout.Encode(numbers));
    CHORALE_RETURN_IF_ERROR(
        secagg::ApplyMasks(layout.vector(), 0, report.vector, secagg::Borrow(mask.terms), 1));
    report.payload = crypto::IdentifyBlob(report.vector);
    CHORALE_ASSIGN_OR_RETURN(
        const Bytes input,
        MessageOf(secagg::InputMasked{.round = mask.round, .vector = report.payload.digest}, now));
    report.masked_input = ToString(input);
    return report;
  }

  // The process starts again: its secrets are gone.
  void Restart() { session_ = nullptr; }

 private:
  Status Begin(const v1::Task& task) {
    CHORALE_ASSIGN_OR_RETURN(
        secagg::ClientSession session,
        secagg::ClientSession::Create({.site = SiteId(identity_.party().name),
                                       .federation = identity_.party().federation,
                                       .job = JobId(task.job_id()),
                                       .job_digest = crypto::Sha256(AsBytes(task.job().spec())),
                                       .signing_key = identity_.signing_key(),
                                       .coordinator_key = coordinator_,
                                       .verifier = verifier_,
                                       .random = random_}));
    session_ = std::make_unique<secagg::ClientSession>(std::move(session));
    return OkStatus();
  }
  StatusOr<Bytes> MessageOf(const secagg::ClientEvent& event, Time now) {
    CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ClientAction> actions, session_->Step(event, now));
    for (secagg::ClientAction& action : actions) {
      if (auto* send = std::get_if<secagg::Send>(&action)) return std::move(send->message);
    }
    return Internal("the session had nothing to say");
  }

  identity::Identity identity_;
  crypto::SigningPublicKey coordinator_;
  SeededRandom random_;
  TrustingVerifier verifier_;
  std::unique_ptr<secagg::ClientSession> session_;
};

}  // namespace chorale::coordinator
