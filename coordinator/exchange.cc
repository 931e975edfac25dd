#include "coordinator/exchange.h"

#include <algorithm>
#include <set>
#include <variant>

#include "coordinator/round_record.h"

namespace chorale::coordinator {
namespace {

secagg::MessageKind KindOf(RoundStep step) {
  switch (step) {
    case RoundStep::kAdvertiseKeys:
      return secagg::MessageKind::kAdvertiseKeys;
    case RoundStep::kShareKeys:
      return secagg::MessageKind::kShareKeys;
    case RoundStep::kAcknowledgeShares:
      return secagg::MessageKind::kShareKeysAck;
    case RoundStep::kReport:
      return secagg::MessageKind::kMaskedInput;
    case RoundStep::kConsistencyCheck:
      return secagg::MessageKind::kConsistencySignature;
    case RoundStep::kUnmasking:
      break;
  }
  return secagg::MessageKind::kUnmasking;
}

}  // namespace

StatusOr<std::shared_ptr<Exchange>> Exchange::Begin(ExchangeTerms terms, Time wall_now) {
  secagg::ServerOptions options{.federation = std::move(terms.federation),
                                .job = std::move(terms.job),
                                .job_digest = terms.job_digest,
                                .members = {},
                                .roster = std::move(terms.roster),
                                .group = terms.group,
                                .num_rounds = terms.num_rounds,
                                .nonce = terms.nonce,
                                .signing_key = terms.signing_key};
  std::vector<SiteId> sites;
  for (const ExchangeMember& member : terms.members) {
    options.members.push_back({.member = {.site = member.site,
                                          .key = member.key,
                                          .certificate = member.certificate->fingerprint()},
                               .certificate = member.certificate->pem()});
    sites.push_back(member.site);
  }
  CHORALE_ASSIGN_OR_RETURN(secagg::ServerSession session,
                           secagg::ServerSession::Create(std::move(options), wall_now));
  return std::shared_ptr<Exchange>(new Exchange(std::move(session), std::move(sites)));
}

std::optional<secagg::MemberIndex> Exchange::MemberOf(const SiteId& site) const {
  const auto place = std::lower_bound(sites_.begin(), sites_.end(), site);
  if (place == sites_.end() || *place != site) return std::nullopt;
  return static_cast<secagg::MemberIndex>(place - sites_.begin());
}

std::vector<SiteId> Exchange::SitesOf(const std::vector<secagg::MemberIndex>& members) const {
  std::vector<SiteId> sites;
  for (const secagg::MemberIndex member : members) sites.push_back(sites_[member]);
  return sites;
}

std::vector<SiteId> Exchange::eligible() const { return SitesOf(session_.Eligible()); }

crypto::Digest Exchange::id() const {
  return session_.session() == nullptr ? crypto::Digest{} : session_.session()->id();
}

bool Exchange::CanContinue(const std::vector<SiteId>& sites, Time until) const {
  const secagg::SessionTerms& terms = session_.terms();
  const std::vector<SiteId> possible = eligible();
  return last_round_ < terms.num_rounds && until < terms.not_after &&
         sites.size() >= terms.least_set() &&
         std::includes(possible.begin(), possible.end(), sites.begin(), sites.end());
}

StatusOr<Bytes> Exchange::StartRound(const RoundOpening& opening, Time wall_now) {
  if (!std::holds_alternative<secagg::Ready>(session_.state())) {
    CHORALE_RETURN_IF_ERROR(
        session_.Step(secagg::RoundAborted{"the round was given up"}, wall_now).status());
  }
  secagg::RoundRequested request{.round = last_round_ + 1,
                                 .participants = {},
                                 .model = opening.model,
                                 .task = opening.task,
                                 .encoding = opening.encoding,
                                 .vector_bytes = opening.vector_bytes,
                                 .deadline = opening.deadline};
  for (const SiteId& site : opening.sites) {
    const std::optional<secagg::MemberIndex> member = MemberOf(site);
    if (!member.has_value()) {
      return FailedPrecondition("site " + site.value() + " is not in the session");
    }
    request.participants.push_back(*member);
  }
  CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ServerAction> actions,
                           session_.Step(request, wall_now));
  ++last_round_;
  StepResult result;
  CHORALE_RETURN_IF_ERROR(Take(std::move(actions), result));
  if (result.messages.empty()) return Internal("a round was opened without a word");
  return std::move(result.messages.begin()->second);
}

