#include "core/crypto/key_agreement.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <string>
#include <utility>

#include "core/crypto/openssl_handles.h"
#include "core/crypto/random.h"

namespace chorale::crypto {
namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kMostHkdfBytes = 255 * 32;

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

OSSL_PARAM OctetString(const char* name, std::span<const std::uint8_t> bytes) {
  // OpenSSL reads only; an empty string still needs an address.
  static std::uint8_t nothing = 0;
  return OSSL_PARAM_construct_octet_string(
      name, bytes.empty() ? &nothing : const_cast<std::uint8_t*>(bytes.data()), bytes.size());
}

struct HkdfInputs {
  int mode;
  std::span<const std::uint8_t> salt;
  std::span<const std::uint8_t> key;
  std::span<const std::uint8_t> info;
};

SecretBytes RunHkdf(HkdfInputs inputs, std::size_t size) {
  if (size > kMostHkdfBytes) DieOfOpenSsl("HKDF gives at most 8160 bytes");
  SecretBytes output(size);
  if (size == 0) return output;
  static EVP_KDF* const method = OrDie(EVP_KDF_fetch(nullptr, "HKDF", nullptr), "HKDF");
  const KdfContext context(OrDie(EVP_KDF_CTX_new(method), "memory for HKDF"));
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &inputs.mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OctetString(OSSL_KDF_PARAM_KEY, inputs.key),
      OctetString(OSSL_KDF_PARAM_SALT, inputs.salt),
      OctetString(OSSL_KDF_PARAM_INFO, inputs.info),
      OSSL_PARAM_construct_end()};
  CheckOk(EVP_KDF_derive(context.get(), output.MutableReveal().data(), size, parameters), "HKDF");
  return output;
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
  const ErrorQueueScope errors;
  const Key peer_key(
      OrDie(EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, peer.data(), peer.size()),
            "loading an X25519 public key"));
  const KeyContext context(
      OrDie(EVP_PKEY_CTX_new_from_pkey(nullptr, loaded_->key.get(), nullptr), "memory for X25519"));
  CheckOk(EVP_PKEY_derive_init(context.get()), "starting X25519");
  CheckOk(EVP_PKEY_derive_set_peer_ex(context.get(), peer_key.get(), 0), "the peer of X25519");
  SecretBytes shared(kKeyBytes);
  std::size_t size = shared.size();
  const bool derived = EVP_PKEY_derive(context.get(), shared.MutableReveal().data(), &size) == 1 &&
                       size == kKeyBytes;
  if (!derived || ConstantTimeEqual(shared.Reveal(), SecretBytes(kKeyBytes).Reveal())) {
    return InvalidArgument(
        "the peer's X25519 key is a point of low order: no secret can be agreed");
  }
  return shared;
}

SecretBytes Hkdf(std::span<const std::uint8_t> salt, std::span<const std::uint8_t> input_key,
                 std::span<const std::uint8_t> info, std::size_t size) {
  return RunHkdf({EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, salt, input_key, info}, size);
}

SecretBytes HkdfExpand(std::span<const std::uint8_t> pseudorandom_key,
                       std::span<const std::uint8_t> info, std::size_t size) {
  return RunHkdf({EVP_KDF_HKDF_MODE_EXPAND_ONLY, {}, pseudorandom_key, info}, size);
}

}  // namespace chorale::crypto
