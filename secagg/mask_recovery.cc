#include "secagg/mask_recovery.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "core/random.h"
#include "secagg/key_schedule.h"
#include "secagg/refusal.h"
#include "secagg/shamir.h"

namespace chorale::secagg {
namespace {

// Sets of holders tried for one secret before it is given up.
constexpr int kMostTries = 4000;
constexpr std::uint64_t kTrySeed = 1;  // Which sets, and nothing else, depends on it.

struct HeldShare {
  MemberIndex holder;
  const SecretShare* share;
};
using HeldShares = std::vector<HeldShare>;

struct LostMember {
  MemberIndex index;
  crypto::X25519PrivateKey key;
};

// A secret of one dealer, and all shares of it that were sent.
struct Target {
  MemberIndex dealer = 0;
  bool is_seed = false;  // Else the mask key.
  HeldShares shares;
};

class Recoverer {
 public:
  explicit Recoverer(const RecoveryInput& input)
      : input_(input), threshold_(input.view.terms().share_threshold()) {}

  Recovery Run();

 private:
  std::vector<Target> Targets() const;
  // The secret of the first `threshold_` of these shares, checked against the dealer's word.
  std::optional<crypto::SecretBytes> Try(const Target& target, const HeldShares& chosen);
  std::optional<crypto::SecretBytes> Combine(const HeldShares& chosen);
  bool Fits(const Target& target, const crypto::SecretBytes& secret) const;
  std::optional<crypto::SecretBytes> Search(const Target& target, HeldShares& good);
  // Shares of others that disagree with `good`, a set that gives the secret.
  void CompareRest(const Target& target, const HeldShares& good, const crypto::SecretBytes& secret);
  bool IsConsistent(const Target& target);
  // Of a survivor at once; of lost members, when all keys are here.
  void Take(const Target& target, const crypto::SecretBytes& secret, Recovery& recovery);
  void AddPairTerms(Recovery& recovery) const;
  void Judge(Recovery& recovery) const;

