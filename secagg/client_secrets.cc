#include "secagg/client_secrets.h"

#include <utility>

namespace chorale::secagg {
namespace {

crypto::X25519PrivateKey DrawKey(RandomSource& random) {
  crypto::SecretBytes bytes(std::size_t{32});
  random.Fill(bytes.MutableReveal());
  return *crypto::X25519PrivateKey::FromBytes(bytes.Reveal());  // 32 bytes always are a key.
}

// Null outside of the list.
template <typename T>
const T* Find(const std::vector<std::optional<T>>& list, std::uint32_t round) {
  if (round == 0 || round > list.size() || !list[round - 1].has_value()) return nullptr;
  return &*list[round - 1];
}

template <typename T>
void EraseUpTo(std::vector<std::optional<T>>& list, std::uint32_t round) {
  for (std::size_t i = 0; i < list.size() && i < round; ++i) list[i].reset();
}

}  // namespace

ClientSecrets ClientSecrets::Draw(std::uint32_t num_rounds, RandomSource& random) {
  ClientSecrets secrets;
  secrets.channel_key_ = DrawKey(random);
  secrets.mask_keys_.reserve(num_rounds);
  for (std::uint32_t i = 0; i < num_rounds; ++i) secrets.mask_keys_.emplace_back(DrawKey(random));
  return secrets;
}

void ClientSecrets::Keep(DealtSecrets dealt) {
  seeds_.clear();
  own_shares_.clear();
  for (crypto::SecretBytes& seed : dealt.seeds) seeds_.emplace_back(std::move(seed));
  for (SecretShare& share : dealt.own_shares) own_shares_.emplace_back(std::move(share));
}

void ClientSecrets::Keep(OpenedShares opened) {
  shares_.clear();
  for (auto& [dealer, rounds] : opened) {
    auto& kept = shares_[dealer];
    kept.reserve(rounds.size());
    for (crypto::SecretBytes& shares : rounds) kept.emplace_back(std::move(shares));
  }
}

const crypto::X25519PrivateKey* ClientSecrets::channel_key() const {
  return channel_key_.has_value() ? &*channel_key_ : nullptr;
}
const crypto::X25519PrivateKey* ClientSecrets::mask_key(std::uint32_t round) const {
  return Find(mask_keys_, round);
}
const crypto::SecretBytes* ClientSecrets::seed(std::uint32_t round) const {
  return Find(seeds_, round);
}
const SecretShare* ClientSecrets::own_share(std::uint32_t round) const {
  return Find(own_shares_, round);
}
const crypto::SecretBytes* ClientSecrets::shares_of(MemberIndex dealer, std::uint32_t round) const {
  const auto found = shares_.find(dealer);
  return found == shares_.end() ? nullptr : Find(found->second, round);
}

void ClientSecrets::EraseOwnKeys(std::uint32_t round) {
  EraseUpTo(mask_keys_, round);
  EraseUpTo(seeds_, round);
}

void ClientSecrets::EraseRound(std::uint32_t round) {
  EraseOwnKeys(round);
  EraseUpTo(own_shares_, round);
  for (auto& [dealer, rounds] : shares_) EraseUpTo(rounds, round);
}

}  // namespace chorale::secagg
