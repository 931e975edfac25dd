#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "chorale/v1/secagg.pb.h"
#include "coordinator/engine.h"
#include "coordinator/job_event_codec.h"
#include "coordinator/round_record.h"
#include "core/log.h"
#include "identity/party.h"
#include "jobs/masking.h"
#include "secagg/messages.h"

// The engine's sessions of secure aggregation: one for each job, in memory.
namespace chorale::coordinator {
namespace {

// But for roster, nonce and members.
ExchangeTerms TermsOf(const JobEntry& entry, const EngineParts& engine, std::size_t num_members) {
  const identity::Identity& own = engine.identity;
  return {.federation = own.party().federation,
          .job = entry.submission.id,
          .job_digest = crypto::Sha256(AsBytes(entry.submission.envelope.spec())),
          .members = {},
          .group = jobs::GroupOf(jobs::GroupRulesOf(entry.spec),
                                 static_cast<std::uint32_t>(num_members)),
          .roster = {},
          .nonce = {},
          .num_rounds = engine.limits.rounds_of_session,
          .signing_key = own.signing_key()};
}

}  // namespace

StatusOr<CohortSelected> Engine::BeginMaskedRound(JobEntry& entry, const std::vector<SiteId>& sites,
                                                  RoundKey key) {
  const Time wall_now = parts_.clock.WallNow();
  const Time until = wall_now + MaskedRoundTime(entry);
  const bool has_secrets = std::none_of(sites.begin(), sites.end(), [&](const SiteId& site) {
    return entry.without_secrets.contains(site);
  });
  if (has_secrets && entry.exchange != nullptr && entry.exchange->CanContinue(sites, until)) {
    StatusOr<std::shared_ptr<const StepMessages>> opened =
        OpenRound(entry, *entry.exchange, sites, key.number, wall_now);
    if (opened.ok()) {
      entry.messages = *std::move(opened);
      return CohortSelected{.sites = sites, .wall_time = wall_now};
    }
    log::Warning("secagg.session_not_continued",
                 {{"job", entry.submission.id.value()}, {"why", MessageOf(opened.status())}});
  }
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId manifest, BeginSession(entry, sites, wall_now));
  return CohortSelected{
      .sites = sites, .begins_session = true, .wall_time = wall_now, .manifest = manifest};
}

StatusOr<std::shared_ptr<const StepMessages>> Engine::OpenRound(const JobEntry& entry,
                                                                Exchange& exchange,
                                                                const std::vector<SiteId>& sites,
                                                                RoundNumber number, Time wall_now) {
  CHORALE_ASSIGN_OR_RETURN(const jobs::MaskedLayout layout,
                           MaskedLayoutOf(entry, exchange.num_members()));
  RoundOpening opening = OpeningOf(entry, number, layout);
  opening.sites = sites;
  opening.deadline = wall_now + MaskedRoundTime(entry);
  CHORALE_ASSIGN_OR_RETURN(const Bytes start, exchange.StartRound(opening, wall_now));
  auto messages = std::make_shared<StepMessages>();
  messages->round_start = ToString(start);
  return std::shared_ptr<const StepMessages>(std::move(messages));
}

StatusOr<crypto::BlobId> Engine::BeginSession(JobEntry& entry, const std::vector<SiteId>& sites,
                                              Time wall_now) {
  entry.exchange = nullptr;
  ExchangeTerms terms = TermsOf(entry, parts_, sites.size());
  terms.roster = parts_.members.roster_file();
  parts_.random.Fill(terms.nonce);
  for (const SiteId& site : sites) {
    const SiteSession* session = sessions_.FindSite(site);
    if (session == nullptr) return Unavailable("site " + site.value() + " is not connected");
    CHORALE_ASSIGN_OR_RETURN(const identity::Party party, identity::PartyOf(*session->certificate));
    terms.members.push_back({site, party.signing_key, session->certificate});
  }
  CHORALE_ASSIGN_OR_RETURN(std::shared_ptr<Exchange> exchange,
                           Exchange::Begin(std::move(terms), wall_now));
  CHORALE_ASSIGN_OR_RETURN(HeldPayload held, Write(parts_.payloads, exchange->manifest()));
  const crypto::BlobId manifest = held.id();
  auto messages = std::make_shared<StepMessages>();
  for (const SiteId& site : sites) messages->blobs.emplace(site, manifest);
  messages->held.push_back(std::move(held));
  messages->certificate = parts_.identity.certificate().pem();
  entry.exchange = std::move(exchange);
  entry.without_secrets.clear();
  entry.messages = std::move(messages);
  log::Info("secagg.session_begins",
            {{"job", entry.submission.id.value()}, {"sites", sites.size()}});
  return manifest;
}

void Engine::StageSession(const JobEntry& entry, const CohortSelected& event,
                          const std::optional<RoundKey>& earlier) {
  const JobId& id = entry.submission.id;
  // The one payload that the first step holds.
  const HeldPayload& manifest = entry.messages->held.front();
  const std::string prefix = SessionPrefix(*entry.machine.session_round());
  batch_.kept.push_back({id, prefix + "manifest", *event.manifest, manifest.bytes()});
  if (earlier.has_value()) batch_.dropped.push_back({id, SessionPrefix(*earlier)});
}

// ---------------------------------------------------------------------------- after a crash

