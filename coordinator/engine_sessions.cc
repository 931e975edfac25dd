#include <algorithm>
#include <memory>
#include <utility>

#include "coordinator/engine.h"
#include "core/log.h"
#include "identity/party.h"
#include "jobs/masking.h"

// The engine's sessions of secure aggregation: one for each job, in memory.
namespace chorale::coordinator {
StatusOr<CohortSelected> Engine::BeginMaskedRound(JobEntry& entry, const std::vector<SiteId>& sites,
                                                  RoundKey key) {
  const Time until = parts_.clock.WallNow() + MaskedRoundTime(entry);
  const bool has_secrets = std::none_of(sites.begin(), sites.end(), [&](const SiteId& site) {
    return entry.without_secrets.contains(site);
  });
  if (has_secrets && entry.exchange != nullptr && entry.exchange->CanContinue(sites, until)) {
    const Status continued = ContinueSession(entry, sites, key);
    if (continued.ok()) return CohortSelected{.sites = sites, .begins_session = false};
    log::Warning("secagg.session_not_continued",
                 {{"job", entry.submission.id.value()}, {"why", MessageOf(continued)}});
  }
  CHORALE_RETURN_IF_ERROR(BeginSession(entry, sites));
  return CohortSelected{.sites = sites, .begins_session = true};
}

Status Engine::ContinueSession(JobEntry& entry, const std::vector<SiteId>& sites, RoundKey key) {
  CHORALE_ASSIGN_OR_RETURN(const jobs::MaskedLayout layout,
                           MaskedLayoutOf(entry, entry.exchange->num_members()));
  RoundOpening opening = OpeningOf(entry, key.number, layout);
  opening.sites = sites;
  const Time now = parts_.clock.WallNow();
  opening.deadline = now + MaskedRoundTime(entry);
  CHORALE_ASSIGN_OR_RETURN(const Bytes start, entry.exchange->StartRound(opening, now));
  auto messages = std::make_shared<StepMessages>();
  messages->round_start = ToString(start);
  entry.messages = std::move(messages);
  return OkStatus();
}

Status Engine::BeginSession(JobEntry& entry, const std::vector<SiteId>& sites) {
  entry.exchange = nullptr;
  ExchangeTerms terms{.federation = parts_.identity.party().federation,
                      .job = entry.submission.id,
                      .job_digest = crypto::Sha256(AsBytes(entry.submission.envelope.spec())),
                      .members = {},
                      .group = jobs::GroupOf(jobs::GroupRulesOf(entry.spec),
                                             static_cast<std::uint32_t>(sites.size())),
                      .roster = parts_.members.roster_file(),
                      .nonce = {},
                      .num_rounds = parts_.limits.rounds_of_session,
                      .signing_key = parts_.identity.signing_key()};
  parts_.random.Fill(terms.nonce);
  for (const SiteId& site : sites) {
    const SiteSession* session = sessions_.FindSite(site);
    if (session == nullptr) return Unavailable("site " + site.value() + " is not connected");
    CHORALE_ASSIGN_OR_RETURN(const identity::Party party, identity::PartyOf(*session->certificate));
    terms.members.push_back({site, party.signing_key, session->certificate});
  }
  CHORALE_ASSIGN_OR_RETURN(std::shared_ptr<Exchange> exchange,
                           Exchange::Begin(std::move(terms), parts_.clock.WallNow()));
  const Bytes& manifest = exchange->manifest();
  CHORALE_ASSIGN_OR_RETURN(HeldPayload held, Write(parts_.payloads, manifest));
  auto messages = std::make_shared<StepMessages>();
  for (const SiteId& site : sites) messages->blobs.emplace(site, held.id());
  messages->held.push_back(std::move(held));
  messages->certificate = parts_.identity.certificate().pem();
  entry.exchange = std::move(exchange);
  entry.without_secrets.clear();
  entry.messages = std::move(messages);
  log::Info("secagg.session_begins",
            {{"job", entry.submission.id.value()}, {"sites", sites.size()}});
  return OkStatus();
}

void Engine::StageSessionLost(JobEntry& entry) {
  const Status stepped = Step(
      entry,
      SessionLost{"the coordinator started again, and with it the keys of its round are gone"});
  if (stepped.ok()) return;
  log::Error("secagg.loss_not_taken",
             {{"job", entry.submission.id.value()}, {"why", MessageOf(stepped)}});
}

}  // namespace chorale::coordinator
