#include "coordinator/manifest.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/time_codec.h"
#include "core/bytes.h"
#include "core/rpc/chunks.h"
#include "core/time.h"
#include "core/version.h"
#include "jobs/adaptive_clipping.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"
#include "jobs/private_newton.h"
#include "jobs/private_preparation.h"
#include "models/model.h"

namespace chorale::coordinator {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kDomain = "chorale/v1/manifest";
constexpr std::size_t kMaxManifestBytes = 1u << 20;
constexpr std::size_t kMaxRoundsBytes = 512u << 10;  // Leaves room for sites and moments.

Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return FromMicros(timestamp.seconds() * 1'000'000 + timestamp.nanos() / 1'000);
}

std::string NameOf(v1::SiteState state) {
  switch (state) {
    case v1::SITE_STATE_PENDING:
      return "pending";
    case v1::SITE_STATE_REPORTED:
      return "reported";
    case v1::SITE_STATE_DROPPED:
      return "dropped";
    case v1::SITE_STATE_REFUSED:
      return "refused";
    case v1::SITE_STATE_STRAGGLER:
      return "straggler";
    default:
      return "unknown";
  }
}

std::string NameOf(const v1::MetricValue& metric) {
  std::string name = metric.split() == v1::SPLIT_TEST ? "test_" : "train_";
  switch (metric.kind()) {
    case v1::METRIC_KIND_ACCURACY:
      return name + "accuracy";
    case v1::METRIC_KIND_AUROC:
      return name + "auroc";
    default:
      return name + "loss";
  }
}

// The name of the member of a oneof that is set.
std::string NameOfSet(const google::protobuf::Message& message, const char* oneof) {
  const auto* descriptor = message.GetDescriptor()->FindOneofByName(oneof);
  const auto* field = message.GetReflection()->GetOneofFieldDescriptor(message, descriptor);
  return field == nullptr ? "" : std::string(field->name());
}

Json AlgorithmJson(const v1::JobSpec& spec) {
  if (spec.has_newton()) {
    const v1::NewtonSpec newton = jobs::WithDefaults(spec.newton());
    Json algorithm = {
        {"name", "newton"}, {"l2_penalty", newton.l2_penalty()}, {"damping", newton.damping()}};
    if (!jobs::IsPrivate(spec)) algorithm["tolerance"] = newton.tolerance();
    return algorithm;
  }
  Json algorithm = {{"name", NameOfSet(spec.aggregation(), "rule")}};
  const std::string drift_control = NameOfSet(spec.training(), "drift_control");
  if (!drift_control.empty()) algorithm["drift_control"] = drift_control;
  if (spec.training().local_normalization()) algorithm["local_normalization"] = true;
  if (spec.has_initial_model()) {
    algorithm["initial_model_digest"] = ToHex(AsBytes(spec.initial_model().weights().digest()));
  }
  return algorithm;
}

Json RoundJson(const v1::RoundRecord& record) {
  Json round = {{"round", record.round()},
                {"phase", record.phase()},
                {"published", record.published()},
                {"started_at", FormatTime(FromTimestamp(record.started_at()))},
                {"ended_at", FormatTime(FromTimestamp(record.ended_at()))}};
  if (!record.reason().empty()) round["reason"] = record.reason();
  Json participants = Json::array();
  Json excluded = Json::array();
  for (const v1::SiteProgress& site : record.sites()) {
    if (site.state() == v1::SITE_STATE_REPORTED) {
      participants.push_back(site.site());
      continue;
    }
    Json entry = {{"site", site.site()}, {"state", NameOf(site.state())}};
    if (!site.reason_code().empty()) entry["code"] = site.reason_code();
    if (!site.reason().empty()) entry["reason"] = site.reason();
    excluded.push_back(std::move(entry));
  }
  round["participants"] = std::move(participants);
  round["excluded"] = std::move(excluded);
  // Of a private job nobody knows.
  if (record.num_examples() > 0) round["num_examples"] = record.num_examples();
  // Of masked reports: nobody saw one of them by itself.
  if (!record.secagg_session().empty()) {
    round["secagg_session"] = ToHex(AsBytes(record.secagg_session()));
  }
  if (record.clipping_norm() != 0) round["clipping_norm"] = record.clipping_norm();
  if (!record.model_digest().empty()) round["model_digest"] = ToHex(AsBytes(record.model_digest()));
  for (const v1::MetricValue& metric : record.metrics()) {
    round["metrics"][NameOf(metric)] = {{"value", metric.value()},
                                        {"num_examples", metric.num_examples()}};
  }
  return round;
}

// What the rounds so far cost, abandoned ones too: sites were charged for them.
Json PrivacyJson(const v1::JobSpec& spec, std::uint64_t num_parameters,
                 const std::vector<v1::RoundRecord>& records) {
  const v1::PrivacySpec& privacy = spec.privacy();
  std::vector<std::uint32_t> numbers;
  for (const v1::RoundRecord& record : records) numbers.push_back(record.round());
  const jobs::RoundsRun run = jobs::CountRounds(spec, numbers);
  Json json = {{"delta", privacy.target_delta()},
               {"target_epsilon", privacy.target_epsilon()},
               {"noise_multiplier", privacy.noise_multiplier()},
               {"max_grad_norm", privacy.max_grad_norm()},
               {"expected_patients", privacy.expected_patients()},
               {"steps", run.rounds * jobs::StepsPerRound(spec)},
               {"privacy_unit", privacy::NameOf(jobs::UnitOf(privacy))},
               {"neighboring_relation", privacy::NameOf(jobs::RelationOf(privacy))}};
  if (jobs::HasAdaptiveClipping(privacy)) {
    const v1::AdaptiveClipping clipping = jobs::AdaptiveClippingOf(privacy);
    json["adaptive_clipping"] = {{"initial_norm", clipping.initial_norm()},
                                 {"target_quantile", clipping.target_quantile()},
                                 {"learning_rate", clipping.learning_rate()},
                                 {"count_stddev", clipping.count_stddev()}};
  }
  if (spec.has_newton()) {
    const training::NewtonBounds bounds = jobs::NewtonBoundsOf(spec, num_parameters);
    json["newton"] = {{"max_hessian_norm", bounds.hessian},
                      {"hessian_share", bounds.hessian_share}};
  } else {
    json["sample_rate"] = privacy.sample_rate();
  }
  if (privacy.has_metrics()) {
    json["metrics"] = {{"sums", run.with_metrics},
                       {"noise_multiplier", privacy.metrics().noise_multiplier()}};
  }
  if (jobs::HasPrivatePreparation(spec)) {
    json["preparation"] = {{"sums", run.preparations},
                           {"noise_multiplier", privacy.preparation().noise_multiplier()}};
  }
  if (const auto statement = jobs::StatementOf(spec, run); statement.ok()) {
    json["sampling"] = statement->sampling;
    json["epsilon"] = statement->guarantee.epsilon;
    json["accountant"] = privacy::NameOf(statement->accountant);
    json["holds_for"] = statement->holds_for;
  }
  return json;
}

// How often each site did what, over every round: complete even where rounds are left out.
Json TotalsJson(const std::vector<v1::RoundRecord>& records) {
  std::map<std::string, std::map<std::string, int>> totals;
  for (const v1::RoundRecord& record : records) {
    for (const v1::SiteProgress& site : record.sites()) {
      ++totals[site.site()][NameOf(site.state())];
    }
  }
  return totals;
}

// The newest rounds that fit, oldest first.
Json RoundsJson(const std::vector<v1::RoundRecord>& records, std::size_t& num_omitted) {
  std::vector<Json> newest_first;
  std::size_t bytes = 0;
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    Json round = RoundJson(*record);
    bytes += round.dump(-1, ' ', false, Json::error_handler_t::replace).size() + 1;
    if (bytes > kMaxRoundsBytes) break;
    newest_first.push_back(std::move(round));
  }
  num_omitted = records.size() - newest_first.size();
  return Json(std::vector<Json>(newest_first.rbegin(), newest_first.rend()));
}

}  // namespace

