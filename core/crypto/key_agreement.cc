#include "core/crypto/key_agreement.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "core/crypto/digest.h"
#include "core/crypto/hmac.h"
#include "core/crypto/openssl_handles.h"
#include "core/crypto/random.h"
#include "core/crypto/x25519_lanes.h"
#include "core/crypto/x25519_table.h"

namespace chorale::crypto {
namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kMostHkdfBytes = 255 * 32;
// All lanes together take as long as two agreements of OpenSSL.
constexpr std::size_t kFewestForLanes = 3;
// A table takes as long as so many agreements in lanes, and a key with it about as long as one.
constexpr std::size_t kAgreementsOfTable = 21;

Key LoadPrivateKey(std::span<const std::uint8_t> bytes) {
  return Key(
      OrDie(EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr, bytes.data(), bytes.size()),
            "loading an X25519 key"));
}

X25519PublicKey PublicKeyOf(EVP_PKEY* key) {
  X25519PublicKey public_key;
  std::size_t size = public_key.size();
  CheckOk(EVP_PKEY_get_raw_public_key(key, public_key.data(), &size), "an X25519 public key");
  return public_key;
}

// A point of low order gives zero.
StatusOr<SecretBytes> NonZero(SecretBytes shared) {
  constexpr std::array<std::uint8_t, kKeyBytes> kZero{};
  if (!ConstantTimeEqual(shared.Reveal(), kZero)) return shared;
  return InvalidArgument("the peer's X25519 key is a point of low order: no secret can be agreed");
}

// By OpenSSL, with one context and one peer's key for all: making them costs a tenth.
void AgreeOneByOne(EVP_PKEY* own, std::span<const X25519PublicKey> peers,
                   std::vector<StatusOr<SecretBytes>>& all) {
  const ErrorQueueScope errors;
  const KeyContext context(
      OrDie(EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr), "memory for X25519"));
  CheckOk(EVP_PKEY_derive_init(context.get()), "starting X25519");
  Key peer_key;
  for (const X25519PublicKey& peer : peers) {
    if (peer_key == nullptr) {
      peer_key.reset(OrDie(
          EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, peer.data(), peer.size()),
          "loading an X25519 public key"));
    } else {
      CheckOk(EVP_PKEY_set1_encoded_public_key(peer_key.get(), peer.data(), peer.size()),
              "an X25519 public key");
    }
    CheckOk(EVP_PKEY_derive_set_peer_ex(context.get(), peer_key.get(), 0), "the peer of X25519");
    SecretBytes shared(kKeyBytes);
    std::size_t size = shared.size();
    const bool derived =
        EVP_PKEY_derive(context.get(), shared.MutableReveal().data(), &size) == 1 &&
        size == kKeyBytes;
    all.push_back(NonZero(derived ? std::move(shared) : SecretBytes(kKeyBytes)));
  }
}

void AgreeInLanes(const SecretBytes& own, std::span<const X25519PublicKey> peers,
                  std::vector<StatusOr<SecretBytes>>& all) {
  std::array<X25519PublicKey, kX25519Lanes> points{};
  std::array<std::array<std::uint8_t, kKeyBytes>, kX25519Lanes> shared;
  while (!peers.empty()) {
    const auto group = peers.first(std::min(peers.size(), kX25519Lanes));
    std::copy(group.begin(), group.end(), points.begin());
    MultiplyLanes(own.Reveal(), points, shared);
    for (std::size_t i = 0; i < group.size(); ++i) {
      all.push_back(NonZero(SecretBytes(shared[i])));
    }
    peers = peers.subspan(group.size());
  }
  for (auto& one : shared) Wipe(one);
}

// An agreement of keys[key] with public_keys[keys[key].peers[place]], which lies in this lane.
struct Pair {
  std::size_t key;
  std::size_t place;
  std::size_t lane;
};

// Each key's pairs lie side by side.
bool IsTableSooner(std::span<const Pair> pairs) {
  if (!HasX25519Lanes()) return false;
  std::size_t num_keys = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i == 0 || pairs[i].key != pairs[i - 1].key) ++num_keys;
  }
  return pairs.size() > kAgreementsOfTable + num_keys;
}

// [key][place], unset where nothing was agreed on yet.
using Agreed = std::vector<std::vector<std::optional<SecretBytes>>>;

// Leaves out the peers that a table has no answers for.
void AgreeByTable(std::span<const DisclosedKey> keys, std::span<const X25519PublicKey> peers,
                  std::span<const Pair> pairs, Agreed& agreed) {
  std::array<X25519PublicKey, kX25519Lanes> points{};
  std::copy(peers.begin(), peers.end(), points.begin());
  const X25519Table table(points);
  std::vector<ByteSpan> scalars;
  std::vector<std::size_t> scalar_of(pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i == 0 || pairs[i].key != pairs[i - 1].key) {
      scalars.push_back(keys[pairs[i].key].key->bytes().Reveal());
    }
    scalar_of[i] = scalars.size() - 1;
  }
  std::vector<X25519Table::Shared> shared(scalars.size());
  table.MultiplyDisclosed(scalars, shared);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto [key, place, lane] = pairs[i];
    if (table.on_curve()[lane]) agreed[key][place].emplace(shared[scalar_of[i]][lane]);
  }
  for (auto& lanes : shared) {
    for (auto& one : lanes) Wipe(one);
  }
}

}  // namespace