  const RecoveryInput& input_;
  std::uint32_t threshold_;
  std::map<std::vector<ShareIndex>, ShareCombiner> combiners_;
  std::vector<MemberIndex> trusted_;  // Holders of the last set that gave a secret.
  std::vector<LostMember> lost_;
  std::set<std::pair<MemberIndex, MemberIndex>> mismatches_;  // Dealer, holder.
};

std::vector<Target> Recoverer::Targets() const {
  std::map<MemberIndex, Target> targets;
  for (const MemberIndex member : input_.terms.participants) {
    const bool is_survivor = std::ranges::binary_search(input_.survivors, member);
    targets[member] = {.dealer = member, .is_seed = is_survivor, .shares = {}};
  }
  for (const auto& response : input_.responses) {
    if (response == nullptr) continue;
    const UnmaskingShares& content = response->content;
    for (const auto* list : {&content.seeds, &content.keys}) {
      for (const DealerShare& one : *list) {
        targets[one.dealer].shares.push_back({content.member, &one.share});
      }
    }
  }
  std::vector<Target> list;
  list.reserve(targets.size());
  for (auto& [member, target] : targets) list.push_back(std::move(target));
  return list;
}

std::optional<crypto::SecretBytes> Recoverer::Combine(const HeldShares& chosen) {
  std::vector<ShareIndex> xs;
  std::vector<const SecretShare*> shares;
  for (const HeldShare& held : chosen) {
    xs.push_back(held.holder + 1);
    shares.push_back(held.share);
  }
  auto combiner = combiners_.find(xs);
  if (combiner == combiners_.end()) {
    if (combiners_.size() > kMostTries) combiners_.clear();
    StatusOr<ShareCombiner> made = ShareCombiner::Create(xs);
    if (!made.ok()) return std::nullopt;
    combiner = combiners_.emplace(std::move(xs), *std::move(made)).first;
  }
  StatusOr<crypto::SecretBytes> secret = combiner->second.Combine(shares);
  if (!secret.ok()) return std::nullopt;
  return *std::move(secret);
}

bool Recoverer::Fits(const Target& target, const crypto::SecretBytes& secret) const {
  const std::uint32_t round = input_.terms.round;
  if (target.is_seed) {
    const std::vector<crypto::Digest>& commitments = input_.commitments[target.dealer];
    return commitments.size() >= round &&
           commitments[round - 1] == SeedCommitment(input_.view.id(), target.dealer, round, secret);
  }
  const auto key = crypto::X25519PrivateKey::FromBytes(secret.Reveal());
  return key.ok() && key->public_key() == input_.view.mask_key(target.dealer, round);
}

std::optional<crypto::SecretBytes> Recoverer::Try(const Target& target, const HeldShares& chosen) {
  std::optional<crypto::SecretBytes> secret = Combine(chosen);
  if (!secret.has_value() || !Fits(target, *secret)) return std::nullopt;
  return secret;
}

// First neighbouring holders, then sets at random.
std::optional<crypto::SecretBytes> Recoverer::Search(const Target& target, HeldShares& good) {
  const std::size_t size = target.shares.size();
  HeldShares order = target.shares;
  SeededRandom random(kTrySeed);
  for (int attempt = 0; attempt < kMostTries; ++attempt) {
    if (static_cast<std::size_t>(attempt) < size) {
      if (attempt > 0) std::rotate(order.begin(), order.begin() + 1, order.end());
    } else {
      for (std::size_t i = 0; i < threshold_; ++i) {
        std::swap(order[i], order[i + random.NextBelow(size - i)]);
      }
    }
    good.assign(order.begin(), order.begin() + threshold_);
    std::ranges::sort(good, {}, &HeldShare::holder);
    std::optional<crypto::SecretBytes> secret = Try(target, good);
    if (secret.has_value()) return secret;
  }
  return std::nullopt;
}

void Recoverer::CompareRest(const Target& target, const HeldShares& good,
                            const crypto::SecretBytes& secret) {
  for (const HeldShare& held : target.shares) {
    if (std::ranges::find(good, held.holder, &HeldShare::holder) != good.end()) continue;
    // In the place of a good one, a right share gives the same secret and a wrong one another.
    HeldShares exchanged = good;
    exchanged.back() = held;
    const std::optional<crypto::SecretBytes> other = Combine(exchanged);
    if (!other.has_value() || !crypto::ConstantTimeEqual(other->Reveal(), secret.Reveal())) {
      mismatches_.emplace(target.dealer, held.holder);
    }
  }
}

// True when more shares than needed agree on one secret, so that no holder can have changed it.
bool Recoverer::IsConsistent(const Target& target) {
  if (target.shares.size() <= threshold_) return false;
  HeldShares chosen(target.shares.begin(), target.shares.begin() + threshold_);
  const std::optional<crypto::SecretBytes> first = Combine(chosen);
  for (std::size_t i = threshold_; i < target.shares.size(); ++i) {
    chosen.back() = target.shares[i];
    const std::optional<crypto::SecretBytes> other = Combine(chosen);
    if (first.has_value() != other.has_value()) return false;
    if (first.has_value() && !crypto::ConstantTimeEqual(first->Reveal(), other->Reveal())) {
      return false;
    }
  }
  return true;
}

void Recoverer::Take(const Target& target, const crypto::SecretBytes& secret, Recovery& recovery) {
  if (target.is_seed) {
    recovery.terms.push_back({.key = SelfMaskKey(secret, input_.context, input_.view.terms().suite),
                              .is_subtracted = true});
    return;
  }
  lost_.push_back({target.dealer, *crypto::X25519PrivateKey::FromBytes(secret.Reveal())});
}

void Recoverer::AddPairTerms(Recovery& recovery) const {
  const SessionView& view = input_.view;
  const std::uint32_t round = input_.terms.round;
  std::vector<Peer> survivors;
  survivors.reserve(input_.survivors.size());
  for (const MemberIndex member : input_.survivors) {
    survivors.push_back({member, view.mask_key(member, round)});
  }
  std::vector<DisclosedMember> members;
  members.reserve(lost_.size());
  for (const LostMember& lost : lost_) {
    DisclosedMember member{.index = lost.index, .key = &lost.key, .peers = {}};
    for (const MemberIndex neighbor : view.NeighborsOf(lost.index)) {
      const auto found = std::ranges::lower_bound(survivors, neighbor, {}, &Peer::index);
      if (found == survivors.end() || found->index != neighbor) continue;
      member.peers.push_back(static_cast<std::size_t>(found - survivors.begin()));
    }
    members.push_back(std::move(member));
  }
  const auto pairs = PairKeysOfDisclosed(view.id(), members, survivors, round);
  if (!pairs.ok()) {
    recovery.status = pairs.status();
    return;
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    for (std::size_t place = 0; place < members[i].peers.size(); ++place) {
      // The survivor added the mask of every smaller index and subtracted that of every larger one.
      const MemberIndex survivor = survivors[members[i].peers[place]].index;
      recovery.terms.push_back(
          {.key = PairMaskKey((*pairs)[i][place], input_.context, view.terms().suite),
           .is_subtracted = members[i].index < survivor});
    }
  }
}

void Recoverer::Judge(Recovery& recovery) const {
  std::map<MemberIndex, std::size_t> by_dealer;
  std::map<MemberIndex, std::size_t> by_holder;
  for (const auto& [dealer, holder] : mismatches_) {
    ++by_dealer[dealer];
    ++by_holder[holder];
  }
  std::set<MemberIndex> named;
  for (const auto& [dealer, holder] : mismatches_) {
    const std::size_t of_dealer = by_dealer[dealer];
    const std::size_t of_holder = by_holder[holder];
    if (of_dealer == of_holder) {
      recovery.suspects.emplace_back(dealer, holder);
      continue;
    }
    const MemberIndex member = of_holder > of_dealer ? holder : dealer;
    if (!named.insert(member).second) continue;
    recovery.faults.emplace_back(
        member, Refused(RefusalCode::kShareInvalid,
                        of_holder > of_dealer ? "its shares of " + std::to_string(of_holder) +
                                                    " dealers do not fit what others hold"
                                              : "its shares for " + std::to_string(of_dealer) +
                                                    " holders do not fit what others hold"));
  }
}

Recovery Recoverer::Run() {
  Recovery recovery;
  for (Target& target : Targets()) {
    const std::string secret_name = std::string(target.is_seed ? "the seed" : "the mask key") +
                                    " of member " + std::to_string(target.dealer);
    if (target.shares.size() < threshold_) {
      recovery.status = Unavailable(secret_name + " needs " + std::to_string(threshold_) +
                                    " shares, got " + std::to_string(target.shares.size()));
      break;
    }
    // Who was right before comes first.
    std::stable_partition(target.shares.begin(), target.shares.end(), [&](const HeldShare& held) {
      return std::ranges::binary_search(trusted_, held.holder);
    });
    HeldShares good(target.shares.begin(), target.shares.begin() + threshold_);
    std::ranges::sort(good, {}, &HeldShare::holder);
    std::optional<crypto::SecretBytes> secret = Try(target, good);
    const bool is_smooth = secret.has_value();
    if (!is_smooth && IsConsistent(target)) {
      recovery.faults.emplace_back(
          target.dealer,
          Refused(RefusalCode::kShareInvalid, secret_name + " is not what it committed to"));
      recovery.status = DataLoss(secret_name + " is not what it committed to");
      break;
    }
    if (!is_smooth) secret = Search(target, good);
    if (!secret.has_value()) {
      recovery.status = DataLoss("no set of holders gives " + secret_name);
      break;
    }
    if (!is_smooth || !mismatches_.empty()) CompareRest(target, good, *secret);
    trusted_.clear();
    for (const HeldShare& held : good) trusted_.push_back(held.holder);
    Take(target, *secret, recovery);
  }
  if (recovery.status.ok()) AddPairTerms(recovery);
  Judge(recovery);
  if (!recovery.status.ok()) recovery.terms.clear();
  return recovery;
}

}  // namespace

Recovery RecoverMasks(const RecoveryInput& input) { return Recoverer(input).Run(); }

}  // namespace chorale::secagg
