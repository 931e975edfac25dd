#include "tests/adversary/stage.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/crypto/random.h"
#include "core/time.h"
#include "data/csv_reader.h"
#include "data/dataset.h"
#include "jobs/job_spec.h"
#include "jobs/signed_job.h"
#include "secagg/key_schedule.h"
#include "secagg/mask_stream.h"
#include "secagg/members.h"
#include "secagg/session_terms.h"

namespace chorale::adversary {
namespace {

constexpr Duration kRoundTime = std::chrono::minutes(2);

Time Now() { return SystemClock().WallNow(); }

void SetTime(Time time, google::protobuf::Timestamp& out) {
  const std::int64_t micros = time.time_since_epoch().count();
  out.set_seconds(micros / 1'000'000);
  out.set_nanos(static_cast<std::int32_t>(micros % 1'000'000) * 1000);
}

std::string Text(ByteSpan bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<ByteSpan> Spans(const std::vector<Bytes>& messages) {
  return {messages.begin(), messages.end()};
}

std::vector<secagg::Member> MembersOf(const World& world) {
  std::vector<secagg::Member> members;
  for (const Seat& seat : world.seats) {
    members.push_back({.site = SiteId(seat.name),
                       .key = seat.signing_key,
                       .certificate = seat.certificate.fingerprint()});
  }
  return members;
}

}  // namespace

std::vector<MemberIndex> Everybody() { return {0, 1, 2, 3, 4}; }

std::vector<MemberIndex> Without(MemberIndex member) {
  std::vector<MemberIndex> rest = Everybody();
  std::erase(rest, member);
  return rest;
}

Stage::Stage(World& world, const std::string& job, const std::string& job_id)
    : world_(world), job_id_(job_id.empty() ? job : job_id), spec_(world.job) {
  spec_.set_name(job);
  signed_job_ = jobs::SignJob(spec_, world.researcher);
  job_digest_ = crypto::Sha256(AsBytes(signed_job_.spec()));
  const auto plan = jobs::PlanOf(spec_).value();
  model_bytes_ = plan.layout().size_bytes();
  const auto layout_of = [&](jobs::MaskedKind kind) {
    return jobs::MaskedLayout::Create(spec_, kind, plan.layout().num_parameters(), kNumMembers)
        .value();
  };
  preparation_ = layout_of(jobs::MaskedKind::kPreparation);
  training_ = layout_of(jobs::MaskedKind::kUpdate);
  for (MemberIndex member = 0; member < kNumMembers; ++member) {
    if (member == kColluder) {
      plaintexts_.emplace(member, Bytes(preparation_->vector().size_bytes()));
      continue;
    }
    v1::DatasetConfig config;
    config.set_id(spec_.dataset());
    config.mutable_csv()->set_path(world.seats[member].table);
    config.set_split_column("split");
    const auto dataset = data::Dataset::Load(config, "/", spec_.data()).value();
    const std::vector<double> sums = dataset.PreparationSums();
    plaintexts_.emplace(
        member,
        preparation_->Encode({.sums = sums, .num_examples = dataset.num_training_rows()}).value());
  }
  colluder_ = std::make_unique<Colluder>(
      world.colluder,
      Group{.members = MembersOf(world),
            .colluder = kColluder,
            .job = JobId(job_id_),
            .job_digest = job_digest_,
            .coordinator_key = world.coordinator.signing_key().public_key()},
      crypto::SecureRandom().NextUint64());
}

// ---------------------------------------------------------------------------- asking

std::string Stage::NextTaskId(MemberIndex member) {
  static std::atomic<std::uint64_t> number = 0;
  return job_id_ + "/" + std::to_string(++number) + "/" + site(member);
}

v1::Task Stage::Task(const std::string& task_id, std::uint32_t round) const {
  v1::Task task;
  task.set_task_id(task_id);
  task.set_job_id(job_id_);
  task.set_round(round);
  *task.mutable_job() = signed_job_;
  SetTime(Now() + kRoundTime, *task.mutable_report_deadline());
  return task;
}

Answer Stage::AskStep(MemberIndex member, MessageKind answer, const Bytes& message) {
  const std::string id = NextTaskId(member);
  v1::Task task = Task(id, 0);
  Blob blob = Named(message);
  switch (answer) {
    case MessageKind::kShareKeys:
      *task.mutable_share_keys()->mutable_directory() = blob.first;
      break;
    case MessageKind::kShareKeysAck:
      *task.mutable_acknowledge_shares()->mutable_delivery() = blob.first;
      break;
    case MessageKind::kConsistencySignature:
      *task.mutable_consistency_check()->mutable_survivors() = blob.first;
      break;
    case MessageKind::kUnmasking:
      *task.mutable_unmasking()->mutable_signatures() = blob.first;
      break;
    default:
      *task.mutable_advertise_keys()->mutable_manifest() = blob.first;
      task.mutable_advertise_keys()->set_coordinator_certificate(
          world_.coordinator.certificate().pem());
  }
  world_.wire.Send(site(member), std::move(task), {std::move(blob)});
  return world_.wire.Await(id);
}

// ---------------------------------------------------------------------------- set-up

v1::SessionManifest Stage::Manifest() const {
  v1::SessionManifest manifest;
  manifest.set_version(1);
  manifest.set_suite(static_cast<std::uint32_t>(secagg::Suite::kAes128Ctr));
  manifest.set_federation(world_.coordinator.party().federation);
  crypto::Digest nonce;
  crypto::SecureRandom().Fill(nonce);
  manifest.set_nonce(Text(nonce));
  manifest.set_job_id(job_id_);
  manifest.set_job_digest(Text(job_digest_));
  for (const Seat& seat : world_.seats) {
    v1::ManifestMember* member = manifest.add_members();
    member->set_site(seat.name);
    member->set_certificate(seat.certificate.pem());
  }
  manifest.set_roster(world_.roster);
  manifest.set_colluders(1);
  manifest.set_threshold(kThreshold);
  manifest.set_min_group(kThreshold);
  manifest.mutable_complete();
  manifest.set_num_rounds(kNumRounds);
  SetTime(Now(), *manifest.mutable_created_at());
  SetTime(Now() + std::chrono::hours(1), *manifest.mutable_not_after());
  return manifest;
}

Bytes Stage::Signed(const v1::SessionManifest& manifest) const {
  const std::string body = manifest.SerializeAsString();
  return secagg::SignMessage(MessageKind::kSessionManifest, AsBytes(body),
                             world_.coordinator.signing_key());
}

Answer Stage::Begin(MemberIndex member, const Bytes& manifest) {
  return AskStep(member, MessageKind::kAdvertiseKeys, manifest);
}

Answer Stage::GiveKeys(MemberIndex member, const Bytes& directory) {
  return AskStep(member, MessageKind::kShareKeys, directory);
}

Answer Stage::GiveShares(MemberIndex member, const secagg::DeliveredShares& delivery) {
  return AskStep(member, MessageKind::kShareKeysAck, secagg::Encode(delivery));
}

bool Stage::Advertise() {
  manifest_ = Signed(Manifest());
  advertisements_.clear();
  for (MemberIndex member = 0; member < kNumMembers; ++member) {
    if (member == kColluder) {
      advertisements_.push_back(colluder_->Advertise(manifest_));
      continue;
    }
    Answer answer = Begin(member, manifest_);
    if (answer.is_refused()) return false;
    advertisements_.push_back(std::move(answer.message));
  }
  return true;
}

Bytes Stage::Directory(const std::vector<Bytes>& messages) {
  return secagg::EncodeKeyDirectory(Spans(messages));
}

std::unique_ptr<secagg::SessionView> Stage::ViewOf(const Bytes& directory) const {
  const auto parts = secagg::SplitMessage(MessageKind::kSessionManifest, manifest_).value();
  auto terms = std::make_shared<secagg::SessionTerms>(
      secagg::DecodeTerms(secagg::DecodeManifest(parts.body).value(), crypto::Sha256(manifest_))
          .value());
  terms->members = MembersOf(world_);
  return std::make_unique<secagg::SessionView>(
      secagg::SessionView::FromDirectory(std::move(terms), directory).value());
}

void Stage::Follow(std::unique_ptr<secagg::SessionView> view) {
  views_.push_back(std::move(view));
  view_ = views_.back().get();
}

bool Stage::Deal() {
  const Bytes directory = Directory(advertisements_);
  Follow(ViewOf(directory));
  dealt_.clear();
  for (MemberIndex member = 0; member < kNumMembers; ++member) {
    Bytes message;
    if (member == kColluder) {
      message = colluder_->Deal(directory);
    } else {
      const Answer answer = GiveKeys(member, directory);
      if (answer.is_refused()) return false;
      message = answer.message;
    }
    const auto parts = secagg::SplitMessage(MessageKind::kShareKeys, message);
    if (!parts.ok()) return false;
    dealt_.emplace(member, secagg::DecodeShareKeys(parts->body).value());
  }
  return true;
}

secagg::DeliveredShares Stage::DeliveryTo(MemberIndex member,
                                          const std::vector<MemberIndex>& dealers) const {
  secagg::DeliveredShares delivery{.session = view_->id(), .member = member, .shares = {}};
  for (const MemberIndex dealer : dealers) {
    if (dealer == member) continue;
    const ByteSpan sealed = dealt_.at(dealer).shares.Of(member);
    delivery.shares.members.push_back(dealer);
    delivery.shares.sealed.insert(delivery.shares.sealed.end(), sealed.begin(), sealed.end());
  }
  return delivery;
}

bool Stage::Acknowledge() {
  for (MemberIndex member = 0; member < kNumMembers; ++member) {
    const secagg::DeliveredShares delivery = DeliveryTo(member, Everybody());
    if (member == kColluder) {
      colluder_->Open(*view_, delivery);
    } else if (GiveShares(member, delivery).is_refused()) {
      return false;
    }
  }
  return true;
}

// ---------------------------------------------------------------------------- rounds

std::vector<v1::FeatureMoments> Stage::Moments() const {
  std::vector<v1::FeatureMoments> moments;
  for (const v1::FeatureSpec& feature : spec_.data().features()) {
    if (!feature.has_numeric()) continue;
    v1::FeatureMoments& one = moments.emplace_back();
    one.set_mean(0);
    one.set_standard_deviation(100);
  }
  return moments;
}

secagg::RoundTerms Stage::Terms(std::uint32_t round, const std::vector<MemberIndex>& participants,
                                Work work) const {
  const bool trains = work == Work::kTraining;
  const jobs::MaskedLayout& layout = trains ? *training_ : *preparation_;
  const std::vector<v1::FeatureMoments> moments =
      trains ? Moments() : std::vector<v1::FeatureMoments>();
  return {.session = view_->id(),
          .round = round,
          .participants = participants,
          .model = {},
          .task = jobs::DigestOf(
              {.job = job_digest_,
               .kind = trains ? jobs::MaskedKind::kUpdate : jobs::MaskedKind::kPreparation,
               .round = trains ? 1u : 0u,
               .moments = moments}),
          .encoding = layout.digest(),
          .vector_bytes = layout.vector().size_bytes(),
          .sent_at = Now(),
          .deadline = Now() + kRoundTime};
}

Loot& Stage::loot(std::uint32_t round) {
  const auto key = std::pair(view_, round);
  const bool trains = std::ranges::find(training_rounds_, round) != training_rounds_.end();
  const auto found = loot_.find(key);
  if (found != loot_.end()) return found->second;
  return loot_
      .emplace(key, Loot(*view_, round, (trains ? *training_ : *preparation_).vector(), dealt_,
                         *colluder_))
      .first->second;
}

Answer Stage::Masked(MemberIndex member, const secagg::RoundTerms& terms, v1::Task task,
                     std::vector<Blob> blobs) {
  const Bytes start = secagg::SignMessage(MessageKind::kRoundStart, secagg::Encode(terms),
                                          world_.coordinator.signing_key());
  task.set_round_start(Text(start));
  const std::string id = task.task_id();
  world_.wire.Send(site(member), std::move(task), std::move(blobs));
  Answer answer = world_.wire.Await(id);
  if (!answer.is_refused()) loot(terms.round).Take(member, terms, answer.vector);
  return answer;
}

Answer Stage::MaskedByColluder(const secagg::RoundTerms& terms) {
  const bool trains = terms.vector_bytes != preparation_->vector().size_bytes();
  const secagg::VectorSpec& spec = (trains ? *training_ : *preparation_).vector();
  const crypto::Digest context = secagg::ContextOf(secagg::BindingOf(terms));
  const secagg::Suite suite = view_->terms().suite;
  Answer answer;
  answer.vector.resize(spec.size_bytes());
  const auto apply = [&](const crypto::SecretBytes& key, bool is_subtracted) {
    const std::vector<secagg::MaskTerm> mask = {{&key, is_subtracted}};
    (void)secagg::ApplyMasks(spec, 0, answer.vector, mask, 1);
  };
  apply(secagg::SelfMaskKey(colluder_->seed(terms.round), context, suite), false);
  for (const MemberIndex peer : terms.participants) {
    if (peer == kColluder) continue;
    const auto pair = secagg::PairKey(view_->id(), colluder_->mask_key(terms.round), kColluder,
                                      view_->mask_key(peer, terms.round), peer, terms.round);
    if (pair.ok()) apply(secagg::PairMaskKey(*pair, context, suite), peer > kColluder);
  }
  loot(terms.round).Take(kColluder, terms, answer.vector);
  return answer;
}

Answer Stage::OpenAs(const std::string& task_id, MemberIndex member,
                     const secagg::RoundTerms& terms) {
  if (member == kColluder) return MaskedByColluder(terms);
  v1::Task task = Task(task_id, 0);
  task.mutable_preparation();
  return Masked(member, terms, std::move(task), {});
}

Answer Stage::Open(MemberIndex member, const secagg::RoundTerms& terms) {
  return OpenAs(NextTaskId(member), member, terms);
}

Answer Stage::OpenTraining(MemberIndex member, const secagg::RoundTerms& terms, const Bytes& model,
                           const v1::BlobDescriptor& named) {
  if (std::ranges::find(training_rounds_, terms.round) == training_rounds_.end()) {
    training_rounds_.push_back(terms.round);
  }
  if (member == kColluder) return MaskedByColluder(terms);
  v1::Task task = Task(NextTaskId(member), 1);
  *task.mutable_training()->mutable_global_model() = named;
  for (v1::FeatureMoments& moments : Moments()) {
    *task.mutable_training()->add_moments() = std::move(moments);
  }
  return Masked(member, terms, std::move(task), {{named, model}});
}

bool Stage::OpenAll(const secagg::RoundTerms& terms) {
  return std::ranges::none_of(terms.participants,
                              [&](MemberIndex member) { return Open(member, terms).is_refused(); });
}

Answer Stage::TellBytes(MemberIndex member, const Bytes& survivors) {
  return AskStep(member, MessageKind::kConsistencySignature, survivors);
}

Answer Stage::Tell(MemberIndex member, std::uint32_t round,
                   const std::vector<MemberIndex>& survivors) {
  return TellBytes(member, secagg::SignMessage(
                               MessageKind::kSurvivors,
                               secagg::Encode(secagg::SurvivorSet{
                                   .session = view_->id(), .round = round, .survivors = survivors}),
                               world_.coordinator.signing_key()));
}

Bytes Stage::ColludersSignature(const secagg::RoundTerms& terms,
                                const std::vector<MemberIndex>& survivors) const {
  const secagg::RoundBinding binding = secagg::BindingOf(terms);
  return colluder_->Statement({.session = terms.session,
                               .round = terms.round,
                               .context = secagg::ContextOf(binding),
                               .participants = binding.participants,
                               .survivors = secagg::ParticipantsDigest(survivors)});
}

std::vector<Bytes> Stage::TellAll(const secagg::RoundTerms& terms,
                                  const std::vector<MemberIndex>& survivors) {
  std::vector<Bytes> signatures;
  for (const MemberIndex member : survivors) {
    if (member == kColluder) {
      signatures.push_back(ColludersSignature(terms, survivors));
      continue;
    }
    const Answer answer = Tell(member, terms.round, survivors);
    if (!answer.is_refused()) signatures.push_back(answer.message);
  }
  return signatures;
}

Answer Stage::Unmask(MemberIndex member, std::uint32_t round,
                     const std::vector<Bytes>& signatures) {
  const Bytes message = secagg::EncodeConsistencySignatures(view_->id(), round, Spans(signatures));
  Answer answer = AskStep(member, MessageKind::kUnmasking, message);
  if (answer.is_refused()) return answer;
  const auto parts = secagg::SplitMessage(MessageKind::kUnmasking, answer.message);
  auto shares = parts.ok() ? secagg::DecodeUnmasking(parts->body)
                           : StatusOr<secagg::UnmaskingShares>(parts.status());
  if (shares.ok()) loot(round).Take(*std::move(shares));
  return answer;
}

bool Stage::Reveal(std::uint32_t round, const std::vector<MemberIndex>& survivors) {
  const secagg::RoundTerms terms = Terms(round, Everybody());
  if (!OpenAll(terms)) return false;
  const std::vector<Bytes> signatures = TellAll(terms, survivors);
  return std::ranges::all_of(survivors, [&](MemberIndex member) {
    return member == kColluder || !Unmask(member, round, signatures).is_refused();
  });
}

Learned Stage::Search() const {
  Learned all;
  for (const auto& [place, loot] : loot_) {
    const bool trains = std::ranges::find(training_rounds_, place.second) != training_rounds_.end();
    Learned learned = loot.Search(trains ? std::map<MemberIndex, Bytes>() : plaintexts_);
    all.sums.insert(all.sums.end(), learned.sums.begin(), learned.sums.end());
    if (!learned.fault.empty()) all.fault = learned.fault;
  }
  return all;
}

}  // namespace chorale::adversary
