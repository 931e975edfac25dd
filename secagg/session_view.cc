#include "secagg/session_view.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "secagg/messages.h"
#include "secagg/refusal.h"

namespace chorale::secagg {
namespace {

std::string Name(MemberIndex member) { return "member " + std::to_string(member); }

Status CheckDistinctKeys(const std::vector<AdvertisedKeys>& keys) {
  std::vector<const crypto::X25519PublicKey*> all;
  for (const AdvertisedKeys& one : keys) {
    all.push_back(&one.channel_key);
    for (const crypto::X25519PublicKey& key : one.mask_keys) all.push_back(&key);
  }
  std::ranges::sort(
      all, {}, [](const auto* key) -> const auto& { return *key; });
  const auto twice = std::ranges::adjacent_find(
      all, [](const auto* first, const auto* second) { return *first == *second; });
  if (twice == all.end()) return OkStatus();
  return Refused(RefusalCode::kKeyInvalid, "a key was advertised twice");
}

}  // namespace

Status CheckAdvertised(const SessionTerms& terms, const AdvertisedKeys& keys) {
  if (keys.manifest != terms.manifest || keys.member >= terms.num_members()) {
    return Refused(RefusalCode::kWrongSession,
                   "the keys of " + Name(keys.member) + " are for another manifest");
  }
  if (keys.mask_keys.size() != terms.num_rounds) {
    return Refused(RefusalCode::kKeyInvalid,
                   Name(keys.member) + " must advertise " + std::to_string(terms.num_rounds) +
                       " mask keys, got " + std::to_string(keys.mask_keys.size()));
  }
  const std::size_t degree = terms.neighbors.has_value() ? terms.neighbors->graph.out_degree : 0;
  if (keys.neighbors.size() != degree) {
    return Refused(RefusalCode::kParametersNotApproved,
                   Name(keys.member) + " must name " + std::to_string(degree) +
                       " neighbours, got " + std::to_string(keys.neighbors.size()));
  }
  for (const MemberIndex neighbor : keys.neighbors) {
    if (neighbor == keys.member || neighbor >= terms.num_members()) {
      return Refused(RefusalCode::kParametersNotApproved,
                     Name(keys.member) + " names itself or nobody as a neighbour");
    }
  }
  return OkStatus();
}

StatusOr<SessionView> SessionView::Create(std::shared_ptr<const SessionTerms> terms,
                                          std::vector<AdvertisedKeys> keys) {
  if (keys.size() < terms->least_set()) {
    return Refused(RefusalCode::kGroupTooSmall, "at least " + std::to_string(terms->least_set()) +
                                                    " members must advertise keys, got " +
                                                    std::to_string(keys.size()));
  }
  crypto::Sha256Hasher advertisements;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    CHORALE_RETURN_IF_ERROR(CheckAdvertised(*terms, keys[i]));
    if (i > 0 && keys[i].member <= keys[i - 1].member) {
      return Refused(RefusalCode::kKeyInvalid, "keys must come by member, each once; " +
                                                   Name(keys[i].member) + " follows " +
                                                   Name(keys[i - 1].member));
    }
    advertisements.Update(keys[i].message);
  }
  CHORALE_RETURN_IF_ERROR(CheckDistinctKeys(keys));

  SessionView view;
  view.id_ = SessionIdOf(terms->manifest, std::move(advertisements).Finish());
  for (const AdvertisedKeys& one : keys) view.advertised_.push_back(one.member);

  std::vector<Entry> entries(terms->num_members());
  for (AdvertisedKeys& one : keys) {
    Entry& entry = entries[one.member];
    const std::vector<MemberIndex>& drawn =
        terms->neighbors.has_value() ? one.neighbors : view.advertised_;
    std::ranges::set_intersection(drawn, view.advertised_, std::back_inserter(entry.holders));
    std::erase(entry.holders, one.member);
    for (const MemberIndex holder : entry.holders) entries[holder].dealers.push_back(one.member);
    entry.keys = std::move(one);
  }
  view.entries_.resize(entries.size());
  for (const MemberIndex member : view.advertised_) {
    Entry& entry = entries[member];
    std::ranges::set_union(entry.holders, entry.dealers, std::back_inserter(entry.neighbors));
    view.entries_[member] = std::make_unique<const Entry>(std::move(entry));
  }
  view.terms_ = std::move(terms);
  return view;
}

StatusOr<SessionView> SessionView::FromDirectory(std::shared_ptr<const SessionTerms> terms,
                                                 ByteSpan message) {
  CHORALE_ASSIGN_OR_RETURN(const std::vector<ByteSpan> messages, DecodeKeyDirectory(message));
  std::vector<AdvertisedKeys> keys;
  keys.reserve(messages.size());
  for (const ByteSpan one : messages) {
    CHORALE_ASSIGN_OR_RETURN(const SignedParts parts,
                             SplitMessage(MessageKind::kAdvertiseKeys, one));
    CHORALE_ASSIGN_OR_RETURN(AdvertisedKeys advertised, DecodeAdvertiseKeys(parts.body));
    CHORALE_RETURN_IF_ERROR(CheckAdvertised(*terms, advertised));
    const Status opened =
        OpenMessage(MessageKind::kAdvertiseKeys, one, terms->members[advertised.member].key)
            .status();
    if (!opened.ok()) return Annotate(opened, Name(advertised.member));
    advertised.message = crypto::Sha256(one);
    keys.push_back(std::move(advertised));
  }
  return Create(std::move(terms), std::move(keys));
}

bool SessionView::HasAdvertised(MemberIndex member) const {
  return member < entries_.size() && entries_[member] != nullptr;
}
const crypto::X25519PublicKey& SessionView::channel_key(MemberIndex member) const {
  return entries_[member]->keys.channel_key;
}
const crypto::X25519PublicKey& SessionView::mask_key(MemberIndex member,
                                                     std::uint32_t round) const {
  return entries_[member]->keys.mask_keys[round - 1];
}
const crypto::Digest& SessionView::advertisement(MemberIndex member) const {
  return entries_[member]->keys.message;
}
const std::vector<MemberIndex>& SessionView::HoldersOf(MemberIndex member) const {
  return entries_[member]->holders;
}
const std::vector<MemberIndex>& SessionView::DealersOf(MemberIndex member) const {
  return entries_[member]->dealers;
}
const std::vector<MemberIndex>& SessionView::NeighborsOf(MemberIndex member) const {
  return entries_[member]->neighbors;
}

}  // namespace chorale::secagg
