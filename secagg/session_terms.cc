#include "secagg/session_terms.h"

#include <algorithm>
#include <string>

#include "secagg/field_codec.h"
#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kMaxDropoutPermille = 500;
constexpr Duration kMaxLifetime = std::chrono::hours(24);

Status CheckName(std::string_view field, const std::string& name) {
  if (IsValidName(name)) return OkStatus();
  return Malformed(field, "have 1 to 64 characters of [a-z0-9-]");
}

StatusOr<std::optional<NeighborTerms>> ReadGraph(const v1::SessionManifest& manifest,
                                                 std::uint32_t num_members) {
  switch (manifest.graph_case()) {
    case v1::SessionManifest::kComplete:
      return std::nullopt;
    case v1::SessionManifest::kNeighbors:
      break;
    case v1::SessionManifest::GRAPH_NOT_SET:
      return Malformed("graph", "be set");
  }
  const v1::NeighborGraph& graph = manifest.neighbors();
  CHORALE_RETURN_IF_ERROR(CheckRange("out_degree", graph.out_degree(), 2, num_members - 1));
  CHORALE_RETURN_IF_ERROR(
      CheckRange("share_threshold", graph.share_threshold(), 2, graph.out_degree()));
  CHORALE_RETURN_IF_ERROR(
      CheckRange("dropout_permille", graph.dropout_permille(), 1, kMaxDropoutPermille));
  return NeighborTerms{
      .graph = {.out_degree = graph.out_degree(), .threshold = graph.share_threshold()},
      .dropout_permille = graph.dropout_permille()};
}

StatusOr<GraphParameters> FindGraphFor(const GroupParameters& group,
                                       std::uint32_t dropout_permille) {
  return FindGraph(group.num_members,
                   {.corrupt_fraction = double{1} * group.colluders / group.num_members,
                    .dropout_fraction = dropout_permille / 1000.0});
}

}  // namespace

std::uint32_t SessionTerms::least_set() const { return std::max(group.threshold, group.min_group); }

std::uint32_t SessionTerms::share_threshold() const {
  return neighbors.has_value() ? neighbors->graph.threshold : group.threshold;
}

StatusOr<SessionTerms> DecodeTerms(const v1::SessionManifest& manifest,
                                   const crypto::Digest& digest) {
  CHORALE_RETURN_IF_ERROR(CheckRange("version", manifest.version(), kVersion, kVersion));
  CHORALE_RETURN_IF_ERROR(CheckRange("suite", manifest.suite(), 1, 2));
  const auto num_members = static_cast<std::uint32_t>(manifest.members_size());
  CHORALE_RETURN_IF_ERROR(CheckRange("number of members", num_members, kMinMembers, kMaxMembers));
  CHORALE_RETURN_IF_ERROR(CheckRange("colluders", manifest.colluders(), 0, num_members / 3));
  CHORALE_RETURN_IF_ERROR(CheckRange("threshold", manifest.threshold(), 1, num_members));
  CHORALE_RETURN_IF_ERROR(CheckRange("min_group", manifest.min_group(), 1, num_members));
  CHORALE_RETURN_IF_ERROR(CheckRange("num_rounds", manifest.num_rounds(), 1, kMaxRounds));
  CHORALE_RETURN_IF_ERROR(CheckName("federation", manifest.federation()));
  CHORALE_RETURN_IF_ERROR(CheckName("job_id", manifest.job_id()));
  SessionTerms terms{.manifest = digest,
                     .suite = static_cast<Suite>(manifest.suite()),
                     .federation = manifest.federation(),
                     .job = JobId(manifest.job_id()),
                     .group = {.num_members = num_members,
                               .colluders = manifest.colluders(),
                               .threshold = manifest.threshold(),
                               .min_group = manifest.min_group()},
                     .num_rounds = manifest.num_rounds()};
  CHORALE_ASSIGN_OR_RETURN(terms.nonce, ReadDigest("nonce", manifest.nonce()));
  CHORALE_ASSIGN_OR_RETURN(terms.job_digest, ReadDigest("job_digest", manifest.job_digest()));
  CHORALE_ASSIGN_OR_RETURN(terms.neighbors, ReadGraph(manifest, num_members));
  CHORALE_ASSIGN_OR_RETURN(terms.created_at, ReadTime("created_at", manifest.created_at()));
  CHORALE_ASSIGN_OR_RETURN(terms.not_after, ReadTime("not_after", manifest.not_after()));
  if (terms.not_after <= terms.created_at || terms.not_after - terms.created_at > kMaxLifetime) {
    return Malformed("not_after", "be within 24 hours after created_at");
  }
  terms.members.reserve(num_members);
  for (const v1::ManifestMember& member : manifest.members()) {
    CHORALE_RETURN_IF_ERROR(CheckName("members.site", member.site()));
    terms.members.push_back({.site = SiteId(member.site())});
  }
  return terms;
}

Status CheckGraph(const SessionTerms& terms) {
  if (!terms.neighbors.has_value()) return OkStatus();
  if (terms.num_members() <= kMaxCompleteGraph) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "a group of at most " + std::to_string(kMaxCompleteGraph) +
                       " members shares with everybody, this one has " +
                       std::to_string(terms.num_members()));
  }
  CHORALE_ASSIGN_OR_RETURN(const GraphParameters graph,
                           FindGraphFor(terms.group, terms.neighbors->dropout_permille));
  if (terms.neighbors->graph.out_degree != graph.out_degree) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "out_degree must be " + std::to_string(graph.out_degree) + ", got " +
                       std::to_string(terms.neighbors->graph.out_degree));
  }
  if (terms.neighbors->graph.threshold != graph.threshold) {
    return Refused(RefusalCode::kThresholdTooLow,
                   "share_threshold must be " + std::to_string(graph.threshold) + ", got " +
                       std::to_string(terms.neighbors->graph.threshold));
  }
  return OkStatus();
}

std::optional<NeighborTerms> GraphFor(const GroupParameters& group,
                                      std::uint32_t dropout_permille) {
  if (group.num_members <= kMaxCompleteGraph) return std::nullopt;
  const StatusOr<GraphParameters> graph = FindGraphFor(group, dropout_permille);
  if (!graph.ok()) return std::nullopt;
  return NeighborTerms{.graph = *graph, .dropout_permille = dropout_permille};
}

}  // namespace chorale::secagg
