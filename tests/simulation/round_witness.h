#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "chorale/v1/storage.pb.h"
#include "core/bytes.h"
#include "core/crypto/digest.h"
#include "core/parameters.h"
#include "core/status.h"
#include "jobs/masking.h"
#include "tests/simulation/parties.h"

namespace chorale::simulation {

// A published round, as the store's events tell it.
struct PublishedRound {
  std::uint32_t round = 0;
  std::vector<std::string> contributors;
  crypto::Digest model{};
};

// One job's rounds from the events that are durable, folded in a way of its own: what must be so of
// a round is checked when the event that ends it comes.
class RoundWitness {
 public:
  RoundWitness() = default;
  RoundWitness(v1::JobSpec spec, const Parties& parties);

  // INTERNAL: what must not be. `blobs`: small payloads by digest, the event's own among them.
  [[nodiscard]] Status Add(const v1::JobEvent& event, const std::map<crypto::Digest, Bytes>& blobs);
  [[nodiscard]] const std::vector<PublishedRound>& published() const { return published_; }
  // Members of the session of secure aggregation under way.
  [[nodiscard]] std::uint32_t session_size() const { return session_size_; }

  // What a site computes in a round, and the vector that it would send without masks.
  [[nodiscard]] ParameterVector UpdateOf(const std::string& site, std::uint32_t round) const;
  [[nodiscard]] StatusOr<Bytes> PlainVector(const std::string& site, std::uint32_t round,
                                            std::uint32_t num_members) const;
  [[nodiscard]] StatusOr<jobs::MaskedLayout> Layout(std::uint32_t num_members) const;

 private:
  using Attempt = std::pair<std::uint32_t, std::uint32_t>;  // Round and attempt.
  [[nodiscard]] Status AddReport(const v1::SiteReported& reported);
  [[nodiscard]] Status AddResult(const v1::RoundAggregated& result,
                                 const std::map<crypto::Digest, Bytes>& blobs);
  [[nodiscard]] Status AddPreparation(const v1::RoundAggregated& result);
  [[nodiscard]] Status CheckPlainModel(const PublishedRound& round, const ParameterVector& start,
                                       const ParameterVector& model) const;
  [[nodiscard]] Status CheckMaskedModel(const PublishedRound& round,
                                        const v1::RoundAggregated& result,
                                        const ParameterVector& start,
                                        const ParameterVector& model) const;
  [[nodiscard]] double WeightOf(const std::string& site) const;

  v1::JobSpec spec_;
  const Parties* parties_ = nullptr;
  std::set<std::string> cohort_;
  std::uint32_t session_size_ = 0;
  std::map<Attempt, std::map<std::string, std::uint64_t>> reports_;  // Rows, by site.
  std::map<Attempt, std::set<std::string>> survivors_;               // Whose masked report counts.
  std::set<std::string> answered_;  // Each step of each attempt, by site.
  crypto::Digest model_{};          // The present one.
  bool is_prepared_ = false;
  std::vector<PublishedRound> published_;
};

}  // namespace chorale::simulation
