#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/round.h"
#include "core/bytes.h"
#include "core/crypto/blob_digest.h"
#include "core/crypto/certificate.h"
#include "core/crypto/digest.h"
#include "core/crypto/signature.h"
#include "core/ids.h"
#include "core/status.h"
#include "core/time.h"
#include "secagg/server_session.h"

namespace chorale::coordinator {

// What a session of secure aggregation begins with.
struct ExchangeMember {
  SiteId site;
  crypto::SigningPublicKey key{};
  std::shared_ptr<const crypto::Certificate> certificate;
};
struct ExchangeTerms {
  std::string federation;
  JobId job;
  crypto::Digest job_digest{};          // SHA-256 of the signed specification.
  std::vector<ExchangeMember> members;  // By site.
  secagg::GroupParameters group = {};
  std::string roster;  // The authority's file.
  crypto::Digest nonce{};
  std::uint32_t num_rounds = secagg::kMaxRounds;
  const crypto::SigningKey& signing_key;  // Must outlive the exchange.
};

// What a round is about: secagg::RoundRequested in terms of sites.
struct RoundOpening {
  std::vector<SiteId> sites = {};  // Sorted.
  crypto::Digest model{};
  crypto::Digest task{};
  crypto::Digest encoding{};
  std::uint64_t vector_bytes = 0;
  Time deadline = {};  // Of the round's last step, by the wall clock.
};

// What one site answered in a step.
struct ExchangeAnswer {
  SiteId site;
  Bytes message;            // Of the report step, the MaskedInput.
  crypto::Digest vector{};  // Of the report step, the digest of the payload that came with it.
};

// How a step ended: who goes on, and what they are told next.
struct StepResult {
  std::vector<SiteId> sites;         // Sorted.
  std::map<SiteId, Bytes> messages;  // Empty: nothing is told, but what StartRound says.
  std::vector<std::pair<SiteId, Status>> blamed;
  std::optional<secagg::RemoveMasks> unmasking;  // After the last step.
};

// One session of secure aggregation between the sites of a job, in steps as the job's machine
// counts them: secagg::ServerSession in terms of sites. Its secrets are none: what the coordinator
// must not know never enters it. The same terms and answers at the same times give the same
// messages, and so a coordinator that starts again makes it again of what it has stored. Not
// thread-safe: the engine hands it to the worker while work is under way.
class Exchange {
 public:
  // Errors as ServerSession::Create.
  [[nodiscard]] static StatusOr<std::shared_ptr<Exchange>> Begin(ExchangeTerms terms,
                                                                 Time wall_now);

  // Whether these sites can be in one more round that ends by then, without new keys.
  [[nodiscard]] bool CanContinue(const std::vector<SiteId>& sites, Time until) const;
  // What the first step tells everybody.
  [[nodiscard]] const Bytes& manifest() const { return session_.manifest(); }
  // Opens a round over some of eligible(); gives up one that is under way. The same message for
  // every site. Errors: as a step of the session.
  [[nodiscard]] StatusOr<Bytes> StartRound(const RoundOpening& opening, Time wall_now);
  // So many rounds were opened before, and are over: their numbers are not used again.
  void SkipRounds(std::uint32_t num_rounds) { last_round_ = std::max(last_round_, num_rounds); }
  // Ends a step with what came. An error, when too few answered soundly: the round is over.
  [[nodiscard]] StatusOr<StepResult> CloseStep(RoundStep step, std::vector<ExchangeAnswer> answers,
                                               Time wall_now);
  // The masks are off: a signed statement of what came out.
  [[nodiscard]] StatusOr<Bytes> Reveal(const crypto::Digest& sum, Time wall_now);

  [[nodiscard]] std::vector<SiteId> eligible() const;
  [[nodiscard]] std::uint32_t num_members() const {
    return static_cast<std::uint32_t>(sites_.size());
  }
  // Known once keys were advertised; zeros before.
  [[nodiscard]] crypto::Digest id() const;

 private:
  Exchange(secagg::ServerSession session, std::vector<SiteId> sites)
      : session_(std::move(session)), sites_(std::move(sites)) {}

  [[nodiscard]] std::optional<secagg::MemberIndex> MemberOf(const SiteId& site) const;
  [[nodiscard]] std::vector<SiteId> SitesOf(const std::vector<secagg::MemberIndex>& members) const;
  // Takes what the session wants done into `result`. An error: it gives up.
  [[nodiscard]] Status Take(std::vector<secagg::ServerAction> actions, StepResult& result) const;
  [[nodiscard]] Status Answer(RoundStep step, ExchangeAnswer answer, Time wall_now);

  secagg::ServerSession session_;
  std::vector<SiteId> sites_;  // By MemberIndex.
  std::uint32_t last_round_ = 0;
};

}  // namespace chorale::coordinator
