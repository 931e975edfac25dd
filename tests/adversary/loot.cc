#include "tests/adversary/loot.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "secagg/key_schedule.h"
#include "secagg/mask_stream.h"
#include "secagg/shamir.h"
#include "secagg/vector_spec.h"

namespace chorale::adversary {

using secagg::MemberIndex;

void Loot::Take(MemberIndex member, const secagg::RoundTerms& terms, Bytes vector) {
  vectors_.insert_or_assign(member, Held{.terms = terms,
                                         .context = secagg::ContextOf(secagg::BindingOf(terms)),
                                         .vector = std::move(vector)});
}

void Loot::Take(secagg::UnmaskingShares shares) { shares_.push_back(std::move(shares)); }

StatusOr<crypto::SecretBytes> Loot::Combine(MemberIndex dealer, bool is_seed) const {
  std::vector<secagg::ShareIndex> holders;
  std::vector<const secagg::SecretShare*> shares;
  for (const secagg::UnmaskingShares& given : shares_) {
    for (const secagg::DealerShare& share : is_seed ? given.seeds : given.keys) {
      if (share.dealer != dealer) continue;
      holders.push_back(given.member + 1);
      shares.push_back(&share.share);
    }
  }
  secagg::SecretShare own;
  if (const crypto::SecretBytes* both = colluder_.shares_of(dealer, round_)) {
    const ByteSpan bytes = is_seed ? both->Reveal().first(secagg::kShareBytes)
                                   : both->Reveal().last(secagg::kShareBytes);
    CHORALE_ASSIGN_OR_RETURN(own, secagg::DecodeShare(bytes));
    holders.push_back(colluder_.member() + 1);
    shares.push_back(&own);
  }
  CHORALE_ASSIGN_OR_RETURN(const secagg::ShareCombiner combiner,
                           secagg::ShareCombiner::Create(holders));
  return combiner.Combine(shares);
}

Loot::Secrets Loot::Reconstruct() const {
  Secrets secrets;
  for (const MemberIndex dealer : view_.advertised()) {
    if (dealer == colluder_.member()) {
      if (colluder_.has_dealt()) secrets.seeds.emplace(dealer, colluder_.seed(round_));
      secrets.keys.emplace(
          dealer,
          crypto::X25519PrivateKey::FromBytes(colluder_.mask_key(round_).bytes().Reveal()).value());
      continue;
    }
    const auto dealt = dealt_.find(dealer);
    StatusOr<crypto::SecretBytes> seed = Combine(dealer, /*is_seed=*/true);
    if (seed.ok() && dealt != dealt_.end() &&
        secagg::SeedCommitment(view_.id(), dealer, round_, *seed) ==
            dealt->second.commitments[round_ - 1]) {
      secrets.seeds.emplace(dealer, *std::move(seed));
    }
    const StatusOr<crypto::SecretBytes> secret = Combine(dealer, /*is_seed=*/false);
    if (!secret.ok()) continue;
    auto key = crypto::X25519PrivateKey::FromBytes(secret->Reveal());
    if (key.ok() && key->public_key() == view_.mask_key(dealer, round_)) {
      secrets.keys.emplace(dealer, *std::move(key));
    }
  }
  return secrets;
}

bool Loot::Unmask(Members members, const Secrets& secrets, Bytes& sum) const {
  const secagg::Suite suite = view_.terms().suite;
  bool is_bare = true;
  const auto take_off = [&](const crypto::SecretBytes& key, bool was_subtracted) {
    const std::vector<secagg::MaskTerm> terms = {{&key, !was_subtracted}};
    is_bare = secagg::ApplyMasks(spec_, 0, sum, terms, 1).ok() && is_bare;
  };
  for (const auto& [member, held] : vectors_) {
    if ((members & Bit(member)) == 0) continue;
    const auto seed = secrets.seeds.find(member);
    if (seed == secrets.seeds.end()) {
      is_bare = false;
    } else {
      take_off(secagg::SelfMaskKey(seed->second, held.context, suite), false);
    }
    for (const MemberIndex peer : held.terms.participants) {
      if (peer == member) continue;
      const auto other = vectors_.find(peer);
      if ((members & Bit(peer)) != 0 && other != vectors_.end() &&
          other->second.context == held.context) {
        continue;  // Cancels.
      }
      const bool is_own = secrets.keys.contains(member);
      const auto key = is_own ? secrets.keys.find(member) : secrets.keys.find(peer);
      if (key == secrets.keys.end()) {
        is_bare = false;
        continue;
      }
      const MemberIndex from = is_own ? member : peer;
      const MemberIndex to = is_own ? peer : member;
      const auto pair =
          secagg::PairKey(view_.id(), key->second, from, view_.mask_key(to, round_), to, round_);
      if (!pair.ok()) {
        is_bare = false;
        continue;
      }
      take_off(secagg::PairMaskKey(*pair, held.context, suite), peer > member);
    }
  }
  return is_bare;
}

Learned Loot::Search(const std::map<MemberIndex, Bytes>& plaintexts) const {
  const Secrets secrets = Reconstruct();
  Members all = 0;
  for (const auto& [member, held] : vectors_) all |= Bit(member);
  Learned learned;
  for (Members members = 1; members <= all; ++members) {
    if ((members & ~all) != 0) continue;
    Bytes sum(spec_.size_bytes());
    Bytes expected(spec_.size_bytes());
    bool is_known = true;
    for (const auto& [member, held] : vectors_) {
      if ((members & Bit(member)) == 0) continue;
      const auto plain = plaintexts.find(member);
      is_known = is_known && plain != plaintexts.end();
      if (!secagg::AddVectors(spec_, 0, held.vector, sum, 1).ok() ||
          (is_known && !secagg::AddVectors(spec_, 0, plain->second, expected, 1).ok())) {
        learned.fault = "vectors of another size";
        return learned;
      }
    }
    const bool is_bare = Unmask(members, secrets, sum);
    const bool is_plain = is_known && sum == expected;
    if (is_bare || is_plain) learned.sums.push_back(members);
    if (is_bare && is_known && !is_plain) learned.fault = "a sum is not that of the plaintexts";
  }
  return learned;
}

// Gaussian elimination: is a unit vector in the span of the sums?
bool GiveOneVector(const std::vector<Members>& sums, Members known, std::uint32_t num_members) {
  std::vector<std::vector<double>> rows;
  const auto reduce = [&](std::vector<double> row) {
    for (const std::vector<double>& other : rows) {
      const auto pivot = std::ranges::find_if(other, [](double x) { return x != 0; });
      const auto column = static_cast<std::size_t>(pivot - other.begin());
      const double factor = row[column] / other[column];
      for (std::size_t c = 0; c < row.size(); ++c) row[c] -= factor * other[c];
    }
    for (double& x : row) {
      if (std::abs(x) < 1e-9) x = 0;
    }
    return row;
  };
  const auto is_zero = [](const std::vector<double>& row) {
    return std::ranges::all_of(row, [](double x) { return x == 0; });
  };
  for (const Members sum : sums) {
    std::vector<double> row(num_members);
    for (std::uint32_t m = 0; m < num_members; ++m) {
      if ((sum & ~known & Bit(m)) != 0) row[m] = 1;
    }
    row = reduce(std::move(row));
    if (!is_zero(row)) rows.push_back(std::move(row));
  }
  for (std::uint32_t m = 0; m < num_members; ++m) {
    if ((known & Bit(m)) != 0) continue;
    std::vector<double> unit(num_members);
    unit[m] = 1;
    if (is_zero(reduce(std::move(unit)))) return true;
  }
  return false;
}

}  // namespace chorale::adversary