std::string MakeManifest(const JobEntry& entry, const crypto::BlobId& weights) {
  const std::vector<v1::RoundRecord>& records = entry.machine.rounds();
  const std::string& spec = entry.submission.envelope.spec();
  std::size_t num_omitted = 0;
  Json rounds = RoundsJson(records, num_omitted);
  Json manifest = {
      {"format", "chorale/v1/manifest"},
      {"job", entry.submission.id.value()},
      {"name", entry.spec.name()},
      {"researcher", entry.submission.researcher.value()},
      {"spec_sha256", ToHex(crypto::Sha256(AsBytes(spec)))},
      {"dataset", entry.spec.dataset()},
      {"model", models::KindName(entry.spec.model())},
      {"graph_sha256", ToHex(entry.graph_digest)},
      {"algorithm", AlgorithmJson(entry.spec)},
      {"seed", entry.spec.seed()},
      {"versions", {{"coordinator", Version()}}},
      {"submitted_at", FormatTime(entry.submission.submitted_at)},
      {"published_rounds", entry.machine.num_published()},
      {"wanted_rounds", entry.spec.rounds().count()},
      {"has_ended", entry.machine.has_ended()},
      {"end_reason", entry.machine.has_ended() ? SummaryOf(entry).reason() : ""},
      {"weights",
       {{"numbers", jobs::BytesPerParameter(entry.spec) == sizeof(double) ? "float64" : "float32"},
        {"num_parameters", entry.layout.num_parameters()},
        {"size_bytes", weights.size_bytes},
        {"digest", ToHex(weights.digest)}}},
      {"site_totals", TotalsJson(records)},
      {"rounds_omitted", num_omitted},
      {"rounds", std::move(rounds)},
  };
  if (jobs::IsPrivate(entry.spec)) {
    manifest["privacy"] = PrivacyJson(entry.spec, entry.layout.num_parameters(), records);
  }
  if (!entry.machine.moments().empty()) {
    for (const v1::FeatureMoments& moments : entry.machine.moments()) {
      manifest["standardization"].push_back({{"mean", moments.mean()},
                                             {"standard_deviation", moments.standard_deviation()},
                                             {"imputed", moments.imputed()}});
    }
  }
  // Texts of sites are valid UTF-8 by the wire format; replacing is for what an older store may
  // hold.
  const auto dump = [&](int indent) {
    return manifest.dump(indent, ' ', false, Json::error_handler_t::replace);
  };
  std::string readable = dump(2);
  return readable.size() <= kMaxManifestBytes ? readable : dump(-1);
}

v1::PullModelHeader MakePullHeader(const JobEntry& entry, const crypto::BlobId& weights,
                                   const identity::Identity& coordinator) {
  v1::PullModelHeader header;
  header.set_manifest(MakeManifest(entry, weights));
  const crypto::Signature signature =
      coordinator.signing_key().Sign(kDomain, AsBytes(header.manifest()));
  header.set_signature(signature.data(), signature.size());
  header.set_certificate(coordinator.certificate().pem());
  *header.mutable_layout() = models::ToProto(entry.layout);
  *header.mutable_weights() = rpc::ToProto(weights);
  return header;
}

}  // namespace chorale::coordinator