Status Exchange::Answer(RoundStep step, ExchangeAnswer answer, Time wall_now) {
  const std::optional<secagg::MemberIndex> member = MemberOf(answer.site);
  if (!member.has_value()) return PermissionDenied("the site is not in the session");
  CHORALE_RETURN_IF_ERROR(
      session_
          .Step(secagg::MessageReceived{*member, KindOf(step), std::move(answer.message)}, wall_now)
          .status());
  if (step != RoundStep::kReport) return OkStatus();
  if (session_.VectorDigestOf(*member) != answer.vector) {
    return InvalidArgument("the payload is not what the site signed");
  }
  return session_.Step(secagg::VectorReceived{*member}, wall_now).status();
}

StatusOr<StepResult> Exchange::CloseStep(RoundStep step, std::vector<ExchangeAnswer> answers,
                                         Time wall_now) {
  StepResult result;
  std::set<SiteId> goes_on;
  for (ExchangeAnswer& answer : answers) {
    const SiteId site = answer.site;
    const Status taken = Answer(step, std::move(answer), wall_now);
    if (taken.ok()) {
      goes_on.insert(site);
    } else {
      result.blamed.emplace_back(site, taken);
    }
  }
  CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ServerAction> actions,
                           session_.Step(secagg::StepClosed{}, wall_now));
  CHORALE_RETURN_IF_ERROR(Take(std::move(actions), result));
  for (const auto& [site, why] : result.blamed) goes_on.erase(site);
  if (!result.messages.empty()) {
    // Who is told something is who goes on.
    std::erase_if(goes_on, [&](const SiteId& site) { return !result.messages.contains(site); });
  } else if (step == RoundStep::kAcknowledgeShares) {
    const std::vector<SiteId> ready = eligible();
    goes_on = {ready.begin(), ready.end()};
  }
  result.sites.assign(goes_on.begin(), goes_on.end());
  return result;
}

StatusOr<Bytes> Exchange::Reveal(const crypto::Digest& sum, Time wall_now) {
  CHORALE_ASSIGN_OR_RETURN(std::vector<secagg::ServerAction> actions,
                           session_.Step(secagg::SumRevealed{sum}, wall_now));
  StepResult result;
  CHORALE_RETURN_IF_ERROR(Take(std::move(actions), result));
  if (result.messages.empty()) return Internal("a sum was revealed without a word");
  return std::move(result.messages.begin()->second);
}

Status Exchange::Take(std::vector<secagg::ServerAction> actions, StepResult& result) const {
  for (secagg::ServerAction& action : actions) {
    if (auto* broadcast = std::get_if<secagg::Broadcast>(&action)) {
      for (const secagg::MemberIndex member : broadcast->to) {
        result.messages[sites_[member]] = broadcast->message;
      }
    } else if (auto* send = std::get_if<secagg::SendTo>(&action)) {
      result.messages[sites_[send->member]] = std::move(send->message);
    } else if (auto* remove = std::get_if<secagg::RemoveMasks>(&action)) {
      result.unmasking = std::move(*remove);
    } else if (auto* blame = std::get_if<secagg::Blame>(&action)) {
      result.blamed.emplace_back(sites_[blame->member], blame->reason);
    } else if (auto* abandon = std::get_if<secagg::Abandon>(&action)) {
      return FailedPrecondition(MessageOf(abandon->reason));
    }
  }
  return OkStatus();
}

}  // namespace chorale::coordinator