StatusOr<std::shared_ptr<Exchange>> Engine::BeginAgain(const JobEntry& entry,
                                                       const CohortSelected& event,
                                                       StepMessages& messages) {
  if (!event.manifest.has_value()) return NotFound("the session's manifest was not kept");
  CHORALE_ASSIGN_OR_RETURN(HeldPayload held, parts_.payloads.HoldKept(*event.manifest));
  CHORALE_ASSIGN_OR_RETURN(const PayloadReader reader, parts_.payloads.Find(*event.manifest));
  Bytes stored(event.manifest->size_bytes);
  CHORALE_RETURN_IF_ERROR(reader.ReadAt(0, stored));
  CHORALE_ASSIGN_OR_RETURN(const secagg::SignedParts parts,
                           secagg::SplitMessage(secagg::MessageKind::kSessionManifest, stored));
  v1::SessionManifest manifest;
  if (!manifest.ParseFromString(ToString(parts.body))) {
    return DataLoss("the session's manifest cannot be read");
  }
  ExchangeTerms terms = TermsOf(entry, parts_, event.sites.size());
  terms.roster = manifest.roster();
  CHORALE_ASSIGN_OR_RETURN(terms.nonce, crypto::DigestFromBytes(AsBytes(manifest.nonce())));
  for (const v1::ManifestMember& member : manifest.members()) {
    CHORALE_ASSIGN_OR_RETURN(crypto::Certificate certificate,
                             crypto::Certificate::FromPem(member.certificate()));
    CHORALE_ASSIGN_OR_RETURN(const identity::Party party, identity::PartyOf(certificate));
    terms.members.push_back({SiteId(member.site()), party.signing_key,
                             std::make_shared<const crypto::Certificate>(std::move(certificate))});
  }
  CHORALE_ASSIGN_OR_RETURN(std::shared_ptr<Exchange> exchange,
                           Exchange::Begin(std::move(terms), event.wall_time));
  if (exchange->manifest() != stored) return DataLoss("the session's manifest is another now");
  for (const SiteId& site : event.sites) messages.blobs.emplace(site, *event.manifest);
  messages.held.push_back(std::move(held));
  messages.certificate = parts_.identity.certificate().pem();
  return exchange;
}

StatusOr<std::shared_ptr<const StepMessages>> Engine::CloseAgain(
    const JobEntry& entry, std::shared_ptr<Exchange> exchange, const StepDone& event,
    const std::map<SiteId, Report>& answers) {
  CHORALE_ASSIGN_OR_RETURN(ExchangeWork work, StepWorkOf(entry, std::move(exchange), event.round,
                                                         answers, event.wall_time));
  const std::atomic<bool> never = false;
  CHORALE_ASSIGN_OR_RETURN(
      WorkProduct product,
      DoWork(parts_.payloads, Work{entry.submission.id, std::move(work)}, 1, never));
  auto& outcome = std::get<StepOutcome>(product);
  if (outcome.sites != event.sites) return DataLoss("a step of the session ends otherwise now");
  return std::move(outcome.messages);
}

Status Engine::RestoreSession(JobEntry& entry) {
  if (entry.has_work) return FailedPrecondition("a step was under way when the store failed");
  CHORALE_ASSIGN_OR_RETURN(const StoredJob stored, parts_.store.LoadJob(entry.submission.id));
  std::vector<JobEvent> events;
  std::size_t session = 0;  // Where it begins.
  std::size_t round = 0;    // Where the round under way begins.
  for (const v1::JobEvent& encoded : stored.events) {
    CHORALE_ASSIGN_OR_RETURN(TimedEvent timed, Decode(encoded));
    if (const auto* selected = std::get_if<CohortSelected>(&timed.event)) {
      round = events.size();
      if (selected->begins_session) session = round;
    }
    events.push_back(std::move(timed.event));
  }

  std::shared_ptr<Exchange> exchange;
  auto messages = std::make_shared<const StepMessages>();
  std::map<SiteId, Report> answers;  // In the step that is told of.
  std::uint32_t num_opened = 0;      // Rounds of the session.
  for (std::size_t i = session; i < events.size(); ++i) {
    if (const auto* selected = std::get_if<CohortSelected>(&events[i])) {
      if (selected->begins_session) {
        auto first = std::make_shared<StepMessages>();
        CHORALE_ASSIGN_OR_RETURN(exchange, BeginAgain(entry, *selected, *first));
        messages = std::move(first);
      } else if (i == round && exchange != nullptr) {
        exchange->SkipRounds(num_opened);
        CHORALE_ASSIGN_OR_RETURN(
            messages, OpenRound(entry, *exchange, selected->sites,
                                entry.machine.round()->key().number, selected->wall_time));
      }
      num_opened += selected->begins_session ? 0 : 1;
      answers.clear();
    } else if (const auto* reported = std::get_if<SiteReported>(&events[i])) {
      answers.insert_or_assign(reported->site, reported->report);
    } else if (const auto* done = std::get_if<StepDone>(&events[i])) {
      // Of rounds that are over, only the exchange of keys is still of use.
      if (i > round || BeginsSession(done->round.step)) {
        if (exchange == nullptr) return DataLoss("a step of a session that did not begin");
        CHORALE_ASSIGN_OR_RETURN(messages, CloseAgain(entry, exchange, *done, answers));
      }
      num_opened += done->round.step == RoundStep::kAcknowledgeShares ? 1 : 0;
      answers.clear();
    }
  }
  if (exchange == nullptr) return NotFound("no session began");
  entry.exchange = std::move(exchange);
  entry.messages = std::move(messages);
  log::Info("secagg.session_restored", {{"job", entry.submission.id.value()},
                                        {"step", NameOf(entry.machine.round()->key().step)}});
  return OkStatus();
}

void Engine::StageSessionLost(JobEntry& entry, const Status& why) {
  const Status stepped = Step(
      entry, SessionLost{"the coordinator has lost the round's session of secure aggregation: " +
                         MessageOf(why)});
  if (stepped.ok()) return;
  log::Error("secagg.loss_not_taken",
             {{"job", entry.submission.id.value()}, {"why", MessageOf(stepped)}});
}

}  // namespace chorale::coordinator
