#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/ids.h"
#include "core/random.h"
#include "core/status.h"
#include "core/time.h"
#include "identity/identity.h"
#include "secagg/client_session.h"
#include "site_agent/promises.h"

// This site's sessions of secure aggregation.
namespace chorale::site_agent {

struct SecureSessionsParts {
  const identity::Identity& identity;  // Signs, and names the root that members are held against.
  const Clock& clock;
  RandomSource& random;  // crypto::SecureRandom outside of tests: keys and seeds are drawn from it.
  secagg::GroupPolicy policy;
  std::filesystem::path state_directory;  // Remembers the newest roster.
  Promises& promises;                     // Remembers nonces and revealed sums.
};

// A signed job at this site, as the coordinator names it and as the site knows it.
struct SessionOwner {
  JobId job;
  crypto::Digest job_digest{};  // SHA-256 of the signed specification.
};

// What a round is about, from what the site itself holds.
struct MaskedRound {
  Bytes start;  // SignedMessage(RoundStart), from the task.
  crypto::Digest model{};
  crypto::Digest task{};
};

// At most one session a job, of the latest kMaxSessions jobs; secrets are in memory only, so that
// sessions end with the process. What a session promises is on disk before the message that relies
// on it is returned: the nonce before AdvertiseKeys, the sum before Unmasking; and holds for every
// session of the same signed job, whatever the coordinator calls it. Errors of every call: a
// refusal (secagg::RefusalOf says which; STATE_LOST where there is no such session), or the disk's.
// Not thread-safe: the worker's.
class SecureSessions {
 public:
  static constexpr std::size_t kMaxSessions = 16;

  explicit SecureSessions(SecureSessionsParts parts);
  ~SecureSessions();

  // Begins the job's session, in place of an earlier one. Returns the AdvertiseKeys to send.
  // `coordinator_certificate` (PEM) must be that of a coordinator on the manifest's roster.
  [[nodiscard]] StatusOr<Bytes> Begin(const SessionOwner& owner, Bytes manifest,
                                      const std::string& coordinator_certificate);
  // A KeyDirectory, a ShareDelivery, a Survivors or a ConsistencySignatures. Returns what answers
  // it.
  [[nodiscard]] StatusOr<Bytes> Answer(const SessionOwner& owner, secagg::ClientEvent message);

  // Of the job's session, as this site accepted it: its members are what vectors are scaled for.
  [[nodiscard]] StatusOr<secagg::GroupParameters> GroupOf(const SessionOwner& owner) const;
  // Sites that this one expects to work with the coordinator, among so many.
  [[nodiscard]] std::uint32_t ExpectedColluders(std::uint32_t num_members) const;
  // Opens a round and returns what masks its vector. `encoding` and `vector_bytes` are those of the
  // vector that will be sent.
  [[nodiscard]] StatusOr<secagg::MaskInput> StartRound(const SessionOwner& owner,
                                                       const MaskedRound& round,
                                                       const crypto::Digest& encoding,
                                                       std::uint64_t vector_bytes);
  // The MaskedInput that goes with the masked vector of this digest.
  [[nodiscard]] StatusOr<Bytes> Sign(const SessionOwner& owner, std::uint32_t round,
                                     const crypto::Digest& vector);
  // Gives a round up for which nothing was signed: its secrets are erased.
  void GiveUp(const SessionOwner& owner, std::uint32_t round);

 private:
  class RosterVerifier;
  struct Entry {
    crypto::Digest job_digest{};
    std::unique_ptr<RosterVerifier> verifier;
    std::unique_ptr<secagg::ClientSession> session;
  };
  [[nodiscard]] StatusOr<Entry*> Find(const SessionOwner& owner) const;
  [[nodiscard]] StatusOr<std::vector<secagg::ClientAction>> Step(Entry& entry,
                                                                 const secagg::ClientEvent& event);
  // Keeps a sum that is about to be revealed.
  [[nodiscard]] Status Remember(const crypto::Digest& job_digest, const secagg::RevealedSum& sum);
  // Erases what is past its deadline, in every session.
  void Tidy();

  SecureSessionsParts parts_;
  mutable std::map<JobId, Entry> entries_;
  std::deque<JobId> order_;  // Of beginning.
};

}  // namespace chorale::site_agent