struct X25519PrivateKey::Loaded {
  explicit Loaded(Key loaded) : key(std::move(loaded)) {}
  Key key;
};

X25519PrivateKey::X25519PrivateKey(SecretBytes bytes)
    : bytes_(std::move(bytes)),
      loaded_(std::make_unique<const Loaded>(LoadPrivateKey(bytes_.Reveal()))),
      public_key_(PublicKeyOf(loaded_->key.get())) {}
X25519PrivateKey::X25519PrivateKey(X25519PrivateKey&&) noexcept = default;
X25519PrivateKey& X25519PrivateKey::operator=(X25519PrivateKey&&) noexcept = default;
X25519PrivateKey::~X25519PrivateKey() = default;

X25519PrivateKey X25519PrivateKey::Generate() {
  SecretBytes bytes(kKeyBytes);
  SecureRandom().Fill(bytes.MutableReveal());
  return X25519PrivateKey(std::move(bytes));
}

StatusOr<X25519PrivateKey> X25519PrivateKey::FromBytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != kKeyBytes) {
    return InvalidArgument("an X25519 private key has 32 bytes, got " +
                           std::to_string(bytes.size()));
  }
  return X25519PrivateKey(SecretBytes(bytes));
}

StatusOr<SecretBytes> X25519PrivateKey::Agree(const X25519PublicKey& peer) const {
  return std::move(AgreeAll({&peer, 1}).front());
}

std::vector<StatusOr<SecretBytes>> X25519PrivateKey::AgreeAll(
    std::span<const X25519PublicKey> peers) const {
  std::vector<StatusOr<SecretBytes>> all;
  all.reserve(peers.size());
  if (HasX25519Lanes() && peers.size() >= kFewestForLanes) {
    AgreeInLanes(bytes_, peers, all);
  } else {
    AgreeOneByOne(loaded_->key.get(), peers, all);
  }
  return all;
}

std::vector<std::vector<StatusOr<SecretBytes>>> AgreeDisclosed(
    std::span<const DisclosedKey> keys, std::span<const X25519PublicKey> public_keys) {
  std::vector<std::vector<Pair>> groups((public_keys.size() + kX25519Lanes - 1) / kX25519Lanes);
  Agreed agreed(keys.size());
  for (std::size_t key = 0; key < keys.size(); ++key) {
    const std::vector<std::size_t>& peers = keys[key].peers;
    agreed[key].resize(peers.size());
    for (std::size_t place = 0; place < peers.size(); ++place) {
      groups[peers[place] / kX25519Lanes].push_back({key, place, peers[place] % kX25519Lanes});
    }
  }
  for (std::size_t group = 0; group < groups.size(); ++group) {
    if (!IsTableSooner(groups[group])) continue;
    const auto peers = public_keys.subspan(group * kX25519Lanes);
    AgreeByTable(keys, peers.first(std::min(peers.size(), kX25519Lanes)), groups[group], agreed);
  }

  std::vector<std::vector<StatusOr<SecretBytes>>> all(keys.size());
  for (std::size_t key = 0; key < keys.size(); ++key) {
    std::vector<X25519PublicKey> others;
    for (std::size_t place = 0; place < agreed[key].size(); ++place) {
      if (!agreed[key][place]) others.push_back(public_keys[keys[key].peers[place]]);
    }
    std::vector<StatusOr<SecretBytes>> with_others = keys[key].key->AgreeAll(others);
    all[key].reserve(agreed[key].size());
    std::size_t next = 0;
    for (std::optional<SecretBytes>& shared : agreed[key]) {
      all[key].push_back(shared ? NonZero(*std::move(shared)) : std::move(with_others[next++]));
    }
  }
  return all;
}

SecretBytes Hkdf(std::span<const std::uint8_t> salt, std::span<const std::uint8_t> input_key,
                 std::span<const std::uint8_t> info, std::size_t size) {
  Digest pseudorandom_key;
  HmacSha256(salt, {input_key}, pseudorandom_key);
  SecretBytes output = HkdfExpand(pseudorandom_key, info, size);
  Wipe(pseudorandom_key);
  return output;
}

SecretBytes HkdfExpand(std::span<const std::uint8_t> pseudorandom_key,
                       std::span<const std::uint8_t> info, std::size_t size) {
  if (size > kMostHkdfBytes) DieOfOpenSsl("HKDF gives at most 8160 bytes");
  SecretBytes output(size);
  std::span<std::uint8_t> left = output.MutableReveal();
  // T(i) = HMAC(key, T(i - 1) || info || i), T(0) empty (RFC 5869, section 2.3).
  Digest block;
  std::span<const std::uint8_t> before;
  for (std::uint8_t counter = 1; !left.empty(); ++counter) {
    HmacSha256(pseudorandom_key, {before, info, {&counter, 1}}, block);
    before = block;
    const std::size_t taken = std::min(left.size(), block.size());
    std::copy_n(block.begin(), taken, left.begin());
    left = left.subspan(taken);
  }
  Wipe(block);
  return output;
}

}  // namespace chorale::crypto
